"""Elementwise activations: rectifiers, squashing functions, shrinkage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.base.memory import result
from retorch.layers.shape.view import axis_of

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


def thresholded(x: Array, threshold: float, value: float, *, keeps_nan: bool, inplace: bool) -> Array:
    """x where x > threshold, elsewhere ``value``; or ``value`` where x <= threshold, which leaves NaN as it is."""
    if threshold == value and x.dtype.kind == "f":
        # in one pass; of NaN and a number, fmax gives the number
        larger = np.maximum if keeps_nan else np.fmax
        return larger(x, value, out=x if inplace else None)
    y = np.where(x <= threshold, value, x) if keeps_nan else np.where(x > threshold, x, value)
    return result(x, y, inplace, idempotent=True)


def above(op: Builder, x: Value, threshold: float, value: float, keeps_nan: bool = False) -> Value:
    """The same in as few operators as say it: Relu and Clip hand NaN on, the others compare."""
    if threshold == value and (keeps_nan or not op.may_be_nan(x)):
        return op.Relu(x) if value == 0 else op.Clip(x, threshold)
    if keeps_nan and (value != 0 or op.may_be_nan(x)):
        return op.Where(op.LessOrEqual(x, threshold), value, x)
    if value == 0:
        return op.ThresholdedRelu(x, alpha=threshold)
    return op.Where(op.Greater(x, threshold), x, value)


def clipped(x: Array, least: float, most: float, inplace: bool) -> Array:
    """THNN's HardTanh, its ReLU6 too: min(max(x, least), most).

    Of NaN ``most``; but NaN in place, unless x is a vector or not in one piece: then THNN goes over it once more.
    """
    y = np.clip(x, least, most)
    if not inplace or x.ndim == 1 or not x.flags.c_contiguous:
        y = np.where(x <= most, y, np.asarray(most, y.dtype))
    return result(x, y, inplace, idempotent=True)


def lower_clipped(op: Builder, x: Value, least: float, most: float, inplace: bool) -> Value:
    """The same in ONNX, whose Clip hands NaN on."""
    y = op.Clip(x, least, most)
    if op.may_be_nan(x) and (not inplace or x.rank == 1 or not x.is_contiguous):
        y = op.Where(op.LessOrEqual(x, most), y, most)
    return op.result(x, y, inplace, idempotent=True)


@layer("nn.ReLU", "cudnn.ReLU", "nn.GuidedReLU", "nn.DeconvnetReLU", kind="relu")
class ReLU(Layer):
    """max(x, 0); of NaN 0, but NaN in place and in cuDNN"""

    inplace: bool = False
    ignored = frozenset({"threshold", "val", "guide", "deconv"})

    def setup(self, bind: Binder) -> None:
        self._keeps_nan = self.inplace or self.typename.startswith("cudnn.")

    def forward(self, x: Array) -> Array:
        return thresholded(x, 0.0, 0.0, keeps_nan=self._keeps_nan, inplace=self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.result(x, above(op, x, 0.0, 0.0, self._keeps_nan), self.inplace, idempotent=True)


@layer("cudnn.ReLUInPlace", kind="relu")
class ReLUInPlace(ReLU):
    """max(x, 0), always in place; of 2014"""

    inplace: bool = True


@layer("nn.ReLU6", kind="relu")
class ReLU6(Layer):
    """min(max(x, 0), 6); of NaN as HardTanh"""

    inplace: bool = False

    def forward(self, x: Array) -> Array:
        return clipped(x, 0, 6, self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        return lower_clipped(op, x, 0.0, 6.0, self.inplace)


@layer("cudnn.ClippedReLU", kind="relu")
class ClippedReLU(Layer):
    """min(max(x, 0), ceiling)"""

    ceiling: float
    inplace: bool = False

    def forward(self, x: Array) -> Array:
        return result(x, np.clip(x, 0, self.ceiling), self.inplace, idempotent=True)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.result(x, op.Clip(x, 0.0, self.ceiling), self.inplace, idempotent=True)


@layer("nn.Threshold", kind="threshold")
class Threshold(Layer):
    """x where x > threshold, elsewhere val; of NaN val, but NaN in place"""

    threshold: float = 1e-6
    val: float = 0.0
    inplace: bool = False

    def forward(self, x: Array) -> Array:
        return thresholded(x, self.threshold, self.val, keeps_nan=self.inplace, inplace=self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        y = above(op, x, self.threshold, self.val, self.inplace)
        return op.result(x, y, self.inplace, idempotent=True)


@layer("nn.LeakyReLU", "w2nn.LeakyReLU", kind="leakyrelu")
class LeakyReLU(Layer):
    """max(x, 0) + negval · min(x, 0); waifu2x had a class of this name before nn, and called it negative_scale"""

    negval: float = 0.01
    negative_scale: float | None = None
    inplace: bool = False
    ignored = frozenset({"negative"})

    def setup(self, bind: Binder) -> None:
        self.negval = self.negval if self.negative_scale is None else self.negative_scale

    def forward(self, x: Array) -> Array:
        return result(x, np.where(x > 0, x, self.negval * x), self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.result(x, op.LeakyRelu(x, alpha=self.negval), self.inplace)


@layer("nn.RReLU", kind="leakyrelu")
class RReLU(Layer):
    """max(x, 0) + (lower + upper) / 2 · min(x, 0): at evaluation the slope is the mean of the random ones"""

    # made of the fields lower and upper; ``lower`` is a method here
    slope: float = (1 / 8 + 1 / 3) / 2
    inplace: bool = False
    ignored = frozenset({"lower", "upper", "channelwise"})

    def setup(self, bind: Binder) -> None:
        ends = [self.raw.get("lower", 1 / 8), self.raw.get("upper", 1 / 3)]
        if not all(isinstance(end, (int, float)) for end in ends):
            raise Refusal("its fields lower and upper should be numbers")
        self.slope = sum(float(end) for end in ends) / 2

    def forward(self, x: Array) -> Array:
        return result(x, np.where(x > 0, x, self.slope * x), self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.result(x, op.LeakyRelu(x, alpha=self.slope), self.inplace)


@layer("nn.PReLU", "fbnn.LeakyReLU", kind="prelu")
class PReLU(Layer):
    """max(x, 0) + weight · min(x, 0); one weight, or one for each channel

    Channels are dimension 2, or 1 of a vector. Older versions took three dimensions for (channels, height, width).
    """

    weight: Array
    nOutputPlane: int = 0

    def slopes(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that the weights must have to line up with an input.

        Raises:
            Refusal: an input of another number of channels.
        """
        if self.nOutputPlane == 0:
            return (1,)
        axis = 1 if len(shape) > 1 else 0
        if shape[axis] != self.nOutputPlane and len(shape) == 3:
            axis = 0
        if shape[axis] != self.nOutputPlane:
            raise Refusal(f"has weights for {self.nOutputPlane} channels; its input has the sizes {shape}")
        return (self.nOutputPlane,) + (1,) * (len(shape) - 1 - axis)

    def forward(self, x: Array) -> Array:
        return np.where(x > 0, x, self.weight.reshape(self.slopes(x.shape)) * x)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.PRelu(x, op.weight(self.weight.reshape(self.slopes(x.shape)), "w"))


@layer("nn.ELU", kind="elu")
class ELU(Layer):
    """x where x > 0, elsewhere alpha · (exp(x) − 1)"""

    alpha: float = 1.0
    inplace: bool = False

    def forward(self, x: Array) -> Array:
        return result(x, np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0))), self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.result(x, op.Elu(x, alpha=self.alpha), self.inplace)


@layer("nn.HardTanh", "nn.Clamp", kind="hardtanh")
class HardTanh(Layer):
    """min(max(x, min_val), max_val); of NaN max_val, but NaN in place, where x is no vector and in one piece"""

    min_val: float = -1.0
    max_val: float = 1.0
    inplace: bool = False

    def forward(self, x: Array) -> Array:
        return clipped(x, self.min_val, self.max_val, self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        return lower_clipped(op, x, self.min_val, self.max_val, self.inplace)


@layer("nn.Clip", kind="clip")
class Clip(Layer):
    """min(max(x, minval), maxval), of dpnn"""

    minval: float
    maxval: float
    ignored = frozenset({"_mask", "_byte"})

    def forward(self, x: Array) -> Array:
        return np.clip(x, self.minval, self.maxval)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Clip(x, self.minval, self.maxval)


class Shrink(Layer):
    """What both shrinkages share: the field ``lambda``, which is no name in Python."""

    bound: float = 0.5
    ignored = frozenset({"lambda"})

    def setup(self, bind: Binder) -> None:
        bound = self.raw.get("lambda", 0.5)
        if not isinstance(bound, (int, float)):
            raise Refusal("its field lambda should be a number")
        self.bound = float(bound)


@layer("nn.HardShrink", kind="shrink")
class HardShrink(Shrink):
    """x where |x| > lambda, elsewhere 0"""

    def forward(self, x: Array) -> Array:
        return np.where(np.abs(x) > self.bound, x, 0)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Shrink(x, lambd=self.bound, bias=0.0)


@layer("nn.SoftShrink", kind="shrink")
class SoftShrink(Shrink):
    """x − lambda where x > lambda, x + lambda where x < −lambda, elsewhere 0"""

    def forward(self, x: Array) -> Array:
        return np.where(x > self.bound, x - self.bound, np.where(x < -self.bound, x + self.bound, 0))

    def lower(self, op: Builder, x: Value) -> Value:
        y = op.Shrink(x, lambd=self.bound, bias=self.bound)
        return op.Where(op.LessOrEqual(x, x), y, 0.0) if op.may_be_nan(x) else y  # of NaN 0: Caffe2 hands it on


@layer("nn.TanhShrink", kind="tanhshrink")
class TanhShrink(Layer):
    """x − tanh(x)"""

    ignored = frozenset({"tanh"})

    def forward(self, x: Array) -> Array:
        return x - np.tanh(x)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Sub(x, op.Tanh(x))


@layer("nn.Sigmoid", "cudnn.Sigmoid", kind="sigmoid")
class Sigmoid(Layer):
    """1 / (1 + exp(−x))"""

    inplace: bool = False

    def forward(self, x: Array) -> Array:
        return result(x, 1 / (1 + np.exp(-x)), self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.result(x, op.Sigmoid(x), self.inplace)


@layer("nn.Tanh", "cudnn.Tanh", kind="tanh")
class Tanh(Layer):
    """tanh(x)"""

    inplace: bool = False

    def forward(self, x: Array) -> Array:
        return result(x, np.tanh(x), self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.result(x, op.Tanh(x), self.inplace)


@layer("nn.SoftPlus", kind="softplus")
class SoftPlus(Layer):
    """log(1 + exp(beta · x)) / beta, and x itself where beta · x > threshold"""

    beta: float = 1.0
    threshold: float = 20.0

    def forward(self, x: Array) -> Array:
        z = self.beta * x
        return np.where(z > self.threshold, x, np.logaddexp(0, z) / self.beta)

    def lower(self, op: Builder, x: Value) -> Value:
        z = x if self.beta == 1 else op.Mul(x, self.beta)
        y = op.Softplus(z) if self.beta == 1 else op.Div(op.Softplus(z), self.beta)
        # from 17 on, both are the same float32
        return y if self.threshold >= 17 else op.Where(op.Greater(z, self.threshold), x, y)


@layer("nn.SoftSign", kind="softsign")
class SoftSign(Layer):
    """x / (1 + |x|)"""

    ignored = frozenset({"temp", "tempgrad"})

    def forward(self, x: Array) -> Array:
        return x / (1 + np.abs(x))

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Softsign(x)


@layer("nn.LogSigmoid", kind="logsigmoid")
class LogSigmoid(Layer):
    """log(1 / (1 + exp(−x)))"""

    def forward(self, x: Array) -> Array:
        return -np.logaddexp(0, -x)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Neg(op.Softplus(op.Neg(x)))


@layer("nn.CReLU", kind="crelu")
class CReLU(Layer):
    """max({x, −x}, 0), joined along the channels: dimension 2 of a batch, else 1

    A batch has one dimension more than ``nInputDims``; before there was that field, it had four dimensions.
    """

    nInputDims: int | None = None
    ignored = frozenset({"modules", "inplace", "batched"})

    def _axis(self, rank: int) -> int:
        batched = rank != 3 if self.nInputDims is None else rank == self.nInputDims + 1
        return 1 if batched else 0

    def forward(self, x: Array) -> Array:
        return np.maximum(np.concatenate([x, -x], self._axis(x.ndim)), 0)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Relu(op.Concat(x, op.Neg(x), axis=self._axis(x.rank)))


@layer("nn.GatedLinearUnit", kind="glu")
class GatedLinearUnit(Layer):
    """a · sigmoid(b), a and b being the halves of x along dimension ``dim``, by default the last"""

    dim: int | None = None
    ignored = frozenset({"sigmoid", "fHalf", "sHalf", "sHalfOut"})

    def _axis(self, shape: Sequence[int]) -> int:
        axis = axis_of(len(shape) if self.dim is None else self.dim, len(shape))
        if shape[axis] % 2:
            raise Refusal(f"cannot halve {shape[axis]} entries along dimension {axis + 1}")
        return axis

    def forward(self, x: Array) -> Array:
        a, b = np.split(x, 2, self._axis(x.shape))
        return a / (1 + np.exp(-b))

    def lower(self, op: Builder, x: Value) -> Value:
        a, b = op.many("Split", 2, x, axis=self._axis(x.shape), num_outputs=2)
        return op.Mul(a, op.Sigmoid(b))
