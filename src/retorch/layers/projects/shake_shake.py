"""Residual blocks whose two branches are shaken in training, as shake-shake published them; halves at evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.arithmetic import MulConstant
from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.base.memory import result

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value

#: Where a branch holds the module that scales it, from 0.
SCALE = 6


@layer("nn.MulConstantSlices", kind="mul")
class MulConstantSlices(Layer):
    """x[i] · constant_tensor[i]: one factor for each sample of a batch"""

    constant_tensor: Array
    inplace: bool = False

    def factors(self, x: Array | Value) -> Array:
        count = x.shape[0]
        if count > self.constant_tensor.size:
            raise Refusal(f"has factors for {self.constant_tensor.size} samples, not {count}")
        factors = self.constant_tensor.reshape(-1)
        if np.all(factors == factors[0]):
            return factors[0]
        return factors[:count].reshape(-1, *[1] * (len(x.shape) - 1))

    def forward(self, x: Array) -> Array:
        return result(x, x * self.factors(x), self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        factors = self.factors(x)
        y = op.Mul(x, op.constant(factors) if factors.ndim else float(factors))
        return op.result(x, y, self.inplace)


@layer("nn.ShakeShakeBlock", kind="add")
class ShakeShakeBlock(Layer):
    """skip(x) + net1(x) + net2(x), the last module of net1 and net2 scaling them by 1/2"""

    net1: Layer
    net2: Layer
    skip: Layer
    ignored = frozenset({"modules", "forwardShake", "backwardShake", "shakeImage", "batchSize", "alpha", "beta"})

    def setup(self, bind: Binder) -> None:
        for branch in (self.net1, self.net2):
            modules = list(branch.children())
            scale = modules[SCALE] if len(modules) > SCALE else None
            if isinstance(scale, MulConstant):
                scale.constant_scalar = 0.5
            elif isinstance(scale, MulConstantSlices):
                scale.constant_tensor = np.full(scale.constant_tensor.size, 0.5, scale.constant_tensor.dtype)
            else:
                raise Refusal("has no module that scales its branches where they end")

    def children(self) -> Iterable[Layer]:
        return self.skip, self.net1, self.net2

    def forward(self, x: Array) -> Array:
        y = np.array(self.skip(x))
        y += self.net1(x)
        y += self.net2(x)
        return y

    def lower(self, op: Builder, x: Value) -> Value:
        # the branches begin with rectifiers in place: what skips them is copied before
        y = op.Identity(op.call(self.skip, x))
        for branch in (self.net1, self.net2):
            y = op.Add(y, op.call(branch, x))
        return y


@layer("nn.ShakeShakeTable", kind="mul")
class ShakeShakeTable(Layer):
    """{x1, x2, x3} ↦ {x1, x2 / 2, x3 / 2}"""

    batchSize: int
    ignored = frozenset({"forwardShake", "backwardShake", "shakeImage", "constant_tensor", "alpha", "beta"})

    def check(self, x: list[Array] | list[Value]) -> None:
        if len(x) < 3:
            raise Refusal(f"takes 3 tensors, not {len(x)}")
        if x[1].shape[0] > self.batchSize or x[2].shape[0] > self.batchSize:
            raise Refusal(f"has factors for {self.batchSize} samples, not {x[1].shape[0]}")

    def forward(self, x: list[Array]) -> list[Array]:
        self.check(x)
        return [x[0].copy(), x[1] * 0.5, x[2] * 0.5]

    def lower(self, op: Builder, x: list[Value]) -> list[Value]:
        self.check(x)
        return [op.Identity(x[0]), op.Mul(x[1], 0.5), op.Mul(x[2], 0.5)]
