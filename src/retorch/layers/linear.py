"""Affine maps and lookups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retorch.layers.rule import Array, Layer, layer

if TYPE_CHECKING:
    from retorch.builder import Builder, Value


@layer("nn.Linear", "nn.LinearNoBias", kind="fc")
class Linear(Layer):
    """x · weightᵀ + bias; x is (N, in) or (in), weight (out, in)"""

    weight: Array
    bias: Array | None = None

    def forward(self, x: Array) -> Array:
        y = x @ self.weight.T
        return y if self.bias is None else y + self.bias

    def lower(self, op: Builder, x: Value) -> Value:
        rows = op.unsqueeze(x, 0) if x.rank == 1 else x
        bias = None if self.bias is None else op.weight(self.bias, "b")
        y = op.Gemm(rows, op.weight(self.weight, "w"), bias, transB=1)
        return op.Squeeze(y, [0]) if x.rank == 1 else y
