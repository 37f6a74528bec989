"""Sums, means and extremes along one dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, layer

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


class Reduction(Layer):
    """Along ``dimension``: from 1, from the end if negative, one further if x is a batch of ``nInputDims`` dimensions.

    The dimension is dropped, but for a vector, of which one element is left.
    """

    dimension: int = 1
    nInputDims: int | None = None

    def axis(self, rank: int) -> int:
        """The dimension, from 0.

        Raises:
            Refusal: the input has not so many dimensions.
        """
        dimension = self.dimension
        if dimension < 0:
            dimension += rank + 1
        elif self.nInputDims is not None and rank == self.nInputDims + 1:
            dimension += 1
        if not 1 <= dimension <= rank:
            raise Refusal(f"goes along dimension {self.dimension} of {rank}")
        return dimension - 1


@layer("nn.Sum", kind="sum")
class Sum(Reduction):
    """Σ x along a dimension, divided by its size if sizeAverage; squeeze drops the dimension"""

    dimension: int = 1
    nInputDims: int | None = None
    sizeAverage: bool = False
    squeeze: bool = True

    def forward(self, x: Array) -> Array:
        axis = self.axis(x.ndim)
        y = (np.mean if self.sizeAverage else np.sum)(x, axis=axis, keepdims=True)
        return np.squeeze(y, axis) if self.squeeze and y.ndim > 1 else y

    def lower(self, op: Builder, x: Value) -> Value:
        reduce = op.ReduceMean if self.sizeAverage else op.ReduceSum
        return reduce(x, [self.axis(x.rank)], keepdims=int(not self.squeeze or x.rank == 1))


@layer("nn.Mean", kind="mean")
class Mean(Sum):
    """Σ x / n along a dimension of size n"""

    # files from before nn.Mean became a kind of nn.Sum lack the field
    sizeAverage: bool = True


@layer("nn.Max", kind="max")
class Max(Reduction):
    """The largest element along a dimension"""

    def forward(self, x: Array) -> Array:
        return np.max(x, axis=self.axis(x.ndim), keepdims=x.ndim == 1)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.ReduceMax(x, [self.axis(x.rank)], keepdims=int(x.rank == 1))


@layer("nn.Min", kind="min")
class Min(Reduction):
    """The smallest element along a dimension"""

    def forward(self, x: Array) -> Array:
        return np.min(x, axis=self.axis(x.ndim), keepdims=x.ndim == 1)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.ReduceMin(x, [self.axis(x.rank)], keepdims=int(x.rank == 1))


@layer("nn.ArgMax", kind="argmax")
class ArgMax(Layer):
    """Where along dimension dim the first of the largest elements is, counted from 1; of dpnn

    Dimension ``dim`` is one further if x has more than ``nInputDim`` dimensions.
    """

    dim: int = 1
    nInputDim: int = 9999
    asLong: bool = True

    def _axis(self, rank: int) -> int:
        return self.dim if rank > self.nInputDim else self.dim - 1

    def forward(self, x: Array) -> Array:
        found = np.argmax(x, axis=self._axis(x.ndim), keepdims=x.ndim == 1) + 1
        return found if self.asLong else found.astype(x.dtype)

    def lower(self, op: Builder, x: Value) -> Value:
        found = op.Add(op.ArgMax(x, axis=self._axis(x.rank), keepdims=int(x.rank == 1)), 1)
        return found if self.asLong else op.Cast(found, to=1)
