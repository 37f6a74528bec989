"""Pooling over time and over features."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, layer
from retorch.layers.base.window import LOWEST, slide, taps
from retorch.layers.convolution.spatial import check_rank

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.TemporalMaxPooling", kind="pool")
class TemporalMaxPooling(Layer):
    """y[t, c] = the maximum of x[t dW … t dW + kW - 1, c]; x is (N, T, C) or (T, C)"""

    kW: int
    dW: int = 0
    ignored = frozenset({"indices"})

    def forward(self, x: Array) -> Array:
        check_rank(x, 2, 3)
        windows = slide(x.shape[-2:-1], (self.kW,), (self.dW or self.kW,), (0,))
        y: Array | float = LOWEST
        for _, seen in taps(x.swapaxes(-1, -2), windows):
            y = np.fmax(seen, np.asarray(y, x.dtype))
        return np.asarray(y).swapaxes(-1, -2)

    def lower(self, op: Builder, x: Value) -> Value:
        check_rank(x, 2, 3)
        slide(x.shape[-2:-1], (self.kW,), (self.dW or self.kW,), (0,))
        axes = [1] if x.rank == 3 else [0, 1]
        y = op.MaxPool(op.Unsqueeze(x, axes), kernel_shape=[self.kW, 1], strides=[self.dW or self.kW, 1])
        return op.Squeeze(y, axes)


def of_this_length(op: Builder, x: Value) -> Value:
    """x, in a graph for sequences of its length alone: how many of them stay depends on it."""
    return op.Gather(x, np.arange(x.shape[-2]), axis=x.rank - 2)


@layer("nn.TemporalDynamicKMaxPooling", kind="pool")
class TemporalDynamicKMaxPooling(Layer):
    """The k = max(minK, ⌈factor T⌉) largest of each feature, in their order in time; x is (N, T, C) or (T, C)"""

    minK: int
    factor: float = 0.0
    ignored = frozenset({"indices"})

    def count(self, x: Array | Value) -> int:
        """How many frames stay."""
        check_rank(x, 2, 3)
        length = x.shape[-2]
        k = max(self.minK, math.ceil(self.factor * length))
        if length < k:
            raise Refusal(f"a sequence of {length} is too short to keep {k}")
        return k

    def forward(self, x: Array) -> Array:
        best = np.argsort(-x, axis=-2, kind="stable")[..., : self.count(x), :]
        return np.take_along_axis(x, np.sort(best, axis=-2), axis=-2)

    def lower(self, op: Builder, x: Value) -> Value:
        k = self.count(x)
        x = of_this_length(op, x) if self.factor > 0 else x
        rows = op.Transpose(x, perm=[0, 2, 1] if x.rank == 3 else [1, 0])
        _, best = op.many("TopK", 2, rows, [k], axis=-1)
        # sorted by place: the largest of the negated places come first
        places, _ = op.many("TopK", 2, op.Neg(op.Cast(best, to=1)), [k], axis=-1)
        y = op.GatherElements(rows, op.Cast(op.Neg(places), to=7), axis=-1)
        return op.Transpose(y, perm=[0, 2, 1] if x.rank == 3 else [1, 0])


class KMax(Layer):
    """What fbnn's poolings to the k largest share: k, or more of a long sequence, with rows of 0 after a short one."""

    k: int
    k_dynamic: float = -1.0
    ignored = frozenset({"switches", "input_length", "output_length"})

    def counts(self, x: Array | Value) -> tuple[int, int]:
        """How many rows stay, and how many of 0 follow."""
        length = x.shape[-2]
        k = max(self.k, int(self.k_dynamic * length)) if self.k_dynamic > 0 else self.k
        if k < 1:
            raise Refusal(f"keeps the {k} largest")
        return min(k, length), k - min(k, length)

    def kept(self, x: Array, weighed: Array) -> Array:
        """The rows of x that weigh most, in their order; ``weighed`` says it of rows, or of each number."""
        count, short = self.counts(x)
        best = np.argsort(-weighed, axis=-2, kind="stable")[..., :count, :]
        y = np.take_along_axis(x, np.sort(best, axis=-2), axis=-2)
        return np.pad(y, [*[(0, 0)] * (x.ndim - 2), (0, short), (0, 0)])

    def lower_kept(self, op: Builder, x: Value, weighed: Value) -> Value:
        """The same in ONNX operators, features along rows."""
        count, short = self.counts(x)
        swap = [0, 2, 1] if x.rank == 3 else [1, 0]
        rows = op.Transpose(of_this_length(op, x) if self.k_dynamic > 0 else x, perm=swap)
        best = op.many("TopK", 2, op.Transpose(weighed, perm=swap), [count], axis=-1)[1]
        # sorted by place: the largest of the negated places come first
        places = op.many("TopK", 2, op.Neg(op.Cast(best, to=1)), [count], axis=-1)[0]
        at = op.Cast(op.Neg(places), to=7)
        if at.shape[-2] != rows.shape[-2]:
            at = op.Tile(at, [*[1] * (x.rank - 2), rows.shape[-2], 1])
        y = op.Transpose(op.GatherElements(rows, at, axis=-1), perm=swap)
        return op.Pad(y, [0] * (x.rank + x.rank - 2) + [short, 0]) if short else y


@layer("nn.KMaxPooling", kind="pool")
class KMaxPooling(KMax):
    """The k largest of each column of (T, C), in their order, then zeros; k = max(k, ⌊k_dynamic T⌋)"""

    def forward(self, x: Array) -> Array:
        check_rank(x, 2)
        return self.kept(x, x)

    def lower(self, op: Builder, x: Value) -> Value:
        check_rank(x, 2)
        return self.lower_kept(op, x, x)


@layer("nn.GroupKMaxPooling", kind="pool")
class GroupKMaxPooling(KMax):
    """The k rows of (T, C) or (N, T, C) whose norm is largest, in their order, then zeros"""

    def forward(self, x: Array) -> Array:
        check_rank(x, 2, 3)
        return self.kept(x, np.square(x).sum(axis=-1, keepdims=True))

    def lower(self, op: Builder, x: Value) -> Value:
        check_rank(x, 2, 3)
        return self.lower_kept(op, x, op.ReduceSum(op.Mul(x, x), [x.rank - 1], keepdims=1))


@layer("nn.FeatureLPPooling", kind="pool")
class FeatureLPPooling(Layer):
    """y[c] = (Σ_i<width x[c stride + i]^power)^(1 / power) over features: the first axis, with batch_mode the second"""

    width: int
    stride: int
    power: float
    batch_mode: bool = False

    def axis(self, x: Array | Value) -> int:
        """The axis of features."""
        axis = 1 if self.batch_mode else 0
        check_rank(x, *range(axis + 1, axis + 4))
        return axis

    def forward(self, x: Array) -> Array:
        axis = self.axis(x)
        last = np.moveaxis(x, axis, -1) ** np.asarray(self.power, x.dtype)
        windows = slide((x.shape[axis],), (self.width,), (self.stride,), (0,))
        total = sum((seen for _, seen in taps(last, windows)), start=np.zeros((), x.dtype))
        return np.moveaxis(total ** np.asarray(1 / self.power, x.dtype), -1, axis)

    def lower(self, op: Builder, x: Value) -> Value:
        axis = self.axis(x)
        (window,) = slide((x.shape[axis],), (self.width,), (self.stride,), (0,))
        if self.power == 0:
            raise Refusal("has power 0")
        powered = op.Mul(x, x) if self.power == 2 else op.Pow(x, self.power)
        reach = (window.out - 1) * window.stride + 1
        steps = [] if window.stride == 1 else [[window.stride]]
        total = op.Sum(*(op.Slice(powered, [i], [i + reach], [axis], *steps) for i in range(window.kernel)))
        return op.Sqrt(total) if self.power == 2 else op.Pow(total, 1 / self.power)
