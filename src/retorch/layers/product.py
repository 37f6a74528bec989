"""Products and distances of two tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, layer

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


def same_rank(first: int, second: int, allowed: tuple[int, ...]) -> None:
    if first != second or first not in allowed:
        raise Refusal(f"takes two tensors of {' or '.join(map(str, allowed))} dimensions, not {first} and {second}")


@layer("nn.MM", kind="matmul")
class MM(Layer):
    """{a, b}: a · b, matrix by matrix where both have three dimensions; ``transA``, ``transB`` transpose first"""

    transA: bool = False
    transB: bool = False

    def forward(self, x: list[Array]) -> Array:
        a, b = x
        same_rank(a.ndim, b.ndim, (2, 3))
        return (a.swapaxes(-1, -2) if self.transA else a) @ (b.swapaxes(-1, -2) if self.transB else b)

    def lower(self, op: Builder, x: list[Value]) -> Value:
        a, b = x
        same_rank(a.rank, b.rank, (2, 3))
        order = [1, 0] if a.rank == 2 else [0, 2, 1]
        return op.MatMul(
            op.Transpose(a, perm=order) if self.transA else a, op.Transpose(b, perm=order) if self.transB else b
        )


@layer("nn.MV", kind="matmul")
class MV(Layer):
    """{m, v}: m · v, one by one where m has three dimensions and v two; ``trans`` transposes m first"""

    trans: bool = False

    def forward(self, x: list[Array]) -> Array:
        m, v = x
        same_rank(m.ndim, v.ndim + 1, (2, 3))
        return np.einsum("...ij,...j->...i", m.swapaxes(-1, -2) if self.trans else m, v)

    def lower(self, op: Builder, x: list[Value]) -> Value:
        m, v = x
        same_rank(m.rank, v.rank + 1, (2, 3))
        if self.trans:
            m = op.Transpose(m, perm=[1, 0] if m.rank == 2 else [0, 2, 1])
        return op.Squeeze(op.MatMul(m, op.Unsqueeze(v, [v.rank])), [v.rank])


class OfTwo(Layer):
    """Numbers for pairs of rows: (N) for two (N, D), (1) for two (D)."""

    def forward(self, x: list[Array]) -> Array:
        a, b = x
        same_rank(a.ndim, b.ndim, (1, 2))
        return self.of_rows(np.atleast_2d(a), np.atleast_2d(b))

    def lower(self, op: Builder, x: list[Value]) -> Value:
        a, b = x
        same_rank(a.rank, b.rank, (1, 2))
        if a.rank == 1:
            a, b = op.Unsqueeze(a, [0]), op.Unsqueeze(b, [0])
        return self.lower_rows(op, a, b)

    def of_rows(self, a: Array, b: Array) -> Array:
        raise Refusal("has no formula")

    def lower_rows(self, op: Builder, a: Value, b: Value) -> Value:
        raise Refusal("cannot be converted")


@layer("nn.DotProduct", kind="dot")
class DotProduct(OfTwo):
    """{a, b}: Σ a · b over each row"""

    def of_rows(self, a: Array, b: Array) -> Array:
        return (a * b).sum(axis=1)

    def lower_rows(self, op: Builder, a: Value, b: Value) -> Value:
        return op.ReduceSum(op.Mul(a, b), [1], keepdims=0)


@layer("nn.CosineDistance", kind="cosine")
class CosineDistance(OfTwo):
    """{a, b}: a · b / √((a · a + ε) (b · b + ε)) over each row, ε = 1e-12"""

    ignored = frozenset({"w", "w1", "w22", "w32", "_input1", "_input2"})

    def of_rows(self, a: Array, b: Array) -> Array:
        squares = [(t * t).sum(axis=1) + 1e-12 for t in (a, b)]
        return (a * b).sum(axis=1) / np.sqrt(squares[0]) / np.sqrt(squares[1])

    def lower_rows(self, op: Builder, a: Value, b: Value) -> Value:
        norms = [op.Sqrt(op.Add(op.ReduceSum(op.Mul(t, t), [1], keepdims=0), 1e-12)) for t in (a, b)]
        return op.Div(op.Div(op.ReduceSum(op.Mul(a, b), [1], keepdims=0), norms[0]), norms[1])


@layer("nn.PairwiseDistance", kind="distance")
class PairwiseDistance(OfTwo):
    """{a, b}: (Σ |a - b|ᵖ)^(1/p) over each row; p is ``norm``"""

    norm: float = 2.0
    ignored = frozenset({"diff", "outExpand", "grad"})

    def of_rows(self, a: Array, b: Array) -> Array:
        return (np.abs(a - b) ** self.norm).sum(axis=1) ** (1 / self.norm)

    def lower_rows(self, op: Builder, a: Value, b: Value) -> Value:
        difference = op.Sub(a, b)
        if self.norm == 1:
            return op.ReduceL1(difference, [1], keepdims=0)
        if self.norm == 2:
            return op.ReduceL2(difference, [1], keepdims=0)
        powers = op.ReduceSum(op.Pow(op.Abs(difference), self.norm), [1], keepdims=0)
        return op.Pow(powers, 1 / self.norm)
