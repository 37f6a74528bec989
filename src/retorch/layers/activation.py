"""Elementwise activations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.rule import Array, Layer, layer

if TYPE_CHECKING:
    from retorch.builder import Builder, Value


def settle(x: Array, y: Array, inplace: bool) -> Array:
    """``y``, or ``x`` with ``y`` written into it, as in-place layers do."""
    if not inplace:
        return y
    x[...] = y
    return x


@layer("nn.ReLU", "cudnn.ReLU", kind="relu")
class ReLU(Layer):
    """max(x, 0)"""

    inplace: bool = False
    ignored = frozenset({"threshold", "val"})

    def forward(self, x: Array) -> Array:
        return settle(x, np.maximum(x, 0), self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.result(x, op.Relu(x), self.inplace)


@layer("nn.LeakyReLU", kind="leakyrelu")
class LeakyReLU(Layer):
    """max(x, 0) + negval * min(x, 0)"""

    negval: float = 0.01
    inplace: bool = False

    def forward(self, x: Array) -> Array:
        return settle(x, np.where(x > 0, x, self.negval * x), self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.result(x, op.LeakyRelu(x, alpha=self.negval), self.inplace)
