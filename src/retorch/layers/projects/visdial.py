"""Masks of visual dialogue: of words that are padding, and of answers that come later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, layer

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.MaskTime", kind="mask")
class MaskTime(Layer):
    """{words, x} ↦ x for each time at which the word is not 0, else zeros: (T, N) and (N, F) give (T, N, F)"""

    featSize: int
    ignored = frozenset({"mask", "seqLen"})

    def check(self, x: list[Array] | list[Value]) -> None:
        """Words and one row for each sequence of them, or Refusal."""
        if len(x) != 2 or len(x[0].shape) != 2 or x[1].shape != (x[0].shape[1], self.featSize):
            raise Refusal(f"takes a table of words (T, N) and rows (N, {self.featSize})")

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        words, rows = x
        return np.where(words[..., None] == 0, np.asarray(0, rows.dtype), rows)

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        words, rows = x
        padding = op.Equal(words, 0.0 if words.is_float else 0)
        return op.Where(op.Unsqueeze(padding, [2]), 0.0, op.Unsqueeze(rows, [0]))


@layer("nn.MaskFuture", kind="mask")
class MaskFuture(Layer):
    """x where the field ``mask`` is 0, else zeros; x is (N, n, n), the mask (1, n, n)"""

    mask: Array

    def kept(self, x: Array | Value) -> Array:
        """Where x is kept."""
        if len(x.shape) != 3 or x.shape[1:] != self.mask.shape[1:]:
            raise Refusal(f"has a mask of sizes {self.mask.shape}, and is given {x.shape}")
        return self.mask == 0

    def forward(self, x: Array) -> Array:
        return np.where(self.kept(x), x, np.asarray(0, x.dtype))

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Where(op.constant(self.kept(x), "kept"), x, 0.0)
