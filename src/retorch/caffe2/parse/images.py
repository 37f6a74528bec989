"""Padding and resizing of pictures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import RefusalError, constant_of, rank
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


def _scales(call: Call) -> tuple[float, float]:
    """Height and width; an input blob goes before the arguments."""
    if len(call.inputs) > 1:
        numbers = constant_of(call.inputs[1])
        if numbers is None:
            raise RefusalError("the scales come from a blob that the network calculates")
        return float(numbers[0]), float(numbers[1])
    return call.float("height_scale", 1.0), call.float("width_scale", 1.0)


def _resize(call: Call, scales: tuple[float, ...], *, bilinear: bool) -> ir.Value:
    g = call.graph
    numbers = g.constant(np.asarray((1.0, 1.0, *scales), np.float32))
    if bilinear:
        # ONNX calls linear interpolation between the corners' centres align_corners.
        y = g.op("Resize", first(call, call.x), None, numbers, mode="linear", **_ALIGNED)
    else:
        y = g.op("Resize", first(call, call.x), None, numbers, mode="nearest", **_FLOOR)
    return back(call, y)


_ALIGNED = {"coordinate_transformation_mode": "align_corners"}
_FLOOR = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def resize_nearest(call: Call) -> ir.Value:
    """Each place takes the element at its index divided by the scale, rounded down."""
    if rank(call.x) != 4:
        raise RefusalError(f"ResizeNearest of {rank(call.x)} dimensions")
    return _resize(call, _scales(call), bilinear=False)


def resize_nearest_3d(call: Call) -> ir.Value:
    """As ResizeNearest, of volumes."""
    if rank(call.x) != 5 or call.channels_last():
        raise RefusalError("ResizeNearest3D takes 5-D input, NCHW")
    return _resize(call, (call.float("temporal_scale", 1.0), *_scales(call)), bilinear=False)


def upsample_bilinear(call: Call) -> ir.Value:
    """Linear interpolation in height and width, corners on corners; the new size is rounded down."""
    if rank(call.x) != 4 or call.channels_last():
        raise RefusalError("UpsampleBilinear takes 4-D input, NCHW")
    return _resize(call, _scales(call), bilinear=True)


RULES: Mapping[str, Rule] = {
    "PadImage": pad_image,
    "ResizeNearest": resize_nearest,
    "ResizeNearest3D": resize_nearest_3d,
    "UpsampleBilinear": upsample_bilinear,
}
