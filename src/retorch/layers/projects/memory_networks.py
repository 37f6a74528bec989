"""Attention over a memory, as EntNet and HieCoAttenVQA published it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, layer
from retorch.layers.softmax import OverChannels, softmax

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value

#: What maskSoftMax puts where its mask is 1.
MASKED = -9999999.0


@layer("nn.Normalization", kind="normalize")
class Normalization(Layer):
    """x / ‖x‖ along the last dimension, and x / (thresh + 1) where ‖x‖ is at most ``thresh``"""

    thresh: float = 0.0

    def forward(self, x: Array) -> Array:
        norm = np.sqrt(np.square(x).sum(axis=-1, keepdims=True))
        return x / np.where(norm <= self.thresh, self.thresh + 1, norm)

    def lower(self, op: Builder, x: Value) -> Value:
        norm = op.Sqrt(op.ReduceSum(op.Mul(x, x), [x.rank - 1], keepdims=1))
        return op.Div(x, op.Where(op.LessOrEqual(norm, self.thresh), self.thresh + 1, norm))


@layer("nn.maskSoftMax", kind="softmax")
class MaskSoftMax(OverChannels):
    """{x, mask} ↦ the softmax of x, in which -9999999 is put where the mask is 1: in x itself, for later readers too"""

    ignored = frozenset({"dummy_out"})

    def check(self, x: list[Array] | list[Value]) -> None:
        if len(x) != 2 or x[0].shape != x[1].shape:
            raise Refusal("takes a tensor and a mask of its sizes")

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        values, mask = x
        values[mask != 0] = MASKED
        return softmax(values, self.axis(values.ndim))

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        values, mask = x
        mask = mask if mask.is_float else op.Cast(mask, to=1)
        op.write(values, op.Where(op.Equal(mask, 0.0), values, MASKED))
        return op.Softmax(values, axis=self.axis(values.rank))
