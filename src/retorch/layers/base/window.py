"""Sliding windows: their sizes, as THNN counts them, and what convolutions and poolings do with them in NumPy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np

from retorch.errors import counted
from retorch.layers.base.aligned import aligned
from retorch.layers.base.layer import Array, Layer, Refusal

#: How many elements of unfolded input one matrix product takes: what stays at the processor's hand.
_BLOCK = 1 << 19
#: How many columns it takes at least: with fewer, getting the weights ready takes longer than multiplying.
_FEWEST = 384

#: What THNN calls -THInf: the value of a maximum over nothing.
LOWEST = float(np.finfo(np.float32).min)


class Windowed(Layer):
    """A layer that slides a window over its last axes, with a setting of its own for each of them."""

    #: The letters that end the names of the fields of each axis, outermost first.
    axes: ClassVar[str] = "HW"

    def per_axis(self, stem: str, default: int = 0) -> tuple[int, ...]:
        """A setting of each axis: ``per_axis("k")`` is (kH, kW)."""
        return tuple(int(getattr(self, stem + axis, default)) for axis in self.axes)


@dataclass(frozen=True, slots=True)
class Window:
    """One axis of a layer that slides a window: ``size`` inputs, ``out`` windows of ``kernel`` taps."""

    size: int
    kernel: int
    stride: int
    pad: int = 0
    dilation: int = 1
    out: int = 0

    @property
    def span(self) -> int:
        """From the first tap to the last."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def tail(self) -> int:
        """By how much the last window reaches past the last input; negative where inputs are left over."""
        return (self.out - 1) * self.stride + self.span - self.size - self.pad

    @property
    def beyond(self) -> bool:
        """Whether the last window starts past the last input, and so sees none."""
        return (self.out - 1) * self.stride - self.pad >= self.size

    @property
    def plain(self) -> bool:
        """Whether a framework that rounds down, with the same padding at both ends, makes the same windows."""
        return self.pad >= 0 and (self.size + 2 * self.pad - self.span) // self.stride + 1 == self.out

    @property
    def pads(self) -> tuple[int, int]:
        """The padding before and after that gives ``out`` windows in a framework that rounds down."""
        return self.pad, (self.pad if self.plain else max(self.tail, 0))

    def through(self, tap: int) -> tuple[slice, slice]:
        """Which windows see an input through a tap, and which inputs those are."""
        start = tap * self.dilation - self.pad
        first = max(0, -(start // self.stride))
        last = max(first, min(self.out, (self.size - 1 - start) // self.stride + 1))
        begin = start + first * self.stride
        return slice(first, last), slice(begin, begin + (last - first) * self.stride, self.stride)


def slide(
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    pad: Sequence[int],
    dilation: Sequence[int] | None = None,
    *,
    ceil: bool = False,
    drop: bool = True,
    truncate: bool = False,
) -> tuple[Window, ...]:
    """The windows of a pooling or convolution on each axis.

    THNN's rule: ``out = floor or ceil((in + 2 pad - span) / stride) + 1``, and, as soon as any axis is padded, one
    window less on each axis where the last would start past the input and its leading padding (``drop``). C's division
    rounds towards zero, which makes one window of an input that is too small by less than the stride (``truncate``).

    Raises:
        Refusal: an input smaller than the kernel.
    """
    found: list[Window] = []
    for size, k, s, p, d in zip(sizes, kernel, stride, pad, dilation or (1,) * len(kernel), strict=True):
        room = size + 2 * p - ((k - 1) * d + 1)
        out = (-(-room // s) if ceil else room // s) + 1
        if truncate and -s < room < 0:
            out = 1
        if drop and any(pad) and (out - 1) * s >= size + p:
            out -= 1
        if out < 1:
            raise Refusal(f"an input of {'x'.join(map(str, sizes))} is too small for its window")
        found.append(Window(size, k, s, p, d, out))
    return tuple(found)


def padded(x: Array, pads: Sequence[tuple[int, int]], value: float = 0.0) -> Array:
    """``x`` with its last axes padded with a constant; negative pads crop."""
    x = x[(..., *(slice(max(-b, 0), n - max(-a, 0)) for (b, a), n in zip(pads, x.shape[-len(pads) :], strict=True)))]
    if not any(b > 0 or a > 0 for b, a in pads):
        return x
    whole = [(0, 0)] * (x.ndim - len(pads)) + [(max(b, 0), max(a, 0)) for b, a in pads]
    return np.pad(x, whole, constant_values=np.asarray(value, x.dtype)[()])


def taps(x: Array, windows: Sequence[Window], value: float = 0.0) -> Iterator[tuple[tuple[int, ...], Array]]:
    """For each tap of the kernel, first axis slowest: where it is, and what all windows see through it (a view)."""
    wide = padded(x, [(w.pad, w.tail) for w in windows], value)
    for at in product(*(range(w.kernel) for w in windows)):
        starts = [i * w.dilation for i, w in zip(at, windows, strict=True)]
        cut = (slice(b, b + (w.out - 1) * w.stride + 1, w.stride) for b, w in zip(starts, windows, strict=True))
        yield at, wide[(..., *cut)]


def convolve(x: Array, weight: Array, bias: Array | None, windows: Sequence[Window], groups: int = 1) -> Array:
    """Cross-correlation: x (N, C, *in), weight (O, C / groups, *kernel), bias (O) or None; the result (N, O, *out)."""
    if x.shape[1] != weight.shape[1] * groups:
        raise Refusal(f"an input of {counted(x.shape[1], 'channel')} meets weights for {weight.shape[1] * groups}")
    dtype = np.result_type(x, weight)
    outs = tuple(w.out for w in windows)
    weight = aligned(weight) if weight.dtype == dtype else weight.astype(dtype)
    rows = weight.reshape(groups, weight.shape[0] // groups, -1)
    shifts = None if bias is None else bias.reshape(groups, -1, 1).astype(dtype)
    y = np.empty((x.shape[0], weight.shape[0], *outs), dtype)
    places = y.reshape(x.shape[0], groups, rows.shape[1], math.prod(outs))
    for n, g, part, columns in _columns(x, windows, groups, rows.shape[2], dtype):
        made = places[n, g, :, part]
        np.matmul(rows[g], columns, out=made)
        if shifts is not None:
            made += shifts[g]
    return y


def _columns(
    x: Array, windows: Sequence[Window], groups: int, size: int, dtype: np.dtype[Any]
) -> Iterator[tuple[int, int, slice, Array]]:
    """What windows see, as columns of ``size`` numbers: of which image and group, which windows, and a matrix of them.

    The matrix is the same memory each time, so that it stays at the processor's hand.
    """
    if all(w.kernel == w.stride == 1 and w.pad == 0 and w.out == w.size for w in windows):
        # each place by itself: nothing to lay out
        places = x.reshape(x.shape[0], groups, size, -1).astype(dtype, copy=False)
        yield from ((n, g, slice(None), places[n, g]) for n, g in np.ndindex(x.shape[0], groups))
        return
    first, channels = windows[0], x.shape[1] // groups
    row = math.prod(w.out for w in windows[1:])
    step = min(first.out, max(1, max(_BLOCK // max(1, size), _FEWEST) // row))
    columns = _Columns(channels, windows, step, dtype)
    for n, g, start in product(range(x.shape[0]), range(groups), range(0, first.out, step)):
        count = min(step, first.out - start)
        matrix = columns.of(x[n, g * channels : (g + 1) * channels], start, count)
        yield n, g, slice(start * row, (start + count) * row), matrix.reshape(size, -1)


class _Columns:
    """Memory for what ``step`` rows of windows see: first as the taps of all axes but the first see it, then of all."""

    def __init__(self, channels: int, windows: Sequence[Window], step: int, dtype: np.dtype[Any]) -> None:
        first, *self._inner = windows
        self._first = first
        taps, outs = [w.kernel for w in self._inner], [w.out for w in self._inner]
        self._rows = np.zeros((channels, *taps, (step - 1) * first.stride + first.span, *outs), dtype)
        channel, *strides = self._rows.strides
        row = strides[len(taps)]
        strides = (channel, row * first.dilation, *strides[: len(taps)], row * first.stride, *strides[len(taps) + 1 :])
        self._seen = np.ndarray((channels, first.kernel, *taps, step, *outs), dtype, self._rows, 0, strides)
        self._scratch = np.empty(self._seen.size, dtype)

    def of(self, x: Array, start: int, count: int) -> Array:
        """What ``count`` rows of windows see of an image (C, *in), as (C, *kernel, count, *out)."""
        first, axis = self._first, 1 + len(self._inner)
        begin = start * first.stride - first.pad
        low = min(max(begin, 0), first.size)
        high = max(low, min(begin + self._rows.shape[axis], first.size))
        each = (slice(None),) * axis
        self._rows[(*each, slice(0, low - begin))] = 0
        self._rows[(*each, slice(high - begin, None))] = 0
        for at in product(*(range(w.kernel) for w in self._inner)):
            windows, inputs = zip(*map(Window.through, self._inner, at), strict=True) if at else ((), ())
            self._rows[(slice(None), *at, slice(low - begin, high - begin), *windows)] = x[:, low:high][(..., *inputs)]
        seen = self._seen[(slice(None),) * (1 + axis) + (slice(0, count),)]
        columns = self._scratch[: seen.size].reshape(seen.shape)
        columns[...] = seen
        return columns


def spread(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Sequence[int],
    pad: Sequence[int],
    dilation: Sequence[int],
    extra: Sequence[int],
) -> Array:
    """The transpose of a convolution: each input adds its multiple of the kernel to the output.

    x (N, C, *in), weight (C, O, *kernel), bias (O) or None; the result (N, O, *out) with
    ``out = (in - 1) stride - 2 pad + (kernel - 1) dilation + 1 + extra``.
    """
    if x.shape[1] != weight.shape[0]:
        raise Refusal(f"an input of {counted(x.shape[1], 'channel')} meets weights for {weight.shape[0]}")
    dtype = np.result_type(x, weight)
    ins, kernel = x.shape[2:], weight.shape[2:]
    geometry = list(zip(ins, stride, kernel, dilation, extra, pad, strict=True))
    full = [(n - 1) * s + (k - 1) * d + 1 + a for n, s, k, d, a, _ in geometry]
    y = np.zeros((x.shape[0], weight.shape[1], *full), dtype)
    flat = x.reshape(*x.shape[:2], -1)
    for at in product(*map(range, kernel)):
        cut = [slice(i * d, i * d + (n - 1) * s + 1, s) for i, (n, s, _, d, _, _) in zip(at, geometry, strict=True)]
        part = weight[(slice(None), slice(None), *at)].T @ flat
        y[(..., *cut)] += part.reshape(*part.shape[:2], *ins)
    if any(n <= 2 * p for n, p in zip(full, pad, strict=True)):
        raise Refusal(f"an input of {'x'.join(map(str, ins))} is too small for its padding")
    y = padded(y, [(-p, -p) for p in pad])
    return y if bias is None else y + bias.reshape(-1, *(1,) * len(ins)).astype(dtype, copy=False)
