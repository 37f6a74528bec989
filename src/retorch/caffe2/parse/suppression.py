"""Boxes of detectors chosen: of each class those that do not overlap better ones, and the best of all classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.detection import columns, number
from retorch.caffe2.parse.graph import Graph, RefusalError, rank, size
from retorch.caffe2.parse.loop import Step, repeat
from retorch.caffe2.parse.proposals import extended, suppressed
from retorch.caffe2.parse.rotated import greedy, overlap
from retorch.caffe2.parse.segments import INT64, int64
from retorch.caffe2.parse.sort import falling, stable

FLOAT, INT32 = ir.DataType.FLOAT, ir.DataType.INT32
_END = 2**31 - 1


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Rows of class (from 0, without the background) and box, class by class; the scores of all boxes (classes, n)."""

    rows: ir.Value
    scores: ir.Value


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
    scores, boxes = (_matrix(g, call.input(at)) for at in range(2))
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


def _matrix(graph: Graph, x: ir.Value) -> ir.Value:
    """x as (rows, columns); Caffe2 also takes (rows, columns, 1, 1)."""
    if rank(x) not in (2, 4):
        raise RefusalError(f"scores or boxes of {rank(x)} dimensions")
    return x if rank(x) == 2 else graph.squeeze(x, 2, 3)


def _rows(graph: Graph, x: ir.Value, begin: ir.Value, end: ir.Value) -> ir.Value:
    """Rows of a matrix, from where to where being calculated."""
    y = graph.op("Slice", x, begin, end, graph.constant([0]))
    y.shape = ir.Shape([None, size(x, 1)])
    return y


def _parts(one: _Detections) -> Sequence[ir.Value]:
    return one.scores, one.boxes, one.classes, one.places, one.counts


def _by_class(call: Call, scores: ir.Value, boxes: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Scores (classes, n) and boxes (classes, n, 4) without the background's."""
    g, classes = call.graph, size(scores, 1) - 1
    first = int(bool(call.int("input_boxes_include_bg_cls", 1)))
    wide = 5 if call.int("rotated", 0) else 4
    each = g.transpose(g.reshape(boxes, (-1, size(boxes, 1) // wide, wide)), (1, 0, 2))
    if call.int("cls_agnostic_bbox_reg", 0):
        each = g.op("Concat", *[g.slice(each, 0, 0, 1)] * classes, axis=0)
    else:
        each = g.slice(each, 0, first, first + classes)
    return g.transpose(g.slice(scores, 1, first, first + classes), (1, 0)), each


def _detections(call: Call, scores: ir.Value, boxes: ir.Value) -> _Detections:
    g, classes, most = call.graph, size(scores, 1), call.int("detections_per_im", 100)
    by_class, each = _by_class(call, scores, boxes)
    if classes == 1:
        chosen = _Chosen(g.constant(np.zeros((0, 2), np.int64)), by_class)
    else:
        strictly = _strictly_rotated if call.int("rotated", 0) else _strictly
        chosen = (_softly if call.int("soft_nms_enabled", 0) else strictly)(call, by_class, each)
    rows = _limited(g, chosen, most) if most > 0 else chosen.rows
    kind = g.op("Add", g.reshape(g.slice(rows, 1, 0, 1), (-1,)), int64(g, 1))
    hit = g.op("Equal", g.unsqueeze(kind, 0), g.constant(np.arange(classes).reshape(-1, 1)))
    shown = kind if call.int("output_classes_include_bg_cls", 1) else g.op("Sub", kind, int64(g, 1))
    return _Detections(
        g.op("GatherND", chosen.scores, rows),
        g.op("GatherND", each, rows),
        g.cast(shown, FLOAT),
        g.reshape(g.slice(rows, 1, 1, 2), (-1,)),
        g.unsqueeze(g.op("ReduceSum", g.cast(hit, INT64), g.constant([1]), keepdims=0), 0),
    )


def _limited(graph: Graph, chosen: _Chosen, most: int) -> ir.Value:
    """The ``most`` best rows, class by class; all as they are where there are no more."""
    g, rows = graph, chosen.rows
    likely = g.op("GatherND", chosen.scores, rows)
    likely.shape = ir.Shape([None])
    ordered = g.slice(g.op("Gather", rows, falling(g, likely), axis=0), 0, 0, most)
    kind = g.reshape(g.slice(ordered, 1, 0, 1), (-1,))
    limited = g.op("Gather", ordered, stable(g, kind, largest=False), axis=0)
    too_many = g.op("Greater", g.shape_of(rows, 0, 1), g.constant([most]))
    # Both have at most so many rows where this is false, and as many as one another.
    kept = g.op("Where", too_many, limited, g.slice(rows, 0, 0, most))
    kept.shape = ir.Shape([None, 2])
    return kept


def _strictly(call: Call, scores: ir.Value, boxes: ir.Value) -> _Chosen:
    """Without those that overlap a better box of their class by more than ``nms``."""
    g, most = call.graph, call.int("detections_per_im", 100)
    ranks = _ranks(call, scores)
    wide = extended(g, boxes, float(call.int("legacy_plus_one", 1)))
    rows = suppressed(g, wide, ranks, most, call.float("nms", 0.3), 0.0)
    return _Chosen(g.op("Concat", g.slice(rows, 1, 0, 1), g.slice(rows, 1, 2, 3), axis=1), scores)


def _strictly_rotated(call: Call, scores: ir.Value, boxes: ir.Value) -> _Chosen:
    """The same for boxes that lean."""

    def of_class(g: Graph, at: ir.Value, states: Sequence[ir.Value]) -> Step:
        own, places = (g.op("Gather", x, at, axis=0) for x in (scores, boxes))
        pending = _enough(g, call, own)
        order = g.op("Gather", pending, falling(g, g.op("Gather", own, pending)))
        order.shape = ir.Shape([None])
        kept = greedy(g, places, order, call.float("nms", 0.3), call.int("detections_per_im", 100))
        return Step(None, [g.op("Concat", states[0], _of_class(g, at, kept), axis=0)])

    g = call.graph
    none = g.constant(np.zeros((0, 2), np.int64))
    (rows,) = repeat(g, [none], of_class, times=int64(g, size(scores, 0)))
    rows.shape = ir.Shape([None, 2])
    return _Chosen(rows, scores)


def _of_class(graph: Graph, at: ir.Value, kept: ir.Value) -> ir.Value:
    """Rows of a class and a box."""
    g = graph
    kind = g.op("Expand", g.reshape(at, (1, 1)), g.op("Concat", g.shape_of(kept), g.constant([1]), axis=0))
    return g.op("Concat", kind, g.unsqueeze(kept, 1), axis=1)


def _enough(graph: Graph, call: Call, scores: ir.Value) -> ir.Value:
    """The places of the scores of one class above ``score_thresh``."""
    g = graph
    return g.reshape(g.op("NonZero", g.op("Greater", scores, number(g, call.float("score_thresh", 0.05)))), (-1,))


def _ranks(call: Call, scores: ir.Value) -> ir.Value:
    """For the boxes of each class that score enough, a number that falls in Caffe2's order; 0 for the others."""

    def of_class(g: Graph, at: ir.Value, _: Sequence[ir.Value]) -> Step:
        own = g.op("Gather", scores, at, axis=0)
        places = _enough(g, call, own)
        order = g.op("Gather", places, falling(g, g.op("Gather", own, places)))
        count = g.reshape(g.shape_of(order), ())
        falls = g.cast(g.op("Range", count, int64(g, 0), int64(g, -1)), FLOAT)
        none = g.op("Mul", own, number(g, 0.0))
        ranks = g.op("ScatterElements", g.op("Where", g.op("IsNaN", none), number(g, 0.0), none), order, falls, axis=0)
        return Step(None, (), [ranks])

    (ranks,) = repeat(call.graph, (), of_class, times=int64(call.graph, size(scores, 0)))
    ranks.shape = scores.shape
    return ranks


#: How much of its score a box keeps that overlaps a better one so much.
_Fade: TypeAlias = Callable[[Graph, ir.Value], ir.Value]


def _fade(call: Call) -> _Fade:
    match call.string("soft_nms_method", "linear"):
        case "linear":
            bound = call.float("nms", 0.3)

            def linear(g: Graph, overlap: ir.Value) -> ir.Value:
                rest = g.op("Sub", number(g, 1.0), overlap)
                return g.op("Where", g.op("Greater", overlap, number(g, bound)), rest, number(g, 1.0))

            return linear
        case "gaussian":
            sigma = call.float("soft_nms_sigma", 0.5)

            def gaussian(g: Graph, overlap: ir.Value) -> ir.Value:
                square = g.op("Mul", overlap, overlap)
                return g.op("Exp", g.op("Neg", g.op("Div", square, number(g, sigma))))

            return gaussian
        case other:
            raise RefusalError(f"soft_nms_method {other}")


def _softly(call: Call, scores: ir.Value, boxes: ir.Value) -> _Chosen:
    """Boxes that overlap better ones with lower scores, without those whose score falls too low."""
    fade = _fade(call)

    def of_class(g: Graph, at: ir.Value, states: Sequence[ir.Value]) -> Step:
        own, places = (g.op("Gather", x, at, axis=0) for x in (scores, boxes))
        pending, kept = _enough(g, call, own), g.constant(np.zeros(0, np.int64))
        some = g.op("Greater", g.reshape(g.shape_of(pending), ()), int64(g, 0))

        def take(inner: Graph, _: ir.Value, held: Sequence[ir.Value]) -> Step:
            return _take(inner, call, fade, places, held)

        _, faded, kept = repeat(g, [pending, own, kept], take, begins=some)
        return Step(None, [g.op("Concat", states[0], _of_class(g, at, kept), axis=0)], [faded])

    g = call.graph
    none = g.constant(np.zeros((0, 2), np.int64))
    rows, faded = repeat(g, [none], of_class, times=int64(g, size(scores, 0)))
    rows.shape, faded.shape = ir.Shape([None, 2]), scores.shape
    return _Chosen(rows, faded)


def _take(graph: Graph, call: Call, fade: _Fade, boxes: ir.Value, states: Sequence[ir.Value]) -> Step:
    """The best box that is left is taken; what overlaps it fades. States: who is left, all scores, who was taken."""
    g, (pending, scores, kept) = graph, states
    at = g.op("ArgMax", g.op("Gather", scores, pending), axis=0, keepdims=1)
    taken = g.op("Gather", pending, at)
    # The first one takes its place in the list.
    rest = g.slice(g.op("ScatterElements", pending, at, g.slice(pending, 0, 0, 1), axis=0), 0, 1, _END)
    shared = _overlap(g, call, *(g.op("Gather", boxes, which, axis=0) for which in (taken, rest)))
    faded = g.op("Mul", g.op("Gather", scores, rest), fade(g, shared))
    left = g.op("GreaterOrEqual", faded, number(g, call.float("soft_nms_min_score_thres", 0.001)))
    pending = g.op("Compress", rest, left, axis=0)
    goes_on = g.op("Greater", g.op("Size", pending), int64(g, 0))
    scores = g.op("ScatterElements", scores, rest, faded, axis=0)
    return Step(goes_on, [pending, scores, g.op("Concat", kept, taken, axis=0)])


def _overlap(graph: Graph, call: Call, one: ir.Value, others: ir.Value) -> ir.Value:
    """The intersection over the union of one box (1, 4) and others (n, 4): (n,)."""
    if call.int("rotated", 0):
        return overlap(graph, one, others)
    g, plus_one = graph, number(graph, float(call.int("legacy_plus_one", 1)))
    a, b = columns(g, one, 4), columns(g, others, 4)

    def length(low: ir.Value, high: ir.Value) -> ir.Value:
        return g.op("Add", g.op("Sub", high, low), plus_one)

    areas = [g.op("Mul", *(length(box[axis], box[axis + 2]) for axis in range(2))) for box in (a, b)]
    sides = [length(g.op("Max", a[at], b[at]), g.op("Min", a[at + 2], b[at + 2])) for at in range(2)]
    inside = g.op("Mul", *(g.op("Max", side, number(g, 0.0)) for side in sides))
    return g.reshape(g.op("Div", inside, g.op("Sub", g.op("Add", *areas), inside)), (-1,))


RULES: Mapping[str, Rule] = {"BoxWithNMSLimit": box_with_nms_limit}
