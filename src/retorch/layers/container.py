"""Modules that hold modules and say what flows between them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.rule import Array, Layer, Nested, layer

if TYPE_CHECKING:
    from retorch.builder import Builder, Value
    from retorch.builder import Nested as Values


class Container(Layer):
    """What all containers share."""

    container = True
    modules: list[Layer]

    def children(self) -> Iterable[Layer]:
        return self.modules


@layer("nn.Sequential", kind="sequential")
class Sequential(Container):
    """modules[n](… modules[1](x))"""

    modules: list[Layer]

    def forward(self, x: Nested) -> Nested:
        for module in self.modules:
            x = module(x)
        return x

    def lower(self, op: Builder, x: Values) -> Values:
        for module in self.modules:
            x = op.call(module, x)
        return x


@layer("nn.ConcatTable", kind="concattable")
class ConcatTable(Container):
    """{modules[1](x), …, modules[n](x)}"""

    modules: list[Layer]

    def forward(self, x: Nested) -> list[Nested]:
        return [module(x) for module in self.modules]

    def lower(self, op: Builder, x: Values) -> list[Values]:
        return [op.call(module, x) for module in self.modules]


@layer("nn.Concat", kind="concat")
class Concat(Container):
    """The branches' outputs, joined along ``dimension`` (from 1, the batch counts)."""

    modules: list[Layer]
    dimension: int

    def forward(self, x: Nested) -> Array:
        return np.concatenate([module(x) for module in self.modules], axis=self.dimension - 1)

    def lower(self, op: Builder, x: Values) -> Value:
        return op.Concat(*[op.call(module, x) for module in self.modules], axis=self.dimension - 1)
