"""fbnn's layers that stand outside any family: unshared convolutions, normalization over maps, sparse rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.convolution.spatial import SpatialConvolutionLocal, check_rank

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.LocallyConnected", kind="conv")
class LocallyConnected(SpatialConvolutionLocal):
    """A convolution with weights of its own at each place: weight (O, oH, oW, C, kH, kW), bias (O, oH, oW)

    What was on a GPU is stored as (oH, oW, kH, kW, O, C) and (oH, oW, O).
    """

    nInputPlane: int
    nOutputPlane: int
    iW: int
    iH: int
    ignored = frozenset({"input_cache", "gradOutput_cache", "gradOutputCacheIsValid"})

    def setup(self, bind: Binder) -> None:
        self._stored = {"weight": self.weight, "bias": self.bias}
        out = (self.iH - self.kH) // self.dH + 1, (self.iW - self.kW) // self.dW + 1
        taps = self.kH, self.kW
        if self.weight.shape == (self.nOutputPlane, *out, self.nInputPlane, *taps):
            self.weight = self.weight.transpose(1, 2, 0, 3, 4, 5)
        elif self.weight.shape == (*out, *taps, self.nOutputPlane, self.nInputPlane):
            self.weight = self.weight.transpose(0, 1, 4, 5, 2, 3)
            self.bias = self.bias.transpose(2, 0, 1)
        else:
            raise Refusal(f"has weights of the shape {self.weight.shape} for {self.nOutputPlane} planes of {out}")
        super().setup(bind)

    def parameters(self) -> dict[str, Array]:
        return self._stored


@layer("nn.CrossMapNormalization", kind="lrn")
class CrossMapNormalization(Layer):
    """x · (1 + scale / size · Σ x²)^−power, the sum over the ``size`` channels around each, an odd number"""

    size: int
    scale: float
    power: float
    ignored = frozenset({"squaredSum"})

    def check(self, x: Array | Value) -> None:
        check_rank(x, 3, 4)
        if self.size % 2 == 0:
            raise Refusal(f"sums up an odd number of channels, not {self.size}")
        if x.shape[-3] < self.size:
            raise Refusal(f"takes {self.size} channels or more, not {x.shape[-3]}: its code reads past them")

    def forward(self, x: Array) -> Array:
        self.check(x)
        half, squares = self.size // 2, np.square(x)
        around = [
            squares[..., max(c - half, 0) : c + half + 1, :, :].sum(axis=-3, keepdims=True) for c in range(x.shape[-3])
        ]
        return x * (1 + self.scale / self.size * np.concatenate(around, axis=-3)) ** -self.power

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        images = op.unsqueeze(x, 0) if x.rank == 3 else x
        y = op.LRN(images, size=self.size, alpha=self.scale, beta=self.power, bias=1.0)
        return op.Squeeze(y, [0]) if x.rank == 3 else y
