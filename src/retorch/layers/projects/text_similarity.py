"""How alike two texts are, and vectors multiplied with tensors of weights: small modules of networks on text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, layer
from retorch.layers.convolution.spatial import check_rank
from retorch.layers.projects.detection import pair

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.CsDis", kind="cosine")
class CsDis(Layer):
    """{a, b} ↦ a · b / √(a · a) / √(b · b), one number, of tensors as they lie in memory (textSimilarityConvNet)"""

    ignored = frozenset({"w1", "w2", "w22", "w3", "w32"})

    def check(self, x: list[Array] | list[Value]) -> None:
        pair(x)
        if np.prod(x[0].shape) != np.prod(x[1].shape):
            raise Refusal(f"compares tensors of as many numbers, not {x[0].shape} and {x[1].shape}")

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        a, b = x[0].reshape(-1), x[1].reshape(-1)
        return np.reshape(a @ b / np.sqrt(a @ a) / np.sqrt(b @ b), (1,))

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        a, b = (op.Reshape(tensor, [-1]) for tensor in x)
        dot = op.ReduceSum(op.Mul(a, b), [0], keepdims=1)
        lengths = (op.Sqrt(op.ReduceSum(op.Mul(v, v), [0], keepdims=1)) for v in (a, b))
        for length in lengths:
            dot = op.Div(dot, length)
        return dot


@layer("nn.PaddingReshape", kind="unsqueeze")
class PaddingReshape(Layer):
    """x with a first dimension of 1 before it (textSimilarityConvNet)"""

    ignored = frozenset({"size", "batchsize", "batchMode", "nelement"})

    def forward(self, x: Array) -> Array:
        return x[None]

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Unsqueeze(x, [0])


@layer("nn.MetrixMultiply", kind="matmul")
class MatrixMultiply(Layer):
    """x · weight; x is (N, dim) (spatial-temporal pooling networks)"""

    weight: Array
    ignored = frozenset({"dim"})

    def check(self, x: Array | Value) -> None:
        check_rank(x, 2)
        if x.shape[1] != len(self.weight):
            raise Refusal(f"has weights for {len(self.weight)} features, its input has {x.shape[1]}")

    def forward(self, x: Array) -> Array:
        self.check(x)
        return x @ self.weight

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        return op.MatMul(x, op.weight(self.weight, "w"))
