"""Super-resolution as EDSR published it: one skip into the branches of all scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from retorch.layers.base.layer import Array, Layer, Nested, Refusal, layer
from retorch.layers.base.memory import result
from retorch.layers.container import tensor, value

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


@layer("nn.MultiSkipAdd", kind="add")
class MultiSkipAdd(Layer):
    """{s, {x1, …, xn}} ↦ {x1 + s, …, xn + s}, of EDSR; into x1, …, xn where ``inplace``"""

    inplace: bool = False

    def check(self, x: list[Nested] | list[Values]) -> None:
        if len(x) != 2 or not isinstance(x[1], list):
            raise Refusal("takes a tensor and a table of tensors")

    def forward(self, x: list[Nested]) -> list[Array]:
        self.check(x)
        skip, others = x
        added = [tensor(other) for other in others]
        return [result(other, other + tensor(skip), self.inplace) for other in added]

    def lower(self, op: Builder, x: list[Values]) -> list[Value]:
        self.check(x)
        skip, others = value(x[0]), cast("list[Values]", x[1])
        added = [value(other) for other in others]
        return [op.result(other, op.Add(other, skip), self.inplace) for other in added]
