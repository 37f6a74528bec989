"""Sequences as fairseq published them: convolutions over time, attention, decoding one step at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, layer
from retorch.layers.base.window import Window, slide, taps
from retorch.layers.convolution.spatial import check_rank, lower_convolution, stable_copy
from retorch.layers.product import MM
from retorch.layers.projects.detection import pair
from retorch.layers.table.arithmetic import CAddTable
from retorch.layers.wrapper import Decorator
from retorch.torch7 import LuaTable

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


@layer("nn.AppendBias", kind="pad")
class AppendBias(Layer):
    """x with a 1 behind each row of its last dimension"""

    def forward(self, x: Array) -> Array:
        return np.concatenate([x, np.ones((*x.shape[:-1], 1), x.dtype)], axis=-1)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Pad(x, [*(0,) * (2 * x.rank - 1), 1], 1.0)


@layer("nn.BeamableMM", kind="matmul")
class BeamableMM(MM):
    """{a, b}: a · b, as nn.MM; with a ``beam`` it takes one b for as many rows of a, which is refused"""

    beam: int = 0

    def setup(self, bind: Binder) -> None:
        if self.beam > 0:
            raise Refusal(f"was saved in the midst of a search with a beam of {self.beam}")


@layer("nn.CAddTableMulConstant", kind="add")
class CAddTableMulConstant(CAddTable):
    """(x1 + x2 + …) · constant_scalar"""

    constant_scalar: float

    def forward(self, x: list[Array]) -> Array:
        y = super().forward(x)
        y *= self.constant_scalar
        return y

    def lower(self, op: Builder, x: list[Value]) -> Value:
        y = super().lower(op, x)
        return op.result(y, op.Mul(y, self.constant_scalar), self.inplace)


@layer("nn.SeqMultiply", kind="mul")
class SeqMultiply(Layer):
    """{x, s} ↦ x · √n, n the size of dimension 2 of s"""

    ignored = frozenset({"scale", "zeroGrads", "grads"})

    def factor(self, x: list[Array] | list[Value]) -> float:
        pair(x)
        check_rank(x[1], *range(2, 9))
        return math.sqrt(x[1].shape[1])

    def forward(self, x: list[Array]) -> Array:
        return x[0] * self.factor(x)

    def lower(self, op: Builder, x: list[Value]) -> Value:
        return op.Mul(x[0], self.factor(x))


@layer("nn.ZipAlong", kind="zip")
class ZipAlong(Layer):
    """{{x1, …, xn}, y} ↦ {{x1, y}, …, {xn, y}}"""

    def forward(self, x: list[Nested]) -> list[Nested]:
        pair(x)
        if not isinstance(x[0], list):
            raise Refusal("takes a table of tables, but is given a table of tensors")
        return [[item, x[1]] for item in x[0]]

    def lower(self, op: Builder, x: list[Values]) -> list[Values]:
        pair(x)
        if not isinstance(x[0], list):
            raise Refusal("takes a table of tables, but is given a table of tensors")
        return [[item, x[1]] for item in x[0]]


@layer("nn.GradMultiply", kind="wrapper")
class GradMultiply(Decorator):
    """modules[1](x): scales gradients"""

    modules: object = None
    module: object = None
    ignored = frozenset({"factor"})


@layer("nn.TemporalConvolutionTBC", kind="conv")
class TemporalConvolutionTBC(Layer):
    """y[t] = bias + Σ_k x[t + k − pad] · weight[k], zeros outside; x is (T, N, C), weight (kw, C, O)"""

    kw: int
    pad: int = 0
    weight: Array
    bias: Array
    ignored = frozenset({"nIn", "nOut"})

    def setup(self, bind: Binder) -> None:
        self._kernel = stable_copy(self.weight.transpose(2, 1, 0))

    def windows(self, x: Array | Value) -> tuple[Window, ...]:
        check_rank(x, 3)
        if x.shape[2] != self._kernel.shape[1]:
            raise Refusal(f"has weights for {self._kernel.shape[1]} features, its input has {x.shape[2]}")
        return slide(x.shape[:1], (self.kw,), (1,), (self.pad,), drop=False)

    def forward(self, x: Array) -> Array:
        windows = self.windows(x)
        y: Array = np.zeros((), x.dtype)
        for (k,), seen in taps(x.transpose(1, 2, 0), windows):
            y = y + seen.transpose(2, 0, 1) @ self.weight[k]
        return y + self.bias

    def lower(self, op: Builder, x: Value) -> Value:
        windows = self.windows(x)
        columns = op.Transpose(x, perm=[1, 2, 0])
        y = lower_convolution(op, columns, op.weight(self._kernel, "w"), op.weight(self.bias, "b"), windows)
        return op.Transpose(y, perm=[2, 0, 1])


@layer("nn.LinearizedConvolution", kind="fc")
class LinearizedConvolution(Layer):
    """weight · (the last ``kw`` steps) + bias: of the first step of a sequence, before which there are zeros

    x is (N, T, C), of which the last step counts, the result (N, 1, O). The decoder moves the steps on itself, between
    two runs of the network; what a file kept of earlier ones is not part of the network.
    """

    kw: int
    weight: Array
    bias: Array
    ignored = frozenset({"inputBuffer", "tmpBuffer", "tmp"})

    def take(self, weight: Array, bias: Array) -> None:
        """The weights (O, kw, C) of the convolution that it stands for."""
        self.kw = weight.shape[1]
        self.weight, self.bias = stable_copy(weight.reshape(len(weight), -1)), bias

    def last(self, x: Array | Value) -> Array:
        """The weights (O, C) for the last step."""
        check_rank(x, 3)
        if self.kw < 1:
            raise Refusal("was never given the weights of its convolution")
        if self.kw < 2 and x.shape[1] != 1:
            raise Refusal(f"takes one step, not {x.shape[1]}")
        features = self.weight.shape[1] // self.kw
        if x.shape[2] != features:
            raise Refusal(f"takes {features} features, not {x.shape[2]}")
        return self.weight[:, -features:]

    def forward(self, x: Array) -> Array:
        return x[:, -1:] @ self.last(x).T + self.bias

    def lower(self, op: Builder, x: Value) -> Value:
        weight = op.weight(stable_copy(self.last(x)), "w")
        last = x if x.shape[1] == 1 else op.Slice(x, [x.shape[1] - 1], [x.shape[1]], [1])
        return op.Unsqueeze(op.Gemm(op.Squeeze(last, [1]), weight, op.weight(self.bias, "b"), transB=1), [1])


@layer("nn.TrainTestLayer", "nn.ConvBlockTrainTestLayer", kind="wrapper")
class TrainTestLayer(Layer):
    """modules[2](x): the module for evaluation; the other is for training

    In training's state, a convolutional block gives its weights to the module for evaluation first.
    """

    container: ClassVar[bool] = True
    modules: object = None
    train: bool = False
    ignored = frozenset({"onTrain", "onEvaluate"})

    def setup(self, bind: Binder) -> None:
        modules = cast("list[object]", self.modules.sequence()) if isinstance(self.modules, LuaTable) else []
        if len(modules) != 2:
            raise Refusal(f"holds {len(modules)} modules, not one for training and one for evaluation")
        at = f"{self.path}.modules".removeprefix(".")
        self.inner = bind(modules[1], f"{at}[2]")
        if not self.train:
            return
        if self.typename != "nn.ConvBlockTrainTestLayer":
            raise Refusal("makes its module for evaluation by a function in the file, which is not run")
        convolution = _convolution(bind(modules[0], f"{at}[1]"))
        if convolution is None or not isinstance(self.inner, LinearizedConvolution):
            raise Refusal("holds no convolution for training and a linear one for evaluation")
        self.inner.take(convolution.weight.transpose(2, 0, 1), convolution.bias)

    def children(self) -> Iterable[Layer]:
        return (self.inner,)

    def forward(self, x: Nested) -> Nested:
        return self.inner(x)

    def lower(self, op: Builder, x: Values) -> Values:
        return op.call(self.inner, x)


def _convolution(block: Layer) -> TemporalConvolutionTBC | None:
    """The convolution in the second module of a block."""
    inside = list(block.children())
    wrapped = list(inside[1].children()) if len(inside) > 1 else []
    return wrapped[0] if wrapped and isinstance(wrapped[0], TemporalConvolutionTBC) else None
