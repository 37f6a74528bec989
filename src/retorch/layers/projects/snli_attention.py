"""Sentences that attend to each other (SNLI-attention): sums of repeated rows, and tables of words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from retorch.layers.base.layer import Array, Layer, Nested, Refusal, Sizes, layer
from retorch.layers.convolution.spatial import check_rank
from retorch.layers.lookup import LookupTable
from retorch.layers.projects.detection import pair
from retorch.layers.reduction import Sum
from retorch.layers.table.arithmetic import alike, value_with_sizes, with_sizes

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


class Repeating(Layer):
    """Adds a matrix that is repeated along one dimension until it is as large as the other."""

    axis: ClassVar[int]

    def times(self, x: Sequence[Array] | Sequence[Value]) -> int:
        """How many times the second matrix is repeated, or Refusal."""
        pair(x)
        check_rank(x[0], 2)
        check_rank(x[1], 2)
        wide, narrow = x[0].shape, x[1].shape
        times = wide[self.axis] // max(narrow[self.axis], 1)
        if times * narrow[self.axis] != wide[self.axis] or wide[1 - self.axis] != narrow[1 - self.axis]:
            raise Refusal(f"cannot repeat {narrow} to {wide}")
        return times

    def forward(self, x: list[Array]) -> Array:
        return x[0] + np.concatenate([x[1]] * self.times(x), axis=self.axis)

    def lower(self, op: Builder, x: list[Value]) -> Value:
        times = self.times(x)
        return op.Add(x[0], x[1] if times == 1 else op.Concat(*[x[1]] * times, axis=self.axis))


@layer("nn.AddScalar", "nn.ReplicateAdd", kind="add")
class AddScalar(Repeating):
    """{x, v} ↦ x + (v, v, …): x is (N, k · m), v (N, m)"""

    axis = 1


@layer("nn.TensorAddVector", kind="add")
class TensorAddVector(Repeating):
    """{x, v} ↦ x + (v above v …): x is (k · n, M), v (n, M)"""

    axis = 0


@layer("nn.CAveTable", kind="mean")
class CAveTable(Layer):
    """(x1 + … + xn) / n, in x1's sizes"""

    owns_no_output = True

    def forward(self, x: list[Array]) -> Array:
        return reduce(np.add, [with_sizes(other, x[0]) for other in x[1:]], x[0]) / len(x)

    def lower(self, op: Builder, x: list[Value]) -> Value:
        total = op.Sum(*alike(op, x)) if len(x) > 1 else x[0]
        return op.Div(total, float(len(x)))


def mask_sizes(mask: Array | Value, of: Array | Value) -> Sizes:
    """The sizes in which a mask with a number for each row goes over the rows of a matrix, or Refusal."""
    check_rank(of, 2)
    rows, size = mask.shape[0], int(np.prod(mask.shape[1:]))
    if rows != of.shape[0] or size not in (1, of.shape[1]):
        raise Refusal(f"cannot mask {of.shape} by {mask.shape}")
    return (-1, size)


@layer("nn.Maskh", kind="mask")
class Maskh(Layer):
    """{a, b, mask} ↦ a · (1 - mask) + b · mask; a and b are (N, n), the mask (N) or (N, n)"""

    owns_no_output = True

    def check(self, x: Sequence[Array] | Sequence[Value]) -> None:
        """Two matrices of the same sizes and a mask, or Refusal."""
        if len(x) != 3 or x[0].shape != x[1].shape:
            raise Refusal(f"takes two tensors of the same sizes and a mask, not {[y.shape for y in x]}")

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        old, new, mask = x
        mask = mask.reshape(mask_sizes(mask, old))
        return old * (1 - mask) + new * mask

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        old, new, mask = x
        mask = op.Reshape(mask if mask.is_float else op.Cast(mask, to=1), list(mask_sizes(mask, old)))
        return op.Add(op.Mul(old, op.Sub(1.0, mask)), op.Mul(new, mask))


@layer("nn.MaskAveTable", kind="mean")
class MaskAveTable(Layer):
    """{{x1, …, xn}, mask} ↦ (x1 + x2 · mask[:, 2] + … + xn · mask[:, n]) / Σ mask, row by row; the mask is (N, T)"""

    def check(self, x: Sequence[Array] | Sequence[Value], mask: Array | Value) -> None:
        """Tensors that the mask has a column for, or Refusal."""
        check_rank(mask, 2)
        for y in x:
            check_rank(y, 2)
        if not x or mask.shape[1] < len(x) or any(y.shape != x[0].shape for y in x) or mask.shape[0] != x[0].shape[0]:
            raise Refusal(f"cannot average {[y.shape for y in x]} with a mask of {mask.shape}")

    def forward(self, x: list[Nested]) -> Array:
        pair(x)
        table, mask = cast("tuple[list[Array], Array]", tuple(x))
        self.check(table, mask)
        masked = [y * mask[:, i : i + 1] for i, y in enumerate(table[1:], 1)]
        return reduce(np.add, masked, table[0]) / mask.sum(axis=1, keepdims=True)

    def lower(self, op: Builder, x: list[Values]) -> Value:
        pair(x)
        table, mask = cast("tuple[list[Value], Value]", tuple(x))
        self.check(table, mask)
        mask = mask if mask.is_float else op.Cast(mask, to=1)
        total = table[0]
        for i, y in enumerate(table[1:], 1):
            total = op.Add(total, op.Mul(y, op.Slice(mask, [i], [i + 1], [1])))
        return op.Div(total, op.ReduceSum(mask, [1], keepdims=1))


@layer("nn.SumKeepdim", kind="sum")
class SumKeepdim(Sum):
    """Σ x along a dimension, which stays with size 1; divided by its size if sizeAverage"""

    squeeze: bool = False


@layer("nn.TableAddTensor", kind="add")
class TableAddTensor(Layer):
    """{{b1, b2, …}, a} ↦ {a + b1, a + b2, …}, in a's sizes"""

    owns_no_output = True

    def forward(self, x: list[Nested]) -> list[Array]:
        pair(x)
        table, a = cast("tuple[list[Array], Array]", tuple(x))
        return [a + with_sizes(b, a) for b in table]

    def lower(self, op: Builder, x: list[Values]) -> list[Value]:
        pair(x)
        table, a = cast("tuple[list[Value], Value]", tuple(x))
        return [op.Add(a, value_with_sizes(op, b, a)) for b in table]


@layer(
    "nn.LookupTableEmbedding_train",
    "nn.LookupTableEmbedding_fixed",
    "nn.LookupTableEmbedding_update",
    kind="lookup",
)
class WordVectors(LookupTable):
    """the rows x (from 1) of weight, some of which were word vectors made elsewhere; x is (n) or (N, n)"""

    weight: Array
    ignored = LookupTable.ignored | {"gradMask"}
