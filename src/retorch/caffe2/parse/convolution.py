"""Convolutions: Conv in one to three dimensions, ConvTranspose, locally connected layers."""

from __future__ import annotations

from collections.abc import Mapping

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


def _is_same(call: Call, window: Window) -> bool:
    """SAME of an input of unknown size: ONNX has the same rule where the kernel covers its stride."""
    covered = all(k >= s for k, s in zip(window.kernel, window.stride, strict=True))
    plain = all(d == 1 for d in window.dilation)
    return window.legacy == SAME and covered and plain and None in spatial(call)


def conv_transpose(call: Call) -> ir.Value:
    """The adjoint of Conv in two dimensions; ``adj`` extends the tail. X (N,I,H,W), W (I,O/group,kH,kW)."""
    g = call.graph
    window = read_window(call, dilated=False)
    if window.legacy == CAFFE or window.dimensions != 2 or rank(call.x) != 4:
        raise RefusalError("ConvTranspose works on 4-D input with explicit padding")
    adj = _adjustment(call)
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


def _adjustment(call: Call) -> tuple[int, ...]:
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
    """A convolution with a kernel of its own at every place. X (N,C,H,W), W (oH,oW,O,C,kH,kW), b (oH,oW,O)."""
    window, g = read_window(call), call.graph
    if window.dimensions != 2 or rank(call.x) != 4 or call.int("group", 1) != 1 or call.channels_last():
        raise RefusalError("LC in two dimensions, NCHW, without groups only")
    if sizes(call.input(1))[4:] != window.kernel:
        raise RefusalError(f"a kernel of {window.kernel} and weights of shape {sizes(call.input(1))}")
    x, pads = padded(call, call.x, window)
    x = g.op("Pad", x, g.constant([0, 0, *pads[:2], 0, 0, *pads[2:]]))
    rows, columns, out = (size(call.input(1), axis) for axis in range(3))
    pieces: list[ir.Value] = []
    for i in range(window.kernel[0]):
        for j in range(window.kernel[1]):
            tap = _tap(call, x, window, (i, j), (rows, columns))
            pieces.append(g.unsqueeze(tap, 2))
    taps = g.op("Concat", *pieces, axis=2) if len(pieces) > 1 else pieces[0]
    # (N, C, taps, oH, oW) → (oH·oW, N, C·taps), one small matrix product per place.
    columns_first = g.transpose(taps, (3, 4, 0, 1, 2))
    fan_in = size(call.x, 1) * len(pieces)
    left = g.op("Reshape", columns_first, g.constant([rows * columns, -1, fan_in]))
    right = g.transpose(g.reshape(call.input(1), (rows * columns, out, fan_in)), (0, 2, 1))
    y = g.op("MatMul", left, right)
    if len(call.inputs) > 2:
        y = g.op("Add", y, g.reshape(call.inputs[2], (rows * columns, 1, out)))
    y = g.transpose(y, (1, 2, 0))
    return g.reshape(y, (0, out, rows, columns))


def _tap(call: Call, x: ir.Value, window: Window, place: tuple[int, int], out: tuple[int, int]) -> ir.Value:
    g = call.graph
    starts = [place[axis] * window.dilation[axis] for axis in range(2)]
    ends = [start + (out[axis] - 1) * window.stride[axis] + 1 for axis, start in enumerate(starts)]
    return g.op("Slice", x, g.constant(starts), g.constant(ends), g.constant([2, 3]), g.constant(list(window.stride)))


RULES: Mapping[str, Rule] = {
    "Conv": conv,
    "Conv1D": conv,
    "Conv2D": conv,
    "Conv3D": conv,
    "ConvTranspose": conv_transpose,
    "LC": locally_connected,
    "LC1D": locally_connected,
    "LC2D": locally_connected,
}
