"""Networks of one bit as BinaryNet published them: weights and neurons of ±1, norms by powers of two."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.convolution.spatial import SIZES, SpatialConvolution, check_rank
from retorch.layers.linear import Linear

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value

#: What the layers keep for training: copies of weights, and random numbers.
TRAINING = frozenset({"weightB", "weightOrg", "randmat", "maskStc", "stcWeights", "binaryFlag"})


def rounded(x: Array) -> Array:
    """To the nearest whole number, halves away from zero, as C rounds."""
    return np.copysign(np.floor(np.abs(x) + 0.5), x)


def signs(weight: Array) -> Array:
    """±1 by which is nearer, 0 going up; in the numbers of the file, of which the smallest below 0 go up too."""
    return 2 * rounded(np.clip((weight + 1) / 2, 0, 1)) - 1


def nearest_power_of_two(x: Array) -> Array:
    """±2ⁿ for the whole n that is nearest to log₂|x|; 0 for 0"""
    with np.errstate(divide="ignore"):
        power = rounded(np.log(np.abs(x)) / np.log(2).astype(x.dtype))
    return np.sign(x) * np.exp2(power)


@layer("BinaryLinear", kind="fc")
class BinaryLinear(Linear):
    """x · sign(weight)ᵀ + bias, the sign of 0 being 1; x is (N, in) or (in), weight (out, in)"""

    weight: Array
    bias: Array | None = None
    ignored = TRAINING

    def setup(self, bind: Binder) -> None:
        self._stored, self.weight = self.weight, signs(self.weight)

    def parameters(self) -> dict[str, Array]:
        return super().parameters() | {"weight": self._stored}


@layer("BinarySpatialConvolution", "cudnnBinarySpatialConvolution", kind="conv")
class BinarySpatialConvolution(SpatialConvolution):
    """A SpatialConvolution by sign(weight), the sign of 0 being 1"""

    ignored = SIZES | TRAINING

    def setup(self, bind: Binder) -> None:
        super().setup(bind)
        self._stored, self.weight = self.weight, signs(self.weight)

    def parameters(self) -> dict[str, Array]:
        return super().parameters() | {"weight": self._stored}


@layer("BinarizedNeurons", kind="sign")
class BinarizedNeurons(Layer):
    """sign((x + 1) / 2 − 1/2): 1, −1, or 0 for 0"""

    ignored = frozenset({"stcFlag", "randmat", "outputR"})

    def forward(self, x: Array) -> Array:
        return np.sign((x + 1) / 2 - 0.5)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Sign(op.Sub(op.Mul(op.Add(x, 1.0), 0.5), 0.5))


@layer("BatchNormalizationShiftPow2", kind="bn")
class BatchNormalizationShiftPow2(Layer):
    """(x − running_mean) · p(running_std) · p(weight) + bias, p(v) being the power of two nearest to v; x is (N, C)

    running_std is the inverse of a standard deviation.
    """

    running_mean: Array
    running_std: Array
    weight: Array | None = None
    bias: Array | None = None
    affine: bool = True
    runningVal: bool = True
    #: How many dimensions a batch has.
    dimensions: ClassVar[int] = 2
    ignored = frozenset(
        """eps momentum running_std_ap2 weightSign weight_ap2 centered centerSign centeredSign centeredOrg std
        normalized normalizedSign""".split()
    )

    def setup(self, bind: Binder) -> None:
        if not self.runningVal:
            raise Refusal("measures its batch at evaluation too")
        if not self.running_mean.size:
            raise Refusal("was never run in training, and Torch does not run it at evaluation before that")
        scale = nearest_power_of_two(self.running_std)
        if self.affine and self.weight is not None:
            scale = scale * nearest_power_of_two(self.weight)
        shape = (-1, *[1] * (self.dimensions - 2))
        self._mean, self._scale = self.running_mean.reshape(shape), scale.reshape(shape)
        self._bias = self.bias.reshape(shape) if self.affine and self.bias is not None else None

    def reads(self) -> tuple[int | None, ...] | None:
        return (self.running_mean.size, *[None] * (self.dimensions - 2))

    def check(self, x: Array | Value) -> None:
        check_rank(x, self.dimensions)
        if x.shape[1] != self.running_mean.size:
            raise Refusal(f"takes {self.running_mean.size} channels, not {x.shape[1]}")

    def forward(self, x: Array) -> Array:
        self.check(x)
        y = (x - self._mean) * self._scale
        return y if self._bias is None else y + self._bias

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        y = op.Mul(op.Sub(x, op.weight(self._mean, "rm")), op.weight(self._scale, "s"))
        return y if self._bias is None else op.Add(y, op.weight(self._bias, "b"))


@layer("SpatialBatchNormalizationShiftPow2", kind="bn")
class SpatialBatchNormalizationShiftPow2(BatchNormalizationShiftPow2):
    """The same for (N, C, H, W)"""

    dimensions = 4
