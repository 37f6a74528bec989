"""Poolings over a whole image, of the detectors that learn from labels of images (WELDON and its like)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, Sizes, layer
from retorch.layers.convolution.spatial import check_rank

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value

#: Height and width of (C, H, W) and (N, C, H, W).
_IMAGE = (-2, -1)


def rows(op: Builder, x: Value) -> Value:
    """The pixels of each channel in a row."""
    return op.Reshape(x, [-1, x.shape[1], math.prod(x.shape[2:])] if x.rank == 4 else [x.shape[0], -1])


def image_of_one(op: Builder, y: Value) -> Value:
    """Rows of one number as images of one pixel."""
    return op.Unsqueeze(y, [y.rank])


def share(count: float, pixels: int) -> int:
    """How many pixels are meant: below 1, a share of them, at least one."""
    found = max(1, math.floor(count * pixels)) if 0 < count < 1 else int(count)
    if found > pixels:
        raise Refusal(f"takes {found} of {pixels} pixels")
    return max(0, found)


class GlobalPooling(Layer):
    """(C, H, W) to (C, 1, 1), with or without a batch."""

    def pixels(self, x: Array | Value) -> int:
        """How many pixels an image has."""
        check_rank(x, 3, 4)
        return math.prod(x.shape[-2:])


@layer("nn.GlobalAveragePooling", kind="pool")
class GlobalAveragePooling(GlobalPooling):
    """The mean of each channel, (C, 1, 1)"""

    def forward(self, x: Array) -> Array:
        self.pixels(x)
        return x.mean(axis=_IMAGE, keepdims=True)

    def lower(self, op: Builder, x: Value) -> Value:
        self.pixels(x)
        return op.ReduceMean(x, [x.rank - 2, x.rank - 1], keepdims=1)


@layer("nn.GlobalMaxPooling", kind="pool")
class GlobalMaxPooling(GlobalPooling):
    """The largest of each channel, (C, 1, 1)"""

    def forward(self, x: Array) -> Array:
        self.pixels(x)
        return x.max(axis=_IMAGE, keepdims=True)

    def lower(self, op: Builder, x: Value) -> Value:
        self.pixels(x)
        return op.ReduceMax(x, [x.rank - 2, x.rank - 1], keepdims=1)


def mean_of_largest(x: Array, count: int) -> Array:
    """The mean of the ``count`` largest of each channel."""
    flat = np.sort(x.reshape(*x.shape[:-2], -1), axis=-1)
    return flat[..., flat.shape[-1] - count :].mean(axis=-1, keepdims=True)[..., None]


def lower_mean_of_largest(op: Builder, flat: Value, count: int) -> Value:
    """The same in ONNX, of pixels in a row."""
    largest, _ = op.many("TopK", 2, flat, [count], axis=-1)
    return op.ReduceMean(largest, [flat.rank - 1], keepdims=1)


@layer("nn.GlobalkMaxPooling", kind="pool")
class GlobalkMaxPooling(GlobalPooling):
    """The mean of the nMax largest of each channel; below 1 it is a share of the pixels, at 0 and below all of them"""

    nMax: float = 1.0

    def count(self, x: Array | Value) -> int:
        """How many of the largest."""
        pixels = self.pixels(x)
        return pixels if self.nMax <= 0 else share(self.nMax, pixels)

    def forward(self, x: Array) -> Array:
        return mean_of_largest(x, self.count(x))

    def lower(self, op: Builder, x: Value) -> Value:
        return image_of_one(op, lower_mean_of_largest(op, rows(op, x), self.count(x)))


@layer("nn.WeldonPooling", kind="pool")
class WeldonPooling(GlobalPooling):
    """The mean of the nMax largest of each channel plus that of the nMin smallest; below 1 they are shares

    Without any of the smallest (0 and below), the first mean alone.
    """

    nMax: float = 1.0
    nMin: float = 1.0
    ignored = frozenset({"indicesMax", "indicesMin"})

    def counts(self, x: Array | Value) -> Sizes:
        """How many of the largest and of the smallest."""
        pixels = self.pixels(x)
        most, least = share(self.nMax, pixels), share(self.nMin, pixels)
        if not most:
            raise Refusal("takes none of the largest")
        return most, least

    def forward(self, x: Array) -> Array:
        most, least = self.counts(x)
        y = mean_of_largest(x, most)
        return y - mean_of_largest(-x, least) if least else y

    def lower(self, op: Builder, x: Value) -> Value:
        most, least = self.counts(x)
        flat = rows(op, x)
        y = lower_mean_of_largest(op, flat, most)
        if least:
            y = op.Sub(y, lower_mean_of_largest(op, op.Neg(flat), least))
        return image_of_one(op, y)


@layer("nn.LogSumExpPooling", kind="pool")
class LogSumExpPooling(GlobalPooling):
    """log(mean exp(beta · x)) / beta of each channel, (C, 1, 1)"""

    beta: float = 1.0

    def forward(self, x: Array) -> Array:
        self.pixels(x)
        z = x * self.beta
        most = z.max(axis=_IMAGE, keepdims=True)
        return (np.log(np.exp(z - most).mean(axis=_IMAGE, keepdims=True)) + most) / self.beta

    def lower(self, op: Builder, x: Value) -> Value:
        self.pixels(x)
        axes = [x.rank - 2, x.rank - 1]
        z = op.Mul(x, self.beta)
        most = op.ReduceMax(z, axes, keepdims=1)
        mean = op.ReduceMean(op.Exp(op.Sub(z, most)), axes, keepdims=1)
        return op.Div(op.Add(op.Log(mean), most), self.beta)
