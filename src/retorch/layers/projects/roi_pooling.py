"""Fast R-CNN's pooling over regions, of imagine-nn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, layer
from retorch.layers.base.window import LOWEST
from retorch.layers.convolution.spatial import check_rank

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


def nearest(x: Array) -> Array:
    """The nearest whole number, halves away from zero, as C rounds."""
    return np.sign(x) * np.floor(np.abs(x) + np.float32(0.5))


def lower_nearest(op: Builder, x: Value) -> Value:
    return op.Mul(op.Sign(x), op.Floor(op.Add(op.Abs(x), 0.5)))


@layer("inn.ROIPooling", kind="pool")
class ROIPooling(Layer):
    """{x, boxes} ↦ the maxima over H by W bins of each box: (N, C, h, w) and (R, 5) give (R, C, H, W)

    A box is (image, x1, y1, x2, y2), from 1, in pixels of ``spatial_scale`` to one of x. Its corners are rounded. The
    first version takes both into the box, and bins from ⌊i size / n⌋ to ⌈(i + 1) size / n⌉; the second (``v2``) leaves
    out the far one, and rounds. What falls outside the image is not seen; bins that see nothing are 0. All of this is
    reckoned in float32.
    """

    W: int
    H: int
    spatial_scale: float = 1.0
    v2: bool = False
    ignored = frozenset({"indices", "gradInput_boxes", "gradInput_rois"})

    def check(self, x: list[Array] | list[Value]) -> None:
        if len(x) != 2:
            raise Refusal(f"takes images and boxes, not {len(x)} tensors")
        check_rank(x[0], 4)
        check_rank(x[1], 2)
        if x[1].shape[1] != 5:
            raise Refusal(f"takes boxes of 5 numbers, not of {x[1].shape[1]}")

    def bins(self, first: Array, last: Array, count: int) -> tuple[Array, Array]:
        """Where the bins of each box begin and end, (R, count), from corners (R, 1) in float32."""
        size = np.maximum(last - first + np.float32(not self.v2), 1)
        step = (size / np.float32(count)).astype(np.float32)
        at = np.arange(count + 1, dtype=np.float32)
        low = nearest(at[:-1] * step) if self.v2 else np.floor(at[:-1] * step)
        high = nearest(at[1:] * step) if self.v2 else np.ceil(at[1:] * step)
        return low + first, high + first

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        images, boxes = x[0], x[1].astype(np.float32)
        corners = nearest((boxes[:, 1:] - 1) * np.float32(self.spatial_scale))
        whole = images[boxes[:, 0].astype(np.int64) - 1]
        for first, count, axis in ((1, self.H, 2), (0, self.W, 3)):
            low, high = self.bins(corners[:, [first]], corners[:, [first + 2]], count)
            at = np.arange(whole.shape[axis], dtype=np.float32)
            inside = (at >= low[:, :, None]) & (at < high[:, :, None])
            shape = (len(boxes), 1, -1, 1) if axis == 2 else (len(boxes), 1, 1, -1)
            seen = [np.where(inside[:, i].reshape(shape), whole, LOWEST).max(axis=axis) for i in range(count)]
            whole = np.stack(seen, axis=axis)
        # a bin that sees nothing
        return np.where(whole <= LOWEST, 0, whole).astype(images.dtype)

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        images, boxes = x
        which = op.Sub(op.Cast(op.Slice(boxes, [0], [1], [1]), to=7), [1])
        whole = op.Gather(images, op.Squeeze(which, [1]), axis=0)
        scaled = op.Mul(op.Sub(op.Slice(boxes, [1], [5], [1]), 1.0), self.spatial_scale)
        corners = lower_nearest(op, scaled)
        for first, count, axis in ((1, self.H, 2), (0, self.W, 3)):
            low, high = (op.Slice(corners, [k], [k + 1], [1]) for k in (first, first + 2))
            begins, ends = self.lower_bins(op, low, high, count)
            whole = self.lower_axis(op, whole, begins, ends, axis)
        return op.Where(op.Greater(whole, LOWEST), whole, 0.0)

    def lower_bins(self, op: Builder, low: Value, high: Value, count: int) -> tuple[Value, Value]:
        size = op.Sub(high, low)
        size = op.Clip(size if self.v2 else op.Add(size, 1.0), 1.0)
        at = np.arange(count + 1, dtype=np.float32)[None]
        begins, ends = (op.Mul(op.Div(size, float(count)), op.constant(part)) for part in (at[:, :-1], at[:, 1:]))
        if self.v2:
            begins, ends = lower_nearest(op, begins), lower_nearest(op, ends)
        else:
            begins, ends = op.Floor(begins), op.Ceil(ends)
        return op.Add(begins, low), op.Add(ends, low)

    def lower_axis(self, op: Builder, whole: Value, begins: Value, ends: Value, axis: int) -> Value:
        """The maxima of each bin along one axis, joined along it; the lowest number where a bin sees nothing."""
        shape = [1, 1, -1, 1] if axis == 2 else [1, 1, 1, -1]
        at = op.constant(np.arange(whole.shape[axis], dtype=np.float32).reshape(shape))
        seen: list[Value] = []
        for i in range(begins.shape[1]):
            low, high = (op.Reshape(op.Slice(t, [i], [i + 1], [1]), [-1, 1, 1, 1]) for t in (begins, ends))
            inside = op.And(op.Not(op.Less(at, low)), op.Less(at, high))
            seen.append(op.ReduceMax(op.Where(inside, whole, LOWEST), [axis], keepdims=1))
        return op.Concat(*seen, axis=axis) if len(seen) > 1 else seen[0]
