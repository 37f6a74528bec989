"""Sequences in reverse order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, layer

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


@layer("nn.SeqReverseSequence", kind="reverse")
class SeqReverseSequence(Layer):
    """x with the order of its entries along ``dim`` (1 to 3, from 1) reversed"""

    ignored = frozenset({"outputIndices", "gradIndices"})

    dim: int

    def setup(self, bind: Binder) -> None:
        if not 1 <= self.dim <= 3:
            raise Refusal(f"reverses dimension {self.dim}, of which it knows 1 to 3")

    def forward(self, x: Array) -> Array:
        return np.flip(x, self.dim - 1).copy()

    def lower(self, op: Builder, x: Value) -> Value:
        return reversed_along(op, x, self.dim - 1)


def reversed_along(op: Builder, x: Value, axis: int) -> Value:
    """The entries of a dimension from last to first."""
    return op.Gather(x, list(range(x.shape[axis]))[::-1], axis=axis)


@layer("nn.ReverseSequence", "nn.Reverse", kind="reverse")
class ReverseSequence(Layer):
    """x with its steps in reverse order: a table's entries, or a tensor's along ``dim`` (from 1)"""

    ignored = frozenset({"_range", "reverseIdx"})

    dim: int = 1

    def forward(self, x: Nested) -> Nested:
        return x[::-1] if isinstance(x, list) else np.flip(x, self.dim - 1).copy()

    def lower(self, op: Builder, x: Values) -> Values:
        return x[::-1] if isinstance(x, list) else reversed_along(op, x, self.dim - 1)
