"""Rectifiers that papers proposed and their code trained: PELU, FReLU, and nnx's of two thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.base.memory import result

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


def bounded(weight: float, *, above: bool) -> float:
    """A trained factor as PELU's code keeps it: from 0.1 down 0.11, and from 2 on 1.99 where it is bounded above."""
    if above and weight >= 2:
        return 1.99
    return 0.11 if weight <= 0.1 else weight


class Factor(Layer):
    """x times a number that a trained weight gives."""

    weight: Array
    inplace: bool = False

    def factor(self) -> float:
        """The number."""
        return 1.0

    def forward(self, x: Array) -> Array:
        return result(x, x * self.factor(), self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.result(x, op.Mul(x, self.factor()), self.inplace)


@layer("nn.ConstrainedMul", kind="mul")
class ConstrainedMul(Factor):
    """weight · x, the weight kept between 0.11 and 1.99"""

    weight: Array
    inplace: bool = False

    def factor(self) -> float:
        return bounded(float(self.weight.flat[0]), above=True)


@layer("nn.ConstrainedDiv", kind="mul")
class ConstrainedDiv(Factor):
    """x / weight, the weight kept at 0.11 and above"""

    weight: Array
    inplace: bool = False

    def factor(self) -> float:
        return 1 / bounded(float(self.weight.flat[0]), above=False)


@layer("nn.PELU", kind="pelu")
class PELU(Layer):
    """x · a / b where x ≥ 0, elsewhere a · (exp(x / b) − 1); weight is (a, b), kept as ConstrainedMul and -Div do"""

    weight: Array

    def setup(self, bind: Binder) -> None:
        if self.weight.size != 2:
            raise Refusal("has other than two weights")
        a, b = (float(w) for w in self.weight.ravel())
        self._a, self._b = bounded(a, above=True), bounded(b, above=False)

    def forward(self, x: Array) -> Array:
        return np.where(x >= 0, x * (self._a / self._b), self._a * np.expm1(np.minimum(x, 0) / self._b))

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Mul(op.Elu(op.Mul(x, 1 / self._b), alpha=1.0), self._a)


@layer("nn.MyAdd", kind="add")
class MyAdd(Layer):
    """x + bias, one for all or one for each channel (dimension 2; 1 of ``numInputDims``), of FReLU

    Where ``isConstrained``, a bias above 0 counts as its copy.
    """

    bias: Array
    biasCopy: Array | None = None
    isConstrained: bool = False
    inplace: bool = False
    numInputDims: int | None = None
    ignored = frozenset({"size", "lr_decay", "constrainedVal"})

    def aligned(self, x: Array | Value) -> Array:
        """The offsets, lined up with x."""
        rank, own = len(x.shape), self.bias.ravel()
        if self.isConstrained and self.biasCopy is not None:
            own = np.where(own > 0, self.biasCopy.ravel(), own)
        if own.size == 1:
            return own.reshape((1,) * rank)
        axis = 0 if self.numInputDims == rank else 1
        if axis >= rank or x.shape[axis] != own.size:
            raise Refusal(f"adds {own.size} numbers to an input of {x.shape}")
        return own.reshape((-1,) + (1,) * (rank - 1 - axis))

    def forward(self, x: Array) -> Array:
        return result(x, x + self.aligned(x), self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.result(x, op.Add(x, op.weight(self.aligned(x), "b")), self.inplace)


@layer("nn.SReLU", kind="relu")
class SReLU(Layer):
    """max(x, bias), of one bias"""

    bias: Array
    inplace: bool = False
    ignored = frozenset({"size"})

    def forward(self, x: Array) -> Array:
        return result(x, np.maximum(x, self.bias.flat[0]), self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.result(x, op.Clip(x, float(self.bias.flat[0])), self.inplace)


@layer("nn.SaturatedLU", kind="relu")
class SaturatedLU(Layer):
    """val where x < threshold, then val2 where that is > threshold2, elsewhere x; of nnx"""

    threshold: float = -1.0
    val: float = -1.0
    threshold2: float = 1.0
    val2: float = 1.0

    def forward(self, x: Array) -> Array:
        y = np.where(x < self.threshold, np.asarray(self.val, x.dtype), x)
        return np.where(y > self.threshold2, np.asarray(self.val2, x.dtype), y)

    def lower(self, op: Builder, x: Value) -> Value:
        y = op.Where(op.Less(x, self.threshold), self.val, x)
        return op.Where(op.Greater(y, self.threshold2), self.val2, y)
