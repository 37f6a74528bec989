"""Images as imagine-nn published them: constants for each channel, means, poolings of pyramids and of chances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, layer
from retorch.layers.base.memory import result
from retorch.layers.base.window import Window, slide, taps
from retorch.layers.container import Joined, tensor, value
from retorch.layers.convolution.spatial import check_rank

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


#: FLT_MIN: what stochastic pooling adds to a sum that it divides by.
SMALLEST = float(np.finfo(np.float32).tiny)


@layer("inn.ConstAffine", "inn.SpatialConstAffine", "nn.SpatialConstDiagonal", kind="affine")
class ConstAffine(Layer):
    """a · x + b, one a and b for each channel; x is (N, C) or (N, C, H, W)"""

    a: Array
    b: Array
    inplace: bool = False

    def per_channel(self, x: Array | Value) -> tuple[Array, Array]:
        check_rank(x, 2, 4)
        shape = (1, -1, *(1,) * (len(x.shape) - 2))
        return self.a.reshape(shape), self.b.reshape(shape)

    def forward(self, x: Array) -> Array:
        a, b = self.per_channel(x)
        return result(x, x * a + b, self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        a, b = self.per_channel(x)
        return op.result(x, op.Add(op.Mul(x, op.weight(a, "w")), op.weight(b, "b")), self.inplace)


@layer("inn.MeanSubtraction", kind="mean")
class MeanSubtraction(Layer):
    """x − mean, the mean of an image; x is (C, H, W) or (N, C, H, W)"""

    mean: Array

    def image(self, x: Array | Value) -> Array:
        check_rank(x, 3, 4)
        # the file may hold it repeated for the last batch
        mean = self.mean[0] if self.mean.ndim == 4 else self.mean
        if mean.size != np.prod(x.shape[-3:]):
            raise Refusal(f"has a mean of sizes {mean.shape}; its input has the sizes {x.shape}")
        return mean.reshape(x.shape[-3:])

    def forward(self, x: Array) -> Array:
        return x - self.image(x)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Sub(x, op.weight(self.image(x), "w"))


@layer("inn.SpatialPyramidPooling", kind="pyramid")
class SpatialPyramidPooling(Joined):
    """Adaptive maximum poolings of several sizes, each as a vector, one after the other"""

    modules: list[Layer]
    ignored = frozenset({"dimension", "pyr", "size"})

    def forward(self, x: Array) -> Array:
        check_rank(x, 3, 4)
        return np.concatenate([tensor(module(x)) for module in self.modules], axis=x.ndim - 3)

    def lower(self, op: Builder, x: Value) -> Value:
        check_rank(x, 3, 4)
        return op.Concat(*(value(op.call(module, x)) for module in self.modules), axis=x.rank - 3)


@layer("inn.SpatialStochasticPooling", kind="pool")
class SpatialStochasticPooling(Layer):
    """Σ x² / Σ x over each window: at evaluation the mean of what it draws in training; x is (C, H, W) or (N, C, H, W)

    Windows may reach past the end, where they see nothing.
    """

    kW: int
    kH: int
    dW: int
    dH: int
    ignored = frozenset({"padW", "padH", "ceil_mode"})

    def windows(self, x: Array | Value) -> tuple[Window, ...]:
        check_rank(x, 3, 4)
        return slide(x.shape[-2:], (self.kH, self.kW), (self.dH, self.dW), (0, 0), ceil=True)

    def forward(self, x: Array) -> Array:
        windows = self.windows(x)
        squares = sum(seen**2 for _, seen in taps(x, windows))
        return np.asarray(squares / (sum(seen for _, seen in taps(x, windows)) + SMALLEST))

    def lower(self, op: Builder, x: Value) -> Value:
        windows = self.windows(x)
        tails = [max(w.tail, 0) for w in windows]
        images = x if x.rank == 4 else op.Unsqueeze(x, [0])
        whole = op.Pad(images, [0] * 6 + tails) if any(tails) else images

        def total(t: Value) -> Value:
            kernel, strides = [w.kernel for w in windows], [w.stride for w in windows]
            return op.Mul(op.AveragePool(t, kernel_shape=kernel, strides=strides), float(self.kH * self.kW))

        y = op.Div(total(op.Mul(whole, whole)), op.Add(total(whole), SMALLEST))
        return y if x.rank == 4 else op.Squeeze(y, [0])
