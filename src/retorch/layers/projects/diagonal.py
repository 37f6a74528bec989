"""nn.Diag: three projects gave this name to a diagonal matrix of weights, to a product, and to a matrix's diagonal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, layer

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.Diag", kind="diag")
class Diag(Layer):
    """x · weight[i] for entry i of dimension 1; weights of two dimensions count element by element

    Without a weight: the diagonals of x, (n, n) or (N, n, n), a view.
    """

    weight: Array | None = None
    ignored = frozenset({"tmp", "tmpGrad", "diagGradInput"})

    def weights(self, weight: Array, shape: tuple[int, ...]) -> Array:
        """Weights that line up with an input of this shape."""
        if weight.ndim == 1:
            if shape[0] > weight.size:
                raise Refusal(f"has weights for {weight.size} entries, and is given {shape[0]}")
            return weight[: shape[0]].reshape(-1, *(1,) * (len(shape) - 1))
        if len(shape) not in (2, 3) or shape[-2:] != weight.shape:
            raise Refusal(f"has weights of sizes {weight.shape}, and is given {shape}")
        return weight

    def check(self, x: Array | Value, in_order: bool) -> int:
        """The size of square matrices, or Refusal."""
        if len(x.shape) not in (2, 3) or x.shape[-1] != x.shape[-2] or not in_order:
            raise Refusal(f"takes square matrices in one piece, not sizes {x.shape}")
        return x.shape[-1]

    def forward(self, x: Array) -> Array:
        if self.weight is not None:
            return x * self.weights(self.weight, x.shape)
        self.check(x, x.flags.c_contiguous)
        return np.einsum("...ii->...i", x)

    def lower(self, op: Builder, x: Value) -> Value:
        if self.weight is not None:
            return op.Mul(x, op.weight(self.weights(self.weight, x.shape), "w"))
        size = self.check(x, x.is_contiguous)
        flat, at = [0, -1] if x.rank == 3 else [-1], np.arange(size) * (size + 1)

        def get(p: Value) -> Value:
            return op.Gather(op.Reshape(p, flat), op.constant(at.astype(np.int64)), axis=x.rank - 2)

        return op.view(x, get, strides=(*x.stands()[:-2], size + 1), offset=x.offset)
