"""Style transfer as projects published it: fast-neural-style, neural-style, texture nets, AdaIN, style-swap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retorch.layers.rule import Array, Layer, layer

if TYPE_CHECKING:
    from retorch.builder import Builder, Value


class Watcher(Layer):
    """x itself: the module looks at it for a loss, and changes gradients only"""

    def forward(self, x: Array) -> Array:
        return x

    def lower(self, op: Builder, x: Value) -> Value:
        return x


@layer("nn.TotalVariation", "nn.TVLoss", kind="identity")
class TotalVariation(Watcher):
    """x: adds the gradient of the total variation in training"""

    ignored = frozenset({"strength", "x_diff", "y_diff"})
