"""Sliding windows: kernel, stride, dilation and padding, in every spelling that Caffe2 reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from retorch.caffe2.parse.call import Call
from retorch.caffe2.parse.graph import Graph, NeedsShapeError, RefusalError, axis_of, dims, rank

#: Caffe2 keeps these sizes as 32-bit integers.
_LARGEST = 2**31 - 1
NOTSET, VALID, SAME, CAFFE = range(4)


@dataclass(frozen=True, slots=True)
class Window:
    """One entry per spatial dimension, except ``pads``: all heads, then all tails."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[int, ...]
    legacy: int

    @property
    def dimensions(self) -> int:
        """How many spatial dimensions the window has."""
        return len(self.kernel)


def _sizes(call: Call, plural: str, singular: str) -> tuple[int, ...]:
    """``plural`` as a list, then ``singular`` for both dimensions or its ``_h`` and ``_w``, as Caffe2 adds them up."""
    listed = call.ints(plural)
    if call.has(singular):
        # std::vector::resize(2, value): a longer list is cut, a shorter one filled up.
        return (*listed, *(call.int(singular, 0),) * 2)[:2] if len(listed) < 2 else listed[:2]
    if call.has(f"{singular}_h") and call.has(f"{singular}_w"):
        return (*listed, call.int(f"{singular}_h", 0), call.int(f"{singular}_w", 0))
    return listed


def _pads(call: Call) -> tuple[int, ...]:
    listed = call.ints("pads")
    if call.has("pad"):
        return (*listed, *(call.int("pad", 0),) * 4)[:4] if len(listed) < 4 else listed[:4]
    if all(call.has(f"pad_{side}") for side in "tlbr"):
        return (*listed, *(call.int(f"pad_{side}", 0) for side in "tlbr"))
    return listed


def read_window(call: Call, *, dilated: bool = True) -> Window:
    """The window of a convolution or pooling; a refusal where the lists do not fit each other, as in Caffe2.

    ``dilated`` is False for an operator that does not know dilation, so ignores it.
    """
    kernel = _sizes(call, "kernels", "kernel") or (0, 0)
    stride = _sizes(call, "strides", "stride") or (1,) * len(kernel)
    dilation = (_sizes(call, "dilations", "dilation") if dilated else ()) or (1,) * len(kernel)
    legacy = call.int("legacy_pad", NOTSET)
    if legacy not in (NOTSET, VALID, SAME, CAFFE):
        raise RefusalError(f"legacy_pad {legacy}")
    pads = _pads(call) or (0,) * (2 * len(kernel))
    if legacy in (VALID, SAME):
        if any(call.has(name) for name in ("pads", "pad")):
            raise RefusalError("legacy_pad VALID or SAME together with explicit padding")
        pads = (0,) * (2 * len(kernel))
    if len(stride) != len(kernel) or len(dilation) != len(kernel) or len(pads) != 2 * len(kernel):
        raise RefusalError(f"kernel {kernel}, stride {stride}, dilation {dilation} and pads {pads} do not fit")
    sound = min(kernel) >= 0 and min((*stride, *dilation)) >= 1
    if not sound or max((*kernel, *stride, *dilation, *pads)) > _LARGEST:
        raise RefusalError(f"kernel {kernel}, stride {stride}, dilation {dilation} and pads {pads}")
    return Window(kernel, stride, dilation, pads, legacy)


def spatial(call: Call) -> tuple[int | None, ...]:
    """The sizes of the input's spatial dimensions, None where unknown."""
    found = dims(call.x)
    return found[1:-1] if call.channels_last() else found[2:]


def resolve_pads(window: Window, sizes: Sequence[int | None]) -> tuple[int, ...] | None:
    """The padding that Caffe2 computes for an input of these sizes; None where it takes sizes that are not known."""
    if window.legacy in (NOTSET, VALID):
        return window.pads
    heads: list[int] = []
    tails: list[int] = []
    for axis, length in enumerate(sizes):
        if length is None:
            return None
        kernel, stride = window.kernel[axis], window.stride[axis]
        if window.legacy == SAME:
            head, tail = _same(length, kernel, stride)
        else:
            head = window.pads[axis]
            tail = _caffe_tail(length, kernel, stride, head)
        heads.append(head)
        tails.append(tail)
    return (*heads, *tails)


def _same(length: int, kernel: int, stride: int) -> tuple[int, int]:
    needed = (-(-length // stride) - 1) * stride + kernel - length
    # C++ division: towards zero, also for the negative padding of a kernel smaller than its stride.
    head = int(needed / 2)
    return head, needed - head


def _caffe_tail(length: int, kernel: int, stride: int, head: int) -> int:
    """The padding that the last window reaches into: Caffe rounds the number of windows up.

    Caffe2 pads by whole strides, of which windows see no more than this.
    """
    windows = -(-(length + 2 * head - kernel) // stride) + 1
    if head > 0 and (windows - 1) * stride >= length + head:
        windows -= 1
    return max((windows - 1) * stride + kernel - length - head, 0)


def first(call: Call, x: ir.Value) -> ir.Value:
    """x with its channels in dimension 1."""
    last = rank(x) - 1
    return call.graph.transpose(x, (0, last, *range(1, last))) if call.channels_last() else x


def back(call: Call, y: ir.Value) -> ir.Value:
    """y, channels in dimension 1, in the order that the operator gives."""
    return call.graph.transpose(y, (0, *range(2, rank(y)), 1)) if call.channels_last() else y


def crop(graph: Graph, x: ir.Value, pads: Sequence[int]) -> tuple[ir.Value, tuple[int, ...]]:
    """Negative padding as slices of x; and the padding that is left. ``pads`` covers the dimensions from 2 on."""
    half = len(pads) // 2
    for axis in range(half):
        head, tail = pads[axis], pads[axis + half]
        if head < 0 or tail < 0:
            end = min(tail, 0) if tail < 0 else 2**31 - 1
            x = graph.slice(x, axis_of(x, axis + 2), max(-head, 0), end)
    return x, tuple(max(pad, 0) for pad in pads)


def padded(call: Call, x: ir.Value, window: Window) -> tuple[ir.Value, tuple[int, ...]]:
    """The input, cropped where padding is negative, and the explicit padding. Raises NeedsShapeError."""
    pads = resolve_pads(window, spatial(call))
    if pads is None:
        raise NeedsShapeError("legacy_pad depends on the size of the input")
    return crop(call.graph, x, pads)
