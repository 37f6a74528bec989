"""Parts of a tensor: by position, by index, by mask."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, Sizes, layer
from retorch.layers.shape.view import axis_of

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value

#: "To the end" for ONNX's Slice, so that a node does not hold the batch size.
TO_THE_END = 2**63 - 1
#: How ONNX counts its element types.
_BOOL = 9


@layer("nn.Narrow", kind="narrow")
class Narrow(Layer):
    """``length`` entries of dimension ``dimension``, from ``index`` (from 1), as a copy

    A negative length counts from the end: -1 is all that follows index. A negative index takes the first
    size - length entries.
    """

    dimension: int
    index: int
    length: int = 1

    def span(self, shape: Sizes) -> tuple[int, int, int]:
        """Axis, start and stop, from 0."""
        axis = axis_of(self.dimension, len(shape))
        size = shape[axis]
        length = self.length if self.length >= 0 else size - self.index + self.length + 2
        index = self.index
        if index < 0:
            index, length = 1, size - length
        if index < 1 or length < 1 or index + length - 1 > size:
            raise Refusal(f"takes {length} entries from {index} of dimension {axis + 1}, which has {size}")
        return axis, index - 1, index - 1 + length

    def forward(self, x: Array) -> Array:
        axis, start, stop = self.span(x.shape)
        return x[(slice(None),) * axis + (slice(start, stop),)].copy()

    def lower(self, op: Builder, x: Value) -> Value:
        axis, start, stop = self.span(x.shape)
        # of the batch, what reaches its end should reach the end of any batch
        end = TO_THE_END if axis == 0 and stop == x.shape[0] else stop
        return op.Slice(x, [start], [end], [axis])


@layer("nn.Select", kind="select")
class Select(Layer):
    """entry ``index`` of dimension ``dimension``, without that dimension, as a copy; both from 1, or from the end"""

    dimension: int
    index: int

    def forward(self, x: Array) -> Array:
        axis = axis_of(self.dimension, x.ndim)
        return np.take(x, axis_of(self.index, x.shape[axis]), axis)

    def lower(self, op: Builder, x: Value) -> Value:
        axis = axis_of(self.dimension, x.rank)
        at = axis_of(self.index, x.shape[axis])
        return op.Squeeze(op.Slice(x, [at], [at + 1], [axis]), [axis])


@layer("nn.Index", kind="index")
class Index(Layer):
    """{t, i}: the entries i (from 1, one list of them) of dimension ``dimension`` of t"""

    dimension: int

    def forward(self, x: list[Array]) -> Array:
        t, index = x
        return np.take(t, index.astype(np.int64) - 1, axis_of(self.dimension, t.ndim))

    def lower(self, op: Builder, x: list[Value]) -> Value:
        t, index = x
        return op.Gather(t, from_zero(op, index), axis=axis_of(self.dimension, t.rank))


def from_zero(op: Builder, index: Value) -> Value:
    """Torch's indices, counted from 1 and often stored as floats, as ONNX wants them."""
    whole = op.Cast(index, to=7) if index.is_float else index
    return op.Sub(whole, 1)


@layer("nn.MaskedSelect", kind="maskedselect")
class MaskedSelect(Layer):
    """{t, mask}: the elements of t where the mask is 1, as one vector; t and the mask of as many elements"""

    ignored = frozenset({"_maskIndices", "_maskIndexBuffer", "_maskIndexBufferCPU", "_gradBuffer", "_gradMask"})

    def check(self, x: list[Array] | list[Value]) -> None:
        t, mask = x
        if math.prod(t.shape) != math.prod(mask.shape):
            raise Refusal(f"cannot select from {t.shape} by a mask of {mask.shape}")

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        t, mask = x
        return t.ravel()[mask.ravel() != 0]

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        t, mask = (op.Reshape(v, [-1]) for v in x)
        return op.Compress(t, op.Cast(mask, to=_BOOL), axis=0)
