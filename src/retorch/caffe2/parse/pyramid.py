"""Boxes of pictures between the levels of a feature pyramid, regions on a grid, and keypoints in heat maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.detection import columns, number
from retorch.caffe2.parse.graph import RefusalError, rank, size
from retorch.caffe2.parse.segments import arange, int64, rows_of

FLOAT, INT32 = ir.DataType.FLOAT, ir.DataType.INT32


def _levels(call: Call, kind: str, lowest: int, highest: int) -> range:
    low, high = call.int(f"{kind}_min_level", lowest), call.int(f"{kind}_max_level", highest)
    if not 0 <= high - low < 1 << 16:
        raise RefusalError(f"levels {low} to {high}")
    return range(low, high + 1)


def _best(call: Call) -> ir.Value:
    """The likeliest boxes of all levels, likeliest first; of equal ones the first. Inputs: boxes, then scores."""
    g, levels = call.graph, len(_levels(call, "rpn", 2, 6))
    if len(call.inputs) != 2 * levels:
        raise RefusalError(f"{len(call.inputs)} inputs for {levels} levels")
    if any(size(each, 1) != 5 for each in call.inputs[:levels]):
        raise RefusalError(f"boxes of {size(call.x, 1)} numbers")
    boxes = g.op("Concat", *call.inputs[:levels], axis=0)
    scores = g.op("Concat", *(g.reshape(score, (-1,)) for score in call.inputs[levels:]), axis=0)
    most, total = call.int("rpn_post_nms_topN", 2000), g.shape_of(scores)
    wanted = g.op("Min", total, g.constant([most])) if most > 0 else total
    _, order = g.ops("TopK", [scores, wanted], 2, axis=0, largest=1, sorted=1)
    return g.op("Gather", boxes, order, axis=0)


def collect(call: Call) -> ir.Value:
    """The likeliest boxes of all levels. Inputs: boxes (n,5) of each level, then their scores."""
    return _best(call)


def _dealt(call: Call, boxes: ir.Value) -> list[ir.Value]:
    """The boxes of each level, by the root of their area, and where each box is when these lie after each other."""
    g, levels, plus_one = call.graph, _levels(call, "roi", 2, 5), number(call.graph, call.int("legacy_plus_one", 1))
    parts = columns(g, boxes, size(boxes, 1))
    if len(parts) != 5:
        raise RefusalError(f"boxes of {len(parts)} numbers")
    area = g.op("Mul", *(g.op("Add", g.op("Sub", parts[at + 2], parts[at]), plus_one) for at in (1, 2)))
    scale = g.op("Div", g.op("Sqrt", area), number(g, call.int("roi_canonical_scale", 224)))
    height = g.op("Div", g.op("Log", g.op("Add", scale, number(g, 1e-6))), number(g, math.log(2)))
    level = g.op("Floor", g.op("Add", height, number(g, call.int("roi_canonical_level", 4))))
    held = g.op("Clip", level, number(g, levels[0]), number(g, levels[-1]))
    flat = g.reshape(held, (-1,))
    places = [g.reshape(g.op("NonZero", g.op("Equal", flat, number(g, at))), (-1,)) for at in levels]
    order = g.op("Concat", *places, axis=0)
    back = g.op("ScatterElements", order, order, arange(g, rows_of(g, order)), axis=0)
    return [*(g.op("Gather", boxes, chosen, axis=0) for chosen in places), g.cast(back, INT32)]


def distribute(call: Call) -> Results:
    """The boxes (n,5) of each level, then where each box is when these lie after each other."""
    return _dealt(call, call.x)


def collect_and_distribute(call: Call) -> Results:
    """Both: the likeliest boxes of all levels, those of each level, and where each is among these."""
    boxes = _best(call)
    return [boxes, *_dealt(call, boxes)]


def _steps(height: int, width: int, overlap: float) -> int:
    """How many more regions the longer side has, so that neighbours overlap as much as wanted."""
    short, best, chosen = min(height, width), float(np.finfo(np.float32).max), 0
    if height == width:
        return 0
    for steps in range(1, 7):
        gap = np.float32((max(height, width) - short) / steps)
        off = float(abs(np.float32((short * short - short * gap) / (short * short)) - np.float32(overlap)))
        if off < best:
            best, chosen = off, steps
    return chosen


def _along(length: int, region: int, count: int) -> list[int]:
    """Where regions begin on one side."""
    step = np.float32((length - region) / (count - 1)) if count > 1 else np.float32(0)
    return [min(int(step * np.float32(at)), length - region) for at in range(count)]


def rmac_regions(call: Call) -> ir.Value:
    """Squares of several sizes on a grid over each picture: its number, x1, y1, x2, y2."""
    g, height, width = call.graph, size(call.x, 2), size(call.x, 3)
    steps = _steps(height, width, call.float("overlap", 0.4))
    made: list[tuple[int, ...]] = []
    for scale in range(1, call.int("scales", 3) + 1):
        region = 2 * min(height, width) // (scale + 1)
        if region == 0:
            break
        across = _along(width, region, scale + (steps if width > height else 0))
        down = _along(height, region, scale + (steps if height > width else 0))
        made += [(x, y, x + region - 1, y + region - 1) for x in across for y in down]
    grid = g.constant(np.asarray(made, np.float32).reshape(1, len(made), 4))
    pictures = g.cast(g.reshape(arange(g, rows_of(g, call.x)), (-1, 1, 1)), FLOAT)
    zero = number(g, 0.0)
    first = g.op("Add", pictures, g.op("Mul", g.slice(grid, 2, 0, 1), zero))
    rest = g.op("Add", g.op("Mul", pictures, zero), grid)
    return g.reshape(g.op("Concat", first, rest, axis=2), (-1, 5))


def heatmap_keypoints(call: Call) -> ir.Value:
    """The peak of each heat map (N,K,S,S) within its box (N,4), between pixels by a parabola: x, y, score, probability.

    The probability is 0 unless ``should_output_softmax``.
    """
    g = call.graph
    if rank(call.x) != 4:
        raise RefusalError(f"heat maps of {rank(call.x)} dimensions")
    flat, last = g.reshape(call.x, (0, 0, -1)), g.constant([2])
    side = g.reshape(g.shape_of(call.x, 3, 4), ())
    best = g.op("ArgMax", flat, axis=2, keepdims=1)
    peak = [g.op("Div", best, side), g.op("Mod", best, side)]
    score = g.op("ReduceMax", flat, last, keepdims=1)
    shift, risen = _parabola(call, _around(call, flat, peak, side), score)
    placed: list[ir.Value] = []
    for axis, (at, moved) in enumerate(zip(peak[::-1], shift, strict=True)):
        begin, end = (g.unsqueeze(g.slice(call.input(1), 1, axis + far, axis + far + 1), 2) for far in (0, 2))
        length = g.op("Max", g.op("Sub", end, begin), number(g, 1.0))
        within = g.op("Add", g.op("Add", g.cast(at, FLOAT), number(g, 0.5)), moved)
        placed.append(g.op("Add", begin, g.op("Div", g.op("Mul", within, length), g.cast(side, FLOAT))))
    if call.int("should_output_softmax", 0):
        powers = g.op("Exp", flat)
        share = g.op("Div", g.op("Exp", score), g.op("ReduceSum", powers, last, keepdims=1))
    else:
        share = g.op("Mul", score, number(g, 0.0))
    return g.transpose(g.op("Concat", *placed, risen, share, axis=2), (0, 2, 1))


def _around(call: Call, flat: ir.Value, peak: Sequence[ir.Value], side: ir.Value) -> Sequence[Sequence[ir.Value]]:
    """The nine numbers at and around each peak; what is outside is mirrored at it."""
    g, zero = call.graph, int64(call.graph, 0)
    lines: list[list[ir.Value]] = []
    for at in peak:
        near: list[ir.Value] = []
        for step in (-1, 0, 1):
            place = g.op("Add", at, int64(g, step))
            place = g.op("Where", g.op("Less", place, zero), g.op("Add", place, int64(g, 2)), place)
            near.append(g.op("Where", g.op("GreaterOrEqual", place, side), g.op("Sub", place, int64(g, 2)), place))
        lines.append(near)
    down, across = lines
    index = [[g.op("Add", g.op("Mul", y, side), x) for x in across] for y in down]
    return [[g.op("GatherElements", flat, each, axis=2) for each in line] for line in index]


def _parabola(call: Call, near: Sequence[Sequence[ir.Value]], score: ir.Value) -> tuple[list[ir.Value], ir.Value]:
    """Where the quadratic form through the nine numbers is highest, right and down of the middle, and how high."""
    g, half, two = call.graph, number(call.graph, 0.5), number(call.graph, 2.0)
    middle = near[1][1]
    right = g.op("Mul", g.op("Sub", near[1][0], near[1][2]), half)
    down = g.op("Mul", g.op("Sub", near[0][1], near[2][1]), half)
    twice = g.op("Mul", middle, two)
    xx = g.op("Add", g.op("Sub", near[1][0], twice), near[1][2])
    yy = g.op("Add", g.op("Sub", near[0][1], twice), near[2][1])
    corners = g.op("Add", g.op("Sub", g.op("Sub", near[2][2], near[2][0]), near[0][2]), near[0][0])
    xy = g.op("Mul", corners, number(g, 0.25))
    det = g.op("Sub", g.op("Mul", xx, yy), g.op("Mul", xy, xy))
    flat = g.op("Less", g.op("Abs", det), number(g, 1e-4))
    safe = g.op("Where", flat, number(g, 1.0), det)
    dx = g.op("Div", g.op("Sub", g.op("Mul", yy, right), g.op("Mul", xy, down)), safe)
    dy = g.op("Div", g.op("Sub", g.op("Mul", xx, down), g.op("Mul", xy, right)), safe)
    far = g.op("Max", g.op("Abs", dx), g.op("Abs", dy))
    most = number(g, 1.5)
    shrink = g.op("Where", g.op("Greater", far, most), g.op("Div", most, far), number(g, 1.0))
    dx, dy = (g.op("Where", flat, number(g, 0.0), g.op("Mul", each, shrink)) for each in (dx, dy))
    slope = g.op("Add", g.op("Mul", right, dx), g.op("Mul", down, dy))
    bend = g.op("Add", g.op("Mul", dx, _pair(call, xx, dx, xy, dy)), g.op("Mul", dy, _pair(call, xy, dx, yy, dy)))
    risen = g.op("Add", g.op("Sub", middle, slope), g.op("Mul", bend, half))
    return [dx, dy], g.op("Where", flat, score, risen)


def _pair(call: Call, a: ir.Value, x: ir.Value, b: ir.Value, y: ir.Value) -> ir.Value:
    return call.graph.op("Add", call.graph.op("Mul", a, x), call.graph.op("Mul", b, y))


RULES: Mapping[str, Rule] = {
    "CollectRpnProposals": collect,
    "DistributeFpnProposals": distribute,
    "CollectAndDistributeFpnRpnProposals": collect_and_distribute,
    "RMACRegions": rmac_regions,
    "HeatmapMaxKeypoint": heatmap_keypoints,
}
