"""Poolings whose windows follow from the output's size: adaptive ones, and fractional ones drawn at random."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.base.window import LOWEST
from retorch.layers.convolution.spatial import check_rank

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


def _largest(x: Array, axis: int) -> Array:
    """The maxima as THNN finds them: from the lowest number on, by a comparison that NaN never wins."""
    return np.fmax.reduce(x, axis=axis, initial=LOWEST)


def bins(size: int, out: int) -> list[tuple[int, int]]:
    """Where each of ``out`` bins begins and ends: ⌊i / out * size⌋ to ⌈(i + 1) / out * size⌉.

    THNN computes with floats, so that the first of 7 bins over 21 elements is 0 … 4: 1 / 7 is a little too large there.
    """
    edges = np.arange(out + 1, dtype=np.float32) / np.float32(out) * np.float32(size)
    return [(math.floor(a), math.ceil(b)) for a, b in pairwise(edges)]


def even(length: int, out: int) -> list[tuple[int, int]]:
    """``out`` bins of one length, side by side."""
    return [(i * length, (i + 1) * length) for i in range(out)]


class AdaptivePooling(Layer):
    """What adaptive poolings share: the output's size, and inputs with or without a batch."""

    W: int
    H: int
    ignored = frozenset({"indices"})

    def outs(self, x: Array | Value) -> tuple[tuple[int, int], ...]:
        """(size, out) of the rows and of the columns."""
        check_rank(x, 3, 4)
        return (x.shape[-2], self.H), (x.shape[-1], self.W)

    def lower(self, op: Builder, x: Value) -> Value:
        outs = self.outs(x)
        images = x if x.rank == 4 else op.unsqueeze(x, 0)
        kernel = [size // out for size, out in outs]
        if all(bins(size, out) == even(k, out) for k, (size, out) in zip(kernel, outs, strict=True)):
            y = self.lower_even(op, images, kernel)
        else:
            y = self.lower_uneven(op, images, outs)
        return y if x.rank == 4 else op.Squeeze(y, [0])

    def lower_even(self, op: Builder, x: Value, kernel: Sequence[int]) -> Value:
        """Bins of one size, side by side."""
        raise Refusal("cannot be converted")

    def lower_uneven(self, op: Builder, x: Value, outs: Sequence[tuple[int, int]]) -> Value:
        """Bins of several sizes, or that overlap."""
        raise Refusal("cannot be converted")


@layer("nn.SpatialAdaptiveMaxPooling", kind="pool")
class SpatialAdaptiveMaxPooling(AdaptivePooling):
    """y[i, j] = the maximum over bin i of H of the rows and bin j of W of the columns; x has a batch or not"""

    W: int
    H: int

    def forward(self, x: Array) -> Array:
        (height, _), (width, _) = self.outs(x)
        y = np.stack([_largest(x[..., a:b, :], -2) for a, b in bins(height, self.H)], axis=-2)
        return np.stack([_largest(y[..., a:b], -1) for a, b in bins(width, self.W)], axis=-1)

    def lower_even(self, op: Builder, x: Value, kernel: Sequence[int]) -> Value:
        return op.MaxPool(x, kernel_shape=kernel, strides=kernel)

    def lower_uneven(self, op: Builder, x: Value, outs: Sequence[tuple[int, int]]) -> Value:
        for axis, (size, out) in zip((2, 3), outs, strict=True):
            longest = max(b - a for a, b in bins(size, out))
            # shorter bins see their last element more than once
            index = [[min(a + i, b - 1) for i in range(longest)] for a, b in bins(size, out)]
            seen = op.Gather(x, np.asarray(index, np.int64), axis=axis)
            x = op.ReduceMax(seen, [axis + 1], keepdims=0)
        return x


@layer("nn.SpatialAdaptiveAveragePooling", kind="pool")
class SpatialAdaptiveAveragePooling(AdaptivePooling):
    """y[i, j] = the mean over bin i of H of the rows and bin j of W of the columns; x has a batch or not"""

    W: int
    H: int

    def forward(self, x: Array) -> Array:
        (height, _), (width, _) = self.outs(x)
        y = np.stack([x[..., a:b, :].mean(axis=-2) for a, b in bins(height, self.H)], axis=-2)
        return np.stack([y[..., a:b].mean(axis=-1) for a, b in bins(width, self.W)], axis=-1)

    def lower_even(self, op: Builder, x: Value, kernel: Sequence[int]) -> Value:
        return op.AveragePool(x, kernel_shape=kernel, strides=kernel)

    def lower_uneven(self, op: Builder, x: Value, outs: Sequence[tuple[int, int]]) -> Value:
        rows, columns = (_shares(size, out) for size, out in outs)
        return op.MatMul(rows, op.MatMul(x, np.ascontiguousarray(columns.T)))


def _shares(size: int, out: int) -> Array:
    """The matrix (out, size) that takes the mean of each bin."""
    matrix = np.zeros((out, size), np.float32)
    for row, (a, b) in zip(matrix, bins(size, out), strict=True):
        row[a:b] = 1 / (b - a)
    return matrix


def starts(sample: Array, size: int, out: int, pool: int) -> Array:
    """Where a fractional pooling's windows begin, in the precision of the sample (0-D) as THNN computes them."""
    span = np.asarray(size - pool, sample.dtype)
    step = span / np.asarray(max(out - 1, 1), sample.dtype)
    first = np.floor(sample * step)
    inner = np.floor((np.arange(out - 1).astype(sample.dtype) + sample) * step) - first
    return np.append(inner, span).astype(np.int64)


class FractionalMaxPooling(Layer):
    """The maximum over windows of a fixed size that begin at places drawn for each channel.

    Torch draws them anew in every pass, unless told to keep them; here the draw in the file stands.
    """

    #: The letters that end the names of the fields of each axis, outermost first.
    axes: ClassVar[str] = "HW"
    #: The order in which the samples of a channel come.
    order: ClassVar[str] = "WH"
    ignored = frozenset({"indices", "newRandomPool"})

    randomSamples: Array | None = None

    def setup(self, bind: Binder) -> None:
        if self.randomSamples is None:
            raise Refusal("draws its windows at random, and the file holds no draw")
        if self.raw.get("newRandomPool") is not True:
            where = self.path or "(root)"
            bind.notes.append(f"{where} {self.typename}: draws its windows at random; those in the file are used")

    def outs(self, sizes: Sequence[int]) -> list[int]:
        """The output's sizes: as given, or a share of the input's."""
        found: list[int] = []
        for axis, size in zip(self.axes, sizes, strict=True):
            out, ratio = getattr(self, "out" + axis), getattr(self, "ratio" + axis)
            found.append(int(size * ratio) if ratio is not None else int(out or 0))
        return found

    def places(self, x: Array | Value) -> Array:
        """For each channel and output element, the flat positions that its window covers: (channels, outputs, taps)."""
        rank = len(self.axes)
        check_rank(x, rank + 1, rank + 2)
        batch, channels, sizes = (1 if len(x.shape) == rank + 1 else x.shape[0]), x.shape[-rank - 1], x.shape[-rank:]
        samples = self.randomSamples
        if samples is None or samples.shape[:2] != (batch, channels):
            raise Refusal("has windows drawn for another batch or number of channels")
        pools = [int(getattr(self, "poolSize" + axis)) for axis in self.axes]
        outs = self.outs(sizes)
        if any(out < 1 or out + pool - 1 >= size for out, pool, size in zip(outs, pools, sizes, strict=True)):
            raise Refusal(f"an input of {'x'.join(map(str, sizes))} is too small for its windows")
        found: list[Array] = []
        for channel in samples.reshape(batch * channels, rank):
            flat: Array = np.zeros((1, 1), np.int64)
            for axis, size, out, pool in zip(self.axes, sizes, outs, pools, strict=True):
                sample = np.asarray(channel[self.order.index(axis)])
                here = starts(sample, size, out, pool)[:, None] + np.arange(pool)
                flat = (flat[:, None, :, None] * size + here[None, :, None, :]).reshape(len(flat) * out, -1)
            found.append(flat)
        return np.stack(found)

    def forward(self, x: Array) -> Array:
        places = self.places(x)
        rank = len(self.axes)
        flat = x.reshape(len(places), -1)
        seen = np.take_along_axis(flat, places.reshape(len(places), -1), axis=1).reshape(places.shape)
        return seen.max(axis=-1).reshape(*x.shape[:-rank], *self.outs(x.shape[-rank:]))

    def lower(self, op: Builder, x: Value) -> Value:
        places = self.places(x)
        rank = len(self.axes)
        flat = op.Reshape(x, [len(places), math.prod(x.shape[-rank:])])
        seen = op.Reshape(op.GatherElements(flat, places.reshape(len(places), -1), axis=1), list(places.shape))
        return op.Reshape(op.ReduceMax(seen, [2], keepdims=0), [*x.shape[:-rank], *self.outs(x.shape[-rank:])])


@layer("nn.SpatialFractionalMaxPooling", kind="pool")
class SpatialFractionalMaxPooling(FractionalMaxPooling):
    """y = the maximum over windows of poolSizeH x poolSizeW, which begin at ⌊(i + s) α⌋ - ⌊s α⌋ for a drawn s"""

    poolSizeW: int
    poolSizeH: int
    outW: int | None = None
    outH: int | None = None
    ratioW: float | None = None
    ratioH: float | None = None
    randomSamples: Array | None = None


@layer("nn.VolumetricFractionalMaxPooling", kind="pool")
class VolumetricFractionalMaxPooling(FractionalMaxPooling):
    """A SpatialFractionalMaxPooling over volumes with time last: x is (N, C, H, W, T) or (C, H, W, T)"""

    axes = "HWT"
    order = "TWH"
    poolSizeT: int
    poolSizeW: int
    poolSizeH: int
    outT: int | None = None
    outW: int | None = None
    outH: int | None = None
    ratioT: float | None = None
    ratioW: float | None = None
    ratioH: float | None = None
    randomSamples: Array | None = None
