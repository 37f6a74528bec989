"""Style transfer as projects published it: fast-neural-style, neural-style, texture nets, AdaIN, style-swap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.activation import settle
from retorch.layers.convolution import check_rank
from retorch.layers.rule import Array, Binder, Layer, Refusal, layer

if TYPE_CHECKING:
    from retorch.builder import Builder, Value


class Watcher(Layer):
    """x itself: the module looks at it for a loss, and changes gradients only"""

    def forward(self, x: Array) -> Array:
        return x

    def lower(self, op: Builder, x: Value) -> Value:
        return x


@layer("nn.TotalVariation", "nn.TVLoss", kind="identity")
class TotalVariation(Watcher):
    """x: adds the gradient of the total variation in training"""

    ignored = frozenset({"strength", "x_diff", "y_diff"})


@layer("nn.ContentLoss", "nn.StyleLoss", kind="identity")
class ContentLoss(Watcher):
    """x: measures its distance from a target in training"""

    ignored = frozenset(
        {"strength", "weight", "target", "normalize", "loss", "crit", "gram", "G", "agg", "gram_target", "blend_weight"}
    )


@layer("nn.GradNormalization", "nn.DummyGradOutput", kind="identity")
class GradNormalization(Watcher):
    """x: scales or drops gradients, of texture_nets"""


@layer("nn.GramMatrix", kind="gram")
class GramMatrix(Layer):
    """X · Xᵀ, the planes of an image being the rows of X: (C, H, W) gives (C, C), (N, C, H, W) gives (N, C, C)

    Divided by C · H · W in fast-neural-style, whose module has a field ``normalize``.
    """

    normalize: bool = False

    def divisor(self, x: Array | Value) -> float:
        check_rank(x, 3, 4)
        return float(np.prod(x.shape[-3:])) if self.normalize else 1.0

    def forward(self, x: Array) -> Array:
        divisor = self.divisor(x)
        rows = x.reshape(*x.shape[:-2], -1)
        return rows @ rows.swapaxes(-1, -2) / divisor

    def lower(self, op: Builder, x: Value) -> Value:
        divisor = self.divisor(x)
        batched = x.rank == 4
        rows = op.Reshape(x, [0, 0, -1] if batched else [0, -1])
        y = op.MatMul(rows, op.Transpose(rows, perm=[0, 2, 1] if batched else [1, 0]))
        return y if divisor == 1 else op.Div(y, divisor)


@layer("nn.AdaptiveInstanceNormalization", kind="adain")
class AdaptiveInstanceNormalization(Layer):
    """{x, s} ↦ (x − mean x) / √(var x + eps) · √(var s) + mean s, by planes; x and s of as many planes, (N, C, H, W)

    Without a batch, the result has one of 1. ``disabled`` gives x itself.
    """

    eps: float = 1e-5
    disabled: bool = False
    ignored = frozenset({"nOutput", "batchSize", "bn"})

    def check(self, x: list[Array] | list[Value]) -> None:
        if len(x) != 2:
            raise Refusal(f"takes a content and a style, not {len(x)} tensors")
        for tensor in x:
            check_rank(tensor, 3, 4)
        if x[0].shape[:-2] != x[1].shape[:-2]:
            raise Refusal(f"cannot bring {x[0].shape} to the style of {x[1].shape}")

    def forward(self, x: list[Array]) -> Array:
        if self.disabled:
            return x[0]
        self.check(x)
        content, style = (t if t.ndim == 4 else t[None] for t in x)
        mean, variance = content.mean((2, 3), keepdims=True), content.var((2, 3), keepdims=True)
        normal = (content - mean) / np.sqrt(variance + self.eps)
        return normal * style.std((2, 3), keepdims=True) + style.mean((2, 3), keepdims=True)

    def lower(self, op: Builder, x: list[Value]) -> Value:
        if self.disabled:
            return x[0]
        self.check(x)
        content, style = (t if t.rank == 4 else op.Unsqueeze(t, [0]) for t in x)
        planes = content.shape[1]
        ones, zeros = np.ones(planes, np.float32), np.zeros(planes, np.float32)
        normal = op.InstanceNormalization(content, ones, zeros, epsilon=self.eps)
        mean = op.ReduceMean(style, [2, 3], keepdims=1)
        off = op.Sub(style, mean)
        deviation = op.Sqrt(op.ReduceMean(op.Mul(off, off), [2, 3], keepdims=1))
        return op.Add(op.Mul(normal, deviation), mean)


@layer("nn.MaxCoord", kind="maxcoord")
class MaxCoord(Layer):
    """1 in the plane that is largest (the first of equals), 0 in the others; x is (N, C, H, W) or (C, H, W)"""

    inplace: bool = False

    def setup(self, bind: Binder) -> None:
        # of any other type it works on a copy
        self.inplace = self.inplace and self.raw.get("_type") == "torch.FloatTensor"

    def forward(self, x: Array) -> Array:
        check_rank(x, 3, 4)
        places = np.arange(x.shape[-3], dtype=np.int64)
        best = x.argmax(axis=-3, keepdims=True) == places.reshape(-1, 1, 1)
        return settle(x, best.astype(x.dtype), self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        check_rank(x, 3, 4)
        axis, planes = x.rank - 3, x.shape[-3]
        best = op.ArgMax(x, axis=axis, keepdims=1)
        y = op.Cast(op.Equal(best, op.constant(np.arange(planes, dtype=np.int64).reshape(planes, 1, 1))), to=1)
        return op.result(x, y, self.inplace)


@layer("nn.GenNoise", kind="noise")
class GenNoise(Layer):
    """Refused: texture nets draw new noise at every pass, at evaluation too, so that no two runs agree"""

    ignored = frozenset({"num_planes", "mult", "sz", "sz_"})

    def setup(self, bind: Binder) -> None:
        raise Refusal("draws new random numbers at every pass, so that its output is no function of the input")


@layer("nn.NoiseFill", kind="noise")
class NoiseFill(Layer):
    """x where it adds no planes of noise (``num_noise_channels`` 0); else refused, as nn.GenNoise is"""

    num_noise_channels: int = 0
    num_mask_noise_times: int = 0
    mult: float | None = None
    ignored = frozenset({"mult_noise", "mult_noise_mask", "n_colors", "out_size"})

    def setup(self, bind: Binder) -> None:
        if self.num_noise_channels > 0 or self.num_mask_noise_times > 0:
            raise Refusal("draws new random numbers at every pass, so that its output is no function of the input")

    def forward(self, x: Array) -> Array:
        # the first version, without a factor, wrote into its input
        return x if self.mult is None else x.copy()

    def lower(self, op: Builder, x: Value) -> Value:
        return x if self.mult is None else op.Identity(x)
