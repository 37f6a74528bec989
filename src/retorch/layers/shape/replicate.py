"""The same values many times over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, layer
from retorch.layers.shape.view import axis_of

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.Replicate", kind="replicate")
class Replicate(Layer):
    """x repeated ``nfeatures`` times along a new dimension ``dim`` (from 1)

    ``ndim`` says how many dimensions there are without the batch. The copies are one memory in Torch.
    """

    nfeatures: int
    dim: int = 1
    ndim: int | None = None

    def axis(self, rank: int) -> int:
        batch = 1 if self.ndim is not None and rank > self.ndim else 0
        return axis_of(self.dim + batch, rank + 1)

    def forward(self, x: Array) -> Array:
        axis = self.axis(x.ndim)
        if self.nfeatures == 1:
            return np.expand_dims(x, axis)
        sizes = (*x.shape[:axis], self.nfeatures, *x.shape[axis:])
        return np.lib.stride_tricks.as_strided(x, sizes, (*x.strides[:axis], 0, *x.strides[axis:]))

    def lower(self, op: Builder, x: Value) -> Value:
        axis = self.axis(x.rank)
        if self.nfeatures == 1:
            return op.unsqueeze(x, axis)
        times = [self.nfeatures if i == axis else 1 for i in range(x.rank + 1)]

        def get(p: Value) -> Value:
            return op.Tile(op.Unsqueeze(p, [axis]), times)

        def put(_: Value, new: Value) -> Value:
            # whatever was written is in all entries: they are one memory
            return op.Squeeze(op.Slice(new, [0], [1], [axis]), [axis])

        stands = x.stands()
        return op.view(x, get, put, strides=(*stands[:axis], 0, *stands[axis:]), offset=x.offset)


@layer("nn.ExpandAs", kind="expand")
class ExpandAs(Layer):
    """{x, y repeated to the sizes of x}"""

    ignored = frozenset({"sum1", "sum2"})

    def forward(self, x: list[Array]) -> list[Array]:
        return [x[0], np.broadcast_to(x[1], x[0].shape)]

    def lower(self, op: Builder, x: list[Value]) -> list[Value]:
        like, small = x
        if small.rank != like.rank:
            raise Refusal(f"expands {small.rank} dimensions to {like.rank}")
        # a sum with zeros of the wanted sizes, so that the graph does not contain the batch
        return [like, op.Add(op.Clip(like, 0.0, 0.0), small)]
