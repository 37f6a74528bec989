"""Convolutions, matrix products and pooling of eight-bit images, to the integer as QNNPACK calculates them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.convolution import adjustment
from retorch.caffe2.parse.graph import Graph, NeedsShapeError, RefusalError, dims, rank, size
from retorch.caffe2.parse.int8 import (
    FLOAT,
    INT64,
    TO_NCHW,
    TO_NHWC,
    as_bytes,
    asked,
    blob_of,
    integer,
    quantised,
    requantised,
    rounded_shift,
)
from retorch.caffe2.parse.window import NOTSET, read_window, resolve_pads, spatial


def conv(*, relu: bool) -> Rule:
    """A rule for a convolution of NHWC images with weights (planes, height, width, inputs)."""

    def rule(call: Call) -> ir.Value:
        g, (x, given), (w, weights), scale = call.graph, blob_of(call), blob_of(call, 1), asked(call)
        kernel, attributes = _window(call)
        if rank(w) != 4 or dims(w)[1:3] != kernel:
            raise RefusalError(f"weights of shape {dims(w)} for a kernel of {kernel}")
        sums = g.op(
            "ConvInteger",
            g.transpose(x, TO_NCHW),
            g.transpose(w, TO_NCHW),
            g.constant(np.asarray(given.zero, np.uint8)),
            g.constant(np.asarray(weights.zero, np.uint8)),
            **attributes,
            group=call.int("group", 1),
        )
        sums = _biased(call, g.transpose(sums, TO_NHWC), size(w, 0))
        return requantised(g, sums, given.scale * weights.scale / scale.scale, scale, relu=relu)

    return rule


def _biased(call: Call, sums: ir.Value, planes: int) -> ir.Value:
    """Sums with a bias for each plane, their last dimension."""
    if len(call.inputs) < 3:
        return sums
    if size(call.input(2), 0) != planes:
        raise RefusalError(f"a bias of {size(call.input(2), 0)} numbers for {planes} planes")
    return call.graph.op("Add", sums, call.input(2))


def conv_transpose(call: Call) -> ir.Value:
    """The adjoint of a convolution of NHWC images, with weights (inputs, height, width, planes)."""
    g, (x, given), (w, weights), scale = call.graph, blob_of(call), blob_of(call, 1), asked(call)
    window = read_window(call, dilated=False)
    if not call.channels_last() or window.legacy != NOTSET or window.dimensions != 2 or min(window.pads) < 0:
        raise RefusalError("a transposed convolution of eight bits is NHWC, with explicit padding")
    if rank(w) != 4 or dims(w)[1:3] != window.kernel:
        raise RefusalError(f"weights of shape {dims(w)} for a kernel of {window.kernel}")
    adj, kernel = adjustment(call), window.kernel
    if any(more >= step for more, step in zip(adj, window.stride, strict=True)):
        raise RefusalError(f"adj {adj} with stride {window.stride}")
    head = [k - 1 - pad for k, pad in zip(kernel, window.pads[:2], strict=True)]
    tail = [k - 1 - pad + more for k, pad, more in zip(kernel, window.pads[2:], adj, strict=True)]
    end, start = g.constant([-(2**31)] * 2), g.constant([-1] * 2)
    sums = g.op(
        "ConvInteger",
        _spread(g, g.transpose(x, TO_NCHW), window.stride, (head, tail), given.zero),
        g.op("Slice", g.transpose(w, (3, 0, 1, 2)), start, end, g.constant([2, 3]), g.constant([-1, -1])),
        g.constant(np.asarray(given.zero, np.uint8)),
        g.constant(np.asarray(weights.zero, np.uint8)),
    )
    sums = _biased(call, g.transpose(sums, TO_NHWC), size(w, 3))
    return requantised(g, sums, given.scale * weights.scale / scale.scale, scale, relu=False)


def _spread(
    graph: Graph, x: ir.Value, stride: Sequence[int], pads: tuple[Sequence[int], Sequence[int]], zero: int
) -> ir.Value:
    """The pixels of NCHW images so far from each other, and as much around them; between them is the zero point."""
    g, nothing, lengths = graph, graph.constant(np.asarray(zero, np.uint8)), (size(x, 2), size(x, 3))
    gaps = g.constant([0] * 9 + [stride[0] - 1, 0, stride[1] - 1])
    apart = g.op("Pad", g.unsqueeze(x, 3, 5), gaps, nothing)
    whole = g.reshape(apart, (0, size(x, 1), *(length * step for length, step in zip(lengths, stride, strict=True))))
    # Behind the last pixel there is no gap; negative padding cuts.
    ends = [more - step + 1 for more, step in zip(pads[1], stride, strict=True)]
    return g.op("Pad", whole, g.constant([0, 0, *pads[0], 0, 0, *ends]), nothing)


def full(call: Call) -> ir.Value:
    """Rows times a matrix (outputs, inputs), and a bias."""
    g, (x, given), (w, weights), scale = call.graph, blob_of(call), blob_of(call, 1), asked(call)
    columns = math.prod(size(w, axis) for axis in range(1, rank(w)))
    sums = g.op(
        "MatMulInteger",
        g.reshape(x, (-1, columns)),
        g.transpose(g.reshape(w, (-1, columns)), (1, 0)),
        g.constant(np.asarray(given.zero, np.uint8)),
        g.constant(np.asarray(weights.zero, np.uint8)),
    )
    return requantised(g, _biased(call, sums, size(w, 0)), given.scale * weights.scale / scale.scale, scale, relu=False)


def _window(call: Call) -> tuple[tuple[int, ...], Mapping[str, Sequence[int]]]:
    """The kernel; strides, dilations and padding as ONNX writes them."""
    if not call.channels_last() or rank(call.x) != 4:
        raise RefusalError("images of eight bits are NHWC")
    window = read_window(call)
    pads = resolve_pads(window, spatial(call))
    if pads is None:
        raise NeedsShapeError("legacy_pad depends on the size of the input")
    if window.dimensions != 2 or min(pads) < 0 or min(window.kernel) < 1:
        raise RefusalError(f"a kernel of {window.kernel} with padding {pads}")
    return window.kernel, {"strides": window.stride, "dilations": window.dilation, "pads": pads}


def _pooled(call: Call) -> tuple[tuple[int, ...], Mapping[str, Sequence[int]]]:
    """The same for pooling, whose windows have no gaps."""
    kernel, attributes = _window(call)
    if max(attributes["dilations"]) > 1:
        raise RefusalError("Caffe2 does not pool with dilation")
    return kernel, attributes


def max_pool(*, relu: bool) -> Rule:
    """A rule for the largest byte of each window."""

    def rule(call: Call) -> ir.Value:
        g, (x, scale) = call.graph, blob_of(call)
        images = g.transpose(x, TO_NCHW)
        if call.int("global_pooling", 0):
            y = g.op("ReduceMax", images, g.constant([2, 3]), keepdims=1)
        else:
            kernel, attributes = _pooled(call)
            y = g.op("MaxPool", images, kernel_shape=kernel, **attributes)
        low = g.constant(np.asarray(scale.zero if relu else 0, np.uint8))
        return quantised(g.op("Max", g.transpose(y, TO_NHWC), low), scale)

    return rule


def average_pool(*, relu: bool) -> Rule:
    """A rule for the mean of each window; what is padded counts, as the zero point."""

    def rule(call: Call) -> ir.Value:
        g, (x, given), scale = call.graph, blob_of(call), asked(call)
        moved = g.op("Sub", g.cast(x, FLOAT), g.constant(np.asarray(given.zero, np.float32)))
        images = g.transpose(moved, TO_NCHW)
        if call.int("global_pooling", 0):
            count = size(images, 2) * size(images, 3)
            sums = g.op("ReduceSum", images, g.constant([2, 3]), keepdims=1)
        else:
            sums, count = _window_sums(call, images)
        factor = given.scale / np.float32(scale.scale * np.float32(count))
        if not 2.0**-32 <= factor < 2.0**8:
            raise RefusalError(f"the scales of input and result give a factor of {factor:.3g}")
        pattern = int(np.asarray(factor, np.float32).view(np.uint32))
        product = g.op("Mul", g.cast(sums, INT64), integer(g, (pattern & 0x7FFFFF) | 0x800000))
        rounded = rounded_shift(g, product, 127 + 23 - (pattern >> 23))
        return as_bytes(g, g.transpose(rounded, TO_NHWC), scale, relu=relu)

    return rule


def _window_sums(call: Call, images: ir.Value) -> tuple[ir.Value, int]:
    """The sum of each window, exactly: by a convolution with ones."""
    g, (kernel, attributes), planes = call.graph, _pooled(call), size(images, 1)
    ones = g.constant(np.ones((planes, 1, *kernel), np.float32))
    return g.op("Conv", images, ones, **attributes, group=planes), math.prod(kernel)


RULES: Mapping[str, Rule] = {
    "Int8Conv": conv(relu=False),
    "Int8ConvRelu": conv(relu=True),
    "Int8ConvTranspose": conv_transpose,
    "Int8FC": full,
    "Int8MaxPool": max_pool(relu=False),
    "Int8MaxPoolRelu": max_pool(relu=True),
    "Int8AveragePool": average_pool(relu=False),
    "Int8AveragePoolRelu": average_pool(relu=True),
}
