"""Distances of pictures to a first one, as TripletNet published them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, Sizes, layer

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.TripletNetBatch", kind="distances")
class TripletNetBatch(Layer):
    """y[n, i] = dist{Net(x[1, n]), Net(x[i + 1, n])}: x holds k batches, (k, N, …), which Net takes as one"""

    Net: Layer
    dist: Layer
    ignored: ClassVar[frozenset[str]] = frozenset({"netOutput", "distGradInput", "sub_output"})

    def children(self) -> Iterable[Layer]:
        return (self.Net, self.dist)

    def parts(self, given: Sizes, made: Sizes) -> int:
        """How many rows of what Net made belong to each batch, or Refusal."""
        if not made or made[0] != given[0] * given[1]:
            raise Refusal(f"needs a row for each of {given[0]} x {given[1]} inputs, not {made}")
        return given[1]

    def check(self, sizes: Sizes) -> None:
        """Two batches at least, or Refusal."""
        if len(sizes) < 2 or sizes[0] < 2:
            raise Refusal(f"takes two batches or more along the first dimension, not {sizes}")

    def forward(self, x: Array) -> Array:
        self.check(x.shape)
        made = cast("Array", self.Net(x.reshape(-1, *x.shape[2:])))
        rows = self.parts(x.shape, made.shape)
        first, *others = [made[at : at + rows] for at in range(0, len(made), rows)]
        # each distance is copied before the next one is taken
        return np.stack([np.array(self.dist([first, other])).reshape(rows) for other in others], axis=1)

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x.shape)
        made = cast("Value", op.call(self.Net, op.Reshape(x, [-1, *x.shape[2:]])))
        self.parts(x.shape, made.shape)
        first, *others = op.many("Split", x.shape[0], made, axis=0, num_outputs=x.shape[0])
        distances = [op.Reshape(cast("Value", op.call(self.dist, [first, other])), [-1, 1]) for other in others]
        return op.Concat(*distances, axis=1) if len(distances) > 1 else distances[0]
