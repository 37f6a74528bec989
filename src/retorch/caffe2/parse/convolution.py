"""Convolutions: Conv in one to three dimensions, ConvTranspose, locally connected layers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import RefusalError, rank, size, sizes
from retorch.caffe2.parse.window import CAFFE, SAME, VALID, Window, back, first, padded, read_window, spatial


def _check(call: Call, window: Window, weight: ir.Value) -> None:
    if rank(weight) != window.dimensions + 2 or rank(call.x) != window.dimensions + 2 or min(window.kernel) < 1:
        raise RefusalError(f"a kernel of {window.kernel} for an input of {rank(call.x)} dimensions")


def conv(call: Call) -> ir.Value:
    """Cross-correlation. X (N,C,…) or NHWC, W (O,C/group,…), b (O) where given."""
    window, g = read_window(call), call.graph
    weight = first(call, call.input(1))
    _check(call, window, weight)
    group = call.int("group", 1)
    bias = call.inputs[2] if len(call.inputs) > 2 else None
    if _is_same(call, window):
        x, padding = first(call, call.x), {"auto_pad": "SAME_UPPER"}
    else:
        x, pads = padded(call, first(call, call.x), window)
        padding = {"pads": pads}
    y = g.op(
        "Conv",
        x,
        weight,
        bias,
        kernel_shape=window.kernel,
        strides=window.stride,
        dilations=window.dilation,
        group=group,
        **padding,
    )
    return back(call, y)


def conv_relu(call: Call) -> ir.Value:
    """max(Conv, 0)"""
    return call.graph.op("Relu", conv(call))


def _is_same(call: Call, window: Window) -> bool:
    """SAME of an input of unknown size: ONNX has the same rule where windows overlap or touch."""
    overlap = all(k >= s for k, s in zip(window.kernel, window.stride, strict=True))
    plain = all(d == 1 for d in window.dilation)
    return window.legacy == SAME and overlap and plain and None in spatial(call)


def conv_transpose(call: Call) -> ir.Value:
    """The adjoint of Conv in two dimensions; ``adj`` extends the tail. X (N,I,H,W), W (I,O/group,kH,kW)."""
    g = call.graph
    window = read_window(call, dilated=False)
    if window.legacy == CAFFE or window.dimensions != 2 or rank(call.x) != 4:
        raise RefusalError("ConvTranspose works on 4-D input with explicit padding")
    adj = adjustment(call)
    pads = (0, 0, 0, 0) if window.legacy in (VALID, SAME) else window.pads
    if min(pads) < 0:
        raise RefusalError(f"negative padding {pads}")
    if any(more >= step for more, step in zip(adj, window.stride, strict=True)):
        # Caffe2 takes adj = stride, but then miscounts the columns that it adds up.
        raise RefusalError(f"adj {adj} with stride {window.stride}")
    y = g.op(
        "ConvTranspose",
        first(call, call.x),
        first(call, call.input(1)),
        call.inputs[2] if len(call.inputs) > 2 else None,
        kernel_shape=window.kernel,
        strides=window.stride,
        pads=pads,
        output_padding=adj,
        group=call.int("group", 1),
    )
    return back(call, y)


def adjustment(call: Call) -> tuple[int, ...]:
    """``adj`` of height and width: what the tail of a transposed convolution has more."""
    adj = call.ints("adjs")
    if call.has("adj"):
        adj = (*adj, call.int("adj", 0), call.int("adj", 0))[:2]
    elif call.has("adj_h") and call.has("adj_w"):
        adj = (*adj, call.int("adj_h", 0), call.int("adj_w", 0))
    adj = adj or (0, 0)
    if len(adj) != 2 or min(adj) < 0:
        raise RefusalError(f"adj {adj}")
    return adj


def locally_connected(call: Call) -> ir.Value:
    """A convolution with a kernel of its own at every place.

    X (N,C,…), W (…,O,C/group,k…), b (…,O); or NHWC: X (N,…,C), W (…,O,k…,C), b (…,O).
    """
    window, g, weight = read_window(call), call.graph, call.input(1)
    count, group = window.dimensions, call.int("group", 1)
    if rank(call.x) != count + 2 or rank(weight) != 2 * count + 2:
        raise RefusalError(f"a kernel of {window.kernel} for an input of {rank(call.x)} dimensions")
    if call.channels_last():
        order = (*range(count + 1), 2 * count + 1, *range(count + 1, 2 * count + 1))
        weight = g.transpose(weight, order)
    places, out = sizes(weight)[:count], size(weight, count)
    if sizes(weight)[count + 2 :] != window.kernel or out % group or (group > 1 and call.channels_last()):
        raise RefusalError(f"a kernel of {window.kernel}, {group} groups and weights of shape {sizes(weight)}")
    taps = _taps(call, window, places)
    area, fan_in = math.prod(places), size(weight, count + 1) * math.prod(window.kernel)
    # One small matrix product per group and place: (N, G·I, O) → (G, O, N, I).
    left = g.transpose(g.reshape(taps, (0, group, fan_in, area)), (1, 3, 0, 2))
    right = g.transpose(g.reshape(weight, (area, group, out // group, fan_in)), (1, 0, 3, 2))
    y = g.transpose(g.op("MatMul", left, right), (2, 0, 3, 1))
    y = g.reshape(y, (0, out, area))
    if len(call.inputs) > 2:
        y = g.op("Add", y, g.transpose(g.reshape(call.inputs[2], (area, out)), (1, 0)))
    return back(call, g.reshape(y, (0, out, *places)))


def _taps(call: Call, window: Window, out: tuple[int, ...]) -> ir.Value:
    """What each place of the kernel sees at each place of the output: (N, C, kernel, places)."""
    g, count = call.graph, window.dimensions
    x, pads = padded(call, first(call, call.x), window)
    x = g.op("Pad", x, g.constant([0, 0, *pads[:count], 0, 0, *pads[count:]]))
    axes, steps = g.constant(list(range(2, count + 2))), g.constant(list(window.stride))
    pieces: list[ir.Value] = []
    for place in itertools.product(*map(range, window.kernel)):
        starts = [at * dilation for at, dilation in zip(place, window.dilation, strict=True)]
        ends = [start + (n - 1) * step + 1 for start, n, step in zip(starts, out, window.stride, strict=True)]
        piece = g.op("Slice", x, g.constant(starts), g.constant(ends), axes, steps)
        pieces.append(g.unsqueeze(g.reshape(piece, (0, 0, -1)), 2))
    return g.op("Concat", *pieces, axis=2)


def im2col(call: Call) -> ir.Value:
    """What each place of the kernel sees, as channels: (N, C·kernel, …), or NHWC: (N, …, kernel·C)."""
    g, kernel = call.graph, tuple(call.int(f"kernel_{side}", call.int("kernel", 0)) for side in "hw")
    stride = tuple(call.int(f"stride_{side}", call.int("stride", 1)) for side in "hw")
    dilation = tuple(call.int(f"dilation_{side}", call.int("dilation", 1)) for side in "hw")
    sound = min(*kernel, *stride, *dilation) >= 1 and math.prod(kernel) <= 1 << 12
    if rank(call.x) != 4 or not sound or call.int("pad", 0) < 0:
        raise RefusalError(f"a kernel of {kernel} for an input of {rank(call.x)} dimensions")
    x, area = first(call, call.x), math.prod(kernel)
    channels = size(x, 1)
    if channels == 0:
        raise RefusalError("an input without channels")
    # Each output channel is one element of the window of one input channel.
    picks = np.tile(np.eye(area, dtype=np.float32).reshape(area, 1, *kernel), (channels, 1, 1, 1))
    pads = (call.int("pad", 0),) * 4
    y = g.op("Conv", x, g.constant(picks), strides=stride, dilations=dilation, pads=pads, group=channels)
    if not call.channels_last():
        return y
    split = g.reshape(g.transpose(y, (0, 2, 3, 1)), (0, 0, 0, channels, area))
    return g.reshape(g.transpose(split, (0, 1, 2, 4, 3)), (0, 0, 0, -1))


RULES: Mapping[str, Rule] = {
    "Conv": conv,
    "Conv1D": conv,
    "Conv2D": conv,
    "Conv3D": conv,
    "ConvRelu": conv_relu,
    "ConvTranspose": conv_transpose,
    "LC": locally_connected,
    "LC1D": locally_connected,
    "LC2D": locally_connected,
    "LC3D": locally_connected,
    "Im2Col": im2col,
}
