"""Memories and attention over them, as key-value memory networks, EntNet and HieCoAttenVQA published them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.convolution.spatial import check_rank
from retorch.layers.lookup import LookupTable, indices, picked, within_norm
from retorch.layers.shape.selection import from_zero
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


@layer("nn.WeightedLookupTableSkinny", "nn.WeightedLookupTable", kind="lookup")
class WeightedLookupTable(Layer):
    """the rows x[i, 1] (from 1) of weight, times x[i, 2]; x is (n, 2). The skinny one takes indices alone, too"""

    weight: Array
    maxNorm: float | None = None
    normType: float = 2.0
    ignored = LookupTable.ignored | {"inputWeights", "queueResize", "_embeddings"}

    def setup(self, bind: Binder) -> None:
        if self.maxNorm is not None:
            self.weight = within_norm(self.weight, self.maxNorm, self.normType)

    def check(self, x: Array | Value) -> bool:
        """Whether the rows are weighed."""
        skinny = self.typename.endswith("Skinny")
        check_rank(x, *(1, 2) if skinny else (2,))
        if len(x.shape) == 2 and x.shape[1] != 2:
            raise Refusal(f"takes pairs of an index and a weight, not {x.shape}")
        return len(x.shape) == 2

    def forward(self, x: Array) -> Array:
        if not self.check(x):
            return picked(self.weight, indices(x))
        return picked(self.weight, indices(x[:, 0])) * x[:, 1:]

    def lower(self, op: Builder, x: Value) -> Value:
        table = op.weight(self.weight, "w")
        if not self.check(x):
            return op.Gather(table, from_zero(op, x), axis=0)
        at = op.Squeeze(op.Slice(x, [0], [1], [1]), [1])
        return op.Mul(op.Gather(table, from_zero(op, at), axis=0), op.Slice(x, [1], [2], [1]))


class OverExamples(Layer):
    """{rows, lengths}: the rows of all examples one after the other, and how many each has."""

    def check(self, x: list[Array] | list[Value]) -> None:
        if len(x) != 2:
            raise Refusal(f"takes rows and lengths, not {len(x)} tensors")
        check_rank(x[0], 2)
        check_rank(x[1], 1)

    @staticmethod
    def rows(x: list[Array]) -> Array:
        """Of each row, which example it belongs to."""
        lengths = x[1].astype(np.int64)
        if (lengths < 0).any() or lengths.sum() != len(x[0]):
            raise Refusal(f"has lengths of {lengths.sum()} rows, not {len(x[0])}")
        return np.repeat(np.arange(len(lengths)), lengths)

    def lower_members(self, op: Builder, x: list[Value]) -> Value:
        """(examples, rows): 1 where the row belongs to the example."""
        count, size = x[1].shape[0], x[0].shape[0]
        lengths = op.Unsqueeze(x[1] if x[1].is_float else op.Cast(x[1], to=1), [1])
        ends = op.MatMul(op.constant(np.tril(np.ones((count, count), np.float32))), lengths)
        place = op.constant(np.arange(size, dtype=np.float32)[None] + 0.5)
        begun = op.Cast(op.Less(op.Sub(ends, lengths), place), to=1)
        return op.Mul(begun, op.Cast(op.Less(place, ends), to=1))


@layer("nn.SumVecarr", kind="sum")
class SumVecarr(OverExamples):
    """{rows, lengths} ↦ the sum of each example's rows"""

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        y = np.zeros((len(x[1]), x[0].shape[1]), x[0].dtype)
        np.add.at(y, self.rows(x), x[0])
        return y

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        return op.MatMul(self.lower_members(op, x), x[0])


@layer("nn.PositionalEncoder", kind="positions")
class PositionalEncoder(OverExamples):
    """{rows, lengths} ↦ rows · ((1 − j / J) − k / d · (1 − 2 j / J)), row j of J (from 1), column k of d (from 1)

    With ``forwardLen``, a table of that and the lengths.
    """

    forwardLen: bool = False

    def forward(self, x: list[Array]) -> Array | list[Array]:
        self.check(x)
        rows, lengths = self.rows(x), x[1].astype(np.int64)
        first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        share = ((np.arange(len(rows)) - first[rows] + 1) / lengths[rows])[:, None]
        width: int = x[0].shape[1]
        column = np.arange(1, width + 1) / width
        y = x[0] * ((1 - share) - column * (1 - 2 * share)).astype(x[0].dtype)
        return [y, x[1].copy()] if self.forwardLen else y

    def lower(self, op: Builder, x: list[Value]) -> Value | list[Value]:
        self.check(x)
        (size, width), count = x[0].shape, x[1].shape[0]
        members = op.Transpose(self.lower_members(op, x), perm=[1, 0])
        lengths = op.Unsqueeze(x[1] if x[1].is_float else op.Cast(x[1], to=1), [1])
        before = op.MatMul(op.constant(np.tril(np.ones((count, count), np.float32), -1)), lengths)
        places = op.constant(np.arange(1, size + 1, dtype=np.float32)[:, None])
        share = op.Div(op.Sub(places, op.MatMul(members, before)), op.MatMul(members, lengths))
        column = op.constant((np.arange(1, width + 1) / width).astype(np.float32)[None])
        shift = op.Mul(op.Sub(1.0, op.Mul(share, 2.0)), column)
        y = op.Mul(x[0], op.Sub(op.Sub(1.0, share), shift))
        return [y, op.Identity(x[1])] if self.forwardLen else y
