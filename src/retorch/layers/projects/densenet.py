"""Densely connected networks as DenseNet published them: the layer that saves memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from retorch.layers.base.layer import Layer, Nested, layer
from retorch.layers.container import tensor, value

if TYPE_CHECKING:
    from retorch.graph.builder import Builder
    from retorch.graph.builder import Nested as Values


@layer("nn.DenseConnectLayerCustom", kind="dense")
class DenseConnectLayerCustom(Layer):
    """{x1, …, xn} ↦ {x1, …, xn, net2(net1(x1, …, xn joined along the channels))}, of DenseNet; x alone is {x}"""

    container: ClassVar[bool] = True
    net1: Layer
    net2: Layer
    ignored = frozenset({"modules", "opt", "input_c", "saved_bn_running_mean", "saved_bn_running_var"})

    def children(self) -> Iterable[Layer]:
        return (self.net1, self.net2)

    def forward(self, x: Nested) -> list[Nested]:
        parts = x if isinstance(x, list) else [x]
        joined = np.concatenate([tensor(part) for part in parts], axis=1) if isinstance(x, list) else x
        return [*parts, self.net2(self.net1(joined))]

    def lower(self, op: Builder, x: Values) -> list[Values]:
        parts = x if isinstance(x, list) else [x]
        joined = op.Concat(*(value(part) for part in parts), axis=1) if isinstance(x, list) else x
        return [*parts, op.call(self.net2, op.call(self.net1, joined))]
