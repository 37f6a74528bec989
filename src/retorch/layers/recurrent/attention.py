"""Networks that choose where to look next (packages rnn and dpnn)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, Sizes, layer
from retorch.layers.base.memory import memory
from retorch.layers.recurrent.recursor import TRACES
from retorch.layers.recurrent.state import forget, zeros_for

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


@layer("nn.ReinforceNormal", "nn.ReinforceCategorical", "nn.ReinforceBernoulli", kind="reinforce")
class Reinforce(Layer):
    """x, of which training draws samples; of {mean, stdev} the mean"""

    ignored = frozenset(
        """stdev _stdev __stdev _index _uniform rewardInput reinforceSignal reward baseline _reward dpnn_reward
        _gradStdev gradStdev""".split()
    )

    stochastic: bool = False

    def setup(self, bind: Binder) -> None:
        if self.stochastic:
            raise Refusal("draws samples at evaluation too")

    def forward(self, x: Nested) -> Array:
        return np.array(x[0] if isinstance(x, list) else x)

    def lower(self, op: Builder, x: Values) -> Value:
        return op.Identity(cast("Value", x[0] if isinstance(x, list) else x))


@layer("nn.ReinforceGamma", kind="reinforce")
class ReinforceGamma(Reinforce):
    """x · scale, the mean of the gamma distributions that training draws from; of {x, scale} likewise"""

    scale: object = None
    ignored = Reinforce.ignored | {"_scale", "__scale", "_logOutput", "_logScale"}

    def setup(self, bind: Binder) -> None:
        super().setup(bind)
        if self.scale is not None and not isinstance(self.scale, (int, float, np.ndarray)):
            raise Refusal("holds a scale that is neither a number nor a tensor")

    def forward(self, x: Nested) -> Array:
        if isinstance(x, list):
            shape, scale = cast("list[Array]", x)
            return shape * scale
        return x * np.asarray(self._scale_of_action(), x.dtype)

    def lower(self, op: Builder, x: Values) -> Value:
        if isinstance(x, list):
            return op.Mul(*cast("list[Value]", x))
        scale = self._scale_of_action()
        return op.Mul(x, op.weight(scale, "w") if isinstance(scale, np.ndarray) else float(scale))

    def _scale_of_action(self) -> float | Array:
        if self.scale is None:
            raise Refusal("has no scale, and is given a tensor")
        return cast("float | Array", self.scale)


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
