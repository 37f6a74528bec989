"""Sums, means and extremes over segments of rows, which may be picked by index first and weighted.

Caffe2 names a whole grid of operators: how segments are given (Lengths, SortedSegment, UnsortedSegment), whether rows
are picked (Sparse), and what becomes of each segment (Sum, WeightedSum, Mean, Max).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import dtype
from retorch.caffe2.parse.segments import (
    INT64,
    column,
    counted,
    filled,
    int64,
    rows_of,
    scattered,
    segment_ids,
)

_LOWEST = -3.4028234663852886e38  # of a float


@dataclass(frozen=True, slots=True)
class Segments:
    """The segment of each row, how many segments there are, and how many rows each has."""

    ids: ir.Value
    count: ir.Value
    lengths: ir.Value


def by_lengths(call: Call, at: int) -> Segments:
    """Segments that lie after each other, input ``at`` says how long."""
    g = call.graph
    lengths = g.cast(call.input(at), INT64)
    return Segments(segment_ids(g, lengths), rows_of(g, lengths), lengths)


def by_ids(call: Call, at: int) -> Segments:
    """Input ``at`` has the segment of each row; there is one more than the largest.

    Of operators that take them in any order, ``num_segments`` says how many there are.
    """
    g = call.graph
    ids = g.cast(call.input(at), INT64)
    given = call.int("num_segments", -1) if "Unsorted" in call.type else -1
    # A segment less than none, so that no rows make no segments.
    largest = g.op("ReduceMax", g.op("Concat", ids, g.constant([-1]), axis=0), g.constant([0]), keepdims=0)
    count = g.op("Add", largest, int64(g, 1)) if given < 0 else int64(g, given)
    return Segments(ids, count, counted(g, ids, count))


def reduced(call: Call, kind: str, rows: ir.Value, segments: Segments) -> ir.Value:
    """One row per segment; a segment without rows is 0."""
    g = call.graph
    if kind == "Max":
        lowest = filled(g, _LOWEST if dtype(rows).is_floating_point() else -(2**31), rows, segments.count)
        largest = scattered(g, lowest, segments.ids, rows, "max")
        empty = g.op("Equal", column(g, segments.lengths, rows), g.scalar(0, rows))
        return g.op("Where", empty, g.scalar(0, rows), largest)
    sums = scattered(g, filled(g, 0, rows, segments.count), segments.ids, rows, "add")
    if kind != "Mean":
        return sums
    return g.op("Div", sums, g.op("Max", column(g, segments.lengths, rows), g.scalar(1, rows)))


def reduction(kind: str, segments: Callable[[Call, int], Segments], *, sparse: bool) -> Rule:
    """A rule for one operator of the grid. Inputs: data, weights where weighted, indices where picked, segments."""
    weighted = kind in ("WeightedSum", "PositionalWeightedSum")

    def rule(call: Call) -> ir.Value:
        g, at = call.graph, 1
        rows, weights = call.x, None
        if weighted:
            weights, at = call.input(at), at + 1
        if sparse:
            rows = g.op("Gather", rows, g.cast(call.input(at), INT64), axis=0)
            at += 1
        if rows.dtype == ir.DataType.FLOAT16:
            rows = g.cast(rows, ir.DataType.FLOAT)  # as Caffe2 adds up and gives
        found = segments(call, at)
        if weights is not None:
            rows = g.op("Mul", g.cast(rows, dtype(weights)), column(g, weights, g.cast(rows, dtype(weights))))
        return reduced(call, kind, rows, found)

    return rule


def picked_by_position(call: Call) -> ir.Value:
    """As SparseLengthsWeightedSum, the weight of a row being that of its place within its segment."""
    g = call.graph
    lengths = g.cast(call.input(3), INT64)
    segments = by_lengths(call, 3)
    first = g.op("Gather", g.op("CumSum", lengths, int64(g, 0), exclusive=1), segments.ids)
    indices = g.cast(call.input(2), INT64)
    places = g.op("Sub", g.op("Range", int64(g, 0), rows_of(g, indices), int64(g, 1)), first)
    rows = g.op("Gather", call.x, indices, axis=0)
    weights = g.op("Gather", call.input(1), places)
    return reduced(call, "Sum", g.op("Mul", rows, column(g, weights, rows)), segments)


def log_of_sums(mean: bool) -> Rule:
    """A rule for log(sum(exp(x))) of each segment, or of the mean of exp(x)."""

    def rule(call: Call) -> ir.Value:
        g, segments = call.graph, by_ids(call, 1)
        largest = reduced(call, "Max", call.x, segments)
        shifted = g.op("Exp", g.op("Sub", call.x, g.op("Gather", largest, segments.ids, axis=0)))
        sums = reduced(call, "Mean" if mean else "Sum", shifted, segments)
        return g.op("Add", g.op("Log", sums), largest)

    return rule


def front_weighted_sum(call: Call) -> ir.Value:
    """The rows of x, each times its weight, added up. Weights that are left over are not read."""
    g, rows = call.graph, call.x
    weights = g.op("Slice", call.input(1), g.constant([0]), g.shape_of(rows, 0, 1))
    return g.op("ReduceSum", g.op("Mul", rows, column(g, weights, rows)), g.constant([0]), keepdims=0)


def ids_to_lengths(call: Call) -> ir.Value:
    """How many rows each segment has, as int32; with a second input, of as many segments as that has rows."""
    return call.graph.cast(_lengths(call), ir.DataType.INT32)


def _lengths(call: Call) -> ir.Value:
    g = call.graph
    ids = g.reshape(g.cast(call.x, INT64), (-1,))
    if len(call.inputs) > 1:
        return counted(g, ids, rows_of(g, call.inputs[1]))
    largest = g.op("ReduceMax", g.op("Concat", ids, g.constant([-1]), axis=0), g.constant([0]), keepdims=0)
    return counted(g, ids, g.op("Add", largest, int64(g, 1)))


def ids_to_ranges(call: Call) -> ir.Value:
    """Start and length of each segment, as int32."""
    g, lengths = call.graph, _lengths(call)
    first = g.op("CumSum", lengths, int64(g, 0), exclusive=1)
    pairs = g.op("Concat", g.unsqueeze(first, 1), g.unsqueeze(lengths, 1), axis=1)
    return g.cast(pairs, ir.DataType.INT32)


_KINDS = ("Sum", "WeightedSum", "Mean")

RULES: Mapping[str, Rule] = {
    **{f"Lengths{kind}": reduction(kind, by_lengths, sparse=False) for kind in (*_KINDS, "Max")},
    **{f"SparseLengths{kind}": reduction(kind, by_lengths, sparse=True) for kind in _KINDS},
    **{
        f"{sparse}{order}Segment{kind}": reduction(kind, by_ids, sparse=bool(sparse))
        for sparse in ("", "Sparse")
        for order in ("Sorted", "Unsorted")
        for kind in _KINDS
    },
    **{f"SortedSegmentRange{kind}": reduction(kind, by_ids, sparse=False) for kind in ("Sum", "Mean", "Max")},
    "SortedSegmentRangeLogSumExp": log_of_sums(mean=False),
    "SortedSegmentRangeLogMeanExp": log_of_sums(mean=True),
    "SparseLengthsPositionalWeightedSum": picked_by_position,
    "ReduceFrontWeightedSum": front_weighted_sum,
    "SegmentIdsToLengths": ids_to_lengths,
    "SegmentIdsToRanges": ids_to_ranges,
}
