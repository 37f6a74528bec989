"""What word-rnn adds to a recurrent step: rectifiers of both signs, and zoneout."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.activation import above, thresholded
from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
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
class BELU(Layer):
    """ELU of the columns' second half, and −ELU(−x) of the first"""

    alpha: float = 1.0
    inplace: bool = False
    ignored = frozenset({"output2"})

    def setup(self, bind: Binder) -> None:
        if self.inplace:
            raise Refusal("works in place")

    def forward(self, x: Array) -> Array:
        sign = signs(x).astype(x.dtype)
        turned = x * sign
        return np.where(turned > 0, turned, self.alpha * np.expm1(np.minimum(turned, 0))) * sign

    def lower(self, op: Builder, x: Value) -> Value:
        sign = op.weight(signs(x), "sign")
        return op.Mul(op.Elu(op.Mul(x, sign), alpha=self.alpha), sign)


@layer("nn.BReLU", kind="relu")
class BReLU(Layer):
    """max(x, 0) of the columns' second half, and min(x, 0) of the first"""

    inplace: bool = False
    ignored = frozenset({"threshold", "val"})

    def setup(self, bind: Binder) -> None:
        if self.inplace:
            raise Refusal("works in place")

    def forward(self, x: Array) -> Array:
        sign = signs(x).astype(x.dtype)
        return thresholded(x * sign, 0.0, 0.0, keeps_nan=False, inplace=False) * sign

    def lower(self, op: Builder, x: Value) -> Value:
        sign = op.weight(signs(x), "sign")
        return op.Mul(above(op, op.Mul(x, sign), 0.0, 0.0), sign)


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
