"""Captions as neuraltalk2 published them: one image for several sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, layer
from retorch.layers.convolution.spatial import check_rank

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.FeatExpander", "nn.FeatExpanderConv", kind="expand")
class FeatExpander(Layer):
    """Each row n times: (N, D) gives (N · n, D); of AdaptiveAttention, (N, S, D) gives (N · n, S, D)"""

    n: int

    def forward(self, x: Array) -> Array:
        if self.n == 1:
            return x
        check_rank(x, 3 if self.typename.endswith("Conv") else 2)
        return np.repeat(x, self.n, axis=0)

    def lower(self, op: Builder, x: Value) -> Value:
        if self.n == 1:
            return x
        check_rank(x, 3 if self.typename.endswith("Conv") else 2)
        return op.Reshape(op.Expand(op.Unsqueeze(x, [1]), [1, self.n, *(1,) * (x.rank - 1)]), [-1, *x.shape[1:]])
