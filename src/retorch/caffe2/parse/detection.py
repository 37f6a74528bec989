"""Boxes of detectors: from deltas to coordinates, and features pooled in them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.graph import Graph, RefusalError, rank, size
from retorch.caffe2.parse.segments import INT64, arange
from retorch.caffe2.parse.window import first

FLOAT = ir.DataType.FLOAT
_LONGEST = math.log(1000 / 16)  # of a delta of width or height


def columns(graph: Graph, x: ir.Value, count: int) -> Sequence[ir.Value]:
    """The columns of a matrix, each a matrix of one."""
    return [graph.slice(x, rank(x) - 1, at, at + 1) for at in range(count)]


def number(graph: Graph, value: float) -> ir.Value:
    """A float without dimensions."""
    return graph.constant(np.asarray(value, np.float32))


@dataclass(frozen=True, slots=True)
class Deltas:
    """How deltas are read: their weights, and whether a box of one pixel is 1 wide (``legacy_plus_one``)."""

    weights: Sequence[float]
    plus_one: float


def _deltas(call: Call) -> Deltas:
    weights = call.floats("weights") or (1.0, 1.0, 1.0, 1.0)
    if len(weights) != 4:
        raise RefusalError(f"weights {weights}")
    return Deltas(weights, float(call.int("legacy_plus_one", 1)))


def moved(graph: Graph, boxes: Sequence[ir.Value], deltas: Sequence[ir.Value], how: Deltas) -> list[ir.Value]:
    """Boxes x1, y1, x2, y2 moved and grown by dx, dy, dw, dh, which count in sizes and their logarithms."""
    g, one, half = graph, number(graph, how.plus_one), number(graph, 0.5)
    low: list[ir.Value] = []
    high: list[ir.Value] = []
    for axis in range(2):
        length = g.op("Add", g.op("Sub", boxes[axis + 2], boxes[axis]), one)
        centre = g.op("Add", boxes[axis], g.op("Mul", length, half))
        shift = g.op("Div", deltas[axis], number(g, how.weights[axis]))
        growth = g.op("Div", deltas[axis + 2], number(g, how.weights[axis + 2]))
        middle = g.op("Add", g.op("Mul", shift, length), centre)
        reach = g.op("Mul", g.op("Mul", g.op("Exp", g.op("Min", growth, number(g, _LONGEST))), length), half)
        low.append(g.op("Sub", middle, reach))
        high.append(g.op("Sub", g.op("Add", middle, reach), one))
    return [*low, *high]


def clipped(graph: Graph, boxes: Sequence[ir.Value], sizes: Sequence[ir.Value], plus_one: float) -> list[ir.Value]:
    """Boxes x1, y1, x2, y2 within pictures of these heights and widths."""
    g, zero = graph, number(graph, 0.0)
    last = [g.op("Sub", length, number(g, plus_one)) for length in (sizes[1], sizes[0])]
    return [g.op("Max", g.op("Min", box, last[at % 2]), zero) for at, box in enumerate(boxes)]


def bbox_transform(call: Call) -> Results:
    """Boxes moved by the deltas of each class and cut to their picture; then how many boxes each picture has.

    Inputs: boxes, perhaps with the number of their picture in front; deltas; height, width and scale of each picture.
    """
    g, wide = call.graph, size(call.x, 1)
    if call.int("rotated", 0):
        return _transform_rotated(call)
    if wide not in (4, 5):
        raise RefusalError(f"boxes of {wide} numbers")
    boxes, info, counts = _boxes(call, 4)
    how = _deltas(call)
    scale = info[2]
    placed = [g.op("Div", box, scale) for box in columns(g, boxes, 4)]
    sizes = [g.op("Floor", g.op("Add", g.op("Div", length, scale), number(g, 0.5))) for length in info[:2]]
    out: list[ir.Value] = []
    every = columns(g, call.input(1), size(call.input(1), 1))
    for at in range(0, len(every), 4):
        made = clipped(g, moved(g, placed, every[at : at + 4], how), sizes, how.plus_one)
        out += [g.op("Mul", box, scale) if call.int("apply_scale", 1) else box for box in made]
    return (g.op("Concat", *out, axis=1), counts)


def _boxes(call: Call, width: int) -> tuple[ir.Value, Sequence[ir.Value], ir.Value | None]:
    """The boxes alone; height, width and scale of the picture of each; and how many each picture has."""
    g, info = call.graph, call.input(2)
    if size(call.x, 1) == width:
        counts = g.cast(g.shape_of(call.x, 0, 1), FLOAT) if call.wants(1) else None
        return call.x, columns(g, info, 3), counts
    pictures = g.cast(g.slice(call.x, 1, 0, 1), INT64)
    rows = g.op("Gather", info, g.reshape(pictures, (-1,)), axis=0)
    counts = None
    if call.wants(1):
        places = g.unsqueeze(arange(g, g.reshape(g.shape_of(info, 0, 1), ())), 0)
        hit = g.cast(g.op("Equal", pictures, places), FLOAT)
        counts = g.op("ReduceSum", hit, g.constant([0]), keepdims=0)
    return g.slice(call.x, 1, 1, width + 1), columns(g, rows, 3), counts


def _transform_rotated(call: Call) -> Results:
    """The same for boxes cx, cy, w, h, angle in degrees; only those that hardly lean are cut."""
    g, how = call.graph, _deltas(call)
    boxes, info, counts = _boxes(call, 5)
    scale, parts = info[2], columns(call.graph, boxes, 5)
    placed = [*(g.op("Div", part, scale) for part in parts[:4]), parts[4]]
    sizes = [g.op("Floor", g.op("Add", g.op("Div", length, scale), number(g, 0.5))) for length in info[:2]]
    every = columns(g, call.input(1), size(call.input(1), 1))
    out: list[ir.Value] = []
    for at in range(0, len(every), 5):
        made = cut_upright(call, turned(call, placed, every[at : at + 5], how), sizes, how.plus_one)
        out += [g.op("Mul", part, scale) if call.int("apply_scale", 1) else part for part in made[:4]]
        out.append(made[4])
    return (g.op("Concat", *out, axis=1), counts)


def turned(call: Call, boxes: Sequence[ir.Value], deltas: Sequence[ir.Value], how: Deltas) -> list[ir.Value]:
    """Boxes cx, cy, w, h, angle moved, grown and turned by their deltas."""
    g = call.graph
    shifts = [g.op("Div", delta, number(g, weight)) for delta, weight in zip(deltas, how.weights, strict=False)]
    centres = [g.op("Add", g.op("Mul", shifts[at], boxes[at + 2]), boxes[at]) for at in range(2)]
    grown = [g.op("Mul", g.op("Exp", g.op("Min", shifts[at], number(g, _LONGEST))), boxes[at]) for at in (2, 3)]
    angle = g.op("Add", g.op("Mul", deltas[4], number(g, 180 / math.pi)), boxes[4])
    if call.int("angle_bound_on", 1):
        low, high = call.int("angle_bound_lo", -90), call.int("angle_bound_hi", 90)
        period = number(g, high - low)
        above = g.op("Where", g.op("Greater", angle, number(g, high)), g.op("Sub", angle, period), angle)
        angle = g.op("Where", g.op("Less", angle, number(g, low)), g.op("Add", angle, period), above)
    return [*centres, *grown, angle]


def cut_upright(
    call: Call, boxes: Sequence[ir.Value], sizes: Sequence[ir.Value], plus_one: float
) -> Sequence[ir.Value]:
    """Those boxes cx, cy, w, h, angle that hardly lean cut to their pictures."""
    g, half, one = call.graph, number(call.graph, 0.5), number(call.graph, plus_one)
    upright = g.op("LessOrEqual", g.op("Abs", boxes[4]), number(g, call.float("clip_angle_thresh", 1.0)))
    reach = [g.op("Mul", g.op("Sub", length, one), half) for length in boxes[2:4]]
    corners = [g.op(sign, boxes[at], reach[at]) for sign in ("Sub", "Add") for at in range(2)]
    cut = clipped(g, corners, sizes, plus_one)
    back = [g.op("Mul", g.op("Add", cut[at], cut[at + 2]), half) for at in range(2)]
    back += [g.op("Add", g.op("Sub", cut[at + 2], cut[at]), one) for at in range(2)]
    return [*(g.op("Where", upright, new, old) for new, old in zip(back, boxes[:4], strict=True)), boxes[4]]


def roi_align(call: Call) -> ir.Value:
    """Features interpolated at points within each bin of each box, and averaged. X (N,C,H,W), boxes (R,4) or (R,5)."""
    g, rois = call.graph, call.input(1)
    x = first(call, call.x)
    wide = size(rois, 1)
    if wide not in (4, 5):
        raise RefusalError(f"boxes of {wide} numbers")
    pictures = g.cast(g.reshape(g.slice(rois, 1, 0, 1), (-1,)), INT64)
    if wide == 4:
        pictures = g.op("Mul", pictures, g.constant([0]))
    y = g.op(
        "RoiAlign",
        x,
        g.slice(rois, 1, wide - 4, wide),
        pictures,
        coordinate_transformation_mode="half_pixel" if call.int("aligned", 0) else "output_half_pixel",
        output_height=call.count("pooled_h", 1, 1 << 12),
        output_width=call.count("pooled_w", 1, 1 << 12),
        sampling_ratio=max(call.int("sampling_ratio", -1), 0),
        spatial_scale=call.float("spatial_scale", 1.0),
    )
    return g.transpose(y, (0, 2, 3, 1)) if call.channels_last() else y


def roi_pool(call: Call) -> ir.Value:
    """The largest feature within each bin of each box (R,5), both rounded to pixels; 0 where a bin has none."""
    if call.channels_last():
        raise RefusalError("order NHWC")
    if not call.int("is_test", 0) and call.wants(1):
        raise RefusalError("the places of the largest features are for training")
    bins = [call.count(f"pooled_{side}", 1, 1 << 12) for side in "hw"]
    scale = call.float("spatial_scale", 1.0)
    return call.graph.op("MaxRoiPool", call.x, call.input(1), pooled_shape=bins, spatial_scale=scale)


def roi_align_rotated(call: Call) -> ir.Value:
    """The same for boxes cx, cy, w, h, angle in degrees, perhaps behind the number of their picture."""
    g, rois = call.graph, call.input(1)
    x = first(call, call.x)
    wide = size(rois, 1)
    if wide not in (5, 6):
        raise RefusalError(f"boxes of {wide} numbers")
    parts = columns(g, rois, wide)
    pictures = g.cast(parts[0], INT64)
    if wide == 5:
        pictures = g.op("Mul", pictures, g.constant([0]))
    across, down = _points(call, parts[-5:])
    cos, sin = _direction(g, parts[-1])
    offset = number(g, 0.5 if call.int("aligned", 0) else 0.0)
    scale = number(g, call.float("spatial_scale", 1.0))
    centre = [g.op("Sub", g.op("Mul", part, scale), offset) for part in parts[-5:-3]]
    # Points (R, ph, gh, pw, gw): rows lie along the first two, columns along the last two.
    columns_at, rows_at = g.unsqueeze(across.at, 1, 2), g.unsqueeze(down.at, 3, 4)
    spread = [_wide(g, part) for part in (cos, sin, *centre)]
    px = g.op("Add", g.op("Add", g.op("Mul", columns_at, spread[0]), g.op("Mul", rows_at, spread[1])), spread[2])
    py = g.op("Add", g.op("Sub", g.op("Mul", rows_at, spread[0]), g.op("Mul", columns_at, spread[1])), spread[3])
    inside = g.op("And", g.unsqueeze(across.real, 1, 2), g.unsqueeze(down.real, 3, 4))
    values = _sampled(g, x, _wide(g, pictures), py, px, inside)
    sums = g.op("ReduceSum", values, g.constant([2, 4]), keepdims=0)
    mean = g.op("Div", sums, g.op("Mul", _wide(g, across.count, 4), _wide(g, down.count, 4)))
    return mean if call.channels_last() else g.transpose(mean, (0, 3, 1, 2))


def _wide(graph: Graph, x: ir.Value, total: int = 5) -> ir.Value:
    """A column (R, 1) with dimensions of size 1 up to ``total``."""
    return graph.unsqueeze(x, *range(2, total))


@dataclass(frozen=True, slots=True)
class _Points:
    """Where samples lie along one direction from the centre of each box: (R, bins, samples); which of them are real."""

    at: ir.Value
    real: ir.Value
    count: ir.Value


def _points(call: Call, box: Sequence[ir.Value]) -> tuple[_Points, _Points]:
    """The samples across and down."""
    return _along(call, box[2], call.count("pooled_w", 1, 1 << 12)), _along(
        call, box[3], call.count("pooled_h", 1, 1 << 12)
    )


def _along(call: Call, extent: ir.Value, bins: int) -> _Points:
    g, ratio = call.graph, call.count("sampling_ratio", -1, 1 << 12, -1)
    length = g.op("Mul", extent, number(g, call.float("spatial_scale", 1.0)))
    if not call.int("aligned", 0):
        length = g.op("Max", length, number(g, 1.0))
    step = g.op("Div", length, number(g, bins))
    if ratio > 0:
        count = g.op("Add", g.op("Mul", step, number(g, 0.0)), number(g, ratio))
        most = g.constant(np.asarray(ratio, np.int64))
    else:
        count = g.op("Ceil", step)
        padded = g.op("Concat", g.reshape(g.cast(count, INT64), (-1,)), g.constant([1]), axis=0)
        most = g.op("ReduceMax", padded, g.constant([0]), keepdims=0)
    samples = g.cast(arange(g, most), FLOAT)
    samples.shape = ir.Shape([ratio if ratio > 0 else None])
    within = g.op("Div", g.op("Mul", g.op("Add", samples, number(g, 0.5)), step), count)
    edges = g.op("Mul", g.constant(np.arange(bins, dtype=np.float32)), step)
    begin = g.op("Sub", edges, g.op("Mul", length, number(g, 0.5)))
    at = g.op("Add", g.unsqueeze(begin, 2), g.unsqueeze(within, 1))
    return _Points(at, g.unsqueeze(g.op("Less", samples, count), 1), count)


def _direction(graph: Graph, angle: ir.Value) -> tuple[ir.Value, ir.Value]:
    radians = graph.op("Mul", angle, number(graph, math.pi / 180))
    return graph.op("Cos", radians), graph.op("Sin", radians)


def _sampled(graph: Graph, x: ir.Value, pictures: ir.Value, py: ir.Value, px: ir.Value, real: ir.Value) -> ir.Value:
    """The features at these points, with a last dimension for the channels; 0 a pixel outside, and where not real."""
    g, zero, one = graph, number(graph, 0.0), number(graph, 1.0)
    lengths = [g.cast(g.reshape(g.shape_of(x, axis, axis + 1), ()), FLOAT) for axis in (2, 3)]
    valid, corners = real, list[tuple[ir.Value, ir.Value, ir.Value]]()
    for place, length in zip((py, px), lengths, strict=True):
        near = g.op("And", g.op("GreaterOrEqual", place, number(g, -1.0)), g.op("LessOrEqual", place, length))
        valid = g.op("And", valid, near)
        last = g.op("Sub", length, one)
        held = g.op("Min", g.op("Max", place, zero), last)
        low = g.op("Min", g.op("Floor", held), last)
        corners.append((low, g.op("Min", g.op("Add", low, one), last), g.op("Sub", held, low)))
    flat = g.reshape(g.transpose(x, (0, 2, 3, 1)), (-1, size(x, 1)))
    weight, parts = g.cast(valid, FLOAT), list[ir.Value]()
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        sides = zip((row, column), corners, strict=True)
        shares = [share if side else g.op("Sub", one, share) for side, (_, _, share) in sides]
        index = _flat_index(g, x, pictures, corners[0][row], corners[1][column])
        share = g.unsqueeze(g.op("Mul", weight, g.op("Mul", *shares)), 5)
        parts.append(g.op("Mul", g.op("Gather", flat, index, axis=0), share))
    return g.op("Sum", *parts)


def _flat_index(graph: Graph, x: ir.Value, pictures: ir.Value, row: ir.Value, column: ir.Value) -> ir.Value:
    g = graph
    height, width = (g.reshape(g.shape_of(x, axis, axis + 1), ()) for axis in (2, 3))
    line = g.op("Add", g.op("Mul", pictures, height), g.cast(row, INT64))
    return g.op("Add", g.op("Mul", line, width), g.cast(column, INT64))


RULES: Mapping[str, Rule] = {
    "BBoxTransform": bbox_transform,
    "RoIAlign": roi_align,
    "RoIPool": roi_pool,
    "RoIAlignRotated": roi_align_rotated,
}
