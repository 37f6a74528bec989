"""The order that C++'s std::sort gives to numbers, equal ones included.

It is not stable: above 16 elements, libstdc++ divides them at pivots, which moves equal numbers, and sorts what is left
by insertion, which does not. Caffe2 keeps the first of equally likely boxes, so that the order of equal ones matters.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from retorch.caffe2.parse.graph import Graph
from retorch.caffe2.parse.loop import Step, repeat
from retorch.caffe2.parse.segments import INT64, arange, int64, rows_of

#: Runs up to this length are left to the insertion sort.
_SHORT = 16


def falling(graph: Graph, keys: ir.Value) -> ir.Value:
    """The places of a vector's numbers, the largest first."""
    g, count = graph, rows_of(graph, keys)
    ordered = g.op("Gather", keys, stable(g, keys, largest=True))
    neighbours = g.slice(ordered, 0, 0, -1), g.slice(ordered, 0, 1, 2**31 - 1)
    ties = g.op("ReduceSum", g.cast(g.op("Equal", *neighbours), INT64), g.constant([0]), keepdims=0)
    begins = g.op("And", g.op("Greater", ties, int64(g, 0)), g.op("Greater", count, int64(g, _SHORT)))
    places = arange(g, count)
    starts = g.op("Equal", places, int64(g, 0))
    moved, _ = repeat(g, [places, starts], lambda body, _, states: _divide(body, keys, states), begins=begins)
    return g.op("Gather", moved, stable(g, g.op("Gather", keys, moved), largest=True))


def stable(graph: Graph, keys: ir.Value, *, largest: bool) -> ir.Value:
    """The places of a vector's numbers, the largest or the smallest first, equal ones as they are."""
    _, order = graph.ops("TopK", [keys, graph.shape_of(keys)], 2, axis=0, largest=int(largest), sorted=1)
    return order


def _divide(graph: Graph, keys: ir.Value, states: Sequence[ir.Value]) -> Step:
    """One run of more than 16 elements divided at its pivot; ``starts`` marks where runs begin."""
    g, (moved, starts) = graph, states
    count, one = rows_of(g, keys), int64(g, 1)
    begins = g.reshape(g.op("NonZero", starts), (-1,))
    ends = g.op("Concat", g.slice(begins, 0, 1, 2**31 - 1), g.reshape(count, (1,)), axis=0)
    lengths = g.op("Sub", ends, begins)
    which = g.op("ArgMax", lengths, axis=0, keepdims=0)
    first, last = g.op("Gather", begins, which), g.op("Gather", ends, which)
    long = g.op("Greater", g.op("Sub", last, first), int64(g, _SHORT))
    pivot = _median(g, keys, moved, (first, last))
    moved_pivot = _swapped(g, moved, g.reshape(first, (1,)), g.reshape(pivot, (1,)))
    left, right = _exchanged(g, g.op("Gather", keys, moved_pivot), (g.op("Add", first, one), last))
    cut = _cut(g, g.op("Gather", keys, moved_pivot), (g.op("Add", first, one), last), right)
    divided = _swapped(g, moved_pivot, left, right)
    marks = g.op("Or", starts, g.op("Equal", arange(g, count), cut))
    return Step(long, [g.op("Where", long, divided, moved), g.op("And", marks, g.op("Or", starts, long))])


def _swapped(graph: Graph, moved: ir.Value, left: ir.Value, right: ir.Value) -> ir.Value:
    """What is at the places ``left`` and ``right`` exchanged."""
    g = graph
    places, others = g.op("Concat", left, right, axis=0), g.op("Concat", right, left, axis=0)
    return g.op("ScatterElements", moved, places, g.op("Gather", moved, others), axis=0)


def _median(graph: Graph, keys: ir.Value, moved: ir.Value, run: tuple[ir.Value, ir.Value]) -> ir.Value:
    """The place of the median of the second, the middle and the last element; which one where they are equal."""
    g, (first, last) = graph, run
    middle = g.op("Add", first, g.op("Div", g.op("Sub", last, first), int64(g, 2)))
    a, b, c = g.op("Add", first, int64(g, 1)), middle, g.op("Sub", last, int64(g, 1))
    at = {
        place: g.op("Gather", keys, g.op("Gather", moved, value)) for place, value in zip("abc", (a, b, c), strict=True)
    }
    before = {pair: g.op("Greater", at[pair[0]], at[pair[1]]) for pair in ("ab", "bc", "ac")}
    falling_case = g.op("Where", before["bc"], b, g.op("Where", before["ac"], c, a))
    other_case = g.op("Where", before["ac"], a, g.op("Where", before["bc"], c, b))
    return g.op("Where", before["ab"], falling_case, other_case)


def _stops(graph: Graph, values: ir.Value, run: tuple[ir.Value, ir.Value]) -> tuple[ir.Value, ir.Value]:
    """Where the scan from the left stops, in rising order, and the scan from the right, in falling order."""
    g, (begin, last) = graph, run
    places = arange(g, rows_of(g, values))
    pivot = g.op("Gather", values, g.op("Sub", begin, int64(g, 1)))
    inside = g.op("And", g.op("GreaterOrEqual", places, begin), g.op("Less", places, last))
    down = g.op("And", inside, g.op("Not", g.op("Greater", values, pivot)))
    up = g.op("And", inside, g.op("Not", g.op("Greater", pivot, values)))
    left, rising = (g.reshape(g.op("NonZero", stop), (-1,)) for stop in (down, up))
    right = g.op("Slice", rising, g.constant([-1]), g.constant([-(2**31)]), g.constant([0]), g.constant([-1]))
    return left, right


def _exchanged(graph: Graph, values: ir.Value, run: tuple[ir.Value, ir.Value]) -> tuple[ir.Value, ir.Value]:
    """The pairs of places that the scans exchange before they meet."""
    g = graph
    left, right = _stops(g, values, run)
    shorter = g.op("Min", g.shape_of(left), g.shape_of(right))
    left, right = (g.op("Slice", stops, g.constant([0]), shorter, g.constant([0])) for stops in (left, right))
    pairs = g.op("Less", left, right)
    return g.op("Compress", left, pairs, axis=0), g.op("Compress", right, pairs, axis=0)


def _cut(graph: Graph, values: ir.Value, run: tuple[ir.Value, ir.Value], right: ir.Value) -> ir.Value:
    """Where the scan from the left ends: at its next stop, or at the last place that was exchanged."""
    g = graph
    left, _ = _stops(g, values, run)
    end = g.reshape(g.shape_of(values, 0, 1), (1,))
    next_stop = g.slice(
        g.op("Slice", g.op("Concat", left, end, axis=0), g.shape_of(right), end, g.constant([0])), 0, 0, 1
    )
    last = g.slice(g.op("Concat", end, right, axis=0), 0, -1, 2**31 - 1)
    return g.reshape(g.op("Min", next_stop, last), ())
