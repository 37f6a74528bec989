"""Convolutions along one dimension at a time, as flattened networks published them."""

from __future__ import annotations

from retorch.layers.base.layer import Array, Binder, layer
from retorch.layers.convolution.spatial import SpatialConvolution


class Flattened(SpatialConvolution):
    """What they share: their kernel's size stands in ``kL``, and no stride or padding."""

    ignored = SpatialConvolution.ignored | {"ones", "fgradWeight"}

    kW: int = 1
    kH: int = 1
    kL: int = 1
    weight: Array
    bias: Array | None = None


@layer("nn.HorizontalConvolution", kind="conv")
class HorizontalConvolution(Flattened):
    """y[c] = bias[c] + weight[c] ⋆ x[c], along rows; weight is (C, kL)"""

    def setup(self, bind: Binder) -> None:
        self.kW, self.groups = self.kL, len(self.weight)
        super().setup(bind)


@layer("nn.VerticalConvolution", kind="conv")
class VerticalConvolution(Flattened):
    """y[c] = bias[c] + weight[c] ⋆ x[c], along columns; weight is (C, kL)"""

    def setup(self, bind: Binder) -> None:
        self.kH, self.groups = self.kL, len(self.weight)
        super().setup(bind)


@layer("nn.LateralConvolution", kind="conv")
class LateralConvolution(Flattened):
    """y = bias + weight · x, at each pixel; weight is (O, C)"""
