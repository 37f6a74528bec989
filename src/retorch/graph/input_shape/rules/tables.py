"""Tables of tensors of one shape, and what joins and splits them."""

from __future__ import annotations

from retorch.graph.input_shape.rules.registry import USUAL, assumption, named, rule
from retorch.graph.input_shape.terms import Facts, Size, Term
from retorch.layers.base.layer import Layer
from retorch.layers.container import Concat, DepthConcat
from retorch.layers.projects.memory_networks import MaskSoftMax
from retorch.layers.projects.opennmt import JoinReplicateTable
from retorch.layers.projects.waifu2x import ScaleTable
from retorch.layers.shape.view import axis_of
from retorch.layers.table.arithmetic import Accumulating, JoinTable, MixtureTable, SplitTable


@rule(Accumulating)
def accumulating(facts: Facts, layer: Layer, x: Term, y: Term) -> bool:
    """All of one shape; Torch asks only for equally many elements, which sizes of other ranks may have too."""
    ranks = {item.rank for item in facts.entries(x).items} - {None}
    if len(ranks) < 2:
        facts.same(facts.alike(x), y)
    return True


@rule(ScaleTable)
def scaled(facts: Facts, layer: Layer, x: Term, y: Term) -> bool:
    """{x, s}: as x, s for each of its channels"""
    image, scale = facts.entries(x, 2, exactly=True).items
    facts.same(image, y)
    if image.sizes is not None and scale.sizes is not None:
        for a, b in zip(image.sizes[:2], scale.sizes[:2], strict=False):
            facts.equal(a, b)
        return True
    return False


@rule(JoinTable)
def join(facts: Facts, layer: JoinTable, x: Term, y: Term) -> bool:
    """One size is the sum, the others are the same. Torch copies by position: a part may have another rank."""
    table = facts.entries(x)
    items = table.items or [facts.alike(x)]
    rank = next((t.rank for t in (items[0], y) if t.rank is not None), None)
    if rank is None:
        return False
    made = facts.rank(y, rank)
    axis = layer.axis(rank)
    parts = [facts.rank(items[0], rank), *(item.sizes for item in items[1:])]
    for part in parts:
        if part is not None:
            _beside(facts, part, made, axis)
    if table.open or any(part is None or axis >= len(part) for part in parts):
        return False
    return facts.total(made[axis], [part[axis] for part in parts if part is not None], named(layer))


def _beside(facts: Facts, part: list[Size], made: list[Size], axis: int) -> None:
    for i, whole in enumerate(made):
        if i != axis and i < len(part):
            facts.equal(part[i], whole)
        elif i != axis and len(part) < len(made):
            facts.fix(whole, 1)


@assumption(JoinTable, sure=USUAL)
def join_of_one_rank(facts: Facts, layer: JoinTable, x: Term, y: Term) -> bool:
    """What is joined has as many dimensions."""
    items = facts.entries(x).items
    rank = next((t.rank for t in (y, *items) if t.rank is not None), None)
    for item in items if rank is not None else ():
        if item.is_open:
            facts.rank(item, rank or 1)
            return True
    table = facts.entries(x)
    if rank is None or not table.open or (table.each is not None and not items):
        return False
    facts.entries(x, max(2, len(items)), exactly=True)
    return True


@rule(Concat)
def concat(facts: Facts, layer: Concat, x: Term, y: Term) -> bool:
    """One size is the sum, the others are the same."""
    parts = facts.entries(x).items
    rank = next((t.rank for t in (*parts, y) if t.rank is not None), None)
    if rank is None:
        return False
    axis, made = axis_of(layer.dimension, rank), facts.rank(y, rank)
    own = [facts.rank(part, rank) for part in parts]
    for sizes in own:
        _beside(facts, sizes, made, axis)
    return facts.total(made[axis], [sizes[axis] for sizes in own], named(layer))


@rule(DepthConcat)
def depth_concat(facts: Facts, layer: DepthConcat, x: Term, y: Term) -> bool:
    """One size is the sum, the others the largest."""
    parts = facts.entries(x).items
    rank = next((t.rank for t in (*parts, y) if t.rank is not None), None)
    if rank is None:
        return False
    axis, made = axis_of(layer.dimension, rank), facts.rank(y, rank)
    own = [facts.rank(part, rank) for part in parts]
    for i, whole in enumerate(made):
        sizes = [part[i] for part in own]
        if i != axis:
            facts.between(whole, max(size.low for size in sizes), max(size.high for size in sizes))
            for size in sizes:
                facts.between(size, 1, whole.high)
    return facts.total(made[axis], [sizes[axis] for sizes in own], named(layer)) and False


@rule(SplitTable)
def split(facts: Facts, layer: SplitTable, x: Term, y: Term) -> bool:
    """As many entries as the dimension is long, each without it"""
    each, table = facts.alike(y), facts.entries(y)
    if x.rank is None and each.rank is None:
        return False
    rank = x.rank or (each.rank or 0) + 1
    sizes = facts.rank(x, rank)
    axis = layer.axis(rank)
    facts.shape(each, [size for i, size in enumerate(sizes) if i != axis])
    facts.equal(sizes[axis], table.count)
    if table.count.value is not None:
        facts.entries(y, table.count.value, exactly=True)
    return table.count.value is not None


@assumption(SplitTable)
def split_samples(facts: Facts, layer: SplitTable, x: Term, y: Term) -> bool:
    """With the batch in front, where the layer says how many dimensions a sample has."""
    if x.rank is not None:
        return False
    facts.rank(x, layer.nInputDims + 1 if layer.nInputDims is not None else 3)
    return True


@rule(MixtureTable)
def mixture(facts: Facts, layer: MixtureTable, x: Term, y: Term) -> bool:
    """{(N, n), n experts of (N, …)}"""
    gates, experts = facts.entries(x, 2, exactly=True).items
    if experts.table is None:
        return True
    facts.same(facts.alike(experts), y)
    batch, count = facts.rank(gates, 2)
    if not experts.table.open:
        facts.fix(count, len(experts.table.items), named(layer))
    if y.sizes:
        facts.equal(batch, y.sizes[0])
    return y.sizes is not None


@assumption(Accumulating)
def two(facts: Facts, layer: Layer, x: Term, y: Term) -> bool:
    """Tables of which nothing says how long they are have two entries."""
    table = facts.entries(x)
    if not table.open or (table.each is not None and table.items == []):
        return False
    facts.entries(x, max(2, len(table.items)), exactly=True)
    return True


@rule(JoinReplicateTable)
def join_repeated(facts: Facts, layer: JoinReplicateTable, x: Term, y: Term) -> bool:
    """As a join, of tensors that have one entry where others have several."""
    items = facts.entries(x, 2).items
    rank = next((t.rank for t in (*items, y) if t.rank is not None), None)
    if rank is None:
        return False
    made, parts = facts.rank(y, rank), [facts.rank(item, rank) for item in items]
    batch = layer.nInputDims is not None and rank == layer.nInputDims + 1
    along, join = (d - 1 + batch if d > 0 else rank + d for d in (layer.dimensionReplicate, layer.dimensionJoin))
    for part in parts:
        for i, (size, whole) in enumerate(zip(part, made, strict=True)):
            if i not in (along, join):
                facts.equal(size, whole)
    facts.equal(parts[-1][along], made[along])
    return facts.total(made[join], [part[join] for part in parts], named(layer))


@rule(MaskSoftMax)
def masked(facts: Facts, layer: Layer, x: Term, y: Term) -> bool:
    """{x, mask} of one shape"""
    values, mask = facts.entries(x, 2, exactly=True).items
    facts.same(values, y)
    if y.sizes is None:
        return False
    facts.shape(mask, y.sizes)
    return True
