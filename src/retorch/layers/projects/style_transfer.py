"""Style transfer as projects published it: fast-neural-style, neural-style, texture nets, AdaIN, style-swap."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, Sizes, layer, noise_for
from retorch.layers.base.memory import result
from retorch.layers.base.random_source import RandomLayer
from retorch.layers.convolution.spatial import check_rank

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


class Watcher(Layer):
    """x itself: the module looks at it for a loss, and changes gradients only"""

    def forward(self, x: Array) -> Array:
        return x

    def lower(self, op: Builder, x: Value) -> Value:
        return x


@layer("nn.TotalVariation", "nn.TVLoss", "nn.TVLoss2", "nn.TVLossModule", kind="identity")
class TotalVariation(Watcher):
    """x: adds the gradient of the total variation in training"""

    ignored = frozenset({"strength", "x_diff", "y_diff", "crit", "loss"})


@layer(
    "nn.ContentLoss",
    "nn.StyleLoss",
    "nn.ContentLossModule",
    "nn.StyleINLossModule",
    "nn.StyleGramMatrixLossModule",
    "nn.StylePatchLossModule",
    "nn.TextureLoss",
    "nn.DeepDreamLoss",
    kind="identity",
)
class ContentLoss(Watcher):
    """x: measures its distance from a target in training"""

    ignored = frozenset(
        {"strength", "weight", "target", "normalize", "loss", "crit", "gram", "G", "agg", "gram_target", "blend_weight"}
        | {"nC", "active", "match_to", "max_grad", "clipped", "fun", "dfun", "target_patches", "stitched_patches"}
        | {"target_mean", "target_std", "mean_loss", "std_loss", "std_net", "mean_net", "conv_cc", "conv_norm"}
        | {"mean_criterion", "std_criterion"}
    )


@layer("nn.GradNormalization", "nn.DummyGradOutput", kind="identity")
class GradNormalization(Watcher):
    """x: scales or drops gradients, of texture_nets"""


@layer("nn.GramMatrix", kind="gram")
class GramMatrix(Layer):
    """X · Xᵀ, the channels of an image being the rows of X: (C, H, W) gives (C, C), (N, C, H, W) gives (N, C, C)

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
    """{x, s} ↦ (x − mean x) / √(var x + eps) · √(var s) + mean s, by channels; x and s have as many, (N, C, H, W)

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
        channels = content.shape[1]
        ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        normal = op.InstanceNormalization(content, ones, zeros, epsilon=self.eps)
        mean = op.ReduceMean(style, [2, 3], keepdims=1)
        off = op.Sub(style, mean)
        deviation = op.Sqrt(op.ReduceMean(op.Mul(off, off), [2, 3], keepdims=1))
        return op.Add(op.Mul(normal, deviation), mean)


@layer("nn.MaxCoord", kind="maxcoord")
class MaxCoord(Layer):
    """1 in the channel that is largest (the first of equals), 0 in the others; x is (N, C, H, W) or (C, H, W)"""

    inplace: bool = False

    def setup(self, bind: Binder) -> None:
        # of any other type it works on a copy
        self.inplace = self.inplace and self.raw.get("_type") == "torch.FloatTensor"

    def forward(self, x: Array) -> Array:
        check_rank(x, 3, 4)
        places = np.arange(x.shape[-3], dtype=np.int64)
        best = x.argmax(axis=-3, keepdims=True) == places.reshape(-1, 1, 1)
        return result(x, best.astype(x.dtype), self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        check_rank(x, 3, 4)
        axis, channels = x.rank - 3, x.shape[-3]
        best = op.ArgMax(x, axis=axis, keepdims=1)
        y = op.Cast(op.Equal(best, op.constant(np.arange(channels, dtype=np.int64).reshape(channels, 1, 1))), to=1)
        return op.result(x, y, self.inplace)


@layer("nn.GenNoise", kind="noise")
class GenNoise(RandomLayer):
    """``num_planes`` channels of noise, as large as x; without that field, noise in place of x's first 3 channels

    x is (N, C, H, W). The noise is an input of the network.
    """

    num_planes: int | None = None
    mult: float = 1.0
    action: str | None = None
    ignored = frozenset({"sz", "sz_"})

    def setup(self, bind: Binder) -> None:
        if self.action is not None:
            raise Refusal(f"draws, repeats or drops its noise as its author's program says (action {self.action!r})")

    def draws(self) -> str:
        if self.num_planes is None:
            return "uniform numbers from 0 to 1, which it writes over the first 3 channels of its input"
        if math.isclose(self.mult, 1 / 510):
            # the one version with this factor
            return "(2 n - 1) / 510 for normal numbers n"
        return f"normal numbers times {self.mult:g}"

    def noise_shape(self, x: Array | Value) -> Sizes:
        check_rank(x, 4)
        channels = min(3, x.shape[1]) if self.num_planes is None else self.num_planes
        return x.shape[0], channels, *x.shape[2:]

    def forward(self, x: Array) -> Array:
        noise = noise_for(self, self.noise_shape(x))
        if self.num_planes is not None:
            return noise
        x[:, :3] = noise
        return x

    def lower(self, op: Builder, x: Value) -> Value:
        noise = op.noise_for(self, self.noise_shape(x))
        if self.num_planes is not None:
            return noise
        op.write(op.narrow(x, 1, 0, noise.shape[1]), noise)
        return x


@layer("nn.NoiseFill", kind="noise")
class NoiseFill(RandomLayer):
    """Noise in place of x's last ``num_noise_channels`` channels, or after all of them; x is (N, C, H, W)

    Of four versions: the first writes into x; the second, with ``mult``, into a copy; the third, with ``buffer``,
    appends the noise; the fourth, with ``n_colors``, appends noise times x, ``num_mask_noise_times``, and noise.
    The noise, as it stands in the result or is multiplied with x, is an input of the network.
    """

    num_noise_channels: int = 0
    num_mask_noise_times: int = 0
    mult: float | None = None
    n_colors: int | None = None
    mult_noise: float = 1.0
    mult_noise_mask: float = 1.0
    ignored = frozenset({"out_size"})

    def setup(self, bind: Binder) -> None:
        known = self.n_colors is not None if self.num_mask_noise_times > 0 else True
        if self.draws() and not (known and ("buffer" not in self.raw or self.mult is not None)):
            raise Refusal(f"is of a version that is not known: its fields are {', '.join(sorted(map(str, self.raw)))}")

    @property
    def appends(self) -> bool:
        return "buffer" in self.raw or self.n_colors is not None

    @property
    def inplace(self) -> bool:
        return self.mult is None and not self.appends

    def draws(self) -> str:
        uniform, factor = "uniform numbers from 0 to 1", "" if self.mult is None else f", times {self.mult:g}"
        if self.num_mask_noise_times > 0:
            return f"{uniform}, times {self.mult_noise_mask:g} where x is a mask, times {self.mult_noise:g} after that"
        if self.num_noise_channels < 1:
            return ""
        if self.n_colors is not None:
            return f"{uniform}, times {self.mult_noise:g}"
        return ("uniform numbers from -1 to 1" if self.appends else uniform) + factor

    def noise_shape(self, x: Array | Value) -> Sizes:
        check_rank(x, 4)
        if self.n_colors not in (None, x.shape[1]):
            raise Refusal(f"takes {self.n_colors} channels, not {x.shape[1]}")
        if not self.appends and self.num_noise_channels > x.shape[1]:
            raise Refusal(f"cannot write over {self.num_noise_channels} channels of {x.shape[1]}")
        masks = self.num_mask_noise_times * (self.n_colors or 0)
        return x.shape[0], masks + max(self.num_noise_channels, 0), *x.shape[2:]

    def forward(self, x: Array) -> Array:
        y = x if self.inplace else x.copy()
        if not self.draws():
            return y
        noise = noise_for(self, self.noise_shape(x))
        if self.appends:
            masks = noise.shape[1] - max(self.num_noise_channels, 0)
            noise[:, :masks] *= np.tile(x, (1, self.num_mask_noise_times, 1, 1))
            return np.concatenate([x, noise], 1)
        y[:, -self.num_noise_channels :] = noise
        return y

    def lower(self, op: Builder, x: Value) -> Value:
        if not self.draws():
            return x if self.inplace else op.Identity(x)
        noise = op.noise_for(self, self.noise_shape(x))
        channels = x.shape[1]
        if self.appends:
            masked = range(0, self.num_mask_noise_times * channels, channels) if self.n_colors else ()
            parts = [op.Mul(x, op.Slice(noise, [i], [i + channels], [1])) for i in masked]
            rest = op.Slice(noise, [len(parts) * channels], [noise.shape[1]], [1]) if parts else noise
            parts += [rest] if rest.shape[1] else []
            return op.Concat(x, *parts, axis=1)
        y = x if self.inplace else op.Identity(x)
        op.write(op.narrow(y, 1, channels - self.num_noise_channels, self.num_noise_channels), noise)
        return y


#: The mean of the pictures that VGG was trained on: blue, green, red.
VGG_MEAN = np.array([103.939, 116.779, 123.68]).reshape(3, 1, 1)


@layer("nn.VGG_postprocess", kind="vgg")
class VGGPostprocess(Layer):
    """(x + 1) · 127.5 − VGG's mean, in place; x is (N, 3, H, W) in -1 … 1"""

    owns_no_output = True

    def check(self, x: Array | Value) -> None:
        if len(x.shape) != 4 or x.shape[1] != 3:
            raise Refusal(f"takes images (N, 3, H, W), not sizes {x.shape}")

    def forward(self, x: Array) -> Array:
        self.check(x)
        return result(x, (x + 1) * 127.5 - VGG_MEAN.astype(x.dtype), True)

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        y = op.Sub(op.Mul(op.Add(x, 1.0), 127.5), op.constant(VGG_MEAN.astype(np.float32), "mean"))
        return op.result(x, y, True)
