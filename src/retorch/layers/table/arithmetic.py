"""Tables of tensors: arithmetic over them, and what joins and splits them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from retorch.layers.base.layer import Array, Layer, Nested, Refusal, Sizes, layer
from retorch.layers.base.memory import OVERLAP, check_written_once, last_output
from retorch.layers.shape.view import axis_of

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


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

    accumulate: ClassVar[Callable[..., object]]
    operator: ClassVar[str]
    #: How many of the table's entries it reads; None for all.
    most: ClassVar[int | None] = None

    def forward_over(self, x: list[Array], last: Array) -> Array:
        y = last.reshape(x[0].shape)
        y[...] = x[0]
        for other in x[1 : self.most]:
            self.accumulate(y, with_sizes(other, y), out=y)
        return y

    def lower_over(self, op: Builder, x: list[Value], last: Value) -> Value:
        if last.shape != x[0].shape:
            raise Refusal(OVERLAP)
        op.write(last, op.Identity(x[0]))
        for other in x[1 : self.most]:
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
        mine = last_output(self)
        check_written_once(x[0])
        for other in x[1:]:
            # its own last output is x1 by now
            x[0][...] += x[0] if other is mine else with_sizes(other, x[0])
        return x[0]

    def lower(self, op: Builder, x: list[Value]) -> Value:
        if not self.inplace:
            return op.Sum(*alike(op, x)) if len(x) > 1 else op.Identity(x[0])
        mine = op.last_output(self)
        others = [x[0] if other is mine else other for other in x[1:]]
        if all(other.root is not x[0].root for other in others):
            return op.write(x[0], op.Sum(*alike(op, x))) if len(x) > 1 else x[0]
        for other in others:
            # one of them changes while it is added to
            op.write(x[0], op.Add(x[0], value_with_sizes(op, other, x[0])))
        return x[0]


@layer("treelstm.CRowAddTable", "classifier.CRowAddTable", "nn.CAddRepTable", kind="add")
class CRowAddTable(Layer):
    """{x, v, …}: x + v + … for each entry of x's first dimension; tables of rows with a row each in a later treelstm

    That version has a field ``outputTensors``: x (N, n, m) and v (N, m) give x[i, j] + v[i].
    """

    ignored = frozenset({"outputTensors"})

    def added(self, x: Sizes, v: Sizes) -> Sizes:
        """The sizes with which v is added to x."""
        if len(x) > 2 and "outputTensors" in self.raw:
            wanted = (x[0], 1, *x[2:])
        else:
            wanted = x[1:]
        if math.prod(wanted) != math.prod(v):
            raise Refusal(f"cannot add {v} to the rows of {x}")
        return wanted

    def forward(self, x: list[Array]) -> Array:
        first, *others = x
        return sum((v.reshape(self.added(first.shape, v.shape)) for v in others), first.copy())

    def lower(self, op: Builder, x: list[Value]) -> Value:
        y = op.Identity(x[0]) if len(x) == 1 else x[0]
        for v in x[1:]:
            sizes = self.added(x[0].shape, v.shape)
            y = op.Add(y, v if v.shape == sizes else op.Reshape(v, list(sizes)))
        return y


@layer("nn.CSubTable", kind="sub")
class CSubTable(Accumulating):
    """x1 - x2"""

    accumulate = staticmethod(np.subtract)
    operator = "Sub"
    most = 2

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
    most = 2

    def forward(self, x: list[Array]) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return x[0] / with_sizes(x[1], x[0])

    def lower(self, op: Builder, x: list[Value]) -> Value:
        return op.Div(x[0], value_with_sizes(op, x[1], x[0]))


def _larger(y: Array, other: Array, out: Array) -> None:
    np.copyto(out, np.where(other > y, other, y))


def _smaller(y: Array, other: Array, out: Array) -> None:
    np.copyto(out, np.where(other < y, other, y))


@layer("nn.CMaxTable", kind="max")
class CMaxTable(Accumulating):
    """the largest of x1, x2, …, element by element"""

    accumulate = staticmethod(_larger)
    operator = "Max"

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
class CMinTable(Accumulating):
    """the smallest of x1, x2, …, element by element"""

    accumulate = staticmethod(_smaller)
    operator = "Min"

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


def _part(first: tuple[int, ...], given: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The sizes that a tensor fills in an output made for the first one's: Torch copies by position."""
    if axis >= len(given):
        raise Refusal(f"joins tensors of sizes {first} and {given} along dimension {axis + 1}")
    part = (*first[:axis], given[axis], *first[axis + 1 :])
    if math.prod(part) != math.prod(given):
        raise Refusal(f"joins tensors of sizes {first} and {given} along dimension {axis + 1}")
    return part


def joined(x: Sequence[Array], axis: int) -> Array:
    """Tensors one after the other along an axis."""
    return np.concatenate([y.reshape(_part(x[0].shape, y.shape, axis)) for y in x], axis)


def joined_values(op: Builder, x: Sequence[Value], axis: int) -> Value:
    """The same for values."""
    parts = [(y, _part(x[0].shape, y.shape, axis)) for y in x]
    made = [y if y.shape == part else op.Reshape(y, [-1, *part[1:]]) for y, part in parts]
    return op.Concat(*made, axis=axis) if len(made) > 1 else op.Identity(made[0])


@layer("nn.JoinTable", kind="concat")
class JoinTable(Joining):
    """x1, x2, … one after the other along ``dimension``"""

    ignored = frozenset({"size"})

    def forward(self, x: list[Array]) -> Array:
        return joined(x, self.axis(x[0].ndim))

    def lower(self, op: Builder, x: list[Value]) -> Value:
        return joined_values(op, x, self.axis(x[0].rank))


def entries(op: Builder, x: Value, axis: int) -> list[Value]:
    """Views of all entries of a dimension, without that dimension."""
    size = x.shape[axis]
    if size == 1:
        return [op.squeeze(x, axis)]
    stands = x.stands()
    strides = (*stands[:axis], *stands[axis + 1 :])
    made = [op.Squeeze(part, [axis]) for part in op.many("Split", size, x, axis=axis, num_outputs=size)]

    def get(at: int) -> Callable[[Value], Value]:
        return lambda p: op.Squeeze(op.Slice(p, [at], [at + 1], [axis]), [axis])

    def put(at: int) -> Callable[[Value, Value], Value]:
        return lambda p, new: op.replaced(p, op.Unsqueeze(new, [axis]), axis, at, stands[axis])

    starts = [None if x.offset is None else x.offset + i * stands[axis] for i in range(size)]
    return [op.view(x, get(i), put(i), now=part, strides=strides, offset=starts[i]) for i, part in enumerate(made)]


@layer("nn.SplitTable", kind="split")
class SplitTable(Joining):
    """the entries of dimension ``dimension`` as a table, each without that dimension"""

    def forward(self, x: Array) -> list[Array]:
        axis = self.axis(x.ndim)
        return [x[(slice(None),) * axis + (i,)] for i in range(x.shape[axis])]

    def lower(self, op: Builder, x: Value) -> list[Value]:
        return entries(op, x, self.axis(x.rank))


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
        axis = axis_of(gater_rank if self.dim is None else self.dim, rank)
        if gater_rank > 1 and axis == 0:
            raise Refusal("mixes experts along the dimension of the batch, for which each sample has gates of its own")
        return axis

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
