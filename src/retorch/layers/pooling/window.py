"""Pooling over windows of images and volumes: maxima and averages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Refusal, Sizes, layer
from retorch.layers.base.memory import OVERLAP
from retorch.layers.base.window import LOWEST, Window, Windowed, slide, taps
from retorch.layers.container import Sequential
from retorch.layers.convolution.spatial import check_rank, pad_to_windows, windows_on_padded, zeros_like
from retorch.torch7 import LuaFunction

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


class Pooling(Windowed):
    """What poolings over the last axes share: geometry, and inputs with or without a batch."""

    ceil_mode: bool | None = None

    def windows(self, x: Array | Value) -> tuple[Window, ...]:
        """The windows on each axis."""
        rank = len(self.axes)
        check_rank(x, rank + 1, rank + 2)
        pad, dilation = self.per_axis("pad"), self.per_axis("dilation", 1)
        sizes, ceil = x.shape[-rank:], bool(self.ceil_mode)
        # cuDNN is asked for all windows; those that see nothing but padding have no defined result there
        cudnn = self.typename.startswith("cudnn.")
        found = slide(sizes, self.per_axis("k"), self.per_axis("d"), pad, dilation, ceil=ceil, drop=not cudnn)
        if cudnn and any(window.beyond for window in found):
            raise Refusal("its last window lies outside the input, where cuDNN's result is not defined")
        return found


def attributes(windows: Sequence[Window]) -> dict[str, Sequence[int]]:
    """The geometry of an ONNX pooling node."""
    begins, ends = zip(*(w.pads for w in windows), strict=True)
    found: dict[str, Sequence[int]] = {
        "kernel_shape": [w.kernel for w in windows],
        "strides": [w.stride for w in windows],
        "pads": [*begins, *ends],
    }
    if any(w.dilation != 1 for w in windows):
        found["dilations"] = [w.dilation for w in windows]
    return found


#: What the bytecode of SpatialMaxUnpooling.lua's and VolumetricMaxUnpooling.lua's wrapper holds.
_NOTES_SIZES = (b"iheight", b"iwidth", b"MaxPooling", b"updateOutput", b"dim", b"size")


class MaxPooling(Pooling):
    """y = the maximum over each window; of a window that sees nothing, the lowest number of Torch's type."""

    def __init__(self) -> None:
        #: Whether an unpooling layer asks where the maxima were.
        self.asked = False
        self.found: tuple[Array, Sizes] | None = None
        self.lowered: tuple[Builder, Value, tuple[Window, ...]] | None = None

    def forward(self, x: Array) -> Array:
        windows = self.windows(x)
        lowest = self.lowest(x.dtype)
        if self.asked:
            return self._found(x, windows, lowest)
        for axis, window in enumerate(windows, x.ndim - len(windows)):
            x = _maxima(x, axis, window, lowest)
        return x

    def _found(self, x: Array, windows: Sequence[Window], lowest: float) -> Array:
        """The maxima; and where they were is kept."""
        y = np.full((*x.shape[: -len(windows)], *(w.out for w in windows)), lowest, x.dtype)
        sizes = x.shape[-len(windows) :]
        where = np.full(y.shape, -1, np.int64)
        starts = np.ix_(*(np.arange(w.out) * w.stride - w.pad for w in windows))
        for at, seen in taps(x, windows, lowest):
            # THNN's comparison: the first of equals wins, and NaN never does
            better = seen > y
            np.copyto(y, seen, where=better)
            place = [start + i * w.dilation for start, i, w in zip(starts, at, windows, strict=True)]
            flat = place[0] + np.zeros((), np.int64)
            for position, size in zip(place[1:], sizes[1:], strict=True):
                flat = flat * size + position
            np.copyto(where, flat, where=better)
        self.found = (where, sizes)
        return y

    def lowest(self, dtype: np.dtype[Any]) -> float:
        """What THNN calls -THInf: of doubles -1.8e308, where that many digits are asked for."""
        output = cast("Array | None", self.raw.get("output"))
        doubles = self.raw.get("_type") == "torch.DoubleTensor" or (output is not None and output.dtype == np.float64)
        return float(np.finfo(np.float64).min) if doubles and dtype == np.float64 else LOWEST

    def _spreading(self, x: Array | Value) -> Array:
        windows = self.windows(x)
        if self.asked or len(windows) != 2 or any(w.out != w.size for w in windows):
            raise Refusal(OVERLAP)
        return spreading(windows)

    def forward_over(self, x: Array, last: Array) -> Array:
        flat = x.reshape(*x.shape[:-2], -1)
        return flat[..., self._spreading(x)].max(axis=-1).reshape(x.shape)

    def lower_over(self, op: Builder, x: Value, last: Value) -> Value:
        flat = op.Reshape(x, [-1, math.prod(x.shape[-2:])])
        seen = op.Gather(flat, self._spreading(x), axis=1)
        return op.Reshape(op.ReduceMax(seen, [2], keepdims=0), [-1, *x.shape[1:]])

    @classmethod
    def computes_the_same(cls, function: LuaFunction) -> bool:
        # the unpooling modules of 2016 gave theirs an updateOutput that notes the input's sizes and calls the class's
        return all(word in function.code for word in _NOTES_SIZES)

    def lower(self, op: Builder, x: Value) -> Value:
        windows = self.windows(x)
        if self.asked:
            # what x holds now: later layers may write into it
            self.lowered = (op, op.Identity(x), windows)
        batched = x.rank == len(windows) + 2
        images = x if batched else op.unsqueeze(x, 0)
        # frameworks want less padding than there are taps
        if any(window.beyond or window.pad < 0 or max(window.pads) >= window.kernel for window in windows):
            images, windows = pad_to_windows(op, images, windows, LOWEST), windows_on_padded(windows)
        y = op.MaxPool(images, **attributes(windows))
        return y if batched else op.Squeeze(y, [0])


def _maxima(x: Array, axis: int, window: Window, lowest: float) -> Array:
    """The maximum of each window along one axis: those of windows on several axes are maxima of these."""
    before = (slice(None),) * axis
    y = np.full((*x.shape[:axis], window.out, *x.shape[axis + 1 :]), lowest, x.dtype)
    for tap in range(window.kernel):
        windows, inputs = window.through(tap)
        larger = y[(*before, windows)]
        # NaN is never the larger one
        np.fmax(larger, x[(*before, inputs)], out=larger)
    return y


def spreading(windows: Sequence[Window]) -> Array:
    """Which inputs each output of a max pooling depends on that overwrites its input as it goes, as flat positions.

    The places are taken in order, and each sees through its window what those before it have left there.
    """
    sizes = [w.size for w in windows]
    reach: Array = np.eye(math.prod(sizes), dtype=bool)
    for at, place in enumerate(np.ndindex(*sizes)):
        seen = [
            [i for t in range(w.kernel) if 0 <= (i := p * w.stride - w.pad + t * w.dilation) < w.size]
            for p, w in zip(place, windows, strict=True)
        ]
        flat = np.ravel_multi_index(np.ix_(*seen), sizes).ravel()
        reach[at] = reach[flat].any(axis=0)
    most = int(reach.sum(axis=1).max())
    # those that depend on fewer name one of them again
    return np.stack([np.resize(np.flatnonzero(row), most) for row in reach])


#: What poolings keep of their last input.
KEPT = frozenset({"indices", "iheight", "iwidth", "itime", "iSize", "nInputPlane", "nOutputPlane", "mode"})


@layer(
    "nn.SpatialMaxPooling",
    "nn.SpatialDilatedMaxPooling",
    "cudnn.SpatialMaxPooling",
    "inn.SpatialMaxPooling",
    kind="pool",
)
class SpatialMaxPooling(MaxPooling):
    """y = the maximum over each window of kH x kW taps; x is (N, C, H, W) or (C, H, W)"""

    kW: int
    kH: int
    dW: int = 0
    dH: int = 0
    padW: int = 0
    padH: int = 0
    dilationW: int = 1
    dilationH: int = 1
    ceil_mode: bool | None = None
    ignored = KEPT

    def setup(self, bind: Binder) -> None:
        self.dW, self.dH = self.dW or self.kW, self.dH or self.kH
        if self.typename.startswith("inn."):
            self.ceil_mode = True


@layer("nn.VolumetricMaxPooling", "nn.VolumetricDilatedMaxPooling", "cudnn.VolumetricMaxPooling", kind="pool")
class VolumetricMaxPooling(MaxPooling):
    """y = the maximum over each window of kT x kH x kW taps; x is (N, C, T, H, W) or (C, T, H, W)"""

    axes = "THW"
    kT: int
    kW: int
    kH: int
    dT: int = 0
    dW: int = 0
    dH: int = 0
    padT: int = 0
    padW: int = 0
    padH: int = 0
    dilationT: int = 1
    dilationW: int = 1
    dilationH: int = 1
    ceil_mode: bool | None = None
    ignored = KEPT

    def setup(self, bind: Binder) -> None:
        self.dT, self.dW, self.dH = self.dT or self.kT, self.dW or self.kW, self.dH or self.kH
        spread = zip(self.per_axis("pad"), self.per_axis("dilation", 1), strict=True)
        if any(pad > 1 and dilation > 1 for pad, dilation in spread):
            # VolumetricDilatedMaxPooling.c takes one tap less for each element before the input, not for each tap there
            raise Refusal("has padding of 2 or more and gaps between its taps, where THNN leaves out the last ones")


class AveragePooling(Pooling):
    """y = the sum over each window, divided by its size.

    The size is counted up to the trailing padding, so that windows reaching past it (``ceil_mode``) are smaller;
    without ``count_include_pad`` only what lies inside the input counts.
    """

    count_include_pad: bool = True
    #: Files from before the field hold sums.
    divide: bool = False

    def divisors(self, windows: Sequence[Window]) -> Array:
        """What each window's sum is divided by, of the output's size; in windows that see nothing, zero or less."""
        whole = np.ones(())
        for w in windows:
            start = np.arange(w.out) * w.stride - w.pad
            if self.count_include_pad:
                length = np.minimum(start + w.kernel, w.size + w.pad) - start
            else:
                length = np.minimum(start + w.kernel, w.size) - np.maximum(start, 0)
            whole = np.multiply.outer(whole, length)
        return whole

    def scale(self) -> int:
        """What the mean is multiplied by."""
        return 1 if self.divide else math.prod(self.per_axis("k"))

    def forward(self, x: Array) -> Array:
        windows = self.windows(x)
        y = np.zeros((*x.shape[: -len(windows)], *(w.out for w in windows)), x.dtype)
        for _, seen in taps(x, windows):
            y += seen
        with np.errstate(divide="ignore", invalid="ignore"):
            y /= self.divisors(windows).astype(x.dtype)
        return y * np.asarray(self.scale(), x.dtype)

    def lower(self, op: Builder, x: Value) -> Value:
        windows = self.windows(x)
        batched = x.rank == len(windows) + 2
        y = self._averaged(op, x if batched else op.unsqueeze(x, 0), windows)
        if self.scale() != 1:
            y = op.Mul(y, float(self.scale()))
        return y if batched else op.Squeeze(y, [0])

    # THNN clears a channel of the output before it reads the input
    def forward_over(self, x: Array, last: Array) -> Array:
        return self.forward(np.zeros_like(x))

    def lower_over(self, op: Builder, x: Value, last: Value) -> Value:
        return self.lower(op, zeros_like(op, x))

    def _averaged(self, op: Builder, x: Value, windows: Sequence[Window]) -> Value:
        if any(window.beyond or window.pad < 0 for window in windows):
            whole = op.AveragePool(pad_to_windows(op, x, windows, 0.0), **attributes(windows_on_padded(windows)))
            with np.errstate(divide="ignore"):
                share = math.prod(w.kernel for w in windows) / self.divisors(windows)
            return op.Mul(whole, share)
        if self.count_include_pad and any(w.pad for w in windows):
            if all(w.tail <= w.pad for w in windows):
                return op.AveragePool(x, **attributes(windows), count_include_pad=1)
            # the leading and trailing padding count, what lies behind does not
            rest = [0, 0]
            x = op.Pad(x, [*rest, *(w.pad for w in windows), *rest, *(w.pad for w in windows)], 0.0)
            windows = [Window(w.size + 2 * w.pad, w.kernel, w.stride, 0, 1, w.out) for w in windows]
        return op.AveragePool(x, **attributes(windows))


@layer("nn.SpatialAveragePooling", "cudnn.SpatialAveragePooling", "inn.SpatialAveragePooling", kind="pool")
class SpatialAveragePooling(AveragePooling):
    """y = the mean over each window of kH x kW taps; x is (N, C, H, W) or (C, H, W)"""

    kW: int
    kH: int
    dW: int = 1
    dH: int = 1
    padW: int = 0
    padH: int = 0
    ceil_mode: bool | None = None
    count_include_pad: bool = True
    divide: bool = False
    ignored = KEPT

    def setup(self, bind: Binder) -> None:
        if self.ceil_mode is None:
            self.padW = self.padH = 0
            self.count_include_pad = True
        if self.typename.startswith("nn."):
            return
        if self.raw.get("divide") is False:
            raise Refusal("asks for sums, which only nn.SpatialAveragePooling gives")
        self.divide = True
        if self.typename.startswith("inn."):
            self.ceil_mode = True


@layer("nn.VolumetricAveragePooling", "cudnn.VolumetricAveragePooling", kind="pool")
class VolumetricAveragePooling(AveragePooling):
    """y = the mean over each window of kT x kH x kW taps; x is (N, C, T, H, W) or (C, T, H, W)"""

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
    ceil_mode: bool | None = None
    count_include_pad: bool = True
    divide: bool = True
    ignored = KEPT


@layer("nn.SpatialLPPooling", kind="sequential")
class SpatialLPPooling(Sequential):
    """(mean over each window of x^pnorm · kH kW)^(1 / pnorm), as the modules in the file say it"""

    ignored = frozenset({"kW", "kH", "dW", "dH", "pnorm", "nInputPlane"})
