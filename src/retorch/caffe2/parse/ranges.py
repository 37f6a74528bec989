"""Runs of a vector by their start and length, and the largest numbers of each run or row."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.graph import RefusalError, dtype, size
from retorch.caffe2.parse.lengths import integers, lengths_of, packed
from retorch.caffe2.parse.segments import arange, int64, layout, rows_of

INT32 = ir.DataType.INT32


def gather_ranges(call: Call) -> Results:
    """Runs of a vector, given as (rows, runs, start and length), after each other; then how many each row has."""
    g, ranges = call.graph, integers(call, 1)
    begin, length = (g.reshape(part, (-1,)) for part in g.ops("Split", [ranges], 2, axis=2, num_outputs=2))
    where = layout(g, length)
    picked = g.op("Add", g.op("Gather", begin, where.ids), where.offsets)
    each = g.op("ReduceSum", g.slice(ranges, 2, 1, 2), g.constant([1, 2]), keepdims=0)
    return (g.op("Gather", call.x, picked, axis=0), g.cast(each, INT32))


def gather_ranges_to_dense(call: Call) -> Results:
    """Runs of a vector as matrices, one for each of ``lengths``; a run of another length is zeros.

    With a third input each run is in the rising order of its keys.
    """
    g, ranges = call.graph, integers(call, 1)
    if len(call.ints("lengths")) != call.outputs:
        raise RefusalError(f"{len(call.ints('lengths'))} lengths for {call.outputs} outputs")
    parts: list[ir.Value] = []
    padded = g.op("Concat", call.x, g.constant(np.zeros(1, dtype(call.x).numpy())), axis=0)
    for at, length in enumerate(call.ints("lengths")):
        begin = g.reshape(g.slice(g.slice(ranges, 1, at, at + 1), 2, 0, 1), (-1, 1))
        given = g.reshape(g.slice(g.slice(ranges, 1, at, at + 1), 2, 1, 2), (-1, 1))
        places = g.op("Add", begin, g.constant(np.arange(min(length, 1 << 24) if length > 0 else 0)))
        real = g.op("Equal", given, int64(g, length))
        index = g.op("Where", real, places, rows_of(g, call.x))
        if len(call.inputs) > 2:
            index = _by_key(call, index, length)
        parts.append(g.op("Gather", padded, index, axis=0))
    return parts


def _by_key(call: Call, index: ir.Value, length: int) -> ir.Value:
    g = call.graph
    keys = g.op("Concat", integers(call, 2), g.constant([0]), axis=0)
    _, order = g.ops("TopK", [g.op("Gather", keys, index), g.constant([length])], 2, axis=1, largest=0, sorted=1)
    return g.op("GatherElements", index, order, axis=1)


def lengths_top_k(call: Call) -> Results:
    """The ``k`` largest numbers of each run in falling order, then 0; their places in it as int32, then -1."""
    g, count, lengths = call.graph, call.count("k", -1, 1 << 24), lengths_of(call, 1)
    longest = g.op("ReduceMax", g.op("Concat", lengths, g.constant([count]), axis=0), g.constant([0]), keepdims=0)
    block = packed(call, call.x, lengths, longest, -math.inf)
    values, places = g.ops("TopK", [block, g.constant([count])], 2, axis=1, largest=1, sorted=1)
    real = g.op("Less", g.constant(np.arange(count)), g.unsqueeze(lengths, 1))
    shown = g.op("Where", real, values, g.scalar(0.0, values))
    return (shown, g.cast(g.op("Where", real, places, int64(g, -1)), INT32))


def flexible_top_k(call: Call) -> Results:
    """As many of the largest numbers of each row as its second input says, in falling order; then their columns."""
    g = call.graph
    rows, counts = g.reshape(call.x, (-1, size(call.x, -1))), g.reshape(integers(call, 1), (-1, 1))
    values, places = g.ops("TopK", [rows, g.shape_of(rows, 1, 2)], 2, axis=1, largest=1, sorted=1)
    real = g.reshape(g.op("Less", arange(g, g.reshape(g.shape_of(rows, 1, 2), ())), counts), (-1,))
    return [g.op("Compress", g.reshape(part, (-1,)), real, axis=0) for part in (values, places)]


RULES: Mapping[str, Rule] = {
    "GatherRanges": gather_ranges,
    "GatherRangesToDense": gather_ranges_to_dense,
    "LengthsTopK": lengths_top_k,
    "FlexibleTopK": flexible_top_k,
}
