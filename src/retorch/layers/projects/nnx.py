"""nnx's layers of single images (C, H, W), which map colours and change sizes, and its balance of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, layer
from retorch.layers.convolution.spatial import check_rank, stable_copy

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.SpatialLinear", kind="conv")
class SpatialLinear(Layer):
    """weight · x + bias for each pixel; x is (C, H, W), weight (out, C)"""

    weight: Array
    bias: Array
    ignored = frozenset({"fanin", "fanout"})

    def reads(self) -> tuple[int | None, ...] | None:
        return (self.weight.shape[1], None, None)

    def check(self, x: Array | Value) -> None:
        check_rank(x, 3)
        if x.shape[0] != self.weight.shape[1]:
            raise Refusal(f"takes {self.weight.shape[1]} channels, not {x.shape[0]}")

    def forward(self, x: Array) -> Array:
        self.check(x)
        return np.tensordot(self.weight, x, 1) + self.bias.reshape(-1, 1, 1)

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        weight = op.weight(stable_copy(self.weight[:, :, None, None]), "w")
        return op.Squeeze(op.Conv(op.Unsqueeze(x, [0]), weight, op.weight(self.bias, "b"), kernel_shape=[1, 1]), [0])


@layer("nn.SpatialColorTransform", kind="color")
class SpatialColorTransform(Layer):
    """linear(x): a change of colour space that is an nn.SpatialLinear (yuv2rgb, rgb2yuv, rgb2y)"""

    container = True
    linear: Layer
    ignored = frozenset({"transform", "islinear", "usage"})

    def children(self) -> tuple[Layer, ...]:
        return (self.linear,)

    def forward(self, x: Array) -> object:
        return self.linear(x)

    def lower(self, op: Builder, x: Value) -> object:
        return op.call(self.linear, x)


@layer("nn.SpatialDownSampling", kind="pool")
class SpatialDownSampling(Layer):
    """The mean of each rH x rW pixels of (C, H, W); what is left over at the end is dropped"""

    rW: int
    rH: int
    ignored = frozenset({"usage"})

    def check(self, x: Array | Value) -> tuple[int, int]:
        """The output's height and width."""
        check_rank(x, 3)
        height, width = x.shape[1] // self.rH, x.shape[2] // self.rW
        if not height or not width:
            raise Refusal(f"takes larger images than {x.shape[1]}x{x.shape[2]}")
        return height, width

    def forward(self, x: Array) -> Array:
        height, width = self.check(x)
        whole = x[:, : height * self.rH, : width * self.rW]
        return whole.reshape(len(x), height, self.rH, width, self.rW).mean(axis=(2, 4))

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        window = [self.rH, self.rW]
        return op.Squeeze(op.AveragePool(op.Unsqueeze(x, [0]), kernel_shape=window, strides=window), [0])


@layer("nn.SpatialUpSampling", kind="upsample")
class SpatialUpSampling(Layer):
    """Each pixel dH times down dimension yDim and dW times along xDim, both from 1"""

    dW: int
    dH: int
    yDim: int = 2
    xDim: int = 3
    ignored = frozenset({"usage"})

    def axes(self, x: Array | Value) -> tuple[tuple[int, int], ...]:
        """The axes, from 0, and how many times each of their entries is repeated."""
        if max(self.xDim, self.yDim) > len(x.shape) or min(self.dW, self.dH) < 1:
            raise Refusal(f"repeats dimensions {self.yDim} and {self.xDim} of {len(x.shape)}")
        return (self.yDim - 1, self.dH), (self.xDim - 1, self.dW)

    def forward(self, x: Array) -> Array:
        for axis, times in self.axes(x):
            x = np.repeat(x, times, axis=axis)
        return x.copy()

    def lower(self, op: Builder, x: Value) -> Value:
        y = x
        for axis, times in self.axes(x):
            y = op.Gather(y, np.repeat(np.arange(y.shape[axis]), times), axis=axis)
        return y


@layer("nn.SpatialMaxSampling", kind="pool")
class SpatialMaxSampling(Layer):
    """(C, H, W) brought to oheight x owidth, each pixel the largest of what it covers, of at least one"""

    owidth: int
    oheight: int
    ignored = frozenset({"usage"})

    @staticmethod
    def covered(size: int, wanted: int) -> Array:
        """(wanted, most): which entries each output entry covers, the last repeated to the same number."""
        step = np.float32(size) / np.float32(wanted)  # as nnx's C code divides
        spans: list[list[int]] = []
        for i in range(wanted):
            start, end = int(np.float32(i) * step), int(np.float32(i + 1) * step)
            spans.append(list(range(start, max(start + 1, end))))
        most = max(map(len, spans))
        return np.array([[*span, *([span[-1]] * (most - len(span)))] for span in spans])

    def check(self, x: Array | Value) -> tuple[Array, Array]:
        """What each output row and column covers."""
        check_rank(x, 3)
        if min(self.oheight, self.owidth) < 1:
            raise Refusal(f"cannot bring an image to {self.oheight}x{self.owidth}")
        return self.covered(x.shape[1], self.oheight), self.covered(x.shape[2], self.owidth)

    def forward(self, x: Array) -> Array:
        down, across = self.check(x)
        return x[:, down].max(axis=2)[:, :, across].max(axis=3)

    def lower(self, op: Builder, x: Value) -> Value:
        down, across = self.check(x)
        y = op.ReduceMax(op.Gather(x, down, axis=1), [2], keepdims=0)
        return op.ReduceMax(op.Gather(y, across, axis=2), [3], keepdims=0)


@layer("nn.Balance", kind="identity")
class Balance(Layer):
    """x, of two dimensions, a copy: only training balances classes"""

    ignored = frozenset({"nBatch", "inputCache", "prob", "sum", "batchSize", "startIdx"})

    def forward(self, x: Array) -> Array:
        check_rank(x, 2)
        return x.copy()

    def lower(self, op: Builder, x: Value) -> Value:
        check_rank(x, 2)
        return op.Identity(x)
