"""Samples that training draws and rewards (packages rnn and dpnn); at evaluation their means."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, layer

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
