"""Padding and resizing of pictures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import RefusalError, rank
from retorch.caffe2.parse.window import NOTSET, back, crop, first, read_window


def pad_image(call: Call) -> ir.Value:
    """Rows and columns around each picture: a value, its mirror image, or its edge. Negative padding crops."""
    g, window = call.graph, read_window(call)
    if window.legacy != NOTSET or rank(call.x) != 4 or len(window.pads) != 4:
        raise RefusalError("PadImage takes 4-D input and explicit padding")
    mode = call.string("mode", "constant")
    if mode not in ("constant", "reflect", "edge"):
        raise RefusalError(f"mode {mode}")
    x, pads = first(call, call.x), window.pads
    grown = [max(pad, 0) for pad in pads]
    if any(grown):
        amounts = g.constant([0, 0, *grown[:2], 0, 0, *grown[2:]])
        value = [g.scalar(call.float("value", 0.0), x)] if mode == "constant" else []
        x = g.op("Pad", x, amounts, *value, mode=mode)
    # A mirror image is of the whole picture: it is cut only when it is there.
    x, _ = crop(g, x, [min(pad, 0) for pad in pads])
    return back(call, x)


def _scales(call: Call, *more: float) -> ir.Value:
    """The scales of all dimensions; those of height and width are an input blob, which goes before the arguments."""
    g = call.graph
    if len(call.inputs) > 1:
        return g.op(
            "Concat", g.constant(np.asarray((1.0, 1.0, *more), np.float32)), g.reshape(call.inputs[1], (-1,)), axis=0
        )
    scales = (1.0, 1.0, *more, call.float("height_scale", 1.0), call.float("width_scale", 1.0))
    return g.constant(np.asarray(scales, np.float32))


def _resize(call: Call, scales: ir.Value) -> ir.Value:
    y = call.graph.op("Resize", first(call, call.x), None, scales, mode="nearest", **_FLOOR)
    return back(call, _sized(y, call))


def _sized(y: ir.Value, call: Call) -> ir.Value:
    """y, of as many dimensions as the input where its sizes are calculated."""
    if y.shape is None:
        y.shape = ir.Shape([None] * rank(call.x))
    return y


_ALIGNED = {"coordinate_transformation_mode": "align_corners"}
_FLOOR = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def resize_nearest(call: Call) -> ir.Value:
    """Each place takes the element at its index divided by the scale, rounded down."""
    if rank(call.x) != 4:
        raise RefusalError(f"ResizeNearest of {rank(call.x)} dimensions")
    return _resize(call, _scales(call))


def resize_nearest_3d(call: Call) -> ir.Value:
    """As ResizeNearest, of volumes."""
    if rank(call.x) != 5 or call.channels_last():
        raise RefusalError("ResizeNearest3D takes 5-D input, NCHW")
    return _resize(call, _scales(call, call.float("temporal_scale", 1.0)))


def upsample_bilinear(call: Call) -> ir.Value:
    """Linear interpolation in height and width, corners on corners; the new size is rounded down. It knows no order."""
    if rank(call.x) != 4:
        raise RefusalError(f"UpsampleBilinear of {rank(call.x)} dimensions")
    # ONNX calls linear interpolation between the corners' centres align_corners.
    return _sized(call.graph.op("Resize", call.x, None, _scales(call), mode="linear", **_ALIGNED), call)


RULES: Mapping[str, Rule] = {
    "PadImage": pad_image,
    "ResizeNearest": resize_nearest,
    "ResizeNearest3D": resize_nearest_3d,
    "UpsampleBilinear": upsample_bilinear,
}
