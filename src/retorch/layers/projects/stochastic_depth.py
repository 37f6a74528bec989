"""Networks whose layers are dropped at random in training; at evaluation each counts as often as it was kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, layer

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.ResidualDrop", kind="add")
class ResidualDrop(Layer):
    """skip(x) + (1 − deathRate) · net(x), of Stochastic_Depth"""

    net: Layer
    skip: Layer
    deathRate: float
    ignored = frozenset({"modules", "gate"})

    def children(self) -> Iterable[Layer]:
        return self.skip, self.net

    def forward(self, x: Array) -> Array:
        y = np.array(self.skip(x))
        y += np.asarray(self.net(x)) * (1 - self.deathRate)
        return y

    def lower(self, op: Builder, x: Value) -> Value:
        # net may write into x: what skips it is copied before
        y = op.Identity(op.call(self.skip, x))
        return op.Add(y, op.Mul(op.call(self.net, x), 1 - self.deathRate))


@layer("nn.StochasticDrop", kind="mul")
class StochasticDrop(Layer):
    """(1 − deathRate) · x, of fb.resnet.torch-lesion-study"""

    deathRate: float = 0.5
    ignored = frozenset({"gate"})

    def forward(self, x: Array) -> Array:
        return x * (1 - self.deathRate)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Mul(x, 1 - self.deathRate)
