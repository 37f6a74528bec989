"""Pooling: the mean leaves padding out unless told, and Caffe's old rounding is one of four ways to pad."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import Attribute, NeedsShapeError, RefusalError, rank
from retorch.caffe2.parse.window import CAFFE, SAME, Window, back, crop, first, read_window, resolve_pads, spatial


def _pool(call: Call, op_type: str, whole: str, **attributes: Attribute) -> ir.Value:
    window, x = read_window(call), first(call, call.x)
    if op_type != "MaxPool" and x.dtype == ir.DataType.DOUBLE:
        raise RefusalError(f"{op_type} of doubles: Caffe2 has it for floats alone")
    if call.int("global_pooling", 0):
        if any(window.pads) or any(d != 1 for d in window.dilation) or any(s != 1 for s in window.stride):
            raise RefusalError("global_pooling together with padding, stride or dilation")
        p = attributes.get("p")
        y = call.graph.op(whole, x) if p is None else call.graph.op(whole, x, p=p)
        return back(call, y)
    if rank(x) != window.dimensions + 2 or min(window.kernel) < 1:
        raise RefusalError(f"a window of {window.kernel} over an input of {rank(x)} dimensions")
    if any(d != 1 for d in window.dilation):
        raise RefusalError("Caffe2 does not pool with dilation")
    x, padding = _padding(call, x, window, bool(attributes.get("count_include_pad")))
    y = call.graph.op(op_type, x, kernel_shape=window.kernel, strides=window.stride, **padding, **attributes)
    return back(call, y)


def _padding(call: Call, x: ir.Value, window: Window, inclusive: bool) -> tuple[ir.Value, dict[str, Attribute]]:
    pads = resolve_pads(window, spatial(call))
    if pads is not None:
        if any(pad >= kernel for pad, kernel in zip(pads, window.kernel * 2, strict=True)):
            raise RefusalError(f"padding {pads} leaves windows of {window.kernel} without input")
        x, rest = crop(call.graph, x, pads)
        return x, {"pads": rest}
    overlap = all(k >= s for k, s in zip(window.kernel, window.stride, strict=True))
    if window.legacy == SAME and overlap:
        return x, {"auto_pad": "SAME_UPPER"}
    if window.legacy == CAFFE and overlap and not inclusive:
        # For windows that touch the input, ONNX's ceil_mode counts them as Caffe does.
        half = window.pads[: window.dimensions]
        return x, {"pads": (*half, *half), "ceil_mode": 1}
    raise NeedsShapeError("legacy_pad depends on the size of the input")


def max_pool(call: Call) -> ir.Value:
    """The largest value in each window."""
    return _pool(call, "MaxPool", "GlobalMaxPool")


def average_pool(call: Call) -> ir.Value:
    """The mean over the part of each window inside the input; over all of it with ``count_include_pad``."""
    # As Caffe2 since 1.1 reads it: version 1.0 ignored the argument.
    inclusive = call.int("count_include_pad", 0)
    return _pool(call, "AveragePool", "GlobalAveragePool", count_include_pad=int(bool(inclusive)))


def lp_pool(call: Call) -> ir.Value:
    """(sum of |x|^p over the window)^(1/p)."""
    p = call.float("p", 2.0)
    if not p.is_integer() or p < 1:
        raise RefusalError(f"LpPool with p = {p:g}")
    if rank(call.x) != 4:
        raise RefusalError(f"LpPool of {rank(call.x)} dimensions")
    return _pool(call, "LpPool", "GlobalLpPool", p=int(p))


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("MaxPool", "MaxPool1D", "MaxPool2D", "MaxPool3D"), max_pool),
    **dict.fromkeys(("AveragePool", "AveragePool1D", "AveragePool2D", "AveragePool3D"), average_pool),
    "LpPool": lp_pool,
}
