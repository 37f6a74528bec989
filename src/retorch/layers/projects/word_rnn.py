"""What word-rnn adds to a recurrent step: rectifiers of both signs, and zoneout."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.activation import ELU, ReLU
from retorch.layers.base.layer import Array, Binder, Refusal, layer
from retorch.layers.base.memory import memory
from retorch.layers.recurrent.state import Remembers, remembers

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


def signs(x: Array | Value) -> Array:
    """−1 for the first half of the columns, 1 for the others; of an odd number the first half is the smaller one."""
    if len(x.shape) < 2 or x.shape[1] < 2:
        raise Refusal("takes a batch of at least two columns")
    ones = np.ones((x.shape[1], *[1] * (len(x.shape) - 2)), np.float32)
    ones[: x.shape[1] // 2] = -1
    return ones


@layer("BELU", kind="elu")
class BELU(ELU):
    """ELU of the columns' second half, and −ELU(−x) of the first"""

    alpha: float = 1.0
    inplace: bool = False
    ignored = frozenset({"output2"})

    def setup(self, bind: Binder) -> None:
        if self.inplace:
            raise Refusal("works in place")

    def forward(self, x: Array) -> Array:
        sign = signs(x).astype(x.dtype)
        return super().forward(x * sign) * sign

    def lower(self, op: Builder, x: Value) -> Value:
        sign = op.weight(signs(x), "sign")
        return op.Mul(super().lower(op, op.Mul(x, sign)), sign)


@layer("nn.BReLU", kind="relu")
class BReLU(ReLU):
    """max(x, 0) of the columns' second half, and min(x, 0) of the first"""

    inplace: bool = False
    ignored = ReLU.ignored

    def setup(self, bind: Binder) -> None:
        if self.inplace:
            raise Refusal("works in place")
        super().setup(bind)

    def forward(self, x: Array) -> Array:
        sign = signs(x).astype(x.dtype)
        return super().forward(x * sign) * sign

    def lower(self, op: Builder, x: Value) -> Value:
        sign = op.weight(signs(x), "sign")
        return op.Mul(super().lower(op, op.Mul(x, sign)), sign)


@layer("nn.Zoneout", kind="zoneout")
class Zoneout(Remembers):
    """(1 − p) · x + p · what it gave last, which is 0 at first"""

    p: float
    ignored = frozenset({"gmodule", "prevOutput"})

    def setup(self, bind: Binder) -> None:
        bind.notes.append(remembers(self))

    def forward(self, x: Array) -> Array:
        last = cast("Array | None", memory().get(id(self)))
        y = x * (1 - self.p)
        if last is not None:
            self.check(x, last)
            y = y + self.p * last
        memory()[id(self)] = y.copy()
        return y

    def lower(self, op: Builder, x: Value) -> Value:
        last = cast("Value | None", op.memory.get(id(self)))
        y = op.Mul(x, 1 - self.p)
        if last is not None:
            self.check(x, last)
            y = op.Add(y, op.Mul(last, self.p))
        op.memory[id(self)] = y
        return y

    def check(self, x: Array | Value, last: Array | Value) -> None:
        if x.shape != last.shape:
            raise Refusal(f"takes a tensor of {x.shape} after one of {last.shape}")
