"""Normalization by stored or measured statistics: batch, instance, channels nearby, rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from retorch.errors import MissingFieldError
from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.base.memory import resize_in_place
from retorch.layers.container import Sequential
from retorch.torch7 import TorchObject

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.BatchNormalization", "cudnn.BatchNormalization", "fbnn.BatchNormalization", kind="bn")
class BatchNormalization(Layer):
    """(x − running_mean) / √(running_var + eps) · weight + bias, for each channel (dimension 2)

    A sample without its batch is made a batch of one where it stands: so is the output, and so is x for later readers.
    Files from before mid-2015 hold ``running_std``, which is the inverse: running_std⁻² − eps is the variance.
    """

    running_mean: Array
    running_var: Array | None = None
    running_std: Array | None = None
    weight: Array | None = None
    bias: Array | None = None
    eps: float = 1e-5
    ignored = frozenset({"momentum", "affine", "centered", "std", "normalized", "buffer1"})
    #: How many dimensions a batch has.
    dimensions: ClassVar[int] = 2

    def setup(self, bind: Binder) -> None:
        if self.running_var is None and self.running_std is None:
            raise MissingFieldError("lacks its field 'running_var'")
        # what is not affine has no weights, or empty ones (fbnn)
        self.weight = self.weight if self.weight is not None and self.weight.size else None
        self.bias = self.bias if self.bias is not None and self.bias.size else None

    def variance(self) -> Array:
        """The variance of each channel."""
        if self.running_var is not None:
            return self.running_var
        inverse = cast("Array", self.running_std)
        return (inverse.astype(np.float64) ** -2 - self.eps).astype(inverse.dtype)

    def _batched(self, shape: tuple[int, ...]) -> bool:
        """Whether an input is a batch.

        Raises:
            Refusal: it is no sample either.
        """
        channels = self.running_mean.size
        for batched in (True, False):
            if len(shape) == self.dimensions - (not batched) and shape[int(batched)] == channels:
                return batched
        raise Refusal(f"takes {self.dimensions} dimensions and {channels} channels, not sizes {shape}")

    def _made_batch(self, x: Array) -> Array:
        # BatchNormalization.lua sets the sizes of x itself, or of the copy that it makes of what is not contiguous
        return resize_in_place(x, x[None]) if x.flags.c_contiguous else x[None]

    def forward(self, x: Array) -> Array:
        batch = x if self._batched(x.shape) else self._made_batch(x)

        scale = 1 / np.sqrt(self.variance().astype(np.float64) + self.eps)
        scale = scale if self.weight is None else scale * self.weight
        batch = batch.astype(np.result_type(x, self.running_mean), copy=False)
        return _scaled(batch, self.running_mean, scale, self.bias)

    def lower(self, op: Builder, x: Value) -> Value:
        batch = x if self._batched(x.shape) else op.unsqueeze(x, 0)
        if batch is not x and x.is_contiguous:
            op.resize_in_place(x, batch)
        channels = self.running_mean.size
        scale = np.ones(channels, np.float32) if self.weight is None else self.weight
        bias = np.zeros(channels, np.float32) if self.bias is None else self.bias
        mean, variance = op.weight(self.running_mean, "rm"), op.weight(self.variance(), "riv")
        return op.BatchNormalization(
            batch, op.weight(scale, "s"), op.weight(bias, "b"), mean, variance, epsilon=self.eps
        )


#: How many elements are taken through all steps at a time: what stays at the processor's hand.
_BLOCK = 1 << 17
#: How many elements NumPy may gather before it computes: with room for whole channels it first copies the one number
#: of a channel as often as the channel has elements, which takes longer than to compute.
_BUFFER = 256


def _scaled(x: Array, mean: Array, scale: Array, shift: Array | None) -> Array:
    """(x - mean) · scale + shift for each channel (dimension 2), in x's precision, some channels at a time.

    The mean comes off first, as in Torch: it may be large against what is left.
    """
    y = np.empty(x.shape, x.dtype)
    given = (mean, scale) if shift is None else (mean, scale, shift)
    mean, scale, *shifts = (each.astype(x.dtype).reshape(-1, *[1] * (x.ndim - 2)) for each in given)
    count = max(1, _BLOCK * x.shape[1] // max(1, x.size))
    before = np.setbufsize(_BUFFER)
    try:
        for first in range(0, x.shape[1], count):
            part = slice(first, first + count)
            made = np.subtract(x[:, part], mean[part], out=y[:, part])
            made *= scale[part]
            for each in shifts:
                made += each[part]
    finally:
        np.setbufsize(before)
    return y


@layer("nn.SpatialBatchNormalization", "cudnn.SpatialBatchNormalization", "fbnn.SpatialBatchNormalization", kind="bn")
class SpatialBatchNormalization(BatchNormalization):
    """(x − running_mean) / √(running_var + eps) · weight + bias, for each channel; x is (N, C, H, W)"""

    dimensions = 4


@layer("nn.VolumetricBatchNormalization", "cudnn.VolumetricBatchNormalization", kind="bn")
class VolumetricBatchNormalization(BatchNormalization):
    """(x − running_mean) / √(running_var + eps) · weight + bias, for each channel; x is (N, C, T, H, W)"""

    dimensions = 5


#: What is assumed of instance norms, if nothing says how old the nn is that runs them.
MEASURING = (
    "nn.InstanceNormalization: measures at evaluation too, as on nn before its commit 919eeca of August 2017, where"
    " nothing in the file says otherwise; on younger ones it takes what is stored (--nn-age new)"
)
STORED = (
    "nn.InstanceNormalization: takes its stored mean and variance, as on nn from its commit 919eeca of August 2017 on"
)


@layer("nn.InstanceNormalization", kind="in")
class InstanceNormalization(Layer):
    """(x − mean) / √(var + eps) · weight + bias, with the mean and variance of each channel of each image

    Of fast-neural-style, texture_nets, CycleGAN and others. ``disabled`` copies x.

    They run an inner batch normalization over one image of N·C channels, which keeps a running average of what it
    measures. On nn before August 2017 it measures, at evaluation too. Since then it takes its averages, those of a file
    for batches of the size that it was last given, else mean 0 and variance 1. A file in which the average has never
    moved, although it was told to, was written on such an nn.
    """

    weight: Array | None = None
    bias: Array | None = None
    eps: float = 1e-5
    disabled: bool = False
    bn: object = None
    ignored = frozenset({"nOutput", "prev_N", "prev_batch_size", "affine", "momentum", "running_mean", "running_var"})

    def setup(self, bind: Binder) -> None:
        self._measures = bind.nn_age == "old" or (bind.nn_age is None and not self._written_by_new_nn())
        said = MEASURING if self._measures else STORED
        if not self.disabled and bind.nn_age is None and said not in bind.notes:
            bind.notes.append(said)

    def measures(self) -> bool:
        """Whether it takes the statistics of its input, and not those that are stored."""
        return self._measures

    def _written_by_new_nn(self) -> bool:
        if not isinstance(self.bn, TorchObject) or not self.bn.get("momentum", 0.1):
            return False
        mean, variance = self.bn.get("running_mean"), self.bn.get("running_var")
        still = mean is not None and variance is not None and not np.any(mean) and bool(np.all(variance == 1))
        repeated, weight = self.bn.get("weight"), self.weight
        return (
            still
            and weight is not None
            and repeated is not None
            and np.array_equal(np.resize(weight, repeated.shape), repeated)
        )

    def stored(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """The averages of the inner module: (N, C, 1, 1) where they have moved for batches of N, else one for all."""
        inner = self.bn if isinstance(self.bn, TorchObject) else TorchObject("")
        mean, variance = (cast("Array | None", inner.get(name)) for name in ("running_mean", "running_var"))
        channels = shape if len(shape) == 4 else (1, *shape)
        if mean is None or variance is None or mean.size != channels[0] * channels[1]:
            return np.zeros(()), np.ones(())
        if not np.any(mean) and bool(np.all(variance == 1)):
            return np.zeros(()), np.ones(())
        return mean.reshape(*channels[:2], 1, 1), variance.reshape(*channels[:2], 1, 1)

    def forward(self, x: Array) -> Array:
        if self.disabled:
            return x.copy()
        if self._measures:
            mean = x.mean((-2, -1), keepdims=True)
            variance = np.square(x - mean).mean((-2, -1), keepdims=True)
        else:
            mean, variance = (s.astype(x.dtype) for s in self.stored(x.shape))
        y = (x - mean) / np.sqrt(variance + self.eps)
        y = y if self.weight is None else y * self.weight.reshape(-1, 1, 1)
        y = y if self.bias is None else y + self.bias.reshape(-1, 1, 1)
        return y.reshape(x.shape)

    def lower(self, op: Builder, x: Value) -> Value:
        if self.disabled:
            return op.Identity(x)
        ones, zeros = np.ones(x.shape[-3], np.float32), np.zeros(x.shape[-3], np.float32)
        scale = op.weight(ones if self.weight is None else self.weight, "s")
        bias = op.weight(zeros if self.bias is None else self.bias, "b")
        batch = op.unsqueeze(x, 0) if x.rank == 3 else x
        if self._measures:
            y = op.InstanceNormalization(batch, scale, bias, epsilon=self.eps)
        else:
            mean, variance = self.stored(x.shape)
            # each image of the batch by averages of its own, then all by those that never moved
            if mean.ndim:
                batch = op.Mul(op.Sub(batch, mean), np.sqrt((1 + self.eps) / (variance + self.eps)))
            still = op.weight(zeros, "rm"), op.weight(ones, "riv")
            y = op.BatchNormalization(batch, scale, bias, *still, epsilon=self.eps)
        return op.Squeeze(y, [0]) if x.rank == 3 else y


@layer("nn.SpatialCrossMapLRN", "cudnn.SpatialCrossMapLRN", "inn.SpatialCrossResponseNormalization", kind="lrn")
class SpatialCrossMapLRN(Layer):
    """x · (k + alpha / size · Σ x²)^−beta, the sum over the ``size`` channels around each

    Of an even size, one channel more stands after than before. Old files of cudnn call k ``K``.
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0
    K: float | None = None
    ignored = frozenset({"scale", "paddedRatio", "accumRatio", "LRNDesc"})

    def setup(self, bind: Binder) -> None:
        if self.K is not None:
            self.k = self.K

    def forward(self, x: Array) -> Array:
        return x * self._scale(x) ** -self.beta

    def _scale(self, x: Array) -> Array:
        channels = x.shape[-3]
        before = (self.size - 1) // 2
        after = self.size - 1 - before
        around = np.stack(
            [np.square(x[..., max(c - before, 0) : c + after + 1, :, :]).sum(axis=-3) for c in range(channels)],
            axis=-3,
        )
        return self.k + self.alpha / self.size * around

    def lower(self, op: Builder, x: Value) -> Value:
        batch = op.unsqueeze(x, 0) if x.rank == 3 else x
        if self.size % 2:
            y = op.LRN(batch, size=self.size, alpha=self.alpha, beta=self.beta, bias=self.k)
        else:
            y = op.Mul(batch, op.Pow(self._lower_scale(op, batch), -self.beta))
        return op.Squeeze(y, [0]) if x.rank == 3 else y

    # SpatialCrossMapLRN.lua puts squares and powers into the output, and multiplies by the input last
    def forward_over(self, x: Array, last: Array) -> Array:
        return self._scale(x) ** (-2 * self.beta)

    def lower_over(self, op: Builder, x: Value, last: Value) -> Value:
        batch = op.unsqueeze(x, 0) if x.rank == 3 else x
        y = op.Pow(self._lower_scale(op, batch), -2 * self.beta)
        return op.Squeeze(y, [0]) if x.rank == 3 else y

    def _lower_scale(self, op: Builder, x: Value) -> Value:
        """A convolution adds up the channels: ONNX leaves it open what stands around the middle of an even number."""
        c = np.arange(x.shape[1])
        # from[i, j]: channel j counts for channel i
        offset = c[None, :] - c[:, None]
        counts = (offset >= -((self.size - 1) // 2)) & (offset <= self.size // 2)
        weight = (counts * (self.alpha / self.size)).astype(np.float32)[:, :, None, None]
        return op.Conv(op.Mul(x, x), op.weight(weight, "w"), op.weight(np.full(len(c), self.k, np.float32), "b"))


@layer("nn.Normalize", kind="normalize")
class Normalize(Layer):
    """x / (Σ |x|^p + eps)^(1/p) for each row; x / (max |x| + eps) for infinite p"""

    p: float
    eps: float = 1e-10
    ignored = frozenset({"cross"})

    def forward(self, x: Array) -> Array:
        if x.ndim > 2:
            raise Refusal(f"takes 1 or 2 dimensions, not {x.ndim}")
        size = np.abs(x)
        if math.isinf(self.p):
            return x / (size.max(-1, keepdims=True) + self.eps)
        return x / ((size**self.p).sum(-1, keepdims=True) + self.eps) ** (1 / self.p)

    def lower(self, op: Builder, x: Value) -> Value:
        if x.rank > 2:
            raise Refusal(f"takes 1 or 2 dimensions, not {x.rank}")
        axes = [x.rank - 1]
        if math.isinf(self.p):
            return op.Div(x, op.Add(op.ReduceMax(op.Abs(x), axes, keepdims=1), self.eps))
        if self.p == 2:
            return op.Div(x, op.Sqrt(op.Add(op.ReduceSum(op.Mul(x, x), axes, keepdims=1), self.eps)))
        if self.p == 1:
            return op.Div(x, op.Add(op.ReduceSum(op.Abs(x), axes, keepdims=1), self.eps))
        total = op.Add(op.ReduceSum(op.Pow(op.Abs(x), self.p), axes, keepdims=1), self.eps)
        return op.Div(x, op.Pow(total, 1 / self.p))


@layer("nn.L2Normalize", kind="normalize")
class L2Normalize(Layer):
    """x / √(Σ x²) for each row; for all of x in a variant whose ``normSquared`` is a number"""

    ignored = frozenset({"normSquared"})

    def _axes(self, rank: int) -> tuple[int, ...]:
        return tuple(range(rank)) if isinstance(self.raw.get("normSquared"), (int, float)) else (rank - 1,)

    def forward(self, x: Array) -> Array:
        return x / np.sqrt(np.square(x).sum(self._axes(x.ndim), keepdims=True))

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Div(x, op.Sqrt(op.ReduceSum(op.Mul(x, x), self._axes(x.rank), keepdims=1)))


@layer("nn.SpatialFeatNormalization", kind="featnorm")
class SpatialFeatNormalization(Layer):
    """(x − mean) / std for each channel of (C, H, W) or (N, C, H, W), of dpnn"""

    mean: Array
    std: Array
    ignored = frozenset({"noOfFeats"})

    def forward(self, x: Array) -> Array:
        if x.ndim not in (3, 4) or x.shape[-3] != self.mean.size:
            raise Refusal(f"takes images of {self.mean.size} channels, not sizes {x.shape}")
        return (x - self.mean.reshape(-1, 1, 1)) / self.std.reshape(-1, 1, 1)

    def lower(self, op: Builder, x: Value) -> Value:
        mean, deviation = (stored.reshape(-1, 1, 1) for stored in (self.mean, self.std))
        return op.Div(op.Sub(x, op.weight(mean, "m")), op.weight(deviation, "sd"))


@layer("nn.LayerNormalization", "onmt.LayerNormalization", kind="layernorm")
class LayerNormalization(Sequential):
    """(x − mean) / √(Σ (x − mean)² + eps) · √n · weight + bias for each row, as the modules inside spell it"""

    modules: list[Layer]


@layer("inn.SpatialSameResponseNormalization", kind="lrn")
class SpatialSameResponseNormalization(Sequential):
    """x / (1 + alpha · mean x²)^beta, the mean over a square around each pixel, as the modules inside spell it"""

    modules: list[Layer]
    ignored = frozenset({"size", "alpha", "beta"})
