"""Rows of segments, moved: gathered, tiled, packed into a block and back, padded, reversed; and what lengths say."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.graph import RefusalError, axis_of, constant_of, dims, dtype, rank
from retorch.caffe2.parse.segments import (
    INT64,
    arange,
    counted,
    filled,
    int64,
    layout,
    rows_of,
    scattered,
    segment_ids,
    starts,
    total,
)

INT32 = ir.DataType.INT32


def lengths_of(call: Call, at: int) -> ir.Value:
    """The lengths in input ``at``; without it, one segment of all rows."""
    g = call.graph
    if len(call.inputs) <= at:
        return g.shape_of(call.x, 0, 1)
    return g.cast(call.inputs[at] if rank(call.inputs[at]) == 1 else g.reshape(call.inputs[at], (-1,)), INT64)


def lengths_to_segment_ids(call: Call) -> ir.Value:
    """0 as often as the first length says, 1 as often as the second one, …, as int32."""
    return call.graph.cast(segment_ids(call.graph, lengths_of(call, 0)), INT32)


def lengths_to_ranges(call: Call) -> ir.Value:
    """Start and length of each segment, as int32."""
    g, lengths = call.graph, lengths_of(call, 0)
    pairs = g.op("Concat", g.unsqueeze(starts(g, lengths), 1), g.unsqueeze(lengths, 1), axis=1)
    return g.cast(pairs, INT32)


def lengths_to_offsets(call: Call) -> ir.Value:
    """Where each segment begins, as int32; with ``include_last_offset`` also where the last one ends."""
    g, lengths = call.graph, lengths_of(call, 0)
    offsets = starts(g, lengths)
    if call.int("include_last_offset", 0):
        offsets = g.op("Concat", offsets, g.reshape(total(g, lengths), (1,)), axis=0)
    return g.cast(offsets, INT32)


def lengths_to_weights(call: Call) -> ir.Value:
    """1 / length^power for each row of each segment."""
    g, lengths = call.graph, lengths_of(call, 0)
    each = g.op("Gather", g.cast(lengths, ir.DataType.FLOAT), segment_ids(g, lengths))
    return g.op("Pow", each, g.scalar(-call.float("power", 0.5), each))


def lengths_range_fill(call: Call) -> ir.Value:
    """0, 1, … below the length of each segment, as int32."""
    return call.graph.cast(layout(call.graph, lengths_of(call, 0)).offsets, INT32)


def lengths_tile(call: Call) -> ir.Value:
    """Each row as often as its length says."""
    return call.graph.op("Gather", call.x, segment_ids(call.graph, lengths_of(call, 1)), axis=0)


def lengths_gather(call: Call) -> ir.Value:
    """Whole segments, picked by index. Inputs: rows, lengths, indices."""
    g, lengths, indices = call.graph, lengths_of(call, 1), integers(call, 2)
    chosen = layout(g, g.op("Gather", lengths, indices))
    begin = g.op("Gather", g.op("Gather", starts(g, lengths), indices), chosen.ids)
    return g.op("Gather", call.x, g.op("Add", begin, chosen.offsets), axis=0)


def integers(call: Call, at: int) -> ir.Value:
    """An input of integers as int64."""
    return call.graph.cast(call.input(at), INT64)


def lengths_split(call: Call) -> ir.Value:
    """Each length as ``n_split`` nearly equal ones that add up to it, the larger first, as int32."""
    g, lengths = call.graph, call.graph.unsqueeze(lengths_of(call, 0), 1)
    parts = g.reshape(integers(call, 1), ()) if len(call.inputs) > 1 else int64(g, call.count("n_split", 0, 1 << 31))
    places = g.unsqueeze(arange(g, parts), 0)
    share, rest = g.op("Div", lengths, parts), g.op("Mod", lengths, parts)
    more = g.cast(g.op("Less", places, rest), INT64)
    return g.cast(g.reshape(g.op("Add", share, more), (-1,)), INT32)


def lengths_pad(call: Call) -> ir.Value:
    """Each segment grown to ``target_length`` rows by rows of ``padding_value``."""
    block = packed(
        call,
        call.x,
        lengths_of(call, 1),
        int64(call.graph, call.count("target_length", -1, 1 << 31, 0)),
        _padding(call),
    )
    return _joined(call, block)


def _padding(call: Call) -> float:
    return call.float("padding_value", -1.0)


def _joined(call: Call, block: ir.Value) -> ir.Value:
    """A block (segments, rows, …) as rows."""
    return _reshaped(call, block, -1, 2)


def _reshaped(call: Call, x: ir.Value, rows: int, start: int) -> ir.Value:
    """x as so many rows of the sizes of its dimensions from ``start`` on."""
    g = call.graph
    if rank(x) <= start:
        return g.reshape(x, (rows,))
    return g.op("Reshape", x, g.op("Concat", g.constant([rows]), g.shape_of(x, start, rank(x)), axis=0))


def packed(call: Call, rows: ir.Value, lengths: ir.Value, longest: ir.Value, padding: float) -> ir.Value:
    """Segments side by side: (segments, longest, …), what is short filled up."""
    g, where = call.graph, layout(call.graph, lengths)
    flat = g.op("Add", g.op("Mul", where.ids, longest), where.offsets)
    base = filled(g, padding, rows, g.op("Mul", rows_of(g, lengths), longest))
    block = scattered(g, base, flat, rows, "none")
    sizes = g.op("Concat", g.shape_of(lengths), g.reshape(longest, (1,)), g.shape_of(rows, 1, rank(rows)), axis=0)
    y = g.op("Reshape", block, sizes, allowzero=1)
    known = constant_of(longest)
    y.shape = ir.Shape([dims(lengths)[0], None if known is None else int(known), *dims(rows)[1:]])
    return y


def _longest(call: Call, lengths: ir.Value) -> ir.Value:
    g = call.graph
    return g.op("ReduceMax", g.op("Concat", lengths, g.constant([0]), axis=0), g.constant([0]), keepdims=0)


def pack_segments(call: Call) -> Results:
    """Segments side by side, (segments, longest, …), filled up with 0 or -inf (``pad_minf``); then which are real.

    Inputs: lengths, rows. ``max_length`` is how many rows there are for each, cutting what is longer.
    """
    g, lengths, rows = call.graph, lengths_of(call, 0), call.input(1)
    given = call.int("max_length", -1)
    longest = int64(g, given) if given >= 0 else _longest(call, lengths)
    if given >= 0:
        lengths, rows = _cut(call, lengths, rows, longest)
    padding = -math.inf if call.int("pad_minf", 0) else 0.0
    if padding and not dtype(rows).is_floating_point():
        raise RefusalError("pad_minf of numbers that are no floats")
    block = packed(call, rows, lengths, longest, padding)
    if not call.wants(1):
        return (block, None)
    places = g.unsqueeze(arange(g, longest), 0)
    return (block, g.op("Less", places, g.unsqueeze(lengths, 1)))


def _cut(call: Call, lengths: ir.Value, rows: ir.Value, longest: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Segments of at most ``longest`` rows."""
    g = call.graph
    short = g.op("Min", lengths, longest)
    where = layout(g, short)
    begin = g.op("Gather", starts(g, lengths), where.ids)
    return short, g.op("Gather", rows, g.op("Add", begin, where.offsets), axis=0)


def unpack_segments(call: Call) -> ir.Value:
    """The rows of a block (segments, longest, …) that are real, after each other. Inputs: lengths, block."""
    g, lengths, block = call.graph, lengths_of(call, 0), call.input(1)
    given = call.int("max_length", -1)
    if given >= 0:
        lengths = g.op("Min", lengths, int64(g, given))
    where = layout(g, lengths)
    pairs = g.op("Concat", g.unsqueeze(where.ids, 1), g.unsqueeze(where.offsets, 1), axis=1)
    return g.op("GatherND", block, pairs)


def pack_sequences(call: Call) -> ir.Value:
    """Sequences as the rows of a block (time, sequences, …), filled up with zeros. Inputs: rows, lengths."""
    g, lengths = call.graph, integers(call, 1)
    if rank(call.x) < 2:
        raise RefusalError("rows without columns")
    longest = _longest(call, lengths)
    block = packed(call, call.x, lengths, longest, 0.0)
    return g.transpose(block, (1, 0, *range(2, rank(block))))


def unpack_sequences(call: Call) -> ir.Value:
    """The rows of a block (time, sequences, …) that are within their lengths, sequence by sequence."""
    g, where = call.graph, layout(call.graph, integers(call, 1))
    if rank(call.x) < 3:
        raise RefusalError("a block without columns")
    return g.op("GatherND", call.x, g.op("Concat", g.unsqueeze(where.offsets, 1), g.unsqueeze(where.ids, 1), axis=1))


def _widths(call: Call) -> tuple[int, int]:
    first = call.int("padding_width", 1)
    last = call.int("end_padding_width", -1)
    if first < 0:
        raise RefusalError(f"padding_width {first}")
    return first, first if last < 0 else last


def add_padding(call: Call) -> Results:
    """Rows before and after each segment: zeros, or the third input, or the third before and the fourth after."""
    g, lengths, (before, after) = call.graph, lengths_of(call, 1), _widths(call)
    if before == after == 0:
        return (call.x, call.input(1) if call.outputs > 1 else None)
    grown = g.op("Add", lengths, int64(g, before + after))
    where, count = layout(g, grown), rows_of(g, call.x)
    place = g.op("Sub", where.offsets, int64(g, before))
    inside = g.op("Add", g.op("Gather", starts(g, lengths), where.ids), place)
    behind = g.op("GreaterOrEqual", place, g.op("Gather", lengths, where.ids))
    index = g.op("Where", behind, g.op("Add", count, int64(g, 1)), inside)
    index = g.op("Where", g.op("Less", place, int64(g, 0)), count, index)
    first = call.inputs[2] if len(call.inputs) > 2 else filled(g, 0, call.x, int64(g, 1))
    last = call.inputs[3] if len(call.inputs) > 3 else first
    single = g.op("Concat", g.constant([1]), g.shape_of(call.x, 1, rank(call.x)), axis=0)
    extra = [g.op("Reshape", row, single) for row in (first, last)]
    y = g.op("Gather", g.op("Concat", call.x, *extra, axis=0), index, axis=0)
    return (y, g.cast(grown, INT32))


def remove_padding(call: Call) -> Results:
    """The segments without their first ``padding_width`` and last ``end_padding_width`` rows."""
    g, lengths, (before, after) = call.graph, lengths_of(call, 1), _widths(call)
    if before == after == 0:
        return (call.x, call.input(1) if call.outputs > 1 else None)
    shrunk = g.op("Sub", lengths, int64(g, before + after))
    where = layout(g, shrunk)
    begin = g.op("Add", g.op("Gather", starts(g, lengths), where.ids), int64(g, before))
    return (g.op("Gather", call.x, g.op("Add", begin, where.offsets), axis=0), g.cast(shrunk, INT32))


def gather_padding(call: Call) -> Results:
    """The sum of the first rows of all segments, and of the last; of both where there is one output."""
    g, lengths, (before, after) = call.graph, lengths_of(call, 1), _widths(call)
    if before == after == 0:
        empty = g.constant(np.zeros((), np.int64))
        return (empty, empty)[: call.outputs]
    where = layout(g, lengths)
    left = g.op("Sub", g.op("Gather", lengths, where.ids), where.offsets)
    first = _summed(call, g.op("Less", where.offsets, int64(g, before)))
    last = _summed(call, g.op("LessOrEqual", left, int64(g, after)))
    return (first, last) if call.outputs > 1 else g.op("Add", first, last)


def _summed(call: Call, chosen: ir.Value) -> ir.Value:
    g = call.graph
    weights = g.cast(g.reshape(chosen, (-1, *(1,) * (rank(call.x) - 1))), dtype(call.x))
    return g.op("ReduceSum", g.op("Mul", call.x, weights), g.constant([0]), keepdims=0)


def reverse_packed_segments(call: Call) -> ir.Value:
    """In a block (time, segments, …), the real rows of each segment in reverse; what is behind them stays."""
    g, lengths = call.graph, integers(call, 1)
    places = g.unsqueeze(arange(g, rows_of(g, call.x)), 1)
    mirrored = g.op("Sub", g.op("Sub", g.unsqueeze(lengths, 0), int64(g, 1)), places)
    index = g.op("Where", g.op("Less", mirrored, int64(g, 0)), places, mirrored)
    whole = g.op("Expand", g.unsqueeze(index, 2), g.shape_of(call.x))
    whole.shape = call.x.shape
    return g.op("GatherElements", call.x, whole, axis=0)


def split_by_lengths(call: Call) -> Results:
    """x cut along ``axis`` into as many outputs, whose sizes are sums of equally many lengths."""
    g, lengths = call.graph, integers(call, 1)
    channels = 3 if call.channels_last() else 1
    axis = axis_of(call.x, call.int("axis", 0) if call.has("axis") else channels)
    if call.outputs == 1:
        return (call.x,)
    groups = g.op("ReduceSum", g.reshape(lengths, (call.outputs, -1)), g.constant([1]), keepdims=0)
    if call.int("use_scaling_lengths", 0):
        whole = g.op("Div", g.shape_of(call.x, axis, axis + 1), g.op("ReduceSum", groups, g.constant([0]), keepdims=1))
        groups = g.op("Mul", groups, whole)
    ends = g.op("CumSum", groups, int64(g, 0))
    begins = g.op("Sub", ends, groups)
    return [
        g.op("Slice", call.x, g.slice(begins, 0, at, at + 1), g.slice(ends, 0, at, at + 1), g.constant([axis]))
        for at in range(call.outputs)
    ]


def pad_empty(call: Call) -> Results:
    """Segments, those without rows with one of zeros. Inputs: lengths, then rows of any number of tensors."""
    g, lengths = call.graph, lengths_of(call, 0)
    grown = g.op("Max", lengths, int64(g, 1))
    where = layout(g, grown)
    empty = g.op("Equal", g.op("Gather", lengths, where.ids), int64(g, 0))
    place = g.op("Add", g.op("Gather", starts(g, lengths), where.ids), where.offsets)
    results = [g.cast(grown, INT32)]
    for rows in call.inputs[1:]:
        padded = g.op("Concat", rows, filled(g, 0, rows, int64(g, 1)), axis=0)
        results.append(g.op("Gather", padded, g.op("Where", empty, rows_of(g, rows), place), axis=0))
    return results


def boolean_mask_lengths(call: Call) -> ir.Value:
    """How many rows of each segment are chosen by a mask. Inputs: lengths, mask."""
    g, lengths = call.graph, lengths_of(call, 0)
    chosen = g.op("Compress", segment_ids(g, lengths), g.cast(call.input(1), ir.DataType.BOOL), axis=0)
    return g.cast(counted(g, chosen, rows_of(g, lengths)), dtype(call.x))


def sequence_padding(call: Call) -> ir.Value:
    """A block (time, batch, …) with zeros behind the length of each sequence. Inputs: block, lengths."""
    g = call.graph
    past = g.op("GreaterOrEqual", g.unsqueeze(arange(g, rows_of(g, call.x)), 1), g.unsqueeze(integers(call, 1), 0))
    return g.op("Where", g.unsqueeze(past, *range(2, rank(call.x))), g.scalar(0, call.x), call.x)


RULES: Mapping[str, Rule] = {
    "LengthsToSegmentIds": lengths_to_segment_ids,
    "LengthsToRanges": lengths_to_ranges,
    "LengthsToOffsets": lengths_to_offsets,
    "LengthsToWeights": lengths_to_weights,
    "LengthsRangeFill": lengths_range_fill,
    "LengthsTile": lengths_tile,
    "LengthsGather": lengths_gather,
    "LengthsSplit": lengths_split,
    "LengthsPad": lengths_pad,
    "PackSegments": pack_segments,
    "UnpackSegments": unpack_segments,
    "PackRNNSequence": pack_sequences,
    "UnpackRNNSequence": unpack_sequences,
    "AddPadding": add_padding,
    "RemovePadding": remove_padding,
    "GatherPadding": gather_padding,
    "ReversePackedSegs": reverse_packed_segments,
    "SplitByLengths": split_by_lengths,
    "PadEmptySamples": pad_empty,
    "BooleanMaskLengths": boolean_mask_lengths,
    "VariableLengthSequencePadding": sequence_padding,
}
