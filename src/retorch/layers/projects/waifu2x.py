"""Enlarging drawings as waifu2x published it (w2nn): edges, clips, tables for losses, depth to space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, layer
from retorch.layers.base.memory import result
from retorch.layers.convolution.spatial import SpatialConvolution, check_rank
from retorch.layers.table.arithmetic import CAddTable

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("w2nn.EdgeFilter", kind="conv")
class EdgeFilter(SpatialConvolution):
    """The differences of each pixel and its eight neighbours, as a convolution whose weights are in the file"""


@layer("w2nn.ScaleTable", kind="mul")
class ScaleTable(Layer):
    """{x, s} ↦ x · s, s spread over the sizes of x"""

    ignored = frozenset({"scale", "grad_tmp"})

    def check(self, x: list[Array] | list[Value]) -> None:
        ranks = {len(t.shape) for t in x}
        if len(x) != 2 or len(ranks) != 1 or any(s not in (1, d) for s, d in zip(x[1].shape, x[0].shape, strict=True)):
            raise Refusal(f"cannot spread {x[-1].shape} over {x[0].shape}")

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        return x[0] * x[1]

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        return op.Mul(*x)


@layer("w2nn.InplaceClip01", kind="clip")
class InplaceClip01(Layer):
    """min(max(x, 0), 1), in place"""

    def forward(self, x: Array) -> Array:
        return result(x, np.clip(x, 0, 1), True)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.write(x, op.Clip(x, 0.0, 1.0))


@layer("w2nn.AuxiliaryLossTable", kind="select")
class AuxiliaryLossTable(Layer):
    """{x1, …, xn} ↦ xi, a copy; the others are for losses in training"""

    i: int = 1
    ignored = frozenset({"output_table", "output_tensor"})

    def check(self, count: int) -> None:
        if not 1 <= self.i <= count:
            raise Refusal(f"takes entry {self.i} of {count}")

    def forward(self, x: list[Array]) -> Array:
        self.check(len(x))
        return x[self.i - 1].copy()

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(len(x))
        return op.Identity(x[self.i - 1])


@layer("w2nn.GradWeight", "w2nn.Print", kind="identity")
class GradWeight(Layer):
    """x, a copy"""

    ignored = frozenset({"constant_scalar"})

    def forward(self, x: Array) -> Array:
        return x.copy()

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Identity(x)


@layer("w2nn.ShakeShakeTable", kind="add")
class ShakeShakeTable(CAddTable):
    """x1 + x2; in training their mix is random"""

    ignored = frozenset({"alpha", "beta", "first", "second"})


@layer("w2nn.DepthExpand2x", kind="shuffle")
class DepthExpand2x(Layer):
    """y[c, 2h + i, 2w + j] = x[(2i + j) · C/4 + c, h, w]; x is (N, C, H, W)"""

    ignored = frozenset({"shape"})

    def check(self, x: Array | Value) -> None:
        check_rank(x, 4)
        if x.shape[1] % 4:
            raise Refusal(f"takes channels in fours, not {x.shape[1]}")

    def forward(self, x: Array) -> Array:
        self.check(x)
        n, c, h, w = x.shape
        parts = x.reshape(n, 2, 2, c // 4, h, w)
        return parts.transpose(0, 3, 4, 1, 5, 2).reshape(n, c // 4, 2 * h, 2 * w)

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        return op.DepthToSpace(x, blocksize=2)
