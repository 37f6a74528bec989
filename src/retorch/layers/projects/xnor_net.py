"""Networks of one bit as XNOR-Net's paper has them, in its code and in dpnn: signs, and weights of one size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, layer
from retorch.layers.convolution.spatial import SpatialConvolution, stable_copy

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.BinActiveZ", kind="sign")
class BinActiveZ(Layer):
    """The sign of x: −1, 0 or 1, of XNOR-Net"""

    def forward(self, x: Array) -> Array:
        return np.sign(x)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Sign(x)


@layer("nn.SpatialBinaryConvolution", kind="conv")
class SpatialBinaryConvolution(SpatialConvolution):
    """y[o] = mean |weight[o]| · Σ_c sign(weight[o, c]) ⋆ x[c], of XNOR-Net's paper; the sign of 0 is 1"""

    ignored = (
        SpatialConvolution.ignored
        | frozenset({"iwh", "owh", "tempWeight", "gradInputAlphas", "alphas", "wmask"})
        | frozenset({"_tempAlphas", "_tempAlphasExpanded", "_tempAlphasSamples"})
        | frozenset({"_tempGradAlphas", "_tempGradAlphasExpanded", "_tempGradAlphasSamples"})
        | frozenset({"_gradWeightAlphas", "_gradWeightAlphasExpanded", "_gradWeightAlphasSamples"})
    )

    def setup(self, bind: Binder) -> None:
        super().setup(bind)
        scale = np.abs(self.weight).mean(axis=(1, 2, 3), keepdims=True, dtype=np.float64)
        signs = np.greater_equal(self.weight, 0) * 2.0 - 1.0
        self._kernel = stable_copy((scale * signs).astype(np.float32))

    def dense(self) -> tuple[Array, int]:
        return self._kernel, self.groups
