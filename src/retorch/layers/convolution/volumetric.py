"""Convolutions over volumes (time, height, width)."""

from __future__ import annotations

from retorch.layers.base.layer import Array, Binder, layer
from retorch.layers.convolution.spatial import Convolution


@layer("nn.VolumetricConvolution", "cudnn.VolumetricConvolution", kind="conv")
class VolumetricConvolution(Convolution):
    """y[o] = bias[o] + Σ_c weight[o, c] ⋆ x[c]; x is (N, C, T, H, W) or (C, T, H, W), weight (O, C, kT, kH, kW)"""

    axes = "THW"
    unfolds = True
    kT: int
    kW: int
    kH: int
    dT: int = 1
    dW: int = 1
    dH: int = 1
    padT: int = 0
    padW: int = 0
    padH: int = 0
    groups: int = 1
    weight: Array
    bias: Array | None = None

    def setup(self, bind: Binder) -> None:
        self.weight = self.weight.reshape(self.weight.shape[0], -1, self.kT, self.kH, self.kW)

    def dense(self) -> tuple[Array, int]:
        return self.weight, self.groups

    def offsets(self) -> Array | None:
        return self.bias


@layer("nn.VolumetricDilatedConvolution", "cudnn.VolumetricDilatedConvolution", kind="conv")
class VolumetricDilatedConvolution(VolumetricConvolution):
    """A VolumetricConvolution whose taps lie dilationT, dilationH and dilationW apart."""

    unfolds, bounded = False, True
    dilationT: int = 1
    dilationW: int = 1
    dilationH: int = 1
