"""Frames and steps: recurrent.torch's networks over time, video prediction's enlarging, crops and pixels of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, layer
from retorch.layers.container import Container
from retorch.layers.convolution.spatial import check_rank

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.TemporalModule", kind="sequential")
class TemporalModule(Container):
    """modules[n](… modules[1](x)) for each of T steps: x is (N, T, …), the modules see (N · T, …)"""

    modules: list[Layer]

    def check(self, x: Array | Value) -> int:
        """How many steps there are."""
        check_rank(x, *range(2, 9))
        return x.shape[1]

    def forward(self, x: Array) -> Array:
        steps = self.check(x)
        y = x.reshape(-1, *x.shape[2:])
        for module in self.modules:
            y = cast("Array", module(y))
        return y.reshape(-1, steps, *y.shape[1:])

    def lower(self, op: Builder, x: Value) -> Value:
        steps = self.check(x)
        y = op.reshape(x, [-1, *x.shape[2:]])
        for module in self.modules:
            y = cast("Value", op.call(module, y))
        return op.reshape(y, [-1, steps, *y.shape[1:]])


@layer("nn.SpatialUpSample", kind="upsample")
class SpatialUpSample(Layer):
    """M · x · Mᵀ, for each plane of x, (N, C, h, h) (video prediction, ICLR 2016)"""

    M: Array
    ignored = frozenset({"h", "H", "tmp", "tmp2"})

    def check(self, x: Array | Value) -> None:
        check_rank(x, 4)
        if x.shape[2:] != (self.M.shape[1],) * 2:
            raise Refusal(f"enlarges images of {self.M.shape[1]}x{self.M.shape[1]}, not {x.shape[2]}x{x.shape[3]}")

    def forward(self, x: Array) -> Array:
        self.check(x)
        return self.M @ x @ self.M.T

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        wide = op.MatMul(x, op.constant(np.ascontiguousarray(self.M.T, np.float32)))
        return op.MatMul(op.constant(np.ascontiguousarray(self.M, np.float32)), wide)


@layer("nn.ExpandDim", kind="expand")
class ExpandDim(Layer):
    """x with its dimension ``d`` (from 1), of 1, repeated ``k`` times (video prediction, ICLR 2016)"""

    d: int
    k: int
    owns_no_output = True

    def check(self, x: Array | Value) -> int:
        """The dimension, from 0."""
        if not (1 <= self.d <= len(x.shape) and x.shape[self.d - 1] == 1):
            raise Refusal(f"repeats dimension {self.d}, which is not 1 in {x.shape}")
        return self.d - 1

    def forward(self, x: Array) -> Array:
        return np.repeat(x, self.k, self.check(x))

    def lower(self, op: Builder, x: Value) -> Value:
        axis = self.check(x)
        return op.Concat(*[x] * self.k, axis=axis)


@layer("nn.CropInvert", kind="invert")
class CropInvert(Layer):
    """The inverse of scaling and shifting: x is (N, 2, 3), rows {a, ·, c} and {·, e, f}

    It gives rows {1/a, 0, −c/a} and {0, 1/e, −f/e} (generative adversarial what-where networks).
    """

    def check(self, x: Array | Value) -> None:
        check_rank(x, 3)
        if x.shape[1:] != (2, 3):
            raise Refusal(f"takes matrices of 2x3, not {x.shape[1]}x{x.shape[2]}")

    def forward(self, x: Array) -> Array:
        self.check(x)
        scale = x[:, [0, 1], [0, 1]]
        y = np.zeros_like(x)
        y[:, [0, 1], [0, 1]] = 1 / scale
        y[:, :, 2] = -x[:, :, 2] / scale
        return y

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        diagonal = op.constant(np.eye(2, 3, dtype=np.float32))
        scale = op.ReduceSum(op.Mul(x, diagonal), [2], keepdims=1)
        kept = op.Div(diagonal, scale)
        shift = op.Neg(op.Div(op.Slice(x, [2], [3], [2]), scale))
        return op.Concat(op.Slice(kept, [0], [2], [2]), shift, axis=2)
