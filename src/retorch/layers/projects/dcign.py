"""Inverse graphics as DC-IGN and its capsules published it: codes that are clamped, filtered, drawn and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, Sizes, layer, noise_for
from retorch.layers.base.random_source import RandomLayer
from retorch.layers.convolution.spatial import check_rank
from retorch.layers.linear import Linear
from retorch.layers.noise import Identity
from retorch.torch7 import LuaTable

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


@layer("nn.LinearCR", kind="fc")
class LinearCR(Linear):
    """x · weightᵀ + bias: an nn.Linear with initial weights of its own"""

    weight: Array
    bias: Array | None = None


@layer("nn.SelectiveGradientFilter", kind="identity")
class SelectiveGradientFilter(Identity):
    """x: drops gradients"""

    ignored = frozenset({"passthrough", "active", "force_invariance", "invariance_strength"})


@layer("nn.SelectiveOutputClamp", kind="clamp")
class SelectiveOutputClamp(Layer):
    """The first sample in place of all of a batch, but for one column (``passthrough``, from 1); not ``active``, x"""

    passthrough: object = None
    active: bool = True

    def setup(self, bind: Binder) -> None:
        kept = self.passthrough
        if isinstance(kept, LuaTable):
            bounds = [int(cast("int", bound)) for bound in kept.sequence()]
            self._kept = (bounds[0], bounds[-1]) if bounds else None
        elif isinstance(kept, int | float):
            self._kept = (int(kept), int(kept))
        elif kept is None:
            self._kept = None
        else:
            raise Refusal("lets pass what is no index")

    def columns(self, x: Array | Value) -> tuple[int, int] | None:
        """The first and last of the columns that pass, from 0, the last not among them."""
        check_rank(x, 1, 2, 3, 4)
        if self._kept is None:
            return None
        first, last = self._kept
        if len(x.shape) < 2 or not 1 <= first <= last <= x.shape[1]:
            raise Refusal(f"lets pass columns {first} to {last} of {x.shape}")
        return first - 1, last

    def forward(self, x: Array) -> Array:
        if not self.active:
            return x.copy()
        kept = self.columns(x)
        y = np.repeat(x[:1], len(x), axis=0)
        if kept is not None:
            y[:, slice(*kept)] = x[:, slice(*kept)]
        return y

    def lower(self, op: Builder, x: Value) -> Value:
        if not self.active:
            return op.Identity(x)
        kept = self.columns(x)
        # zeros of the batch's size carry the first sample to every other
        y = op.Add(op.Clip(x, 0.0, 0.0), op.Slice(x, [0], [1], [0]))
        if kept is None:
            return y
        start, stop = kept
        parts = [op.Slice(x, [start], [stop], [1])]
        if start:
            parts.insert(0, op.Slice(y, [0], [start], [1]))
        if stop < x.shape[1]:
            parts.append(op.Slice(y, [stop], [x.shape[1]], [1]))
        return op.Concat(*parts, axis=1) if len(parts) > 1 else parts[0]


@layer("nn.Reparametrize", "nn.Sampler", "nn.GaussianSampler", kind="sample")
class Reparametrize(RandomLayer):
    """{mean, log σ²} ↦ mean + exp(log σ² / 2) · ε, ε drawn from a normal distribution

    ε is an input of the network.
    """

    ignored = frozenset({"size", "dimension", "eps", "ouput", "randnOut"})

    def setup(self, bind: Binder) -> None:
        if "mu" in self.raw:
            raise Refusal("is of the version that writes over both of its inputs")
        if "keep_long" in self.raw:
            raise Refusal("is of a version that takes no table of a mean and a variance")

    def draws(self) -> str:
        return "normal numbers"

    def noise_shape(self, x: list[Array] | list[Value]) -> Sizes:
        if len(x) != 2 or x[0].shape != x[1].shape:
            raise Refusal("takes a mean and a logarithm of a variance of equal sizes")
        return x[0].shape

    def forward(self, x: list[Array]) -> Array:
        return x[0] + np.exp(0.5 * x[1]) * noise_for(self, self.noise_shape(x))

    def lower(self, op: Builder, x: list[Value]) -> Value:
        noise = op.noise_for(self, self.noise_shape(x))
        return op.Add(x[0], op.Mul(op.Exp(op.Mul(x[1], 0.5)), noise))


def spread(x: Array, scale: int) -> Array:
    """Each pixel at the upper left of a square of ``scale`` pixels, the others 0."""
    n, c, height, width = x.shape
    y = np.zeros((n, c, height * scale, width * scale), x.dtype)
    y[:, :, ::scale, ::scale] = x
    return y


def lower_spread(op: Builder, x: Value, scale: int) -> Value:
    """The same in ONNX operators."""
    if scale == 1:
        return op.Identity(x)
    corner = np.zeros((x.shape[1], 1, scale, scale), np.float32)
    corner[:, :, 0, 0] = 1
    return op.ConvTranspose(x, op.weight(corner, "w"), strides=[scale] * 2, group=x.shape[1])


@layer("nn.UnPooling", kind="unpool")
class UnPooling(Layer):
    """Each pixel at the upper left of a square of ``scale`` pixels, the others 0; x is (N, C, S, S)"""

    scale: int
    ignored = frozenset({"mapping"})

    def check(self, x: Array | Value) -> None:
        check_rank(x, 4)
        if x.shape[2] != x.shape[3]:
            raise Refusal(f"takes square images, not {x.shape[2]}x{x.shape[3]}")

    def forward(self, x: Array) -> Array:
        self.check(x)
        return spread(x, self.scale)

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        return lower_spread(op, x, self.scale)


@layer("nn.Entity", kind="constant")
class Entity(Layer):
    """bias, whatever x is: one row for each sample of the batch that it was made for"""

    bias: Array
    ignored = frozenset({"bsize"})

    def forward(self, x: Nested) -> Array:
        return self.bias.copy()

    def lower(self, op: Builder, x: Values) -> Value:
        return op.Identity(op.weight(self.bias, "b"))


@layer("nn.GradScale", kind="identity")
class GradScale(Layer):
    """x, in a tensor of its own: scales gradients"""

    ignored = frozenset({"scale"})

    def forward(self, x: Array) -> Array:
        return x.copy()

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Identity(x)


@layer("nn.IntensityMod", kind="mul")
class IntensityMod(Layer):
    """{s, v}: each sample of v times the first number of its row of s; new each time"""

    owns_no_output = True

    def check(self, x: list[Array] | list[Value]) -> None:
        check_rank(x[0], 2)
        if x[0].shape[0] != x[1].shape[0]:
            raise Refusal(f"multiplies {x[1].shape[0]} samples by {x[0].shape[0]} numbers")

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        return x[1] * x[0][:, :1].reshape(-1, *[1] * (x[1].ndim - 1))

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        first = op.Slice(x[0], [0], [1], [1])
        return op.Mul(x[1], op.Reshape(first, [-1, *[1] * (x[1].rank - 1)]))


@layer("nn.componentMul", kind="mul")
class ComponentMul(Layer):
    """{a, b}: a · b, element by element; new each time"""

    owns_no_output = True

    def check(self, x: list[Array] | list[Value]) -> None:
        if len(x) < 2 or x[0].shape != x[1].shape:
            raise Refusal("takes two tensors of equal sizes")

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        return x[0] * x[1]

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        return op.Mul(x[0], x[1])
