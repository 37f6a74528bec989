"""Normalization by what surrounds each pixel: subtractive, divisive, contrastive, and that of nnx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from retorch.layers.activation import above
from retorch.layers.base.layer import Array, Layer, Refusal, layer
from retorch.torch7 import LuaTable, TorchObject

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


def kernels(estimator: object, channels: int, kernel: object) -> Array:
    """The (channels, height, width) weights with which a module of Torch sums up the surroundings over all channels.

    Args:
        estimator: an ``nn.Sequential`` of a padding, one convolution or two of one dimension each, and what repeats the
            sum for every channel; or nothing, then ``kernel`` is laid over all channels.
        channels: how many channels the input has.
        kernel: the (height, width) kernel that the module was made with, or the one of both directions.

    Raises:
        Refusal: convolutions that do something else.
    """
    modules = estimator.get("modules") if isinstance(estimator, TorchObject) else None
    if not isinstance(modules, LuaTable):
        given = np.asarray(kernel)
        flat = given if given.ndim == 2 else np.outer(given, given)
        return np.broadcast_to(flat, (channels, *flat.shape))
    whole: Array = np.ones((channels, 1, 1))
    for module in modules.sequence():
        if isinstance(module, TorchObject) and "Convolution" in module.typename:
            whole = _combined(whole, _weight(module, channels))
    return whole


def _weight(module: TorchObject, channels: int) -> Array:
    bias: Any = module.get("bias")
    if isinstance(bias, np.ndarray) and bias.any():
        raise Refusal("its estimator has biases")
    weight = np.asarray(module["weight"])
    shape = (channels, int(module["kH"]), int(module["kW"]))
    if weight.size != np.prod(shape):
        raise Refusal(f"its estimator has weights of the shape {weight.shape} for {channels} channels")
    return weight.reshape(shape)


def _combined(first: Array, then: Array) -> Array:
    """One kernel for two that follow each other, a row and a column."""
    if any(a > 1 and b > 1 for a, b in zip(first.shape[1:], then.shape[1:], strict=True)):
        raise Refusal("its estimator has two convolutions along one dimension")
    return first * then


def surroundings(x: Array, kernel: Array) -> Array:
    """Σ kernel · x around each pixel and over all channels, with zeros outside: (N, C, H, W) to (N, 1, H, W)."""
    height, width = kernel.shape[1:]
    up, left = height // 2, width // 2
    padded = np.pad(x, [(0, 0), (0, 0), (up, height - 1 - up), (left, width - 1 - left)])
    total = np.zeros((len(x), 1, *x.shape[2:]), x.dtype)
    for i in range(height):
        for j in range(width):
            window = padded[:, :, i : i + x.shape[2], j : j + x.shape[3]]
            total += (window * kernel[:, i, j, None, None].astype(x.dtype)).sum(1, keepdims=True)
    return total


def lower_surroundings(op: Builder, x: Value, kernel: Array, suffix: str) -> Value:
    """The same as one convolution."""
    height, width = kernel.shape[1:]
    up, left = height // 2, width // 2
    weight = op.weight(np.ascontiguousarray(kernel[None], np.float32), suffix)
    return op.Conv(x, weight, pads=[up, left, height - 1 - up, width - 1 - left])


class Local(Layer):
    """What both share: images of (C, H, W) or batches of them, and how much of the kernel lies inside the image."""

    nInputPlane: int = 1
    kernel: object = None
    meanestimator: object = None

    def _check(self, shape: tuple[int, ...]) -> None:
        if len(shape) not in (3, 4) or shape[-3] != self.nInputPlane:
            raise Refusal(f"takes images of {self.nInputPlane} channels, not sizes {shape}")

    def _batch(self, x: Array) -> Array:
        self._check(x.shape)
        return x if x.ndim == 4 else x[None]

    def _kernels(self) -> Array:
        return kernels(self.meanestimator, self.nInputPlane, self.kernel)

    def _inside(self, op: Builder, x: Value) -> Value:
        """The weight that lies inside the image, (1, 1, H, W)."""
        ones = np.ones((1, *x.shape[-3:]))
        return op.weight(surroundings(ones, self._kernels()).astype(np.float32), "coef")


@layer("nn.SpatialSubtractiveNormalization", kind="subnorm")
class SpatialSubtractiveNormalization(Local):
    """x − the weighted mean of the surroundings over all channels, which at the border has fewer to count"""

    nInputPlane: int = 1
    kernel: object = None
    meanestimator: object = None
    ignored = frozenset({"coef", "_coef", "ones", "localsums", "adjustedsums", "subtractor", "divider", "_inpsz"})

    def forward(self, x: Array) -> Array:
        batch, kernel = self._batch(x), self._kernels()
        mean = surroundings(batch, kernel) / surroundings(np.ones_like(batch[:1]), kernel)
        return (batch - mean).reshape(x.shape)

    def lower(self, op: Builder, x: Value) -> Value:
        self._check(x.shape)
        batch = op.unsqueeze(x, 0) if x.rank == 3 else x
        mean = op.Div(lower_surroundings(op, batch, self._kernels(), "w"), self._inside(op, x))
        y = op.Sub(batch, mean)
        return op.Squeeze(y, [0]) if x.rank == 3 else y


@layer("nn.SpatialDivisiveNormalization", kind="divnorm")
class SpatialDivisiveNormalization(Local):
    """x / d, where d = √(weighted sum of x² over the surroundings and channels) / (weight that lies inside the image)

    What of d is not above ``threshold`` becomes ``thresval``.
    """

    nInputPlane: int = 1
    kernel: object = None
    meanestimator: object = None
    stdestimator: object = None
    threshold: float = 1e-4
    thresval: float = 1e-4
    ignored = frozenset(
        {
            "coef",
            "_coef",
            "ones",
            "localstds",
            "adjustedstds",
            "thresholdedstds",
            "normalizer",
            "divider",
            "thresholder",
        }
    )

    def _deviation_kernels(self) -> Array:
        return kernels(self.stdestimator, self.nInputPlane, self.kernel)

    def forward(self, x: Array) -> Array:
        batch = self._batch(x)
        deviation = np.sqrt(surroundings(batch**2, self._deviation_kernels()))
        deviation = deviation / surroundings(np.ones_like(batch[:1]), self._kernels())
        return (batch / np.where(deviation > self.threshold, deviation, self.thresval)).reshape(x.shape)

    def lower(self, op: Builder, x: Value) -> Value:
        self._check(x.shape)
        batch = op.unsqueeze(x, 0) if x.rank == 3 else x
        squares = lower_surroundings(op, op.Mul(batch, batch), self._deviation_kernels(), "w")
        deviation = op.Div(op.Sqrt(squares), self._inside(op, x))
        y = op.Div(batch, above(op, deviation, self.threshold, self.thresval))
        return op.Squeeze(y, [0]) if x.rank == 3 else y


@layer("nn.SpatialContrastiveNormalization", kind="contrastnorm")
class SpatialContrastiveNormalization(Layer):
    """Subtractive, then divisive normalization"""

    container = True
    normalizer: Layer
    ignored = frozenset({"nInputPlane", "kernel", "threshold", "thresval"})

    def children(self) -> list[Layer]:
        return [self.normalizer]

    def forward(self, x: Array) -> Array:
        return cast("Array", self.normalizer(x))

    def lower(self, op: Builder, x: Value) -> Value:
        return cast("Any", op.call(self.normalizer, x))


@layer("nn.SpatialNormalization", kind="contrastnorm")
class SpatialNormalization(Layer):
    """(x − m) / max(s, t): m and s as in subtractive and divisive normalization, t = max(mean of s, 0.001); of nnx

    x is one image of (C, H, W), or of (H, W). ``fixedThres`` stands for t where it is stored.
    """

    nfeatures: int
    kernel: object
    fixedThres: float | None = None
    ignored = frozenset(
        """coef convo convostd diviseMod inConvo inConvoVar inMean inStdDev inStdDevNotUnit inVar input inputZeroMean
        inputZeroMeanSq ker2HisPair ker2WisPair kerHisPair kerWisPair meanDiviseMod pad2H pad2W padH padW sqrtMod
        squareMod stdDev stdDiviseMod subtractMod thresMod thstd""".split()
    )

    def _kernels(self) -> Array:
        kernel = np.asarray(self.kernel)
        if kernel.ndim != 2:
            raise Refusal("has two kernels, one after the other")
        return np.broadcast_to(kernel, (self.nfeatures, *kernel.shape))

    def forward(self, x: Array) -> Array:
        image, kernel = x.reshape(1, self.nfeatures, *x.shape[-2:]), self._kernels()
        inside = surroundings(np.ones_like(image), kernel)
        centered = image - surroundings(image, kernel) / inside
        deviation = np.sqrt(surroundings(centered**2, kernel)) / inside
        threshold = self.fixedThres or max(float(deviation.mean()), 1e-3)
        y = centered / np.where(deviation > threshold, deviation, threshold)
        return y.reshape(self.nfeatures, *x.shape[-2:])

    def lower(self, op: Builder, x: Value) -> Value:
        kernel = self._kernels()
        image = op.Reshape(x, [1, self.nfeatures, *x.shape[-2:]])
        inside = op.weight(surroundings(np.ones(image.shape), kernel).astype(np.float32), "coef")
        mean = op.Div(lower_surroundings(op, image, kernel, "w"), inside)
        centered = op.Sub(image, mean)
        squares = lower_surroundings(op, op.Mul(centered, centered), kernel, "w")
        deviation = op.Div(op.Sqrt(squares), inside)
        if self.fixedThres:
            bounded = op.Clip(deviation, self.fixedThres)
        else:
            average = op.ReduceMean(deviation, [1, 2, 3], keepdims=1)
            bounded = op.Max(deviation, op.Clip(average, 1e-3))
        return op.Squeeze(op.Div(centered, bounded), [0])
