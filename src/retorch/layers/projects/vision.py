"""Images as projects published them: imagine-nn, waifu2x, EDSR, DenseNet, DQN, XNOR-Net, neuraltalk2."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, layer
from retorch.layers.base.memory import result
from retorch.layers.base.window import Window, slide, taps
from retorch.layers.container import Joined, tensor, value
from retorch.layers.convolution.spatial import SpatialConvolution, check_rank, stable_copy
from retorch.layers.linear import Affine
from retorch.layers.table.arithmetic import CAddTable

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values

#: FLT_MIN: what stochastic pooling adds to a sum that it divides by.
SMALLEST = float(np.finfo(np.float32).tiny)


@layer("inn.ConstAffine", "inn.SpatialConstAffine", "nn.SpatialConstDiagonal", kind="affine")
class ConstAffine(Layer):
    """a · x + b, one a and b for each channel; x is (N, C) or (N, C, H, W)"""

    a: Array
    b: Array
    inplace: bool = False

    def per_channel(self, x: Array | Value) -> tuple[Array, Array]:
        check_rank(x, 2, 4)
        shape = (1, -1, *(1,) * (len(x.shape) - 2))
        return self.a.reshape(shape), self.b.reshape(shape)

    def forward(self, x: Array) -> Array:
        a, b = self.per_channel(x)
        return result(x, x * a + b, self.inplace)

    def lower(self, op: Builder, x: Value) -> Value:
        a, b = self.per_channel(x)
        return op.result(x, op.Add(op.Mul(x, op.weight(a, "w")), op.weight(b, "b")), self.inplace)


@layer("inn.MeanSubtraction", kind="mean")
class MeanSubtraction(Layer):
    """x − mean, the mean of an image; x is (C, H, W) or (N, C, H, W)"""

    mean: Array

    def image(self, x: Array | Value) -> Array:
        check_rank(x, 3, 4)
        # the file may hold it repeated for the last batch
        mean = self.mean[0] if self.mean.ndim == 4 else self.mean
        if mean.size != np.prod(x.shape[-3:]):
            raise Refusal(f"has a mean of sizes {mean.shape}; its input has the sizes {x.shape}")
        return mean.reshape(x.shape[-3:])

    def forward(self, x: Array) -> Array:
        return x - self.image(x)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Sub(x, op.weight(self.image(x), "w"))


@layer("inn.SpatialPyramidPooling", kind="pyramid")
class SpatialPyramidPooling(Joined):
    """Adaptive maximum poolings of several sizes, each as a vector, one after the other"""

    modules: list[Layer]
    ignored = frozenset({"dimension", "pyr", "size"})

    def forward(self, x: Array) -> Array:
        check_rank(x, 3, 4)
        return np.concatenate([tensor(module(x)) for module in self.modules], axis=x.ndim - 3)

    def lower(self, op: Builder, x: Value) -> Value:
        check_rank(x, 3, 4)
        return op.Concat(*(value(op.call(module, x)) for module in self.modules), axis=x.rank - 3)


@layer("inn.SpatialStochasticPooling", kind="pool")
class SpatialStochasticPooling(Layer):
    """Σ x² / Σ x over each window: at evaluation the mean of what it draws in training; x is (C, H, W) or (N, C, H, W)

    Windows may reach past the end, where they see nothing.
    """

    kW: int
    kH: int
    dW: int
    dH: int
    ignored = frozenset({"padW", "padH", "ceil_mode"})

    def windows(self, x: Array | Value) -> tuple[Window, ...]:
        check_rank(x, 3, 4)
        return slide(x.shape[-2:], (self.kH, self.kW), (self.dH, self.dW), (0, 0), ceil=True)

    def forward(self, x: Array) -> Array:
        windows = self.windows(x)
        squares = sum(seen**2 for _, seen in taps(x, windows))
        return np.asarray(squares / (sum(seen for _, seen in taps(x, windows)) + SMALLEST))

    def lower(self, op: Builder, x: Value) -> Value:
        windows = self.windows(x)
        tails = [max(w.tail, 0) for w in windows]
        images = x if x.rank == 4 else op.Unsqueeze(x, [0])
        whole = op.Pad(images, [0] * 6 + tails) if any(tails) else images

        def total(t: Value) -> Value:
            kernel, strides = [w.kernel for w in windows], [w.stride for w in windows]
            return op.Mul(op.AveragePool(t, kernel_shape=kernel, strides=strides), float(self.kH * self.kW))

        y = op.Div(total(op.Mul(whole, whole)), op.Add(total(whole), SMALLEST))
        return y if x.rank == 4 else op.Squeeze(y, [0])


@layer("nn.Rectifier", kind="relu")
class Rectifier(Layer):
    """max(x, 0), of DQN"""

    def forward(self, x: Array) -> Array:
        return np.maximum(x, 0)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Relu(x)


@layer("nn.BinActiveZ", kind="sign")
class BinActiveZ(Layer):
    """The sign of x: −1, 0 or 1, of XNOR-Net"""

    def forward(self, x: Array) -> Array:
        return np.sign(x)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Sign(x)


@layer("nn.SpatialBinaryConvolution", kind="conv")
class SpatialBinaryConvolution(SpatialConvolution):
    """y[o] = mean |weight[o]| · Σ_c sign(weight[o, c]) ⋆ x[c], of XNOR-Net's paper; the sign of 0 is 1"""

    ignored = (
        SpatialConvolution.ignored
        | frozenset({"iwh", "owh", "tempWeight", "gradInputAlphas", "alphas", "wmask"})
        | frozenset({"_tempAlphas", "_tempAlphasExpanded", "_tempAlphasSamples"})
        | frozenset({"_tempGradAlphas", "_tempGradAlphasExpanded", "_tempGradAlphasSamples"})
        | frozenset({"_gradWeightAlphas", "_gradWeightAlphasExpanded", "_gradWeightAlphasSamples"})
    )

    def setup(self, bind: Binder) -> None:
        super().setup(bind)
        scale = np.abs(self.weight).mean(axis=(1, 2, 3), keepdims=True, dtype=np.float64)
        signs = np.greater_equal(self.weight, 0) * 2.0 - 1.0
        self._kernel = stable_copy((scale * signs).astype(np.float32))

    def dense(self) -> tuple[Array, int]:
        return self._kernel, self.groups


@layer("nn.LinearNB", kind="fc")
class LinearNB(Affine):
    """x · weightᵀ, of fbnn; x is (N, in) or (in), weight (out, in)"""

    weight: Array
    bias: Array | None = None


@layer("nn.FeatExpander", kind="expand")
class FeatExpander(Layer):
    """Each row n times: (N, D) gives (N · n, D)"""

    n: int

    def forward(self, x: Array) -> Array:
        if self.n == 1:
            return x
        check_rank(x, 2)
        return np.repeat(x, self.n, axis=0)

    def lower(self, op: Builder, x: Value) -> Value:
        if self.n == 1:
            return x
        check_rank(x, 2)
        return op.Reshape(op.Expand(op.Unsqueeze(x, [1]), [1, self.n, 1]), [-1, x.shape[1]])


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


@layer("w2nn.EdgeFilter", kind="conv")
class EdgeFilter(SpatialConvolution):
    """The differences of each pixel and its eight neighbours, as a convolution whose weights are in the file"""


@layer("w2nn.ScaleTable", kind="mul")
class ScaleTable(Layer):
    """{x, s} ↦ x · s, s spread over the sizes of x"""

    ignored = frozenset({"scale", "grad_tmp"})

    def check(self, x: list[Array] | list[Value]) -> None:
        ranks = {len(t.shape) for t in x}
        if len(x) != 2 or len(ranks) != 1 or any(s not in (1, d) for s, d in zip(x[1].shape, x[0].shape, strict=True)):
            raise Refusal(f"cannot spread {x[-1].shape} over {x[0].shape}")

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        return x[0] * x[1]

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        return op.Mul(*x)


@layer("w2nn.InplaceClip01", kind="clip")
class InplaceClip01(Layer):
    """min(max(x, 0), 1), in place"""

    def forward(self, x: Array) -> Array:
        return result(x, np.clip(x, 0, 1), True)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.write(x, op.Clip(x, 0.0, 1.0))


@layer("w2nn.AuxiliaryLossTable", kind="select")
class AuxiliaryLossTable(Layer):
    """{x1, …, xn} ↦ xi, a copy; the others are for losses in training"""

    i: int = 1
    ignored = frozenset({"output_table", "output_tensor"})

    def check(self, count: int) -> None:
        if not 1 <= self.i <= count:
            raise Refusal(f"takes entry {self.i} of {count}")

    def forward(self, x: list[Array]) -> Array:
        self.check(len(x))
        return x[self.i - 1].copy()

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(len(x))
        return op.Identity(x[self.i - 1])


@layer("w2nn.GradWeight", "w2nn.Print", kind="identity")
class GradWeight(Layer):
    """x, a copy"""

    ignored = frozenset({"constant_scalar"})

    def forward(self, x: Array) -> Array:
        return x.copy()

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Identity(x)


@layer("w2nn.ShakeShakeTable", kind="add")
class ShakeShakeTable(CAddTable):
    """x1 + x2; in training their mix is random"""

    ignored = frozenset({"alpha", "beta", "first", "second"})


@layer("w2nn.DepthExpand2x", kind="shuffle")
class DepthExpand2x(Layer):
    """y[c, 2h + i, 2w + j] = x[(2i + j) · C/4 + c, h, w]; x is (N, C, H, W)"""

    ignored = frozenset({"shape"})

    def check(self, x: Array | Value) -> None:
        check_rank(x, 4)
        if x.shape[1] % 4:
            raise Refusal(f"takes channels in fours, not {x.shape[1]}")

    def forward(self, x: Array) -> Array:
        self.check(x)
        n, c, h, w = x.shape
        parts = x.reshape(n, 2, 2, c // 4, h, w)
        return parts.transpose(0, 3, 4, 1, 5, 2).reshape(n, c // 4, 2 * h, 2 * w)

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        return op.DepthToSpace(x, blocksize=2)
