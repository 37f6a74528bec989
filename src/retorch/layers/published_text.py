"""Sequences as fairseq published them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.convolution import check_rank
from retorch.layers.product import MM
from retorch.layers.rule import Array, Binder, Layer, Nested, Refusal, layer
from retorch.layers.table import CAddTable
from retorch.layers.wrapper import Decorator

if TYPE_CHECKING:
    from retorch.builder import Builder, Value
    from retorch.builder import Nested as Values


@layer("nn.AppendBias", kind="pad")
class AppendBias(Layer):
    """x with a 1 behind each row of its last dimension"""

    def forward(self, x: Array) -> Array:
        return np.concatenate([x, np.ones((*x.shape[:-1], 1), x.dtype)], axis=-1)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Pad(x, [*(0,) * (2 * x.rank - 1), 1], 1.0)


@layer("nn.BeamableMM", kind="matmul")
class BeamableMM(MM):
    """{a, b}: a · b, as nn.MM; with a ``beam`` it takes one b for as many rows of a, which is refused"""

    beam: int = 0

    def setup(self, bind: Binder) -> None:
        if self.beam > 0:
            raise Refusal(f"was saved in the midst of a search with a beam of {self.beam}")


@layer("nn.CAddTableMulConstant", kind="add")
class CAddTableMulConstant(CAddTable):
    """(x1 + x2 + …) · constant_scalar"""

    constant_scalar: float

    def forward(self, x: list[Array]) -> Array:
        y = super().forward(x)
        y *= self.constant_scalar
        return y

    def lower(self, op: Builder, x: list[Value]) -> Value:
        y = super().lower(op, x)
        return op.result(y, op.Mul(y, self.constant_scalar), self.inplace)


@layer("nn.SeqMultiply", kind="mul")
class SeqMultiply(Layer):
    """{x, s} ↦ x · √n, n the size of dimension 2 of s"""

    ignored = frozenset({"scale", "zeroGrads", "grads"})

    def factor(self, x: list[Array] | list[Value]) -> float:
        check_rank(x[1], *range(2, 9))
        return math.sqrt(x[1].shape[1])

    def forward(self, x: list[Array]) -> Array:
        return x[0] * self.factor(x)

    def lower(self, op: Builder, x: list[Value]) -> Value:
        return op.Mul(x[0], self.factor(x))


@layer("nn.ZipAlong", kind="zip")
class ZipAlong(Layer):
    """{{x1, …, xn}, y} ↦ {{x1, y}, …, {xn, y}}"""

    def forward(self, x: list[Nested]) -> list[Nested]:
        return [[item, x[1]] for item in x[0]]

    def lower(self, op: Builder, x: list[Values]) -> list[Values]:
        if not isinstance(x[0], list):
            raise Refusal("takes a table of tables, but is given a table of tensors")
        return [[item, x[1]] for item in x[0]]


@layer("nn.GradMultiply", kind="wrapper")
class GradMultiply(Decorator):
    """modules[1](x): scales gradients"""

    modules: object = None
    module: object = None
    ignored = frozenset({"factor"})
