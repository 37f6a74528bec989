"""Vectors: what matrices, tables of rows and recurrent layers make of them."""

from __future__ import annotations

from typing import Any, cast

from retorch.graph.input_shape.rules.registry import SURE, USUAL, all_but, assumption, named, rule, tensors
from retorch.graph.input_shape.terms import Facts, Size, Term
from retorch.layers.arithmetic import Add, CAdd, CMul
from retorch.layers.base.layer import Layer
from retorch.layers.linear import Affine, Bilinear, Cosine, Euclidean, PartialLinear
from retorch.layers.lookup import LookupTable, OneHot
from retorch.layers.product import MM, MV, OfTwo
from retorch.layers.recurrent.cudnn import RNN
from retorch.layers.recurrent.sequence import Sequence


def _matrix(facts: Facts, layer: Layer, x: Term, y: Term, wanted: int, made: int) -> bool:
    found = all_but(facts, x, y, -1)
    if found is None:
        return False
    facts.fix(found[0][-1], wanted, named(layer))
    facts.fix(found[1][-1], made, named(layer))
    if len(found[0]) == 2:
        facts.samples.append(found[0][0])
    return True


@rule(Affine)
def affine(facts: Facts, layer: Affine, x: Term, y: Term) -> bool:
    """(N, in) to (N, out)"""
    return _matrix(facts, layer, x, y, layer.weight.shape[1], layer.weight.shape[0])


@rule(Cosine)
def cosine(facts: Facts, layer: Cosine, x: Term, y: Term) -> bool:
    """(N, in) to (N, out)"""
    return _matrix(facts, layer, x, y, layer.weight.shape[1], layer.weight.shape[0])


@rule(Euclidean)
def euclidean(facts: Facts, layer: Euclidean, x: Term, y: Term) -> bool:
    """(N, in) to (N, out)"""
    return _matrix(facts, layer, x, y, layer.weight.shape[0], layer.weight.shape[1])


@rule(PartialLinear)
def partial(facts: Facts, layer: PartialLinear, x: Term, y: Term) -> bool:
    """(N, in) to (N, some)"""
    return _matrix(facts, layer, x, y, layer.weight.shape[1], len(layer.columns))


@assumption(Affine, Cosine, Euclidean, PartialLinear, sure=SURE)
def rows(facts: Facts, layer: Layer, x: Term, y: Term) -> bool:
    """Vectors come in batches."""
    if x.rank is not None or y.rank is not None:
        return False
    facts.rank(x, 2)
    return True


@rule(Bilinear)
def bilinear(facts: Facts, layer: Bilinear, x: Term, y: Term) -> bool:
    """{(N, I), (N, J)} to (N, K)"""
    batch, made = facts.rank(y, 2)
    facts.fix(made, layer.weight.shape[0], named(layer))
    for item, width in zip(tensors(facts, x, 2), layer.weight.shape[1:], strict=True):
        facts.shape(item, [batch, Size(width, named(layer))])
    return True


@rule(LookupTable)
def lookup(facts: Facts, layer: LookupTable, x: Term, y: Term) -> bool:
    """A row for each index."""
    facts.indices(x, layer.index_limit() or 1)
    return _row_each(facts, layer, x, y, layer.weight.shape[1])


@rule(OneHot)
def one_hot(facts: Facts, layer: OneHot, x: Term, y: Term) -> bool:
    """A row for each index."""
    facts.indices(x, layer.outputSize)
    return _row_each(facts, layer, x, y, layer.outputSize)


def _row_each(facts: Facts, layer: Layer, x: Term, y: Term, width: int) -> bool:
    if x.rank is None and y.rank is None:
        return False
    if x.rank is None:
        facts.rank(x, (y.rank or 1) - 1)
    facts.shape(y, [*(x.sizes or []), Size(width, named(layer))])
    return True


@assumption(LookupTable, OneHot)
def sentences(facts: Facts, layer: Layer, x: Term, y: Term) -> bool:
    """Indices come as batches of sequences."""
    if x.rank is not None or y.rank is not None:
        return False
    facts.rank(x, 2)
    return True


@rule(RNN)
def cudnn_rnn(facts: Facts, layer: RNN, x: Term, y: Term) -> bool:
    """(T, N, D) to (T, N, H), or with the batch first"""
    facts.samples.insert(0, facts.rank(x, 3)[layer.batch_axis()])
    return _matrix(facts, layer, x, y, layer.inputSize, layer.hiddenSize * layer.directions)


@rule(Sequence)
def sequence(facts: Facts, layer: Any, x: Term, y: Term) -> bool:
    """(T, N, D) to (T, N, H), or with the batch first; states before it in a table"""
    if not getattr(layer, "whole", True):
        return True
    width = layer.cell.inputs.shape[1]
    made = facts.rank(y, 3)
    batch = made[cast("int", layer.batch_axis())]
    facts.samples.insert(0, batch)
    facts.fix(made[-1], layer.cell.output, named(layer))
    if x.table is None:
        facts.shape(x, [*made[:2], Size(width, named(layer))])
        return True
    *states, given = tensors(facts, x)
    facts.shape(given, [*made[:2], Size(width, named(layer))])
    for state in states:
        facts.shape(state, [batch, Size(layer.cell.output, named(layer))])
    return True


@rule(MM)
def matrices(facts: Facts, layer: MM, x: Term, y: Term) -> bool:
    """{(N, I, K), (N, K, J)} to (N, I, J)"""
    a, b = tensors(facts, x, 2)
    rank = next((t.rank for t in (a, b, y) if t.rank is not None), None)
    if rank is None:
        return False
    first, second, made = (facts.rank(t, rank) for t in (a, b, y))
    for i in range(rank - 2):
        facts.equal(first[i], second[i])
        facts.equal(first[i], made[i])
    ends, others = first[-2:], second[-2:]
    left, inner = ends[::-1] if layer.transA else ends
    again, right = others[::-1] if layer.transB else others
    facts.equal(inner, again)
    facts.equal(made[-2], left)
    facts.equal(made[-1], right)
    return True


@assumption(MM)
def many_matrices(facts: Facts, layer: MM, x: Term, y: Term) -> bool:
    """Matrices come in batches."""
    a = next(tensors(facts, x, 2))
    if a.rank is not None:
        return False
    facts.rank(a, 3)
    return True


@rule(MV)
def matrix_vector(facts: Facts, layer: MV, x: Term, y: Term) -> bool:
    """{(N, I, J), (N, J)} to (N, I)"""
    m, v = tensors(facts, x, 2)
    rank = next((t.rank for t in (v, y) if t.rank is not None), None if m.rank is None else m.rank - 1)
    if rank is None:
        return False
    first, second, made = facts.rank(m, rank + 1), facts.rank(v, rank), facts.rank(y, rank)
    for i in range(rank - 1):
        facts.equal(first[i], second[i])
        facts.equal(first[i], made[i])
    left, inner = first[-2:][::-1] if layer.trans else first[-2:]
    facts.equal(inner, second[-1])
    facts.equal(left, made[-1])
    return True


@rule(OfTwo)
def of_two(facts: Facts, layer: OfTwo, x: Term, y: Term) -> bool:
    """{(N, D), (N, D)} to (N)"""
    a, b = tensors(facts, x, 2)
    facts.same(a, b)
    if a.rank is None:
        return False
    facts.shape(y, [(a.sizes or [Size()])[0] if a.rank == 2 else Size(1)])
    return True


@assumption(OfTwo)
def of_two_rows(facts: Facts, layer: OfTwo, x: Term, y: Term) -> bool:
    """Vectors come in batches."""
    return rows(facts, layer, next(tensors(facts, x, 2)), Term())


@rule(Add, CAdd, CMul)
def by_element(facts: Facts, layer: Layer, x: Term, y: Term) -> bool:
    """As it was; one sample has as many elements as there are biases (…)."""
    facts.same(x, y)
    if x.sizes is None:
        return False
    wanted = next((a.size for a in layer.parameters().values()), 1)
    return wanted == 1 or facts.product(x.sizes[1:] or x.sizes, wanted, named(layer)) or len(x.sizes) > 2


@assumption(Add, sure=USUAL)
def bias_rows(facts: Facts, layer: Layer, x: Term, y: Term) -> bool:
    """Vectors come in batches."""
    return rows(facts, layer, x, y)
