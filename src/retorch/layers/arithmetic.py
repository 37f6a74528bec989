"""Elementwise arithmetic: functions of one variable, constants, and trained offsets and factors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.base.memory import result

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.Abs", kind="abs")
class Abs(Layer):
    """|x|"""

    def forward(self, x: Array) -> Array:
        return np.abs(x)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Abs(x)


@layer("nn.Square", kind="square")
class Square(Layer):
    """x²"""

    def forward(self, x: Array) -> Array:
        return np.square(x)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Mul(x, x)


@layer("nn.Sqrt", kind="sqrt")
class Sqrt(Layer):
    """√x"""

    # of use to the gradient only
    ignored = frozenset({"eps"})

    def forward(self, x: Array) -> Array:
        return np.sqrt(x)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Sqrt(x)


@layer("nn.Power", kind="power")
class Power(Layer):
    """x to the power of pow"""

    pow: float

    def forward(self, x: Array) -> Array:
        return np.power(x, self.pow)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Pow(x, self.pow)


@layer("nn.Exp", kind="exp")
class Exp(Layer):
    """exp(x)"""

    def forward(self, x: Array) -> Array:
        return np.exp(x)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Exp(x)


@layer("nn.Log", kind="log")
class Log(Layer):
    """log(x)"""

    def forward(self, x: Array) -> Array:
        return np.log(x)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Log(x)


@layer("nn.Minus", kind="neg")
class Minus(Layer):
    """−x, of nnx"""

    def forward(self, x: Array) -> Array:
        return -x

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Neg(x)


@layer("nn.MulConstant", kind="mulconstant")
class MulConstant(Layer):
    """x · constant_scalar"""

    constant_scalar: float
    inplace: bool = False

    def forward(self, x: Array) -> Array:
        return result(x, x * self.constant_scalar, self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.result(x, op.Mul(x, self.constant_scalar), self.inplace)


@layer("nn.AddConstant", kind="addconstant")
class AddConstant(Layer):
    """x + constant_scalar: a number, or a vector as long as the last of at most two dimensions"""

    constant_scalar: object
    inplace: bool = False
    ignored = frozenset({"tmp"})

    def setup(self, bind: Binder) -> None:
        self._constant()

    def _constant(self) -> Array | float:
        stored = self.constant_scalar
        if isinstance(stored, np.ndarray):
            return cast("Array", stored)
        if isinstance(stored, (int, float)):
            return float(stored)
        raise Refusal("its constant is neither a number nor a tensor")

    def forward(self, x: Array) -> Array:
        return result(x, x + self._constant(), self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        constant = self._constant()
        term = op.weight(constant, "b") if isinstance(constant, np.ndarray) else constant
        return op.result(x, op.Add(x, term), self.inplace)


def aligned(weight: Array, shape: tuple[int, ...]) -> Array:
    """A trained array in the form in which NumPy's broadcasting pairs it with an input as Torch does.

    As many elements as the input has: one by one. As many dimensions: dimensions of one are repeated. Else the array is
    laid over each sample of a batch.

    Raises:
        Refusal: it fits in no way.
    """
    batch, sample = shape[0], shape[1:]
    if weight.size == math.prod(shape):
        # a batch of one takes the form that larger ones do
        return weight.reshape(sample if batch == 1 else shape)
    if weight.size == 1:
        return weight.reshape(1)
    if weight.ndim == len(shape):
        if all(w in (1, s) for w, s in zip(weight.shape, shape, strict=True)):
            return weight[0] if len(weight) == 1 else weight
    elif weight.size == math.prod(sample):
        return weight.reshape(sample)
    raise Refusal(f"its sizes {weight.shape} do not fit an input of sizes {shape}")


@layer("nn.Mul", kind="mul")
class Mul(Layer):
    """x · weight, one number"""

    weight: Array

    def forward(self, x: Array) -> Array:
        return x * self.weight.ravel()[0]

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Mul(x, op.weight(self.weight.reshape(-1)[:1], "w"))


@layer("nn.CMul", kind="cmul")
class CMul(Layer):
    """x ⊙ weight, repeated over the batch and along its dimensions of one"""

    weight: Array
    ignored = frozenset({"size"})

    def forward(self, x: Array) -> Array:
        return x * aligned(self.weight, x.shape)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Mul(x, op.weight(aligned(self.weight, x.shape), "w"))


@layer("nn.CAdd", kind="cadd")
class CAdd(Layer):
    """x + bias, repeated over the batch and along its dimensions of one"""

    bias: Array
    ignored = frozenset({"size"})

    def forward(self, x: Array) -> Array:
        return x + aligned(self.bias, x.shape)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Add(x, op.weight(aligned(self.bias, x.shape), "b"))


@layer("nn.Add", kind="add")
class Add(Layer):
    """x + bias: one number, or one for each element of a sample"""

    bias: Array
    scalar: bool = False
    ignored = frozenset({"_ones"})

    def _bias(self, shape: tuple[int, ...]) -> Array:
        return self.bias.reshape(-1)[:1] if self.scalar else aligned(self.bias, shape)

    def forward(self, x: Array) -> Array:
        return x + self._bias(x.shape)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Add(x, op.weight(self._bias(x.shape), "b"))


def zero_of_each_sample(op: Builder, x: Value) -> Value:
    """One zero for each sample, whatever the samples hold, so that the graph does without the number of samples."""
    first = op.Slice(op.Reshape(x, [0, -1]), [0], [1], [1])
    return op.Cast(op.Less(first, first), to=1)


@layer("nn.Constant", kind="constant")
class Constant(Layer):
    """value, once for each sample where x has more than nInputDim dimensions

    Two projects had a class of this name before nn: in one the tensor is ``weight``, in the other only ``output``.
    """

    value: Array | None = None
    weight: Array | None = None
    nInputDim: int | None = None

    def setup(self, bind: Binder) -> None:
        output = self.raw.get("output")
        held = self.weight if self.value is None else self.value
        if held is None and isinstance(output, np.ndarray) and output.size:
            held = cast("Array", output)
        if held is None:
            raise Refusal("holds no tensor that it could give")
        self._held: Array = held

    def _batched(self, rank: int) -> bool:
        return self.nInputDim is not None and rank > self.nInputDim

    def forward(self, x: Array) -> Array:
        held = self._held
        value = held.astype(np.result_type(x, held) if x.dtype.kind == "f" else held.dtype)
        return np.repeat(value[None], len(x), axis=0) if self._batched(x.ndim) else value

    def lower(self, op: Builder, x: Value) -> Value:
        value = op.weight(self._held, "w")
        if not self._batched(x.rank):
            return op.Identity(value)
        return op.Add(op.Reshape(zero_of_each_sample(op, x), [-1] + [1] * value.rank), value)


@layer("nn.SAdd", kind="add")
class SAdd(Layer):
    """x + addend, or -(x + addend) with ``negate``"""

    addend: float
    negate: bool = False

    def forward(self, x: Array) -> Array:
        y = x + np.asarray(self.addend, x.dtype)
        return -y if self.negate else y

    def lower(self, op: Builder, x: Value) -> Value:
        y = op.Add(x, float(self.addend))
        return op.Neg(y) if self.negate else y
