"""Transposed ("full") convolutions: each input adds its multiple of the kernel to the output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from retorch.errors import counted
from retorch.layers.base.layer import Array, Binder, Refusal, layer
from retorch.layers.base.window import Windowed, spread
from retorch.layers.convolution.spatial import SIZES, check_rank, connections, stable_copy

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


class FullConvolution(Windowed):
    """y[o] = bias[o] + Σ_c (weight[c, o] transposed) ⋆ x[c]; weight is (C, O, *kernel).

    Of a table {x, target} only x is convolved; target says what size the output should have.
    """

    ignored = SIZES | {"zeroScalar"}

    weight: Array
    bias: Array | None = None

    def dense(self) -> Array:
        """The weights as (C, O, *kernel)."""
        return self.weight

    def reads(self) -> tuple[int | None, ...] | None:
        return (self.dense().shape[0], *(None,) * len(self.axes))

    def extra(self, x: Array | Value, target: Sequence[int] | None) -> tuple[int, ...]:
        """How many rows to add behind each axis: adjH, adjW, or whatever the target's size asks for."""
        rank = len(self.axes)
        check_rank(x, rank + 1, rank + 2)
        if x.shape[-rank - 1] != self.dense().shape[0]:
            raise Refusal(
                f"has weights for {counted(self.dense().shape[0], 'channel')}, its input has {x.shape[-rank - 1]}"
            )
        if target is None:
            return self.per_axis("adj")
        geometry = zip(target[-rank:], self.per_axis("pad"), self.dense().shape[2:], self.per_axis("d", 1), strict=True)
        return tuple((size + 2 * pad - kernel) % stride for size, pad, kernel, stride in geometry)

    def forward(self, x: Array | list[Array]) -> Array:
        x, target = (x[0], x[1].shape) if isinstance(x, list) else (x, None)
        extra = self.extra(x, target)
        batched = x.ndim == len(self.axes) + 2
        d, pad, dilation = self.per_axis("d", 1), self.per_axis("pad"), self.per_axis("dilation", 1)
        y = spread(x if batched else x[None], self.dense(), self.bias, d, pad, dilation, extra)
        return y if batched else y[0]

    def lower(self, op: Builder, x: Value | list[Value]) -> Value:
        x, target = (x[0], x[1].shape) if isinstance(x, list) else (x, None)
        extra = self.extra(x, target)
        batched = x.rank == len(self.axes) + 2
        pad = self.per_axis("pad")
        around = [max(-p, 0) for p in pad]
        bias = None if self.bias is None or any(around) else op.weight(self.bias, "b")
        y = op.ConvTranspose(
            x if batched else op.unsqueeze(x, 0),
            op.weight(self.dense(), "w"),
            bias,
            kernel_shape=self.dense().shape[2:],
            strides=self.per_axis("d", 1),
            pads=[max(p, 0) for p in pad] * 2,
            dilations=self.per_axis("dilation", 1),
            output_padding=extra,
        )
        if any(around):
            # negative padding: rows and columns that hold the bias alone
            y = op.Pad(y, [0, 0, *around] * 2, 0.0)
            y = y if self.bias is None else op.Add(y, self.bias.reshape(-1, *(1,) * len(pad)))
        return y if batched else op.Squeeze(y, [0])


@layer("nn.SpatialFullConvolution", "cudnn.SpatialFullConvolution", "nn.SpatialFullDilatedConvolution", kind="conv")
class SpatialFullConvolution(FullConvolution):
    """y[o] = bias[o] + Σ_c (weight[c, o] transposed) ⋆ x[c]; out = (in - 1) d - 2 pad + k + adj on each axis"""

    kW: int
    kH: int
    dW: int = 1
    dH: int = 1
    padW: int = 0
    padH: int = 0
    adjW: int = 0
    adjH: int = 0
    dilationW: int = 1
    dilationH: int = 1
    groups: int = 1

    def setup(self, bind: Binder) -> None:
        if self.groups != 1:
            raise Refusal("is grouped, which Torch's transposed convolutions are not")
        self.weight = self.weight.reshape(self.weight.shape[0], -1, self.kH, self.kW)


@layer("nn.SpatialFullConvolutionMap", kind="conv")
class SpatialFullConvolutionMap(FullConvolution):
    """y[o] = bias[o] + Σ_k (weight[k] transposed) ⋆ x[i] over the rows (i, o) of connTable, counted from 1"""

    dW: int = 1
    dH: int = 1
    nInputPlane: int
    nOutputPlane: int
    connTable: Array
    ignored = SIZES | {"kW", "kH"}

    def setup(self, bind: Binder) -> None:
        self._dense = connections(self.connTable, self.weight, (self.nInputPlane, self.nOutputPlane))

    def dense(self) -> Array:
        return self._dense


@layer("nn.VolumetricFullConvolution", "cudnn.VolumetricFullConvolution", kind="conv")
class VolumetricFullConvolution(FullConvolution):
    """A SpatialFullConvolution in three dimensions; x is (N, C, T, H, W) or (C, T, H, W), weight (C, O, kT, kH, kW)"""

    axes = "THW"
    kT: int
    kW: int
    kH: int
    dT: int = 1
    dW: int = 1
    dH: int = 1
    padT: int = 0
    padW: int = 0
    padH: int = 0
    adjT: int = 0
    adjW: int = 0
    adjH: int = 0
    #: What padT, padW and padH were called in the first files, where the weight was (O, C, kT, kH, kW).
    pT: int = 0
    pW: int = 0
    pH: int = 0

    def setup(self, bind: Binder) -> None:
        for axis in self.axes:
            if "pad" + axis not in self.raw:
                setattr(self, "pad" + axis, getattr(self, "p" + axis))
        if self.typename.startswith("nn.") and "adjW" not in self.raw:
            self.weight = stable_copy(self.weight.swapaxes(0, 1))
        self.weight = self.weight.reshape(self.weight.shape[0], -1, self.kT, self.kH, self.kW)
