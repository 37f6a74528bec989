"""Questions about pictures, one after the other, as visdial published them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, layer
from retorch.layers.convolution.spatial import check_rank
from retorch.layers.projects.detection import pair
from retorch.layers.softmax import OverChannels, softmax

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value

#: What masked scores become before their exponentials are taken.
_MASKED = -9999999.0


def _is_zero(op: Builder, x: Value) -> Value:
    """Where x is 0, be it of floats or not."""
    return op.Equal(x if x.is_float else op.Cast(x, to=1), 0.0)


@layer("nn.MaskFuture", kind="mask")
class MaskFuture(Layer):
    """x, (N, T, T), with 0 where ``mask``, (1, T, T), is not 0"""

    mask: Array

    def check(self, x: Array | Value) -> None:
        check_rank(x, 3)
        if x.shape[1:] != self.mask.shape[1:]:
            raise Refusal(f"masks tables of {self.mask.shape[1:]}, not {x.shape[1:]}")

    def forward(self, x: Array) -> Array:
        self.check(x)
        return np.where(self.mask != 0, 0, x)

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        return op.Where(op.constant(self.mask == 0), x, 0.0)


@layer("nn.MaskSoftMax", kind="softmax")
class MaskSoftMax(OverChannels):
    """{x, mask} ↦ nn.SoftMax of x with -9999999 where the mask is not 0, which is written into x"""

    def forward(self, x: list[Array]) -> Array:
        pair(x)
        scores, mask = x
        scores[mask != 0] = _MASKED
        return softmax(scores, self.axis(scores.ndim))

    def lower(self, op: Builder, x: list[Value]) -> Value:
        pair(x)
        scores = op.write(x[0], op.Where(_is_zero(op, x[1]), x[0], _MASKED))
        return op.Softmax(scores, axis=self.axis(scores.rank))


@layer("nn.MaskTime", kind="mask")
class MaskTime(Layer):
    """{words, x} ↦ x, (N, featSize), for each of T steps: (T, N, featSize), 0 where words, (T, N), is 0"""

    featSize: int
    ignored = frozenset({"mask", "seqLen"})

    def check(self, x: list[Array] | list[Value]) -> None:
        pair(x)
        check_rank(x[0], 2)
        check_rank(x[1], 2)
        if x[1].shape[1] != self.featSize:
            raise Refusal(f"repeats {self.featSize} features, its input has {x[1].shape[1]}")
        if x[0].shape[1] != x[1].shape[0]:
            raise Refusal(f"has words of {x[0].shape[1]} sequences and features of {x[1].shape[0]}")

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        words, features = x
        return np.where((words == 0)[..., None], 0, features[None])

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        words, features = x
        return op.Where(op.Unsqueeze(_is_zero(op, words), [2]), 0.0, op.Unsqueeze(features, [0]))


@layer("nn.ReplaceZero", kind="mask")
class ReplaceZero(Layer):
    """x with ``constant`` where it is 0"""

    constant: float
    ignored = frozenset({"mask"})

    def forward(self, x: Array) -> Array:
        return np.where(x == 0, np.asarray(self.constant, x.dtype), x)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Where(_is_zero(op, x), self.constant, x)
