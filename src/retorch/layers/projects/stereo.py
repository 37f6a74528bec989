"""Matching of stereo pairs as MC-CNN published it: (N, C, H, W), left and right images in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.convolution.spatial import Convolution, check_rank, stable_copy
from retorch.layers.wrapper import Criterion

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value

#: What MC-CNN adds to each squared norm.
NORMALIZE_EPS = 1e-5


@layer("nn.Normalize2", kind="normalize")
class Normalize2(Layer):
    """x / √(Σ x² + 1e-5), the sum over the channels"""

    def forward(self, x: Array) -> Array:
        check_rank(x, 4)
        return x / np.sqrt(np.square(x).sum(axis=1, keepdims=True) + NORMALIZE_EPS)

    def lower(self, op: Builder, x: Value) -> Value:
        check_rank(x, 4)
        return op.Div(x, op.Sqrt(op.Add(op.ReduceSum(op.Mul(x, x), [1], keepdims=1), NORMALIZE_EPS)))


@layer("nn.StereoJoin1", kind="join")
class StereoJoin1(Layer):
    """y[n] = Σ x[2n] · x[2n + 1] over the channels: (2N, C, H, W) gives (N, 1, H, W)"""

    ignored = frozenset({"tmp"})

    def check(self, x: Array | Value) -> None:
        check_rank(x, 4)
        if x.shape[0] % 2:
            raise Refusal(f"takes pairs of images, not {x.shape[0]} images")

    def forward(self, x: Array) -> Array:
        self.check(x)
        return (x[0::2] * x[1::2]).sum(axis=1, keepdims=True)

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        pairs = op.Reshape(x, [-1, 2, *x.shape[1:]])
        left, right = op.many("Split", 2, pairs, axis=1, num_outputs=2)
        return op.ReduceSum(op.Mul(left, right), [2], keepdims=0)


@layer("nn.StereoJoin", kind="join")
class StereoJoin(Layer):
    """y[d, h, w] = −Σ L[h, w] · R[h, w − d] over channels, for the shifts d < ``disp_max`` of two images (2, C, H, W)

    Where R has no such pixel the CUDA code writes nothing, and MC-CNN puts NaN there before: so does this.
    MC-CNN saves its networks with a StereoJoin of one shift as the last module, and takes it off before it runs them:
    of one shift it gives x itself.
    """

    disp_max: int = 1
    ignored = frozenset({"direction", "output_L"})

    def setup(self, bind: Binder) -> None:
        if self.disp_max == 1:
            bind.notes.append(f"{self.path or '(root)'} {self.typename}: left out, as MC-CNN takes it off before a run")

    def check(self, x: Array | Value) -> None:
        check_rank(x, 4)
        if x.shape[0] != 2:
            raise Refusal(f"takes two images, not {x.shape[0]}")
        if self.disp_max > x.shape[3]:
            raise Refusal(f"compares at {self.disp_max} shifts, more than the images are wide")

    def forward(self, x: Array) -> Array:
        if self.disp_max == 1:
            return x
        self.check(x)
        left, right = x
        _, height, width = left.shape
        y = np.full((1, self.disp_max, height, width), np.nan, x.dtype)
        for d in range(self.disp_max):
            y[0, d, :, d:] = -(left[:, :, d:] * right[:, :, : width - d]).sum(axis=0)
        return y

    def lower(self, op: Builder, x: Value) -> Value:
        if self.disp_max == 1:
            return x
        self.check(x)
        left, right = op.many("Split", 2, x, axis=0, num_outputs=2)
        _, _, height, width = x.shape
        shifted: list[Value] = []
        for d in range(self.disp_max):
            pair = op.Slice(left, [d], [width], [3]), op.Slice(right, [0], [width - d], [3])
            product = op.Neg(op.ReduceSum(op.Mul(*pair), [1], keepdims=1))
            missing = np.full((1, 1, height, d), np.nan, np.float32)
            shifted.append(op.Concat(missing, product, axis=3) if d else product)
        return op.Concat(*shifted, axis=1)


@layer("nn.SpatialConvolution1_fw", "jzt.SpatialConvolution1_fw", kind="conv")
class SpatialConvolution1Fw(Convolution):
    """y[o] = bias[o] + Σ_c weight[o, c] · x[c]; x is (N, C, H, W), weight (O, C), bias (1, O, 1, 1)"""

    weight: Array
    bias: Array
    ignored = frozenset({"free"})

    def setup(self, bind: Binder) -> None:
        self._kernel = stable_copy(self.weight.reshape(*self.weight.shape[:2], 1, 1))
        self._offsets = stable_copy(self.bias.reshape(-1))

    def dense(self) -> tuple[Array, int]:
        return self._kernel, 1

    def offsets(self) -> Array | None:
        return self._offsets


@layer("nn.Margin2", "nn.BCECriterion2", kind="criterion")
class Margin2(Criterion):
    """x: what measures a loss has no part in the output"""

    ignored = frozenset({"margin", "pow", "tmp", "weights", "sizeAverage"})
