"""Dictionaries of Deep TEN and NetVLAD, and MSG-Net's layer that holds a style."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.convolution.spatial import check_rank, stable_copy
from retorch.layers.softmax import softmax

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


def summed(shares: Array, residuals: Array) -> Array:
    """Σ_n shares[n, k] · residuals[n, k]: (N, K) and (N, K, D) give (K, D), each with a batch in front or without."""
    return (shares[..., None] * residuals).sum(axis=-3)


def lower_summed(op: Builder, shares: Value, residuals: Value) -> Value:
    """The same in ONNX operators."""
    weighed = op.Mul(op.Unsqueeze(shares, [shares.rank]), residuals)
    return op.ReduceSum(weighed, [shares.rank - 2], keepdims=0)


@layer("nn.Aggregate", kind="aggregate")
class Aggregate(Layer):
    """{a, r} ↦ Σ_n a[n, k] · r[n, k]; a is (N, K), r (N, K, D), or both with a batch in front"""

    ignored = frozenset({"K", "D"})

    def check(self, x: Sequence[Array] | Sequence[Value]) -> None:
        """Shares and what they belong to, or Refusal."""
        if len(x) != 2 or len(x[0].shape) not in (2, 3) or x[0].shape != x[1].shape[:-1]:
            raise Refusal("takes a table of shares (N, K) and residuals (N, K, D)")

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        return summed(*x)

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        return lower_summed(op, *x)


class Dictionary(Layer):
    """Descriptors (N, D), or a batch of such, shared out among K codewords, the rows of ``weight``."""

    weight: Array
    ignored = frozenset({"K", "D", "A", "R", "gradA"})

    def residuals(self, x: Array) -> Array:
        """Each descriptor less each codeword: (N, K, D)."""
        self.check(x)
        return x[..., None, :] - self.weight

    def lower_residuals(self, op: Builder, x: Value) -> Value:
        """The same in ONNX operators."""
        self.check(x)
        return op.Sub(op.Unsqueeze(x, [x.rank - 1]), op.weight(self.weight, "w"))

    def check(self, x: Array | Value) -> None:
        """Descriptors as long as the codewords, or Refusal."""
        check_rank(x, 2, 3)
        if x.shape[-1] != self.weight.shape[1]:
            raise Refusal(f"takes rows of {self.weight.shape[1]} numbers, not {x.shape[-1]}")


@layer("nn.Encoding", kind="encoding")
class Encoding(Dictionary):
    """y[k] = Σ_n a[n, k] · r[n, k], r[n, k] = x[n] − weight[k], a the softmax over k of −bias[k] · ‖r[n, k]‖²"""

    bias: Array
    ignored = Dictionary.ignored | {"soft", "batchMul", "L2", "SL2", "gradSL2", "bufBias", "bufWeight"}

    def forward(self, x: Array) -> Array:
        residuals = self.residuals(x)
        distances = np.square(residuals).sum(axis=-1)
        return summed(softmax(-distances * self.bias, -1), residuals)

    def lower(self, op: Builder, x: Value) -> Value:
        residuals = self.lower_residuals(op, x)
        distances = op.ReduceSum(op.Mul(residuals, residuals), [x.rank], keepdims=0)
        closer = op.Mul(distances, op.Neg(op.weight(self.bias, "b")))
        return lower_summed(op, op.Softmax(closer, axis=x.rank - 1), residuals)


@layer("nn.NetVLAD", kind="vlad")
class NetVLAD(Dictionary):
    """y[k] = Σ_n a[n, k] · (x[n] − weight[k]), a being what the module ``assigner`` makes of each descriptor"""

    assigner: object

    def setup(self, bind: Binder) -> None:
        self.inside = bind(self.assigner, f"{self.path}.assigner".removeprefix("."))

    def children(self) -> Iterable[Layer]:
        return (self.inside,)

    def forward(self, x: Array) -> Array:
        residuals = self.residuals(x)
        shares = cast("Array", self.inside(x.reshape(-1, x.shape[-1])))
        return summed(shares.reshape(residuals.shape[:-1]), residuals)

    def lower(self, op: Builder, x: Value) -> Value:
        residuals = self.lower_residuals(op, x)
        shares = cast("Value", op.call(self.inside, op.Reshape(x, [-1, x.shape[-1]])))
        return lower_summed(op, op.Reshape(shares, [-1, *residuals.shape[1:-1]]), residuals)


@layer("nn.Inspiration", kind="style")
class Inspiration(Layer):
    """(Weight · target)ᵀ over the channels of x, (N, C, H, W) or (C, H, W); target is the Gram matrix of a style"""

    Weight: Array
    target: Array
    ignored = frozenset({"C", "MM_WG", "MM_PX", "P", "gradWG", "gradPX"})

    def mixed(self, x: Array | Value) -> Array:
        """(C, C): how much of each channel of x is in each of the output."""
        check_rank(x, 3, 4)
        size = self.Weight.shape[0]
        if self.target.shape != self.Weight.shape or x.shape[-3] != size:
            raise Refusal(f"has matrices of {size} channels, not for an input of {x.shape} and a style as stored")
        return (self.Weight.astype(np.float64) @ self.target).T

    def forward(self, x: Array) -> Array:
        return np.einsum("oc,...chw->...ohw", self.mixed(x).astype(x.dtype), x)

    def lower(self, op: Builder, x: Value) -> Value:
        weight = op.weight(stable_copy(self.mixed(x).astype(np.float32)[:, :, None, None]), "w")
        images = x if x.rank == 4 else op.unsqueeze(x, 0)
        y = op.Conv(images, weight, None, kernel_shape=[1, 1])
        return y if x.rank == 4 else op.Squeeze(y, [0])
