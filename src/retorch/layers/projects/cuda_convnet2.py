"""Krizhevsky's cuda-convnet2 in Torch (ccn2): square images with the batch last, (C, H, H, N).

Its versions round the number of windows down or up; where a size makes that a difference, the layer is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.base.window import Window, convolve, slide, taps
from retorch.layers.convolution.spatial import check_rank, lower_convolution, stable_copy

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


class BatchLast(Layer):
    """What the layers of ccn2 share: they are computed as (N, C, H, H)."""

    def check(self, x: Array | Value) -> None:
        check_rank(x, 4)
        if x.shape[1] != x.shape[2]:
            raise Refusal(f"takes square images (C, H, H, N), not {x.shape}")

    def windows(self, x: Array | Value, kernel: int, stride: int, pad: int = 0) -> tuple[Window, Window]:
        """The windows of an image (N, C, H, H), if they fit."""
        size = x.shape[2]
        if (size + 2 * pad - kernel) % stride:
            raise Refusal(f"windows of {kernel} every {stride} do not fit {size} pixels, and its versions differ there")
        down, across = slide(x.shape[2:], (kernel,) * 2, (stride,) * 2, (pad,) * 2, drop=False)
        return down, across

    def forward(self, x: Array) -> Array:
        self.check(x)
        return np.ascontiguousarray(self.images(x.transpose(3, 0, 1, 2)).transpose(1, 2, 3, 0))

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        return op.Transpose(self.lower_images(op, op.Transpose(x, perm=[3, 0, 1, 2])), perm=[1, 2, 3, 0])

    def images(self, x: Array) -> Array:
        raise Refusal("has no formula")

    def lower_images(self, op: Builder, x: Value) -> Value:
        raise Refusal("cannot be converted")


@layer("ccn2.SpatialConvolution", kind="conv")
class SpatialConvolution(BatchLast):
    """y[o] = bias[o] + Σ_c weight[c, :, :, o] ⋆ x[c]; weight is (C / groups · kH · kH, O)"""

    nInputPlane: int
    kH: int
    dH: int = 1
    padding: int = 0
    groups: int = 1
    weight: Array
    bias: Array
    ignored = frozenset({"nOutputPlane", "partialSum", "oH"})

    def setup(self, bind: Binder) -> None:
        shape = (self.nInputPlane // self.groups, self.kH, self.kH, -1)
        self._kernel = stable_copy(self.weight.reshape(shape).transpose(3, 0, 1, 2))

    def images(self, x: Array) -> Array:
        return convolve(x, self._kernel, self.bias, self.windows(x, self.kH, self.dH, self.padding), self.groups)

    def lower_images(self, op: Builder, x: Value) -> Value:
        windows = self.windows(x, self.kH, self.dH, self.padding)
        return lower_convolution(op, x, op.weight(self._kernel, "w"), op.weight(self.bias, "b"), windows, self.groups)


class Pooling(BatchLast):
    """What both poolings share: square windows without padding."""

    kW: int
    dW: int

    def shape(self, x: Value) -> dict[str, list[int]]:
        """The windows as ONNX wants them."""
        windows = self.windows(x, self.kW, self.dW)
        return {"kernel_shape": [w.kernel for w in windows], "strides": [w.stride for w in windows]}


@layer("ccn2.SpatialMaxPooling", kind="pool")
class SpatialMaxPooling(Pooling):
    """The maximum of each window"""

    def images(self, x: Array) -> Array:
        return np.max([seen for _, seen in taps(x, self.windows(x, self.kW, self.dW))], axis=0)

    def lower_images(self, op: Builder, x: Value) -> Value:
        return op.MaxPool(x, **self.shape(x))


@layer("ccn2.SpatialAvgPooling", kind="pool")
class SpatialAvgPooling(Pooling):
    """The mean of each window"""

    def images(self, x: Array) -> Array:
        return np.mean([seen for _, seen in taps(x, self.windows(x, self.kW, self.dW))], axis=0)

    def lower_images(self, op: Builder, x: Value) -> Value:
        return op.AveragePool(x, **self.shape(x))


@layer("ccn2.SpatialCrossResponseNormalization", kind="lrn")
class SpatialCrossResponseNormalization(BatchLast):
    """x · (minDiv + addScale · Σ x²)^−powScale, the sum over the ``size`` channels around each; ``size`` is odd"""

    size: int
    addScale: float
    powScale: float = 0.75
    minDiv: float = 1.0
    blocked: bool = False

    def setup(self, bind: Binder) -> None:
        if self.size % 2 == 0 or self.blocked:
            raise Refusal("sums over blocks of channels" if self.blocked else f"sums over an even number, {self.size}")

    def images(self, x: Array) -> Array:
        half = self.size // 2
        wide = np.pad(np.square(x), ((0, 0), (half, half), (0, 0), (0, 0)))
        around = np.lib.stride_tricks.sliding_window_view(wide, self.size, axis=1).sum(axis=-1)
        return x * (self.minDiv + self.addScale * around) ** -self.powScale

    def lower_images(self, op: Builder, x: Value) -> Value:
        # ONNX divides alpha by the size
        alpha = self.addScale * self.size
        return op.LRN(x, size=self.size, alpha=alpha, beta=self.powScale, bias=self.minDiv)
