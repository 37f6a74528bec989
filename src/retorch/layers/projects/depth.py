"""Depth from colours and few samples, as sparse-to-dense published it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.convolution.spatial import check_rank
from retorch.layers.projects.dcign import lower_spread, spread

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.Unpool", kind="unpool")
class Unpool(Layer):
    """Each pixel at the upper left of a square of k pixels, the others 0; x has the sizes that it is made for"""

    k: int
    oheight: int
    owidth: int
    nInputPlane: int
    ignored = frozenset({"upsample", "mask"})

    def check(self, x: Array | Value) -> None:
        """An image of the sizes that its mask has, or Refusal."""
        check_rank(x, 4)
        made_for = (self.nInputPlane, self.oheight // self.k, self.owidth // self.k)
        if tuple(x.shape[1:]) != made_for:
            raise Refusal(f"is made for images of {made_for}, not of {x.shape[1:]}")

    def forward(self, x: Array) -> Array:
        self.check(x)
        return spread(x, self.k)

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        return lower_spread(op, x, self.k)


@layer("nn.ChannelDropout", kind="dropout")
class ChannelDropout(Layer):
    """x, in a tensor of its own: channels are dropped in training only"""

    stochastic_inference: bool = False
    ignored = frozenset({"p", "nChannels"})

    def setup(self, bind: Binder) -> None:
        if self.stochastic_inference:
            raise Refusal("draws the channels that it drops at evaluation too, again while it has drawn all of them")

    def forward(self, x: Array) -> Array:
        return x.copy()

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Identity(x)
