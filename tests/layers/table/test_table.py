"""Arithmetic over tables, joining, splitting and rearranging them, against loops over elements."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from building import module, sequential, torch_object
from golden_cases import check, flatten
from layers.rows import Row, named, noise, random_shape, row_tests, times
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]

ARITHMETIC = {
    "nn.CAddTable": (lambda *v: math.fsum(v), None),
    "nn.CMulTable": (lambda *v: math.prod(v), None),
    "nn.CMaxTable": (max, None),
    "nn.CMinTable": (min, None),
    "nn.CSubTable": (lambda a, b: a - b, 2),
    "nn.CDivTable": (lambda a, b: a / b, 2),
}


def arithmetic(rng: np.random.Generator) -> Rows:
    for typename, (formula, count) in ARITHMETIC.items():
        for rank in times(3, 1, 2, 3, 4):
            shape = random_shape(rng, rank, 4)
            x = [noise(rng, *shape) + 3 for _ in range(count or int(rng.integers(1, 5)))]
            rows = zip(*[t.ravel().astype(float) for t in x], strict=True)
            expected = np.array([formula(*row) if len(row) > 1 else row[0] for row in rows]).reshape(shape)
            yield f"{typename}-{len(x)}", module(typename), x, expected.astype(np.float32)


def other_sizes(rng: np.random.Generator) -> Rows:
    """Torch pairs the elements of tensors in order, whatever their sizes, and gives the first one's."""
    a, b = noise(rng, 2, 6), noise(rng, 2, 3, 2)
    yield "add", module("nn.CAddTable"), [a, b], a + b.reshape(2, 6)
    yield "mul", module("nn.CMulTable"), [b, a], b * a.reshape(2, 3, 2)
    yield "max", module("nn.CMaxTable"), [a, b], np.maximum(a, b.reshape(2, 6))
    yield "inplace", module("nn.CAddTable", inplace=True), [a, b], a + b.reshape(2, 6)


def in_place(rng: np.random.Generator) -> Rows:
    for count in times(3, 1, 2, 3):
        x = [noise(rng, 2, 3) for _ in range(count)]
        yield f"{count}", module("nn.CAddTable", inplace=True), x, sum(x[1:], start=x[0])
    for count in (2, 3, 4):
        same = module("nn.Sequential", modules=[concat_table(count), torch_object("nn.CAddTable", inplace=True)])
        x = noise(rng, 2, 3)
        # what is added doubles with each step
        yield "itself", same, x, x * 2.0 ** (count - 1)


def concat_table(count: int) -> Any:
    return torch_object("nn.ConcatTable", modules=[torch_object("nn.Identity") for _ in range(count)])


def add_tensor(rng: np.random.Generator) -> Rows:
    for count in (1, 2, 4):
        a, table = noise(rng, 3, 4), [noise(rng, 3, 4) for _ in range(count)]
        yield f"{count}", module("nn.CAddTensorTable"), [a, table], [t + a for t in table]


def joins(rng: np.random.Generator) -> Rows:
    for rank in times(5, 1, 2, 3, 4):
        axis = int(rng.integers(rank))
        shape = list(random_shape(rng, rank, 4))
        x = []
        for _ in range(int(rng.integers(1, 4))):
            shape[axis] = int(rng.integers(1, 4))
            x.append(noise(rng, *shape))
        expected = np.concatenate(x, axis)
        dimension = axis + 1 if rng.random() < 0.6 else axis - rank
        yield f"{dimension}", module("nn.JoinTable", dimension=dimension), x, expected
        if dimension > 0:
            batched = [np.stack([t, -t]) for t in x]
            joined = np.stack([expected, -expected])
            yield "batch", module("nn.JoinTable", dimension=dimension, nInputDims=rank), batched, joined


def splits(rng: np.random.Generator) -> Rows:
    for rank in times(4, 2, 3, 4):
        x = noise(rng, *random_shape(rng, rank, 4))
        axis = int(rng.integers(rank))
        expected = list(np.moveaxis(x, axis, 0))
        dimension = axis + 1 if rng.random() < 0.6 else axis - rank
        yield f"{dimension}", module("nn.SplitTable", dimension=dimension), x, expected
        if dimension > 0:
            batched = [np.stack([t, 2 * t]) for t in expected]
            net = module("nn.SplitTable", dimension=dimension, nInputDims=rank)
            yield "batch", net, np.stack([x, 2 * x]), batched


def rearrangements(rng: np.random.Generator) -> Rows:
    a, b, c, d = (noise(rng, 2, n) for n in (1, 2, 3, 4))
    yield "select", module("nn.SelectTable", index=2), [a, b, c], b
    yield "select", module("nn.SelectTable", index=-1), [a, b, c], c
    yield "select", module("nn.SelectTable", index=-3), [a, b, c], a
    yield "select", module("nn.SelectTable", index=1), [[a, b], c], [a, b]
    yield "element", module("nn.ElementTable", index=3), [a, b, c], c
    yield "narrow", module("nn.NarrowTable", offset=2, length=2), [a, b, c, d], [b, c]
    yield "narrow", module("nn.NarrowTable", offset=3), [a, b, c, d], [c]
    yield "flatten", module("nn.FlattenTable"), [a, [b, [c], d]], [a, b, c, d]
    yield "reverse", module("nn.ReverseTable"), [a, [b, c], d], [d, [b, c], a]
    yield "zip", module("nn.ZipTable"), [[a, b], [c, d]], [[a, c], [b, d]]
    yield "one to many", module("nn.ZipTableOneToMany"), [a, [b, c, d]], [[a, b], [a, c], [a, d]]


def mixtures(rng: np.random.Generator) -> Rows:
    for rank in times(3, 1, 2, 3):
        n = int(rng.integers(1, 4))
        shape = random_shape(rng, rank, 4)
        gates, experts = noise(rng, 3, n), [noise(rng, 3, *shape) for _ in range(n)]
        expected = np.zeros((3, *shape), np.float32)
        for sample in range(3):
            for i in range(n):
                expected[sample] += gates[sample, i] * experts[i][sample]
        yield "table", module("nn.MixtureTable"), [gates, experts], expected
        yield "table", module("nn.MixtureTable", dim=2, table=True), [gates, experts], expected
        for dim in range(2, rank + 3):
            stacked = np.stack(experts, dim - 1)
            yield f"tensor{dim}", module("nn.MixtureTable", dim=dim), [gates, stacked], expected
        alone = np.zeros(shape, np.float32)
        for i in range(n):
            alone += gates[0, i] * experts[i][0]
        yield "alone", module("nn.MixtureTable"), [gates[0], [e[0] for e in experts]], alone
        yield "alone", module("nn.MixtureTable", dim=1), [gates[0], np.stack([e[0] for e in experts])], alone


ROWS = named(arithmetic, other_sizes, in_place, add_tensor, joins, splits, rearrangements, mixtures)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


@pytest.mark.parametrize(
    ("net", "x"),
    [
        (module("nn.CAddTable"), [np.zeros((2, 3)), np.zeros((2, 4))]),
        (module("nn.CMulTable"), [np.zeros((2, 3)), np.zeros((1, 3))]),
        (module("nn.SelectTable", index=3), [np.zeros((2, 3)), np.zeros((2, 4))]),
        (module("nn.MixtureTable"), [np.zeros((2, 3)), [np.zeros((2, 4))]]),
        (module("nn.MixtureTable", dim=1), [np.zeros((3, 3)), np.zeros((3, 3))]),
    ],
)
def test_what_torch_refuses_is_refused(net: Module, x: Any) -> None:
    with pytest.raises(UnsupportedError):
        net.forward(x)
    with pytest.raises(UnsupportedError):
        Row("", net, x, None).agrees_converted()


def test_a_table_with_names_is_refused() -> None:
    assert "counted" in str(module("nn.SelectTable", index="hidden").problems[0])


def test_max_and_min_keep_the_first_where_torch_cannot_compare() -> None:
    x = [np.array([np.nan, 1.0, 2.0]), np.array([3.0, np.nan, 1.0])]
    check([np.array([np.nan, 1.0, 2.0])], flatten(module("nn.CMaxTable").forward(x)))
    check([np.array([np.nan, 1.0, 1.0])], flatten(module("nn.CMinTable").forward(x)))


def test_writing_into_a_split_tensor_is_seen_by_the_whole() -> None:
    # the slices share memory with what was split: the second branch of the table reads what the first wrote
    x = np.arange(12, dtype=np.float32).reshape(2, 2, 3) - 6
    for dimension in (1, 2, 3):
        writes = sequential_of(
            torch_object("nn.SplitTable", dimension=dimension),
            torch_object("nn.SelectTable", index=2),
            torch_object("nn.ReLU", inplace=True),
        )
        net = sequential(torch_object("nn.ConcatTable", modules=[writes, torch_object("nn.Identity")]))
        whole = x.copy()
        np.moveaxis(whole, dimension - 1, 0)[1] = np.maximum(np.moveaxis(x, dimension - 1, 0)[1], 0)
        row = Row("", net, x, [np.maximum(np.moveaxis(x, dimension - 1, 0)[1], 0), whole])
        row.agrees_by_formula()
        row.agrees_converted()


def sequential_of(*modules: Any) -> Any:
    return torch_object("nn.Sequential", modules=list(modules))


def test_reshape_copies_what_is_not_in_one_piece() -> None:
    # a slice along the first dimension is in one piece, and its reshape a view; along the last it is not
    x = np.arange(12, dtype=np.float32).reshape(3, 4) - 6
    for dimension, shared in ((1, True), (2, False)):
        writes = sequential_of(
            torch_object("nn.SplitTable", dimension=dimension),
            torch_object("nn.SelectTable", index=1),
            torch_object("nn.Reshape", size=(1, x.shape[2 - dimension]), batchMode=False),
            torch_object("nn.ReLU", inplace=True),
        )
        net = sequential(torch_object("nn.ConcatTable", modules=[writes, torch_object("nn.Identity")]))
        first = np.maximum(np.moveaxis(x, dimension - 1, 0)[0], 0)
        whole = x.copy()
        if shared:
            whole[0] = first
        row = Row("", net, x, [first[None], whole])
        row.agrees_by_formula()
        row.agrees_converted()
