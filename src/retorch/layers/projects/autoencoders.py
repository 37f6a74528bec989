"""Noise that Kaixhin's autoencoders draw at evaluation too, and what others multiply theirs by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retorch.layers.base.layer import Array, layer, noise_for
from retorch.layers.base.random_source import RandomLayer

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.Gaussian", kind="noise")
class Gaussian(RandomLayer):
    """Noise as large as x, which is an input of the network"""

    mean: float = 0.0
    stdv: float = 1.0

    def draws(self) -> str:
        return f"normal numbers of mean {self.mean:g} and standard deviation {self.stdv:g}"

    def forward(self, x: Array) -> Array:
        return noise_for(self, x.shape)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.noise_for(self, x.shape)


@layer("nn.Uniform", kind="noise")
class Uniform(RandomLayer):
    """Noise as large as x, which is an input of the network"""

    a: float = 0.0
    b: float = 1.0

    def draws(self) -> str:
        return f"uniform numbers from {self.a:g} to {self.b:g}"

    def forward(self, x: Array) -> Array:
        return noise_for(self, x.shape)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.noise_for(self, x.shape)


@layer("nn.DropoutEx", kind="noise")
class DropoutEx(RandomLayer):
    """x · noise, at evaluation too; the noise is an input of the network (of Torch's tutorials)

    With p = 0 it gives 0, as its author wrote it.
    """

    p: float = 0.5
    ignored = frozenset({"noise"})

    def draws(self) -> str:
        return f"0 with probability {self.p:g}, else {1 / (1 - self.p):g}, by which it multiplies" if self.p > 0 else ""

    def forward(self, x: Array) -> Array:
        return x * (noise_for(self, x.shape) if self.draws() else 0)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Mul(x, op.noise_for(self, x.shape) if self.draws() else 0.0)
