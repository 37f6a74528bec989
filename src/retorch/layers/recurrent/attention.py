"""Networks that choose where to look next (packages rnn and dpnn)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Nested, Sizes, layer
from retorch.layers.base.memory import memory
from retorch.layers.recurrent.recursor import TRACES
from retorch.layers.recurrent.state import forget, zeros_for

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


@layer("nn.RecurrentAttention", kind="attention")
class RecurrentAttention(Layer):
    """y[t] = rnn{x, action(y[t-1])}, ``nStep`` times; the first action is that of zeros

    At evaluation rnn writes each y[t] into one and the same tensor, so the table holds the last one ``nStep`` times.
    """

    container = True
    ignored = TRACES | {"modules", "actions", "gradHidden", "_initInput", "_gradAction", "_crop", "_pad", "_byte"}

    rnn: Layer
    action: Layer
    nStep: int
    hiddenSize: Sizes
    forwardActions: bool = False

    def children(self) -> Iterable[Layer]:
        return [self.rnn, self.action]

    def forward(self, x: Array) -> list[Nested]:
        forget(memory(), self.rnn)
        forget(memory(), self.action)
        seen: Nested = np.zeros((len(x), *self.hiddenSize), x.dtype)
        outputs: list[Nested] = []
        for _ in range(self.nStep):
            action = self.action(seen)
            y = self.rnn([x, action])
            seen = [y, action] if self.forwardActions else y
            outputs.append(seen)
        return outputs

    def lower(self, op: Builder, x: Value) -> list[Values]:
        forget(op.memory, self.rnn)
        forget(op.memory, self.action)
        seen: Values = zeros_for(op, x, self.hiddenSize)
        outputs: list[Values] = []
        for _ in range(self.nStep):
            action = op.call(self.action, seen)
            y = op.call(self.rnn, [x, action])
            seen = [y, action] if self.forwardActions else y
            outputs.append(seen)
        return outputs
