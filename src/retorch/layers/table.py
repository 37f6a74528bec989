"""Tables of tensors: arithmetic over them, and what joins, splits and reorders them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from retorch.layers.overlap import OVERLAP
from retorch.layers.rule import Array, Layer, Nested, Refusal, layer
from retorch.layers.shape import axis_of

if TYPE_CHECKING:
    from retorch.builder import Builder, Value
    from retorch.builder import Nested as Values


def with_sizes(x: Array, first: Array) -> Array:
    """``x`` with the sizes of ``first``: Torch pairs elements by position and asks only for equally many."""
    if x.size != first.size:
        raise Refusal(f"combines tensors of sizes {first.shape} and {x.shape}")
    return x if x.shape == first.shape else x.reshape(first.shape)


def value_with_sizes(op: Builder, x: Value, first: Value) -> Value:
    if math.prod(x.shape) != math.prod(first.shape):
        raise Refusal(f"combines tensors of sizes {first.shape} and {x.shape}")
    return x if x.shape == first.shape else op.Reshape(x, [-1, *first.shape[1:]])


def alike(op: Builder, x: Sequence[Value]) -> list[Value]:
    return [x[0], *(value_with_sizes(op, other, x[0]) for other in x[1:])]


class Accumulating(Layer):
    """Torch copies x1 into the output, and then adds (…) the others to it, one after the other."""

    accumulate: ClassVar[Callable[..., Array]]
    operator: ClassVar[str]

    def forward_over(self, x: list[Array], last: Array) -> Array:
        y = last.reshape(x[0].shape)
        y[...] = x[0]
        for other in x[1:]:
            self.accumulate(y, with_sizes(other, y), out=y)
        return y

    def lower_over(self, op: Builder, x: list[Value], last: Value) -> Value:
        if last.shape != x[0].shape:
            raise Refusal(OVERLAP)
        op.write(last, op.Identity(x[0]))
        for other in x[1:]:
            op.write(last, op.many(self.operator, 1, last, value_with_sizes(op, other, last))[0])
        return last


@layer("nn.CAddTable", kind="add")
class CAddTable(Accumulating):
    """x1 + x2 + …, in x1's sizes; into x1 where ``inplace``"""

    accumulate = staticmethod(np.add)
    operator = "Add"

    inplace: bool = False

    def forward(self, x: list[Array]) -> Array:
        if not self.inplace:
            return reduce(np.add, [with_sizes(other, x[0]) for other in x[1:]], x[0].copy())
        for other in x[1:]:
            x[0][...] += with_sizes(other, x[0])
        return x[0]

    def lower(self, op: Builder, x: list[Value]) -> Value:
        if not self.inplace:
            return op.Sum(*alike(op, x)) if len(x) > 1 else op.Identity(x[0])
        if all(other.root is not x[0].root for other in x[1:]):
            return op.write(x[0], op.Sum(*alike(op, x))) if len(x) > 1 else x[0]
        for other in x[1:]:
            # one of them changes while it is added to
            op.write(x[0], op.Add(x[0], value_with_sizes(op, other, x[0])))
        return x[0]


@layer("nn.CSubTable", kind="sub")
class CSubTable(Accumulating):
    """x1 - x2"""

    accumulate = staticmethod(np.subtract)
    operator = "Sub"

    def forward(self, x: list[Array]) -> Array:
        return x[0] - with_sizes(x[1], x[0])

    def lower(self, op: Builder, x: list[Value]) -> Value:
        return op.Sub(x[0], value_with_sizes(op, x[1], x[0]))


@layer("nn.CMulTable", kind="mul")
class CMulTable(Accumulating):
    """x1 · x2 · …, element by element"""

    accumulate = staticmethod(np.multiply)
    operator = "Mul"

    def forward(self, x: list[Array]) -> Array:
        return reduce(np.multiply, [with_sizes(other, x[0]) for other in x[1:]], x[0].copy())

    def lower(self, op: Builder, x: list[Value]) -> Value:
        first, *others = alike(op, x)
        return reduce(op.Mul, others, first) if others else op.Identity(first)


@layer("nn.CDivTable", kind="div")
class CDivTable(Accumulating):
    """x1 / x2"""

    accumulate = staticmethod(np.divide)
    operator = "Div"

    def forward(self, x: list[Array]) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return x[0] / with_sizes(x[1], x[0])

    def lower(self, op: Builder, x: list[Value]) -> Value:
        return op.Div(x[0], value_with_sizes(op, x[1], x[0]))


@layer("nn.CMaxTable", kind="max")
class CMaxTable(Layer):
    """the largest of x1, x2, …, element by element"""

    ignored = frozenset({"maxIdx", "maxVals", "gradMaxVals", "mask", "maskByteTensor"})

    def forward(self, x: list[Array]) -> Array:
        y = x[0].copy()
        for other in x[1:]:
            other = with_sizes(other, y)
            y = np.where(other > y, other, y)
        return y

    def lower(self, op: Builder, x: list[Value]) -> Value:
        return op.Max(*alike(op, x)) if len(x) > 1 else op.Identity(x[0])


@layer("nn.CMinTable", kind="min")
class CMinTable(Layer):
    """the smallest of x1, x2, …, element by element"""

    ignored = frozenset({"minIdx", "minVals", "gradMaxVals", "mask", "maskByteTensor"})

    def forward(self, x: list[Array]) -> Array:
        y = x[0].copy()
        for other in x[1:]:
            other = with_sizes(other, y)
            y = np.where(other < y, other, y)
        return y

    def lower(self, op: Builder, x: list[Value]) -> Value:
        return op.Min(*alike(op, x)) if len(x) > 1 else op.Identity(x[0])


@layer("nn.CAddTensorTable", kind="add")
class CAddTensorTable(Layer):
    """{a, {b1, b2, …}}: {b1 + a, b2 + a, …}"""

    def forward(self, x: list[Nested]) -> list[Array]:
        a, table = cast("tuple[Array, list[Array]]", x)
        return [with_sizes(b, a) + a for b in table]

    def lower(self, op: Builder, x: list[Values]) -> list[Value]:
        a, table = cast("tuple[Value, list[Value]]", x)
        return [op.Add(value_with_sizes(op, b, a), a) for b in table]


class Joining(Layer):
    """A dimension that counts without the batch where the input has one more than ``nInputDims``."""

    dimension: int
    nInputDims: int | None = None

    def axis(self, rank: int) -> int:
        batch = self.dimension > 0 and self.nInputDims is not None and rank == self.nInputDims + 1
        return axis_of(self.dimension + batch, rank)


@layer("nn.JoinTable", kind="concat")
class JoinTable(Joining):
    """x1, x2, … one after the other along ``dimension``"""

    ignored = frozenset({"size"})

    def forward(self, x: list[Array]) -> Array:
        return np.concatenate(x, axis=self.axis(x[0].ndim))

    def lower(self, op: Builder, x: list[Value]) -> Value:
        return op.Concat(*x, axis=self.axis(x[0].rank)) if len(x) > 1 else op.Identity(x[0])


def entries(op: Builder, x: Value, axis: int) -> list[Value]:
    """Views of all entries of a dimension, without that dimension."""
    from retorch.builder import Value
    from retorch.layers.strided import Strided

    size = x.shape[axis]
    if size == 1:
        return [op.squeeze(x, axis)]
    kind = Value if math.prod(x.shape[:axis]) == 1 else Strided
    made = [op.Squeeze(part, [axis]) for part in op.many("Split", size, x, axis=axis, num_outputs=size)]

    def get(at: int) -> Callable[[Value], Value]:
        return lambda p: op.Squeeze(op.Slice(p, [at], [at + 1], [axis]), [axis])

    def put(at: int) -> Callable[[Value, Value], Value]:
        def replace(p: Value, new: Value) -> Value:
            before = [op.Slice(p, [0], [at], [axis])] if at else []
            after = [op.Slice(p, [at + 1], [size], [axis])] if at + 1 < size else []
            return op.Concat(*before, op.Unsqueeze(new, [axis]), *after, axis=axis)

        return replace

    return [kind(part.read(), x, get(i), put(i)) for i, part in enumerate(made)]


@layer("nn.SplitTable", kind="split")
class SplitTable(Joining):
    """the entries of dimension ``dimension`` as a table, each without that dimension"""

    def forward(self, x: Array) -> list[Array]:
        axis = self.axis(x.ndim)
        return [x[(slice(None),) * axis + (i,)] for i in range(x.shape[axis])]

    def lower(self, op: Builder, x: Value) -> list[Value]:
        return entries(op, x, self.axis(x.rank))


@layer("nn.SelectTable", "nn.ElementTable", kind="selecttable")
class SelectTable(Layer):
    """entry ``index`` of the table, from 1, or from the end where negative"""

    index: object
    container: ClassVar[bool] = True

    def setup(self, bind: object) -> None:
        if isinstance(self.index, bool) or not isinstance(self.index, (int, float)):
            raise Refusal(f"selects {self.index!r}, but tables are counted here")

    def at(self, length: int) -> int:
        return axis_of(int(cast("int", self.index)), length)

    def forward(self, x: list[Nested]) -> Nested:
        return x[self.at(len(x))]

    def lower(self, op: Builder, x: list[Values]) -> Values:
        return x[self.at(len(x))]


class Rearranging(Layer):
    """Tables in, tables out, the same tensors: what holds for arrays holds for values."""

    container: ClassVar[bool] = True

    def rearranged(self, x: list[Nested]) -> list[Nested]:
        raise Refusal("rearranges nothing")

    def forward(self, x: list[Nested]) -> list[Nested]:
        return self.rearranged(x)

    def lower(self, op: Builder, x: list[Values]) -> list[Values]:
        return cast("list[Values]", self.rearranged(cast("list[Nested]", x)))


@layer("nn.NarrowTable", kind="narrowtable")
class NarrowTable(Rearranging):
    """``length`` entries of the table from ``offset`` (from 1)"""

    offset: int
    length: int = 1

    def rearranged(self, x: list[Nested]) -> list[Nested]:
        return x[self.offset - 1 : self.offset - 1 + self.length]


@layer("nn.FlattenTable", kind="flattentable")
class FlattenTable(Rearranging):
    """nested tables as one"""

    def rearranged(self, x: list[Nested]) -> list[Nested]:
        return [t for item in x for t in (self.rearranged(item) if isinstance(item, list) else [item])]


@layer("nn.ReverseTable", kind="reversetable")
class ReverseTable(Rearranging):
    """the table from its end"""

    def rearranged(self, x: list[Nested]) -> list[Nested]:
        return x[::-1]


@layer("nn.ZipTable", kind="ziptable")
class ZipTable(Rearranging):
    """{{a1, a2}, {b1, b2}}: {{a1, b1}, {a2, b2}}"""

    def rearranged(self, x: list[Nested]) -> list[Nested]:
        return [list(row) for row in zip(*cast("list[list[Nested]]", x), strict=True)]


@layer("nn.ZipTableOneToMany", kind="ziptable")
class ZipTableOneToMany(Rearranging):
    """{v, {a, b}}: {{v, a}, {v, b}}"""

    ignored = frozenset({"gradInputEl"})

    def rearranged(self, x: list[Nested]) -> list[Nested]:
        one, many = x
        return [[one, item] for item in cast("list[Nested]", many)]


@layer("nn.MixtureTable", kind="mixture")
class MixtureTable(Layer):
    """{g, experts}: Σᵢ gᵢ · expertᵢ

    g is (batch, n), or (n) without a batch. The experts are a table of n tensors, or one tensor that holds them along
    dimension ``dim`` (by default the one after the batch).
    """

    dim: int | None = None
    ignored = frozenset(
        {"size", "size2", "dimG", "table", "batchSize", "backwardSetup", "_expert", "_expert2", "_expertView"}
        | {"_expertView2", "_gaterView", "_sum", "_gradInput"}
    )

    def forward(self, x: list[Nested]) -> Array:
        gater, experts = cast("tuple[Array, Array | list[Array]]", x)
        table = list(experts) if isinstance(experts, list) else self._slices(gater, experts)
        if gater.shape[-1] != len(table):
            raise Refusal(f"has {gater.shape[-1]} gates for {len(table)} experts")
        batch = gater.ndim - 1
        gates = [gater[..., i].reshape(*gater.shape[:batch], *[1] * (table[0].ndim - batch)) for i in range(len(table))]
        return reduce(np.add, [gate * expert for gate, expert in zip(gates, table, strict=True)])

    def _axis(self, gater_rank: int, rank: int) -> int:
        return axis_of(gater_rank if self.dim is None else self.dim, rank)

    def _slices(self, gater: Array, experts: Array) -> list[Array]:
        return list(np.moveaxis(experts, self._axis(gater.ndim, experts.ndim), 0))

    def lower(self, op: Builder, x: list[Values]) -> Value:
        gater, experts = cast("tuple[Value, Value | list[Value]]", x)
        batch = gater.rank - 1
        if isinstance(experts, list):
            axis = self._axis(gater.rank, experts[0].rank + 1)
            stacked = op.Concat(*[op.Unsqueeze(e, [axis]) for e in experts], axis=axis)
        else:
            axis, stacked = self._axis(gater.rank, experts.rank), experts
        if gater.shape[-1] != stacked.shape[axis]:
            raise Refusal(f"has {gater.shape[-1]} gates for {stacked.shape[axis]} experts")
        ones = [1] * (stacked.rank - batch)
        ones[axis - batch] = gater.shape[-1]
        gates = op.Reshape(gater, [0, *ones] if batch else ones)
        return op.ReduceSum(op.Mul(gates, stacked), [axis], keepdims=0)
