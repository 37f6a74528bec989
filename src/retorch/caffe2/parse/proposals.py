"""Boxes of detectors chosen: the proposals of a region network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.detection import Deltas, clipped, columns, cut_upright, moved, number, turned
from retorch.caffe2.parse.graph import Graph, RefusalError, dims, rank, size
from retorch.caffe2.parse.rotated import greedy
from retorch.caffe2.parse.segments import arange, int64
from retorch.caffe2.parse.sort import falling

FLOAT, INT32 = ir.DataType.FLOAT, ir.DataType.INT32
_ALL = 2**31 - 1


def suppressed(
    graph: Graph, boxes: ir.Value, scores: ir.Value, most: int, overlap: float, least: float | None
) -> ir.Value:
    """Greedy suppression of overlapping boxes: (classes, n, 4) and (classes, n) → rows of class, 0, box."""
    g = graph
    limits = [int64(g, most if most > 0 else _ALL), number(g, overlap)]
    if least is not None:
        limits.append(number(g, least))
    chosen = g.op("NonMaxSuppression", boxes, g.unsqueeze(scores, 1), *limits)
    chosen.shape = ir.Shape([None, 3])
    return chosen


def extended(graph: Graph, boxes: ir.Value, plus_one: float) -> ir.Value:
    """Boxes whose areas and overlaps are those of boxes that include their last pixel."""
    return graph.op("Add", boxes, graph.constant(np.asarray([0, 0, plus_one, plus_one], np.float32)))


def generate_proposals(call: Call) -> Results:
    """The likeliest boxes of each picture, moved by their deltas and cut, without those that are small or overlap.

    Inputs: scores (N,A,H,W), deltas (N,4A,H,W), height, width and scale of each picture, anchors (A,4).
    Anchors of five numbers are rotated: centre, size, angle in degrees.
    """
    g = call.graph
    scores, deltas, info, anchors = (call.input(at) for at in range(4))
    wide = size(anchors, 1)
    if wide not in (4, 5) or rank(scores) != 4:
        raise RefusalError(f"anchors of {wide} numbers, scores of {rank(scores)} dimensions")
    every = _anchors(call, scores, anchors)
    boxes: list[ir.Value] = []
    likely: list[ir.Value] = []
    for picture in range(size(scores, 0)):
        flat = g.reshape(g.slice(scores, 0, picture, picture + 1), (-1,))
        apart = g.reshape(g.slice(deltas, 0, picture, picture + 1), (size(anchors, 0), wide, -1))
        moves = g.reshape(g.transpose(apart, (0, 2, 1)), (-1, wide))
        kept, score = _of_picture(call, flat, moves, every, g.slice(info, 0, picture, picture + 1))
        first = g.op(
            "Expand", number(g, float(picture)), g.op("Concat", g.shape_of(kept, 0, 1), g.constant([1]), axis=0)
        )
        boxes.append(g.op("Concat", first, kept, axis=1))
        likely.append(score)
    rois, all_scores = (g.op("Concat", *parts, axis=0) for parts in (boxes, likely))
    rois.shape, all_scores.shape = ir.Shape([None, wide + 1]), ir.Shape([None])
    return (rois, all_scores)


def _anchors(call: Call, scores: ir.Value, anchors: ir.Value) -> ir.Value:
    """All anchors, each at all places: (A·H·W, 4 or 5)."""
    g, stride = call.graph, number(call.graph, 1.0 / call.float("spatial_scale", 1.0 / 16))
    down, across = (
        g.op("Mul", g.cast(arange(g, g.reshape(g.shape_of(scores, axis, axis + 1), ())), FLOAT), stride)
        for axis in (2, 3)
    )
    zero = number(g, 0.0)
    rows = g.op("Add", g.unsqueeze(down, 1), g.op("Mul", g.unsqueeze(across, 0), zero))
    lines = g.op("Add", g.op("Mul", g.unsqueeze(down, 1), zero), g.unsqueeze(across, 0))
    wide, still = size(anchors, 1), g.op("Mul", rows, zero)
    parts = (lines, rows, lines, rows) if wide == 4 else (lines, rows, still, still, still)
    shifts = g.op("Concat", *(g.unsqueeze(part, 2) for part in parts), axis=2)
    return g.reshape(g.op("Add", g.unsqueeze(shifts, 0), g.unsqueeze(anchors, 1, 2)), (-1, wide))


def _of_picture(
    call: Call, scores: ir.Value, deltas: ir.Value, anchors: ir.Value, info: ir.Value
) -> tuple[ir.Value, ir.Value]:
    """The boxes that are left, likeliest first, and their scores."""
    g, plus_one = call.graph, float(call.int("legacy_plus_one", 1))
    best, order = _likeliest(g, scores, call.int("pre_nms_topN", 6000))
    wide = size(anchors, 1)
    places, shifts = (columns(g, g.op("Gather", part, order, axis=0), wide) for part in (anchors, deltas))
    height, width, scale = (g.reshape(part, ()) for part in columns(g, info, 3))
    how = Deltas((1.0,) * 4, plus_one)
    if wide == 5:
        parts = cut_upright(call, turned(call, places, shifts, how), (height, width), plus_one)
        centres, lengths = parts[:2], parts[2:4]
    else:
        parts = clipped(g, moved(g, places, shifts, how), (height, width), plus_one)
        lengths = [g.op("Add", g.op("Sub", parts[at + 2], parts[at]), number(g, plus_one)) for at in range(2)]
        centres = [g.op("Add", parts[at], g.op("Mul", lengths[at], number(g, 0.5))) for at in range(2)]
    least = g.op("Mul", number(g, call.float("min_size", 16.0)), scale)
    large = g.op("And", *(g.op("GreaterOrEqual", length, least) for length in lengths))
    inside = g.op("And", *(g.op("Less", at, end) for at, end in zip(centres, (width, height), strict=True)))
    sound = g.reshape(g.op("And", large, inside), (-1,))
    boxes = g.op("Compress", g.op("Concat", *parts, axis=1), sound, axis=0)
    likely = g.op("Compress", best, sound, axis=0)
    kept = _kept(call, boxes, likely, plus_one if wide == 4 else None)
    return g.op("Gather", boxes, kept, axis=0), g.op("Gather", likely, kept, axis=0)


def _kept(call: Call, boxes: ir.Value, likely: ir.Value, plus_one: float | None) -> ir.Value:
    """The places of boxes that overlap none before them too much; rotated ones have no ``plus_one``."""
    g, bound, most = call.graph, call.float("nms_thresh", 0.7), call.int("post_nms_topN", 300)
    if plus_one is None:
        boxes.shape = ir.Shape([None, 5])
        return greedy(g, boxes, arange(g, g.reshape(g.shape_of(likely, 0, 1), ())), bound, most)
    rows = suppressed(g, g.unsqueeze(extended(g, boxes, plus_one), 0), g.unsqueeze(likely, 0), most, bound, None)
    return g.reshape(g.slice(rows, 1, 2, 3), (-1,))


def _likeliest(graph: Graph, scores: ir.Value, most: int) -> tuple[ir.Value, ir.Value]:
    """The largest scores, falling, and their places: where all are wanted, equal ones in the order of Caffe2's sort."""
    g, known = graph, dims(scores)[0]
    if most <= 0 or (known is not None and known <= most):
        order = falling(g, scores)
        return g.op("Gather", scores, order), order
    count = g.op("Min", g.shape_of(scores, 0, 1), g.constant([most]))
    best, order = g.ops("TopK", [scores, count], 2, axis=0, largest=1, sorted=1)
    return best, order


RULES: Mapping[str, Rule] = {
    "GenerateProposals": generate_proposals,
    "GenerateProposalsCPP": generate_proposals,
}
