"""Features of eight-bit images pooled in boxes, to the integer as Caffe2 calculates them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.detection import columns, number
from retorch.caffe2.parse.graph import Graph, RefusalError, rank, size
from retorch.caffe2.parse.int8 import FLOAT, INT32, INT64, Scale, as_bytes, asked, blob_of, integer
from retorch.caffe2.parse.segments import arange

DOUBLE = ir.DataType.DOUBLE
_MOST = 1 << 12  # bins, and points in a bin
_BITS = 31  # of the multiplier
_SHARES = 255  # what the four corners of a point share


@dataclass(frozen=True, slots=True)
class _Points:
    """Where points lie along one side of each box (R, bins, points): between which pixels, and how near the second."""

    low: ir.Value
    high: ir.Value
    share: ir.Value
    inside: ir.Value
    count: ir.Value


def roi_align(call: Call) -> ir.Value:
    """Pixels interpolated at points within each bin of each box, and averaged. X (N,H,W,C), boxes (R,4) or (R,5)."""
    g, (x, given), scale, rois = call.graph, blob_of(call), asked(call), call.input(1)
    wide = size(rois, 1)
    if not (call.string("order", "NHWC") == "NHWC" and rank(x) == 4 and wide in (4, 5)):
        raise RefusalError(
            f"order {call.string('order', 'NHWC')}, boxes of {wide} numbers; Caffe2 takes NHWC, and 4 or 5"
        )
    parts = columns(g, rois, wide)
    picture = g.cast(parts[0], INT64)
    if wide == 4:
        picture = g.op("Mul", picture, integer(g, 0))
    across, down = _along(call, parts[-4], parts[-2], 2), _along(call, parts[-3], parts[-1], 1)
    count = g.op("Mul", across.count, down.count)
    sums = _sums(g, x, picture, across, down)
    zero = g.op("Mul", g.cast(count, INT64), integer(g, given.zero * _SHARES))
    sums = g.op("Sub", g.cast(sums, INT64), g.unsqueeze(zero, 2, 3))
    return as_bytes(g, _averaged(g, sums, count, (given, scale)), scale)


def _along(call: Call, begin: ir.Value, end: ir.Value, axis: int) -> _Points:
    """The points along an axis of the image, of boxes that begin and end there (R, 1)."""
    g, aligned = call.graph, call.int("aligned", 0)
    bins = call.count(f"pooled_{'_hw'[axis]}", 1, _MOST)
    ratio = call.count("sampling_ratio", -1, _MOST, -1)
    scale, offset, one = number(g, call.float("spatial_scale", 1.0)), number(g, 0.5 if aligned else 0.0), number(g, 1.0)
    start, stop = (g.op("Sub", g.op("Mul", place, scale), offset) for place in (begin, end))
    length = g.op("Sub", stop, start)
    if not aligned:
        length = g.op("Max", length, one)
    step = g.op("Div", length, number(g, bins))
    count = g.op("Ceil", step)
    if ratio > 0:
        count = g.op("Add", g.op("Mul", step, number(g, 0.0)), number(g, ratio))
    samples = _samples(g, count, ratio)
    edges = g.op("Add", g.op("Mul", g.constant(np.arange(bins, dtype=np.float32)), step), start)
    within = g.op("Div", g.op("Mul", g.op("Add", samples, number(g, 0.5)), step), count)
    real = g.unsqueeze(g.op("Less", samples, count), 1)
    return _between(
        g, g.op("Add", g.unsqueeze(edges, 2), g.unsqueeze(within, 1)), real, count, _length(g, call.x, axis)
    )


def _samples(graph: Graph, count: ir.Value, ratio: int) -> ir.Value:
    """0, 1, … up to the most points that a bin has."""
    g = graph
    if ratio > 0:
        return g.constant(np.arange(ratio, dtype=np.float32))
    padded = g.op("Concat", g.reshape(g.cast(count, INT64), (-1,)), g.constant([1]), axis=0)
    samples = g.cast(arange(g, g.op("ReduceMax", padded, g.constant([0]), keepdims=0)), FLOAT)
    samples.shape = ir.Shape([None])
    return samples


def _length(graph: Graph, x: ir.Value, axis: int) -> ir.Value:
    return graph.cast(graph.reshape(graph.shape_of(x, axis, axis + 1), ()), FLOAT)


def _between(graph: Graph, place: ir.Value, real: ir.Value, count: ir.Value, length: ir.Value) -> _Points:
    """The pixels around each place; more than one pixel outside of the image there is nothing."""
    g, one = graph, number(graph, 1.0)
    near = g.op("And", g.op("GreaterOrEqual", place, number(g, -1.0)), g.op("LessOrEqual", place, length))
    last = g.op("Sub", length, one)
    held = g.op("Min", g.op("Max", place, number(g, 0.0)), last)
    low = g.op("Floor", held)
    high = g.op("Min", g.op("Add", low, one), last)
    return _Points(g.cast(low, INT64), g.cast(high, INT64), g.op("Sub", held, low), g.op("And", near, real), count)


def _sums(graph: Graph, x: ir.Value, picture: ir.Value, across: _Points, down: _Points) -> ir.Value:
    """The sum over the points of each bin of the four pixels around, each times its share of 255: (R, h, w, C)."""
    g = graph
    height, width = (g.shape_of(x, axis, axis + 1) for axis in (1, 2))
    first = g.unsqueeze(g.op("Mul", picture, height), 2, 3, 4)
    flat = g.reshape(x, (-1, size(x, 3)))
    inside = g.op("And", g.unsqueeze(down.inside, 3, 4), g.unsqueeze(across.inside, 1, 2))
    valid = g.cast(inside, FLOAT)
    parts: list[ir.Value] = []
    for row, ly in ((down.low, g.op("Sub", number(g, 1.0), down.share)), (down.high, down.share)):
        line = g.op("Mul", g.op("Add", first, g.unsqueeze(row, 3, 4)), width)
        for column, lx in ((across.low, g.op("Sub", number(g, 1.0), across.share)), (across.high, across.share)):
            share = g.op("Mul", g.op("Mul", g.unsqueeze(ly, 3, 4), g.unsqueeze(lx, 1, 2)), number(g, _SHARES))
            share = g.cast(g.op("Mul", g.op("Round", share), valid), INT32)
            pixels = g.op("Gather", flat, g.op("Add", line, g.unsqueeze(column, 1, 2)), axis=0)
            parts.append(g.op("Mul", g.cast(pixels, INT32), g.unsqueeze(share, 5)))
    pairs = (g.op("Add", *parts[at : at + 2]) for at in (0, 2))
    return g.op("ReduceSum", g.op("Add", *pairs), g.constant([2, 4]), keepdims=0)


def _averaged(graph: Graph, sums: ir.Value, count: ir.Value, scales: tuple[Scale, Scale]) -> ir.Value:
    """Sums over ``count`` points in steps of the result's scale: by a multiplier of 31 bits and a shift, rounded."""
    g, (given, scale) = graph, scales
    factor = float(given.scale) / (float(scale.scale) * _SHARES)
    if not 2.0**-16 <= factor < 1 - 2.0**-_BITS:
        raise RefusalError(f"the scales of input and result give a factor of {factor:.3g}, not below 1")
    shares = g.op("Mul", g.constant(np.asarray(float(scale.scale) * _SHARES)), g.cast(count, DOUBLE))
    real = g.op("Div", g.constant(np.asarray(float(given.scale))), shares)
    # The shift makes the multiplier at least a half, which is then counted in steps of 2^-31.
    halves = g.constant(2.0 ** -np.arange(1, _BITS + 1))
    shift = g.op("ReduceSum", g.cast(g.op("Less", real, halves), INT64), g.constant([1]), keepdims=1)
    powers = g.op("Gather", g.constant(2 ** np.arange(_BITS + 1)), shift)
    steps = g.op("Mul", g.op("Mul", real, g.cast(powers, DOUBLE)), g.constant(np.asarray(2.0**_BITS)))
    multiplier = g.cast(g.op("Round", steps), INT64)
    whole = g.op("Equal", multiplier, integer(g, 1 << _BITS))
    multiplier = g.op("Where", whole, integer(g, 1 << (_BITS - 1)), multiplier)
    powers = g.op("Where", whole, g.op("Div", powers, integer(g, 2)), powers)
    product = g.op("Mul", sums, g.unsqueeze(multiplier, 2, 3))
    below = g.op("Less", product, integer(g, 0))
    nudge = g.op("Where", below, integer(g, 1 - (1 << 30)), integer(g, 1 << 30))
    high = g.op("Div", g.op("Add", product, nudge), integer(g, 1 << _BITS))
    return _shifted(g, high, g.unsqueeze(powers, 2, 3))


def _shifted(graph: Graph, x: ir.Value, powers: ir.Value) -> ir.Value:
    """x divided by powers of two, halves away from zero."""
    g = graph
    rest = g.op("Mod", x, powers)
    whole = g.op("Div", g.op("Sub", x, rest), powers)
    half = g.op("Div", g.op("Sub", powers, integer(g, 1)), integer(g, 2))
    half = g.op("Add", half, g.cast(g.op("Less", x, integer(g, 0)), INT64))
    return g.op("Add", whole, g.cast(g.op("Greater", rest, half), INT64))


RULES: Mapping[str, Rule] = {"Int8RoIAlign": roi_align}
