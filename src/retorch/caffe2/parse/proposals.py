"""Boxes of detectors chosen: the proposals of a region network, and what is left of the boxes of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.detection import Deltas, clipped, columns, moved, number
from retorch.caffe2.parse.graph import Graph, RefusalError, dims, rank, size
from retorch.caffe2.parse.segments import INT64, arange, int64

FLOAT, INT32 = ir.DataType.FLOAT, ir.DataType.INT32
_ALL = 2**31 - 1


def _best(graph: Graph, boxes: ir.Value, scores: ir.Value, most: int, overlap: float, least: float | None) -> ir.Value:
    """Greedy suppression of overlapping boxes: (classes, n, 4) and (classes, n) → rows of class, 0, box."""
    g = graph
    limits = [int64(g, most if most > 0 else _ALL), number(g, overlap)]
    if least is not None:
        limits.append(number(g, least))
    chosen = g.op("NonMaxSuppression", boxes, g.unsqueeze(scores, 1), *limits)
    chosen.shape = ir.Shape([None, 3])
    return chosen


def _extended(graph: Graph, boxes: ir.Value, plus_one: float) -> ir.Value:
    """Boxes whose areas and overlaps are those of boxes that include their last pixel."""
    return graph.op("Add", boxes, graph.constant(np.asarray([0, 0, plus_one, plus_one], np.float32)))


def generate_proposals(call: Call) -> Results:
    """The likeliest boxes of each picture, moved by their deltas and cut, without those that are small or overlap.

    Inputs: scores (N,A,H,W), deltas (N,4A,H,W), height, width and scale of each picture, anchors (A,4).
    """
    g = call.graph
    scores, deltas, info, anchors = (call.input(at) for at in range(4))
    if size(anchors, 1) != 4 or rank(scores) != 4:
        raise RefusalError("rotated anchors")
    every = _anchors(call, scores, anchors)
    boxes: list[ir.Value] = []
    likely: list[ir.Value] = []
    for picture in range(size(scores, 0)):
        flat = g.reshape(g.transpose(g.slice(scores, 0, picture, picture + 1), (0, 2, 3, 1)), (-1,))
        moves = g.reshape(g.transpose(g.slice(deltas, 0, picture, picture + 1), (0, 2, 3, 1)), (-1, 4))
        kept, score = _of_picture(call, flat, moves, every, g.slice(info, 0, picture, picture + 1))
        first = g.op(
            "Expand", number(g, float(picture)), g.op("Concat", g.shape_of(kept, 0, 1), g.constant([1]), axis=0)
        )
        boxes.append(g.op("Concat", first, kept, axis=1))
        likely.append(score)
    return (g.op("Concat", *boxes, axis=0), g.op("Concat", *likely, axis=0))


def _anchors(call: Call, scores: ir.Value, anchors: ir.Value) -> ir.Value:
    """All anchors at all places: (H·W·A, 4)."""
    g, stride = call.graph, number(call.graph, 1.0 / call.float("spatial_scale", 1.0 / 16))
    down, across = (
        g.op("Mul", g.cast(arange(g, g.reshape(g.shape_of(scores, axis, axis + 1), ())), FLOAT), stride)
        for axis in (2, 3)
    )
    zero = number(g, 0.0)
    rows = g.op("Add", g.unsqueeze(down, 1), g.op("Mul", g.unsqueeze(across, 0), zero))
    lines = g.op("Add", g.op("Mul", g.unsqueeze(down, 1), zero), g.unsqueeze(across, 0))
    shifts = g.op("Concat", *(g.unsqueeze(part, 2) for part in (lines, rows, lines, rows)), axis=2)
    return g.reshape(g.op("Add", g.unsqueeze(shifts, 2), anchors), (-1, 4))


def _of_picture(
    call: Call, scores: ir.Value, deltas: ir.Value, anchors: ir.Value, info: ir.Value
) -> tuple[ir.Value, ir.Value]:
    """The boxes that are left, likeliest first, and their scores."""
    g, plus_one = call.graph, float(call.int("legacy_plus_one", 1))
    top, total = call.int("pre_nms_topN", 6000), g.shape_of(scores, 0, 1)
    count = total if top <= 0 else g.op("Min", total, g.constant([top]))
    best, order = g.ops("TopK", [scores, count], 2, axis=0, largest=1, sorted=1)
    places, shifts = (columns(g, g.op("Gather", part, order, axis=0), 4) for part in (anchors, deltas))
    height, width, scale = (g.reshape(part, ()) for part in columns(g, info, 3))
    parts = clipped(g, moved(g, places, shifts, Deltas((1.0,) * 4, plus_one)), (height, width), plus_one)
    lengths = [g.op("Add", g.op("Sub", parts[at + 2], parts[at]), number(g, plus_one)) for at in range(2)]
    centres = [g.op("Add", parts[at], g.op("Mul", lengths[at], number(g, 0.5))) for at in range(2)]
    least = g.op("Mul", number(g, call.float("min_size", 16.0)), scale)
    large = g.op("And", *(g.op("GreaterOrEqual", length, least) for length in lengths))
    inside = g.op("And", *(g.op("Less", at, end) for at, end in zip(centres, (width, height), strict=True)))
    sound = g.reshape(g.op("And", large, inside), (-1,))
    boxes = g.op("Compress", g.op("Concat", *parts, axis=1), sound, axis=0)
    likely = g.op("Compress", best, sound, axis=0)
    wide = g.unsqueeze(_extended(g, boxes, plus_one), 0)
    overlap = call.float("nms_thresh", 0.7)
    rows = _best(g, wide, g.unsqueeze(likely, 0), call.int("post_nms_topN", 300), overlap, None)
    kept = g.reshape(g.slice(rows, 1, 2, 3), (-1,))
    return g.op("Gather", boxes, kept, axis=0), g.op("Gather", likely, kept, axis=0)


@dataclass(frozen=True, slots=True)
class _Detections:
    """What is left of one picture: of each detection its score, box, class and place; how many of each class."""

    scores: ir.Value
    boxes: ir.Value
    classes: ir.Value
    places: ir.Value
    counts: ir.Value


def box_with_nms_limit(call: Call) -> Results:
    """For each class but the first the boxes that score enough and do not overlap, and of all the best ones.

    Inputs: scores (R,classes), boxes (R,4·classes), and how many belong to each picture. Outputs: scores, boxes,
    classes, how many each picture has, the places of what is left, and how many each class has.
    """
    g = call.graph
    for name in ("soft_nms_enabled", "rotated"):
        if call.int(name, 0):
            raise RefusalError(name)
    if not call.int("input_boxes_include_bg_cls", 1):
        raise RefusalError("input_boxes_include_bg_cls=0")
    scores, boxes = call.input(0), call.input(1)
    if rank(scores) != 2 or rank(boxes) != 2:
        raise RefusalError(f"scores of {rank(scores)} and boxes of {rank(boxes)} dimensions")
    if len(call.inputs) < 3:
        found = [_detections(call, scores, boxes)]
    else:
        ends = g.op("CumSum", g.cast(call.inputs[2], INT64), int64(g, 0))
        begins = g.op("Sub", ends, g.cast(call.inputs[2], INT64))
        bounds = [(g.slice(begins, 0, at, at + 1), g.slice(ends, 0, at, at + 1)) for at in range(size(ends, 0))]
        found = [_detections(call, *(_rows(g, x, *pair) for x in (scores, boxes))) for pair in bounds]
    splits = g.op("Concat", *(g.cast(g.shape_of(one.scores, 0, 1), FLOAT) for one in found), axis=0)
    joined = [g.op("Concat", *parts, axis=0) for parts in zip(*map(_parts, found), strict=True)]
    return (*joined[:3], splits, g.cast(joined[3], INT32), g.cast(joined[4], INT32))


def _rows(graph: Graph, x: ir.Value, begin: ir.Value, end: ir.Value) -> ir.Value:
    """Rows of a matrix, from where to where being calculated."""
    y = graph.op("Slice", x, begin, end, graph.constant([0]))
    y.shape = ir.Shape([None, size(x, 1)])
    return y


def _parts(one: _Detections) -> Sequence[ir.Value]:
    return one.scores, one.boxes, one.classes, one.places, one.counts


def _detections(call: Call, scores: ir.Value, boxes: ir.Value) -> _Detections:
    g, classes, most = call.graph, size(scores, 1), call.int("detections_per_im", 100)
    by_class = g.transpose(g.slice(scores, 1, 1, classes), (1, 0))
    each = g.transpose(g.reshape(boxes, (-1, size(boxes, 1) // 4, 4)), (1, 0, 2))
    if call.int("cls_agnostic_bbox_reg", 0):
        each = g.op("Expand", g.slice(each, 0, 0, 1), g.constant([classes - 1, 1, 1]))
        each.shape = ir.Shape([classes - 1, dims(boxes)[0], 4])
    else:
        each = g.slice(each, 0, 1, classes)
    wide = _extended(g, each, float(call.int("legacy_plus_one", 1)))
    rows = _best(g, wide, by_class, most, call.float("nms", 0.3), call.float("score_thresh", 0.05))
    if most > 0:
        rows = _limited(g, rows, by_class, most)
    where = g.op("Concat", g.slice(rows, 1, 0, 1), g.slice(rows, 1, 2, 3), axis=1)
    kind = g.op("Add", g.reshape(g.slice(rows, 1, 0, 1), (-1,)), int64(g, 1))
    hit = g.op("Equal", g.unsqueeze(kind, 0), g.constant(np.arange(classes).reshape(-1, 1)))
    shown = kind if call.int("output_classes_include_bg_cls", 1) else g.op("Sub", kind, int64(g, 1))
    return _Detections(
        g.op("GatherND", by_class, where),
        g.op("GatherND", each, where),
        g.cast(shown, FLOAT),
        g.reshape(g.slice(rows, 1, 2, 3), (-1,)),
        g.unsqueeze(g.op("ReduceSum", g.cast(hit, INT64), g.constant([1]), keepdims=0), 0),
    )


def _limited(graph: Graph, rows: ir.Value, scores: ir.Value, most: int) -> ir.Value:
    """Of rows of class, 0, box the ``most`` best, in the order that they have."""
    g = graph
    where = g.op("Concat", g.slice(rows, 1, 0, 1), g.slice(rows, 1, 2, 3), axis=1)
    count = g.op("Min", g.shape_of(rows, 0, 1), g.constant([most]))
    _, best = g.ops("TopK", [g.op("GatherND", scores, where), count], 2, axis=0, largest=1, sorted=1)
    ordered, _ = g.ops("TopK", [best, count], 2, axis=0, largest=0, sorted=1)
    limited = g.op("Gather", rows, ordered, axis=0)
    limited.shape = ir.Shape([None, 3])
    return limited


RULES: Mapping[str, Rule] = {
    "GenerateProposals": generate_proposals,
    "GenerateProposalsCPP": generate_proposals,
    "BoxWithNMSLimit": box_with_nms_limit,
}
