"""Convolutions over images: dense, dilated, grouped, sparse (connection tables), depthwise and unshared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from retorch.errors import counted
from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.base.window import Window, Windowed, convolve, slide, taps

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value

#: What the files say about sizes that the weights say too.
SIZES = frozenset({"nInputPlane", "nOutputPlane", "inputFrameSize", "outputFrameSize", "pad", "stride"})


def lower_convolution(
    op: Builder, x: Value, weight: Value, bias: Value | None, windows: Iterable[Window], groups: int = 1
) -> Value:
    """One Conv node; ``x`` is (N, C, *in)."""
    windows = list(windows)
    if not all(window.plain for window in windows):
        x, windows = pad_to_windows(op, x, windows, 0.0), windows_on_padded(windows)
    return op.Conv(
        x,
        weight,
        bias,
        kernel_shape=[w.kernel for w in windows],
        strides=[w.stride for w in windows],
        pads=[w.pad for w in windows] * 2,
        dilations=[w.dilation for w in windows],
        group=groups,
    )


def pad_to_windows(op: Builder, x: Value, windows: Sequence[Window], value: float) -> Value:
    """``x`` padded with a constant until every window lies inside, and cropped to what they see."""
    rest = [0] * (x.rank - len(windows))
    return op.Pad(x, [*rest, *(w.pad for w in windows), *rest, *(w.tail for w in windows)], value)


def windows_on_padded(windows: Sequence[Window]) -> list[Window]:
    """The same windows over an input padded by :func:`pad_to_windows`."""
    return [Window(w.size + w.pad + w.tail, w.kernel, w.stride, 0, w.dilation, w.out) for w in windows]


def check_rank(x: Array | Value, *ranks: int) -> None:
    """An input of one of these numbers of dimensions, or Refusal."""
    if len(x.shape) not in ranks:
        wanted = " or ".join(f"{rank}-D" for rank in ranks)
        raise Refusal(f"takes {wanted} inputs, not {len(x.shape)}-D")


def stable_copy(weight: Array) -> Array:
    """A copy that a layer keeps, so that every lowering sees the same array."""
    return np.array(weight)


class Convolution(Windowed):
    """What convolutions share: geometry on the last axes, and inputs with or without a batch."""

    #: THNN lays the windows out by its unfolded_copy, which takes no heed of padding where none is positive.
    unfolds: ClassVar[bool] = False
    #: THNN lays the windows out by its im2col, which finds zeros wherever the input is not.
    bounded: ClassVar[bool] = False
    ignored = SIZES

    def windows(self, x: Array | Value) -> tuple[Window, ...]:
        """The windows on each axis."""
        rank = len(self.axes)
        check_rank(x, rank + 1, rank + 2)
        weight, groups = self.dense()
        if x.shape[-rank - 1] != weight.shape[1] * groups:
            raise Refusal(
                f"has weights for {counted(weight.shape[1] * groups, 'channel')}, its input has {x.shape[-rank - 1]}"
            )
        pad, dilation = self.per_axis("pad"), self.per_axis("dilation", 1)
        thnn = self.typename.startswith("nn.")
        rounding = {"truncate": thnn and (self.bounded or (self.unfolds and max(pad) > 0)), "drop": False}
        found = slide(x.shape[-rank:], weight.shape[2:], self.per_axis("d", 1), pad, dilation, **rounding)
        if thnn and self.unfolds and max(pad) <= 0:
            return tuple(replace(window, pad=0) for window in found)
        return found

    def dense(self) -> tuple[Array, int]:
        """The weights as (O, C / groups, *kernel), and the number of groups."""
        raise Refusal("has no weights")

    def offsets(self) -> Array | None:
        """The bias as (O)."""
        raise Refusal("has no weights")

    def reads(self) -> tuple[int | None, ...] | None:
        weight, groups = self.dense()
        return (weight.shape[1] * groups, *(None,) * len(self.axes))

    def forward(self, x: Array) -> Array:
        windows = self.windows(x)
        weight, groups = self.dense()
        batched = x.ndim == len(self.axes) + 2
        y = convolve(x if batched else x[None], weight, self.offsets(), windows, groups)
        return y if batched else y[0]

    def lower(self, op: Builder, x: Value) -> Value:
        windows = self.windows(x)
        weight, groups = self.dense()
        offsets = self.offsets()
        batched = x.rank == len(self.axes) + 2
        images = x if batched else op.unsqueeze(x, 0)
        kernel = op.weight(weight, "w")
        y = lower_convolution(op, images, kernel, None if offsets is None else op.weight(offsets, "b"), windows, groups)
        return y if batched else op.Squeeze(y, [0])


@layer(
    "nn.SpatialConvolution",
    "nn.SpatialConvolutionMM",
    "cudnn.SpatialConvolution",
    "cudnn.SpatialConvWP",
    "nn.RandomBinaryConvolution",
    "w2nn.RandomBinaryConvolution",
    "cudnn.RandomBinaryConvolution",
    kind="conv",
)
class SpatialConvolution(Convolution):
    """y[o] = bias[o] + Σ_c weight[o, c] ⋆ x[c]; x is (N, C, H, W) or (C, H, W), weight (O, C / groups, kH, kW)

    Those of local binary CNNs have weights of -1, 0 and 1 that are not trained.
    """

    ignored = SIZES | {"kSparsity"}

    unfolds = True
    kW: int
    kH: int
    dW: int = 1
    dH: int = 1
    padW: int = 0
    padH: int = 0
    padding: int | None = None
    groups: int = 1
    weight: Array
    bias: Array | None = None

    def setup(self, bind: Binder) -> None:
        if self.padding is not None:
            self.padW = self.padH = self.padding
        # old files hold (O, C * kH * kW)
        self.weight = self.weight.reshape(self.weight.shape[0], -1, self.kH, self.kW)

    def dense(self) -> tuple[Array, int]:
        return self.weight, self.groups

    def offsets(self) -> Array | None:
        return self.bias


@layer("nn.SpatialDilatedConvolution", "cudnn.SpatialDilatedConvolution", kind="conv")
class SpatialDilatedConvolution(SpatialConvolution):
    """A SpatialConvolution whose taps lie dilationH and dilationW apart."""

    unfolds, bounded = False, True
    dilationW: int = 1
    dilationH: int = 1

    # THNN writes the bias into the output before it reads the input
    def forward_over(self, x: Array, last: Array) -> Array:
        over = np.zeros_like(x)
        return self.forward(over if self.bias is None else over + self.bias.reshape(-1, 1, 1))

    def lower_over(self, op: Builder, x: Value, last: Value) -> Value:
        over = zeros_like(op, x)
        return self.lower(op, over if self.bias is None else op.Add(over, self.bias.reshape(-1, 1, 1)))


def zeros_like(op: Builder, x: Value) -> Value:
    """Zeros of the sizes of ``x``, whatever its batch."""
    return op.Clip(x, 0.0, 0.0)


def connections(table: Array, weight: Array, shape: tuple[int, int]) -> Array:
    """Dense weights ``shape + (kH, kW)`` of a table of pairs (first, second) from 1; the same pair twice adds."""
    pairs = table.astype(np.int64) - 1
    if pairs.shape != (weight.shape[0], 2) or pairs.min(initial=0) < 0 or np.any(pairs >= np.asarray(shape)):
        raise Refusal("its connection table does not fit its weights")
    whole = np.zeros((*shape, *weight.shape[1:]), weight.dtype)
    np.add.at(whole, (pairs[:, 0], pairs[:, 1]), weight)
    return whole


@layer("nn.SpatialConvolutionMap", kind="conv")
class SpatialConvolutionMap(Convolution):
    """y[o] = bias[o] + Σ_k weight[k] ⋆ x[i] over the rows (i, o) of connTable, counted from 1; weight is (K, kH, kW)

    Where x has more channels than the table names, THNN counts the channels of a batch as if it had just those: the
    second image begins in the first.
    """

    kW: int
    kH: int
    dW: int = 1
    dH: int = 1
    nInputPlane: int
    nOutputPlane: int
    connTable: Array
    weight: Array
    bias: Array

    def setup(self, bind: Binder) -> None:
        by_input = connections(self.connTable, self.weight, (self.nInputPlane, self.nOutputPlane))
        self._dense = stable_copy(by_input.transpose(1, 0, 2, 3))

    def dense(self) -> tuple[Array, int]:
        return self._dense, 1

    def offsets(self) -> Array | None:
        return self.bias

    def forward(self, x: Array) -> Array:
        if x.ndim in (3, 4) and x.shape[-3] > self.nInputPlane:
            named = x.reshape(-1, *x.shape[-2:])[: (len(x) if x.ndim == 4 else 1) * self.nInputPlane]
            x = named.reshape(*x.shape[:-3], self.nInputPlane, *x.shape[-2:])
        return super().forward(x)

    def lower(self, op: Builder, x: Value) -> Value:
        if x.rank in (3, 4) and x.shape[-3] > self.nInputPlane:
            images = x.shape[0] if x.rank == 4 else 1
            rows = op.Reshape(x, [-1, *x.shape[-2:]]) if x.rank == 4 else x
            named = op.Slice(rows, [0], [images * self.nInputPlane], [0])
            x = op.Reshape(named, [-1, self.nInputPlane, *x.shape[-2:]]) if x.rank == 4 else named
        return super().lower(op, x)


@layer("nn.SpatialSubSampling", "nn.MySpatialAveragePooling", kind="conv")
class SpatialSubSampling(Convolution):
    """y[c] = bias[c] + weight[c] * the sum of each kH x kW window of x[c]

    As many channels as the weight has entries in its first dimension; of its numbers THNN reads that many.
    """

    kW: int
    kH: int
    dW: int = 1
    dH: int = 1
    weight: Array
    bias: Array

    def setup(self, bind: Binder) -> None:
        flat = self.weight.reshape(-1)[: len(self.weight)].reshape(-1, 1, 1, 1)
        self._dense = stable_copy(np.broadcast_to(flat, (flat.shape[0], 1, self.kH, self.kW)))
        self._bias = stable_copy(self.bias.reshape(-1))

    def dense(self) -> tuple[Array, int]:
        return self._dense, self._dense.shape[0]

    def offsets(self) -> Array | None:
        return self._bias


@layer("nn.SpatialDepthWiseConvolution", kind="conv")
class SpatialDepthWiseConvolution(Convolution):
    """y[c M + m] = bias[m, c] + weight[m, c] ⋆ x'[c]; weight is (M, C, kH, kW), M outputs for each of C input channels.

    x' is x with its rows and columns miscounted: THNN's CPU code takes the H x W numbers of a channel for W rows of H,
    and the output is the size of that. Square images are not affected.
    """

    unfolds = True
    kW: int
    kH: int
    dW: int = 1
    dH: int = 1
    padW: int = 0
    padH: int = 0
    padding: int | None = None
    nInputPlane: int
    weight: Array
    bias: Array | None = None
    ignored = SIZES | {"depthwiseMultiplier"}

    def setup(self, bind: Binder) -> None:
        if self.padding is not None:
            self.padW = self.padH = self.padding
        weight = self.weight.reshape(-1, self.nInputPlane, self.kH, self.kW)
        self._dense = stable_copy(weight.transpose(1, 0, 2, 3).reshape(-1, 1, self.kH, self.kW))
        self._bias = None if self.bias is None else stable_copy(self.bias.reshape(weight.shape[:2]).T.reshape(-1))

    def dense(self) -> tuple[Array, int]:
        return self._dense, self.nInputPlane

    def offsets(self) -> Array | None:
        return self._bias

    def forward(self, x: Array) -> Array:
        check_rank(x, 3, 4)
        return super().forward(x.reshape(*x.shape[:-2], x.shape[-1], x.shape[-2]))

    def lower(self, op: Builder, x: Value) -> Value:
        check_rank(x, 3, 4)
        if x.shape[-1] != x.shape[-2]:
            x = op.Reshape(x, [*(0,) * (x.rank - 2), x.shape[-1], x.shape[-2]])
        return super().lower(op, x)


@layer("nn.SpatialConvolutionLocal", kind="conv")
class SpatialConvolutionLocal(Convolution):
    """A convolution with weights of its own at each place: weight (oH, oW, O, C, kH, kW), bias (O, oH, oW)"""

    unfolds = True
    kW: int
    kH: int
    dW: int = 1
    dH: int = 1
    padW: int = 0
    padH: int = 0
    weight: Array
    bias: Array
    ignored = SIZES | {"iW", "iH", "oW", "oH"}

    def setup(self, bind: Binder) -> None:
        out = self.bias.shape[-2:]
        self.weight = self.weight.reshape(*out, self.bias.shape[0], -1, self.kH, self.kW)
        self._places = out[0] * out[1]
        flat = self.weight.reshape(self._places, self.bias.shape[0], -1)
        self._rows = stable_copy(flat.transpose(0, 2, 1))
        taps = self.kH * self.kW
        self._unfold = np.tile(np.eye(taps).reshape(taps, 1, self.kH, self.kW), (self.weight.shape[3], 1, 1, 1))

    def dense(self) -> tuple[Array, int]:
        return self.weight[0, 0], 1

    def windows(self, x: Array | Value) -> tuple[Window, ...]:
        windows = super().windows(x)
        if tuple(w.out for w in windows) != self.bias.shape[-2:]:
            raise Refusal(f"has weights for another input than {'x'.join(map(str, x.shape))}")
        return windows

    def forward(self, x: Array) -> Array:
        windows = self.windows(x)
        y: Array | float = 0.0
        for at, seen in taps(x, windows):
            y = y + np.einsum("...chw,hwoc->...ohw", seen, self.weight[(..., *at)])
        return y + self.bias

    def lower(self, op: Builder, x: Value) -> Value:
        windows = self.windows(x)
        images = x if x.rank == 4 else op.unsqueeze(x, 0)
        groups = self.weight.shape[3]
        unfold = op.constant(self._unfold.astype(np.float32), "unfold")
        # a convolution whose every kernel is a single 1 lays the windows out as channels
        seen = lower_convolution(op, images, unfold, None, windows, groups)
        columns = op.Transpose(op.Reshape(seen, [0, self._rows.shape[1], self._places]), perm=[2, 0, 1])
        y = op.Transpose(op.MatMul(columns, op.weight(self._rows, "w")), perm=[1, 2, 0])
        y = op.Add(op.Reshape(y, [0, *self.bias.shape]), op.weight(self.bias, "b"))
        return y if x.rank == 4 else op.Squeeze(y, [0])


@layer("nn.SpatialClassifier", kind="spatialclassifier")
class SpatialClassifier(Layer):
    """classifier at each place of (K, H, W), as H W rows; gives (N, H, W), or (H W, N) without spatialOutput"""

    classifier: Layer
    spatialOutput: bool = False
    ignored = frozenset("modules inputF inputT outputF outputT gradInputF gradInputT gradOutputF gradOutputT".split())

    def children(self) -> Iterable[Layer]:
        return (self.classifier,)

    def forward(self, x: Array) -> Array:
        check_rank(x, 3)
        y = cast("Any", self.classifier(x.reshape(x.shape[0], -1).T))
        return y.T.reshape(y.shape[1], *x.shape[1:]).copy() if self.spatialOutput else y

    def lower(self, op: Builder, x: Value) -> Value:
        check_rank(x, 3)
        height, width = x.shape[1:]
        rows = op.Transpose(op.Reshape(x, [0, height * width]), perm=[1, 0])
        y = cast("Value", op.call(self.classifier, rows))
        return op.Reshape(op.Transpose(y, perm=[1, 0]), [-1, height, width]) if self.spatialOutput else y
