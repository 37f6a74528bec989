"""Making images and volumes larger: by repetition, by interpolation, and by laying channels out as pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.container import tensor, value
from retorch.layers.convolution.spatial import SIZES, SpatialConvolution, check_rank
from retorch.torch7 import TorchObject

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


def repeated(x: Array, times: Sequence[int]) -> Array:
    """Each element of the last axes as often as ``times`` says."""
    for axis, n in zip(range(-len(times), 0), times, strict=True):
        x = np.repeat(x, n, axis=axis)
    return x


def lower_repeated(op: Builder, x: Value, times: Sequence[int]) -> Value:
    """Resize, each element ``times`` times on the last axes; ``x`` has a batch and channels before them."""
    scales = np.asarray([1.0] * (x.rank - len(times)) + list(times), np.float32)
    mode = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return op.Resize(x, None, scales, mode="nearest", **mode)


def interpolated(x: Array, sizes: Sequence[int]) -> Array:
    """The last axes brought to ``sizes``, linearly between elements; first on first, last on last."""
    for axis, out in zip(range(-len(sizes), 0), sizes, strict=True):
        size = x.shape[axis]
        at = np.arange(out) * ((size - 1) / (out - 1) if out > 1 else 0.0)
        low = np.minimum(at.astype(np.int64), size - 1)
        share = (at - low).astype(x.dtype).reshape(-1, *(1,) * (-axis - 1))
        high = np.minimum(low + 1, size - 1)
        x = np.take(x, low, axis=axis) * (1 - share) + np.take(x, high, axis=axis) * share
    return x


def lower_interpolated(op: Builder, x: Value, sizes: Sequence[int]) -> Value:
    """Resize of the last axes, first on first and last on last; ``x`` has a batch and channels before them."""
    if tuple(sizes) == x.shape[-len(sizes) :]:
        return op.Identity(x)
    ratios = [_ratio(size, out) for size, out in zip(x.shape[-len(sizes) :], sizes, strict=True)]
    # scales rather than sizes, so that the batch stays open
    scales = np.asarray([1.0] * (x.rank - len(sizes)) + ratios, np.float32)
    mode = {"coordinate_transformation_mode": "align_corners"}
    return op.Resize(x, None, scales, mode="linear", **mode)


def _ratio(size: int, out: int) -> float:
    """The least float32 that makes ``out`` of ``size`` where the product is rounded down."""
    ratio = np.float32(out / size)
    while size * float(ratio) < out:
        ratio = np.nextafter(ratio, np.float32(np.inf))
    return float(ratio)


def batched(op: Builder, x: Value, rank: int) -> Value:
    """``x`` with ``rank`` dimensions, a batch of one where it has one less."""
    return x if x.rank == rank else op.unsqueeze(x, 0)


def unbatched(op: Builder, y: Value, rank: int) -> Value:
    """``y`` with ``rank`` dimensions, without its batch of one where it has one more."""
    return y if y.rank == rank else op.Squeeze(y, [0])


@layer("nn.SpatialUpSamplingNearest", kind="upsample")
class SpatialUpSamplingNearest(Layer):
    """Each pixel scale_factor x scale_factor times; x is (N, C, H, W) or (C, H, W)"""

    scale_factor: int

    def forward(self, x: Array) -> Array:
        check_rank(x, 3, 4)
        return repeated(x, (self.scale_factor,) * 2)

    def lower(self, op: Builder, x: Value) -> Value:
        check_rank(x, 3, 4)
        return unbatched(op, lower_repeated(op, batched(op, x, 4), (self.scale_factor,) * 2), x.rank)


@layer("nn.SpatialUpSamplingBilinear", kind="upsample")
class SpatialUpSamplingBilinear(Layer):
    """x brought to scale_factor times its size, or to oheight x owidth, corners on corners, linear between pixels"""

    scale_factor: int | None = None
    owidth: int | None = None
    oheight: int | None = None

    def sizes(self, x: Array | Value) -> tuple[int, int]:
        """The output's height and width."""
        check_rank(x, 3, 4)
        if self.scale_factor is not None:
            return x.shape[-2] * self.scale_factor, x.shape[-1] * self.scale_factor
        if self.oheight is None or self.owidth is None:
            raise Refusal("has neither scale_factor nor owidth and oheight")
        return self.oheight, self.owidth

    def forward(self, x: Array) -> Array:
        return interpolated(x, self.sizes(x))

    def lower(self, op: Builder, x: Value) -> Value:
        return unbatched(op, lower_interpolated(op, batched(op, x, 4), self.sizes(x)), x.rank)


@layer("nn.UpSampling", kind="upsample")
class UpSampling(Layer):
    """x, (N, C, H, W) or (N, C, T, H, W), made larger: elements repeated ("nearest"), or linear between ("linear")"""

    mode: str = "nearest"
    scale_factor: int | None = None
    odepth: int | None = None
    oheight: int | None = None
    owidth: int | None = None

    def sizes(self, x: Array | Value) -> list[int]:
        """The output's sizes after batch and channels."""
        check_rank(x, 4, 5)
        if self.scale_factor is not None:
            return [size * self.scale_factor for size in x.shape[2:]]
        given = [self.odepth, self.oheight, self.owidth][5 - len(x.shape) :]
        found = [size for size in given if size is not None]
        if len(found) < len(given) or self.mode == "nearest":
            raise Refusal("has no output size for this input")
        return found

    def forward(self, x: Array) -> Array:
        sizes = self.sizes(x)
        if self.mode == "nearest":
            return repeated(x, [self.scale_factor or 1] * len(sizes))
        return interpolated(x, sizes)

    def lower(self, op: Builder, x: Value) -> Value:
        sizes = self.sizes(x)
        if self.mode == "nearest":
            return lower_repeated(op, x, [self.scale_factor or 1] * len(sizes))
        return lower_interpolated(op, x, sizes)


@layer("nn.PixelShuffle", kind="pixelshuffle")
class PixelShuffle(Layer):
    """y[c, h r + i, w r + j] = x[c r² + i r + j, h, w] with r = upscaleFactor; x is (N, C r², H, W) or (C r², H, W)"""

    upscaleFactor: int
    ignored = frozenset({"upscaleFactorSquared", "_shuffleOut", "_shuffleIn", "_intermediateShape", "_outShape"})

    def check(self, x: Array | Value) -> int:
        """The factor, if the input's channels are a multiple of its square."""
        check_rank(x, 3, 4)
        r = self.upscaleFactor
        if x.shape[-3] % (r * r):
            raise Refusal(f"shuffles groups of {r * r} channels, its input has {x.shape[-3]}")
        return r

    def forward(self, x: Array) -> Array:
        r = self.check(x)
        *outer, channels, height, width = x.shape
        y = np.empty((*outer, channels // (r * r), height * r, width * r), x.dtype)
        for i in range(r):
            for j in range(r):
                y[..., i::r, j::r] = x[..., i * r + j :: r * r, :, :]
        return y

    def lower(self, op: Builder, x: Value) -> Value:
        r = self.check(x)
        return unbatched(op, op.DepthToSpace(batched(op, x, 4), blocksize=r, mode="CRD"), x.rank)


@layer("nn.PixelSort", kind="pixelsort")
class PixelSort(Layer):
    """y[(c r + i) r + j, h, w] = x[c, h r + i, w r + j], r = downscaleFactor; x is (N, C, H r, W r) or (C, H r, W r)"""

    downscaleFactor: int
    ignored = frozenset({"downscaleFactorSquared", "_shuffleOut", "_shuffleIn", "_intermediateShape", "_outShape"})

    def check(self, x: Array | Value) -> int:
        """The factor, if it divides the input's height and width."""
        check_rank(x, 3, 4)
        r = self.downscaleFactor
        if r < 1 or x.shape[-2] % r or x.shape[-1] % r:
            raise Refusal(f"takes heights and widths that {r} divides, not {x.shape[-2]} and {x.shape[-1]}")
        return r

    def forward(self, x: Array) -> Array:
        r = self.check(x)
        pixels = np.stack([x[..., i::r, j::r] for i in range(r) for j in range(r)], axis=-3)
        return pixels.reshape(*x.shape[:-3], -1, *pixels.shape[-2:])

    def lower(self, op: Builder, x: Value) -> Value:
        r = self.check(x)
        channels, height, width = x.shape[-3:]
        blocks = op.Reshape(x, [-1, height // r, r, width // r, r])
        sizes = [channels * r * r, height // r, width // r]
        y = op.Transpose(blocks, perm=[0, 2, 4, 1, 3])
        return op.Reshape(y, [-1, *sizes] if x.rank == 4 else sizes)


@layer("nn.SpatialConvolutionUpsample", "cudnn.SpatialConvolutionUpsample", kind="pixelshuffle")
class SpatialConvolutionUpsample(Layer):
    """A convolution to more channels, which are then laid out as pixels

    Two published classes have this name. One holds the convolution in ``modules``, and y[c, h scaleH + i, w scaleW + j]
    is channel (c scaleH + i) scaleW + j of it. The other is the convolution (eyescream), and its output is viewed as
    nOutputPlaneU channels of ``factor`` times the size, as the numbers come.
    """

    modules: list[Layer] = []
    scaleW: int = 1
    scaleH: int = 1
    factor: int | None = None
    nOutputPlaneU: int | None = None
    ignored = frozenset("h w nInputPlaneU _convGradOutput weight bias".split()) | SIZES
    ignored |= frozenset("kW kH dW dH padW padH padding groups".split())

    def setup(self, bind: Binder) -> None:
        if self.factor is None:
            if len(self.modules) != 1:
                raise Refusal("holds no convolution")
            self._convolution = self.modules[0]
            return
        fields = {name: self.raw[name] for name in SpatialConvolution.fields if name in self.raw}
        self._convolution = bind(TorchObject("nn.SpatialConvolution", fields), self.path)

    def children(self) -> Iterable[Layer]:
        return (self._convolution,)

    def forward(self, x: Array) -> Array:
        y = tensor(self._convolution(x))
        *outer, channels, height, width = y.shape
        if self.factor is not None:
            return y.reshape(*outer, self.nOutputPlaneU or -1, height * self.factor, width * self.factor)
        i, j = self.scaleH, self.scaleW
        pixels = y.reshape(*outer, channels // (i * j), i, j, height, width)
        ordered = np.moveaxis(pixels, (-2, -4, -1, -3), (-4, -3, -2, -1))
        return ordered.reshape(*outer, -1, height * i, width * j)

    def lower(self, op: Builder, x: Value) -> Value:
        y = value(op.call(self._convolution, x))
        *outer, channels, height, width = y.shape
        zeros = [0] * len(outer)
        if self.factor is not None:
            channels //= self.factor * self.factor
            return op.reshape(y, [*zeros, channels, height * self.factor, width * self.factor])
        i, j = self.scaleH, self.scaleW
        pixels = op.Reshape(y, [*zeros, channels // (i * j), i, j, height, width])
        order = [*range(len(outer) + 1), *(len(outer) + at for at in (3, 1, 4, 2))]
        ordered = op.Transpose(pixels, perm=order)
        return op.Reshape(ordered, [*zeros, channels // (i * j), height * i, width * j])


@layer("nn.SpatialReSampling", kind="resample")
class SpatialReSampling(Layer):
    """x brought to oheight x owidth, or rheight and rwidth times its size; corners on corners, linear between pixels"""

    owidth: float | None = None
    oheight: float | None = None
    rwidth: float | None = None
    rheight: float | None = None

    def sizes(self, x: Array | Value) -> tuple[int, int]:
        """The output's height and width."""
        check_rank(x, 3, 4)
        height = int(self.oheight or (self.rheight or 0) * x.shape[-2])
        width = int(self.owidth or (self.rwidth or 0) * x.shape[-1])
        if height < 2 or width < 2:
            # a ratio of 1 / (out - 1) has no value there
            raise Refusal(f"cannot bring an image to {height}x{width}")
        return height, width

    def forward(self, x: Array) -> Array:
        return interpolated(x, self.sizes(x))

    def lower(self, op: Builder, x: Value) -> Value:
        return unbatched(op, lower_interpolated(op, batched(op, x, 4), self.sizes(x)), x.rank)


@layer("nn.SpatialReSamplingEx", kind="resample")
class SpatialReSamplingEx(Layer):
    """Dimensions yDim and xDim = yDim + 1 (from 1) brought to another size, by ``mode``

    "bilinear": corners on corners, linear between pixels. Otherwise larger images repeat each pixel ⌈out / in⌉ times
    and stop short; smaller ones take every ⌊in / out⌋th pixel ("simple"), or the mean of so many ("average").
    """

    owidth: int | None = None
    oheight: int | None = None
    rwidth: float | None = None
    rheight: float | None = None
    mode: str = "simple"
    yDim: int = 2
    xDim: int = 3
    ignored = frozenset({"mode_c", "oheightCurrent", "owidthCurrent"})

    def setup(self, bind: Binder) -> None:
        if self.mode not in ("simple", "average", "bilinear") or self.xDim != self.yDim + 1:
            raise Refusal(f"has mode {self.mode} on dimensions {self.yDim} and {self.xDim}")

    def geometry(self, x: Array | Value) -> tuple[tuple[int, ...], tuple[int, int]]:
        """x as (outer, height, width, inner), and the output's height and width."""
        check_rank(x, *range(self.xDim, 9))
        y, shape = self.yDim - 1, x.shape
        height = self.oheight or math.floor((self.rheight or 0) * shape[y] + 0.5)
        width = self.owidth or math.floor((self.rwidth or 0) * shape[y + 1] + 0.5)
        fits = min(height, width) >= (2 if self.mode == "bilinear" else 1)
        if not fits or (height >= shape[y]) != (width >= shape[y + 1]):
            raise Refusal(f"cannot bring {shape[y]}x{shape[y + 1]} to {height}x{width}")
        return (math.prod(shape[:y]), shape[y], shape[y + 1], math.prod(shape[y + 2 :])), (height, width)

    def index(self, size: int, out: int) -> Array:
        """Which pixel each output pixel shows."""
        at = np.arange(out)
        return at // -(-out // size) if out >= size else at * (size // out)

    def forward(self, x: Array) -> Array:
        (_, *sizes, _), outs = self.geometry(x)
        axis = self.yDim - 1
        if self.mode == "bilinear":
            return np.moveaxis(
                interpolated(np.moveaxis(x, (axis, axis + 1), (-2, -1)), outs), (-2, -1), (axis, axis + 1)
            )
        if self.mode == "average" and outs[0] < sizes[0]:
            for i, (size, out) in enumerate(zip(sizes, outs, strict=True)):
                step = size // out
                whole = np.take(x, np.arange(out * step), axis=axis + i)
                x = whole.reshape(*x.shape[: axis + i], out, step, *x.shape[axis + i + 1 :]).mean(axis=axis + i + 1)
            return x
        for i, (size, out) in enumerate(zip(sizes, outs, strict=True)):
            x = np.take(x, self.index(size, out), axis=axis + i)
        return x

    def lower(self, op: Builder, x: Value) -> Value:
        (_, height, width, inner), outs = self.geometry(x)
        axis = self.yDim - 1
        if self.mode != "bilinear" and not (self.mode == "average" and outs[0] < height):
            y = op.Gather(x, self.index(height, outs[0]), axis=axis)
            return op.Gather(y, self.index(width, outs[1]), axis=axis + 1)
        kept = [-1, *x.shape[1:]]
        images = op.Transpose(op.Reshape(x, [-1, height, width, inner]), perm=[0, 3, 1, 2])
        if self.mode == "bilinear":
            y = lower_interpolated(op, images, outs)
        else:
            kernel = [height // outs[0], width // outs[1]]
            y = op.AveragePool(images, kernel_shape=kernel, strides=kernel)
            y = op.Slice(y, [0, 0], list(outs), [2, 3])
        kept[axis : axis + 2] = outs
        return op.Reshape(op.Transpose(y, perm=[0, 2, 3, 1]), kept)
