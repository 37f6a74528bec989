"""Convolutions over sequences; Torch's frames are (N, T, C) or (T, C), time before features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.errors import counted
from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.base.window import Window, slide, taps
from retorch.layers.convolution.spatial import SIZES, check_rank, stable_copy

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


def frames(x: Array | Value, kernel: int, stride: int, pad: int, features: int) -> tuple[Window, ...]:
    """The windows over time of (N, T, C) or (T, C)."""
    check_rank(x, 2, 3)
    if x.shape[-1] != features:
        raise Refusal(f"has weights for {counted(features, 'feature')}, its input has {x.shape[-1]}")
    return slide(x.shape[-2:-1], (kernel,), (stride,), (pad,), drop=False)


@layer("nn.TemporalConvolution", kind="conv")
class TemporalConvolution(Layer):
    """y[t] = bias + weight · the kW frames from t dW, one after the other; weight is (O, kW C)"""

    kW: int
    dW: int = 1
    weight: Array
    bias: Array | None = None
    ignored = SIZES

    def taps(self) -> tuple[int, int, int]:
        """Number of frames that a window covers, its stride and the padding at both ends."""
        return self.kW, self.dW, 0

    def setup(self, bind: Binder) -> None:
        # as the only column of an image: (O, 1, taps, C)
        self._kernel = self.weight.reshape(self.weight.shape[0], 1, self.taps()[0], -1)

    def reads(self) -> tuple[int | None, ...] | None:
        return (None, self._kernel.shape[-1])

    def forward(self, x: Array) -> Array:
        windows = frames(x, *self.taps(), self._kernel.shape[-1])
        y: Array | float = 0.0
        for (at,), seen in taps(x.swapaxes(-1, -2), windows):
            y = y + seen.swapaxes(-1, -2) @ self._kernel[:, 0, at].T
        return np.asarray(y if self.bias is None else y + self.bias)

    def lower(self, op: Builder, x: Value) -> Value:
        (window,) = frames(x, *self.taps(), self._kernel.shape[-1])
        batched = x.rank == 3
        y = op.Conv(
            op.Unsqueeze(x, [1] if batched else [0, 1]),
            op.weight(self._kernel, "w"),
            None if self.bias is None else op.weight(self.bias, "b"),
            kernel_shape=self._kernel.shape[2:],
            strides=[window.stride, 1],
            pads=[window.pad, 0, window.pad, 0],
        )
        y = op.Squeeze(y, [3] if batched else [0, 3])
        return op.Transpose(y, perm=[0, 2, 1] if batched else [1, 0])


@layer("cudnn.TemporalConvolution", kind="conv")
class CudnnTemporalConvolution(TemporalConvolution):
    """A TemporalConvolution of kH frames, stride dH, padH frames of zeros at both ends; its kW is the frame's size"""

    kH: int
    dH: int = 1
    padH: int = 0
    ignored = SIZES | {"padW", "groups"}

    def taps(self) -> tuple[int, int, int]:
        return self.kH, self.dH, self.padH


class FeatureWise(Layer):
    """What the layers share that convolve each feature by itself."""

    weight: Array
    bias: Array | None = None

    def kernel(self) -> Array:
        """One row of taps for each feature, (C, 1, taps)."""
        return self.weight

    def convolve(self, x: Array, windows: tuple[Window, ...]) -> Array:
        """(…, C, T) to (…, C, T')"""
        y: Array | float = 0.0
        for (at,), seen in taps(x, windows):
            y = y + seen * self.kernel()[:, :, at]
        return np.asarray(y if self.bias is None else y + self.bias[:, None])

    def lower_convolve(self, op: Builder, x: Value, stride: int) -> Value:
        """(…, C, T) to (…, C, T')"""
        kernel = self.kernel()
        slide(x.shape[-1:], kernel.shape[2:], (stride,), (0,), drop=False)
        y = op.Conv(
            x if x.rank == 3 else op.Unsqueeze(x, [0]),
            op.weight(kernel, "w"),
            None if self.bias is None else op.weight(self.bias, "b"),
            kernel_shape=kernel.shape[2:],
            strides=[stride],
            group=kernel.shape[0],
        )
        return y if x.rank == 3 else op.Squeeze(y, [0])


def _swapped(op: Builder, x: Value) -> Value:
    return op.Transpose(x, perm=[0, 2, 1] if x.rank == 3 else [1, 0])


@layer("nn.TemporalRowConvolution", kind="conv")
class TemporalRowConvolution(FeatureWise):
    """y[t, c] = bias[c] + Σ_k weight[c, 0, k] x[t dW + k, c]; with featFirst, x and y are (N, C, T)"""

    kW: int
    dW: int = 1
    featFirst: bool = False
    ignored = SIZES | {"padW"}

    def forward(self, x: Array) -> Array:
        x = x if self.featFirst else x.swapaxes(-1, -2)
        windows = frames(x.swapaxes(-1, -2), self.kW, self.dW, 0, self.weight.shape[0])
        y = self.convolve(x, windows)
        return y if self.featFirst else y.swapaxes(-1, -2)

    def lower(self, op: Builder, x: Value) -> Value:
        check_rank(x, 2, 3)
        x = x if self.featFirst else _swapped(op, x)
        if x.shape[-2] != self.weight.shape[0]:
            raise Refusal(f"has weights for {counted(self.weight.shape[0], 'feature')}, its input has {x.shape[-2]}")
        y = self.lower_convolve(op, x, self.dW)
        return y if self.featFirst else _swapped(op, y)


@layer("nn.TemporalSubSampling", kind="conv")
class TemporalSubSampling(FeatureWise):
    """y[t, c] = bias[c] + weight[c] * the sum of x[t dW … t dW + kW - 1, c]"""

    kW: int
    dW: int = 1
    ignored = SIZES

    def setup(self, bind: Binder) -> None:
        self._kernel = stable_copy(np.broadcast_to(self.weight.reshape(-1, 1, 1), (self.weight.size, 1, self.kW)))

    def kernel(self) -> Array:
        return self._kernel

    def forward(self, x: Array) -> Array:
        windows = frames(x, self.kW, self.dW, 0, self.weight.size)
        return self.convolve(x.swapaxes(-1, -2), windows).swapaxes(-1, -2)

    def lower(self, op: Builder, x: Value) -> Value:
        frames(x, self.kW, self.dW, 0, self.weight.size)
        return _swapped(op, self.lower_convolve(op, _swapped(op, x), self.dW))
