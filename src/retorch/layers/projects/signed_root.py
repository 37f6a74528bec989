"""Elementwise functions that projects brought along, and rows of length one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, layer
from retorch.layers.linear import vector_or_matrix

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.SignedSquareRoot", kind="root")
class SignedSquareRoot(Layer):
    """√|x| with the sign of x"""

    ignored = frozenset({"module", "tmp", "sign", "output_"})

    def forward(self, x: Array) -> Array:
        return np.sign(x) * np.sqrt(np.abs(x))

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Mul(op.Sqrt(op.Abs(x)), op.Sign(x))


@layer("nn.Sin", kind="sin")
class Sin(Layer):
    """sin(x)"""

    def forward(self, x: Array) -> Array:
        return np.sin(x)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Sin(x)


@layer("nn.L2Norm", kind="normalize")
class L2Norm(Layer):
    """x · (1 / √Σ x² + eps) for each row"""

    eps: float = 1e-5
    ignored = frozenset({"p", "psum", "power"})

    def forward(self, x: Array) -> Array:
        vector_or_matrix(x.ndim)
        return x * (1 / np.sqrt(np.square(x).sum(axis=-1, keepdims=True)) + self.eps)

    def lower(self, op: Builder, x: Value) -> Value:
        vector_or_matrix(x.rank)
        length = op.Sqrt(op.ReduceSum(op.Mul(x, x), [x.rank - 1], keepdims=1))
        return op.Add(op.Div(x, length), op.Mul(x, self.eps))
