"""Pooling. The sizes that ONNX infers say how many windows there are; explicit pads at the end make Caffe2 agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from retorch.caffe2.emit.arithmetic import reduce, scale, total
from retorch.caffe2.emit.convolution import window
from retorch.caffe2.emit.op import Blob, Op, RefusalError, Result, Rule, size
from retorch.caffe2.emit.primitives import around, back, cut, longer, pad_axis, pad_image

PASSED_ON = ("Identity", "Unsqueeze", "Squeeze", "Reshape")  # what may stand between a pooling and its unpooling
LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True, slots=True)
class Window:
    """A pooling window per spatial dimension; ``tails`` are the pads at the end that make the last window fit."""

    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    tails: tuple[int, ...]
    dilations: tuple[int, ...]
    sizes: tuple[int | str, ...]

    @property
    def pads(self) -> tuple[int, ...]:
        return (*self.begins, *self.tails)


def pool_window(op: Op, x: Blob) -> Window:
    rank = x.rank - 2
    kernels = op.ints("kernel_shape", ())
    strides, pads, dilations = window(op, rank)
    begins, ends = pads[:rank], pads[rank:]
    tails = ends
    if op.int("ceil_mode", 0):
        tails = tuple(
            max(end, (size(out) - 1) * stride + (kernel - 1) * dilation + 1 - size(dim) - begin)
            for dim, out, kernel, stride, begin, end, dilation in zip(
                x.dims[2:], op.out_dims()[2:], kernels, strides, begins, ends, dilations, strict=True
            )
        )
    return Window(kernels, strides, begins, ends, tails, dilations, op.out_dims()[2:])


def max_pool(op: Op) -> Result:
    x = op.blob(0)
    op.int("storage_order", 0)
    w = pool_window(op, x)
    places = op.node.outputs[1:]
    if any(
        node.op_type not in PASSED_ON and node.op_type != "MaxUnpool" for value in places for node, _ in value.uses()
    ):
        raise RefusalError("the places of maxima serve only an unpooling")
    return pooled_max(op, x, w)


def pooled_max(op: Op, x: Blob, w: Window) -> Blob:
    if any(d != 1 for d in w.dilations) or any(p >= k for p, k in zip(w.pads, w.kernels * 2, strict=True)):
        return _max_by_axis(op, x, w)
    dims = (*x.dims[:2], *w.sizes)
    return op.make("MaxPool", [x], dims, kernels=w.kernels, strides=w.strides, pads=w.pads)


def _max_by_axis(op: Op, x: Blob, w: Window) -> Blob:
    """Maximum along one axis after another; along each, the maximum of the taps, which are strided crops."""
    for place, out in enumerate(w.sizes):
        axis, stride = place + 2, w.strides[place]
        full = pad_axis(op, x, axis, w.begins[place], w.tails[place], "constant", LOWEST)
        reach = (size(out) - 1) * stride + 1
        starts = [tap * w.dilations[place] for tap in range(w.kernels[place])]
        x = total(op, "Max", [every(op, cut(op, full, axis, at, at + reach), axis, stride) for at in starts])
    return x


def every(op: Op, x: Blob, axis: int, step: int) -> Blob:
    """x[::step] along ``axis``: the average of windows of one element, which keeps NaN and infinity."""
    if step == 1:
        return x
    view = around(op, x, axis)
    length = longer(op, view.dims[2], 0, "every")
    length = -(-length // step) if isinstance(length, int) else length
    dims = (*view.dims[:2], length, view.dims[3])
    made = op.make("AveragePool", [view], dims, kernels=[1, 1], strides=[step, 1], pads=[0, 0, 0, 0])
    return back(op, made, x, axis)


def average_pool(op: Op) -> Result:
    x = op.blob(0)
    w = pool_window(op, x)
    padded = any((*w.begins, *w.ends))
    include = op.int("count_include_pad", 0) and padded
    if any(d != 1 for d in w.dilations):
        return _dilated_average(op, x, w, include=bool(include) or not padded)
    tails = w.tails
    if include:
        # Zeros that count are real zeros; windows that hang over them at the end do not count what they miss.
        x = _padded(op, x, w)
        tails = tuple(tail - end for tail, end in zip(w.tails, w.ends, strict=True))
        w = Window(w.kernels, w.strides, (0,) * len(tails), (0,) * len(tails), tails, w.dilations, w.sizes)
    dims = (*x.dims[:2], *w.sizes)
    return op.make("AveragePool", [x], dims, kernels=w.kernels, strides=w.strides, pads=w.pads)


def _padded(op: Op, x: Blob, w: Window) -> Blob:
    if x.rank == 4:
        return pad_image(op, x, (w.begins[0], w.begins[1], w.ends[0], w.ends[1]))
    for place, (begin, end) in enumerate(zip(w.begins, w.ends, strict=True)):
        x = pad_axis(op, x, place + 2, begin, end)
    return x


def _dilated_average(op: Op, x: Blob, w: Window, *, include: bool) -> Blob:
    """A depthwise convolution, where every window counts alike."""
    if not include or w.tails != w.ends:
        raise RefusalError("a dilated average pooling whose windows differ in size")
    channels = size(x.dims[1])
    kernel = np.full((channels, 1, *w.kernels), 1 / prod(w.kernels), np.float32)
    args: dict[str, Sequence[int]] = {"kernels": w.kernels, "strides": w.strides, "pads": w.pads}
    dims = (*x.dims[:2], *w.sizes)
    return op.make("Conv", [x, op.param(kernel, "mean")], dims, **args, dilations=w.dilations, group=channels)


def global_average(op: Op) -> Result:
    return op.make("AveragePool", [op.blob(0)], op.out_dims(), global_pooling=1)


def global_max(op: Op) -> Result:
    return op.make("MaxPool", [op.blob(0)], op.out_dims(), global_pooling=1)


def lp_pool(op: Op) -> Result:
    """(sum |x|^p)^(1/p) over windows: the average of the powers, times their number."""
    x, p = op.blob(0), op.int("p", 2)
    w = pool_window(op, x)
    powers = power(op, op.map("Abs", x) if p != 2 else x, p)
    padded = _padded(op, powers, w)
    tails = [tail - end for tail, end in zip(w.tails, w.ends, strict=True)]
    if any(tails) or any(d != 1 for d in w.dilations):
        raise RefusalError("LpPool with ceil_mode or dilations")
    args = {"kernels": w.kernels, "strides": w.strides, "pads": (0,) * (2 * len(tails))}
    mean = op.make("AveragePool", [padded], op.out_dims(), **args)
    return root(op, scale(op, mean, prod(w.kernels)), p)


def global_lp(op: Op) -> Result:
    x, p = op.blob(0), op.int("p", 2)
    sums = reduce(op, "ReduceSum", power(op, op.map("Abs", x), p), range(2, x.rank), keep=True)
    return root(op, sums, p)


def power(op: Op, x: Blob, p: float) -> Blob:
    if p == 1:
        return x
    return op.map("Sqr", x) if p == 2 else op.map("Pow", x, exponent=p)


def root(op: Op, x: Blob, p: float) -> Blob:
    if p == 1:
        return x
    return op.map("Sqrt", x) if p == 2 else op.map("Pow", x, exponent=1 / p)


RULES: Mapping[str, Rule] = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average,
    "GlobalMaxPool": global_max,
    "LpPool": lp_pool,
    "GlobalLpPool": global_lp,
}
