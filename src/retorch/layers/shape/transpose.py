"""Dimensions in another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, layer
from retorch.layers.shape.view import axis_of
from retorch.torch7 import LuaTable

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


def swapped(rank: int, swaps: Sequence[tuple[int, int]]) -> list[int]:
    """The order of dimensions after a chain of swaps."""
    order = list(range(rank))
    for a, b in swaps:
        order[a], order[b] = order[b], order[a]
    return order


@layer("nn.Transpose", kind="transpose")
class Transpose(Layer):
    """x with pairs of dimensions swapped, one pair after the other, as a copy

    Dimensions count from 1, without the batch where ``numInputDims`` says how many there are.
    """

    permutations: object
    numInputDims: int | None = None

    def setup(self, bind: object) -> None:
        given = self.permutations.sequence() if isinstance(self.permutations, LuaTable) else [None]
        pairs = [pair.sequence() if isinstance(pair, LuaTable) else [] for pair in given]
        if not all(len(pair) == 2 and all(isinstance(d, int) for d in pair) for pair in pairs):
            raise Refusal("field 'permutations' should be a table of pairs of dimensions")
        self.pairs = [cast("list[int]", list(pair)) for pair in pairs]

    def order(self, rank: int) -> list[int]:
        offset = 0 if self.numInputDims is None else rank - self.numInputDims
        return swapped(rank, [(axis_of(a + offset, rank), axis_of(b + offset, rank)) for a, b in self.pairs])

    def settings(self) -> dict[str, object]:
        return {"swap": self.pairs, **super().settings()}

    def forward(self, x: Array) -> Array:
        offset = 0 if self.numInputDims is None else x.ndim - self.numInputDims
        for a, b in self.pairs:
            x = np.swapaxes(x, axis_of(a + offset, x.ndim), axis_of(b + offset, x.ndim))
        return x.copy()

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Transpose(x, perm=self.order(x.rank))
