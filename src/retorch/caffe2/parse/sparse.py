"""Between numbers that name their places and tensors that have all of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.graph import RefusalError, dims, dtype, rank
from retorch.caffe2.parse.indexing import data_type
from retorch.caffe2.parse.lengths import integers
from retorch.caffe2.parse.segments import (
    INT64,
    arange,
    filled,
    int64,
    rows_of,
    scattered,
    segment_ids,
)


def sparse_to_dense(call: Call) -> ir.Value:
    """Rows added up at their numbers. Inputs: indices, rows, and what has as many rows as the result."""
    g, indices, rows = call.graph, integers(call, 0), call.input(1)
    first = call.int("output_first_dim", 0)
    if first > 0:
        count = int64(g, first)
    elif len(call.inputs) > 2:
        count = rows_of(g, call.inputs[2])
    else:
        largest = g.op("ReduceMax", g.op("Concat", indices, g.constant([-1]), axis=0), g.constant([0]), keepdims=0)
        count = g.op("Add", largest, int64(g, 1))
    return scattered(g, filled(g, 0, rows, count), indices, rows, "add")


def _places(call: Call, lengths: ir.Value, indices: ir.Value) -> ir.Value:
    """(row, column) of each index, the rows being segments of these lengths."""
    g = call.graph
    return g.op("Concat", g.unsqueeze(segment_ids(g, lengths), 1), g.unsqueeze(indices, 1), axis=1)


def batch_sparse_to_dense(call: Call) -> ir.Value:
    """A matrix of ``default_value`` with the values at their places. Inputs: lengths, indices, values, and its like."""
    g, lengths, indices, values = call.graph, integers(call, 0), integers(call, 1), call.input(2)
    if len(call.inputs) > 3:
        columns = g.shape_of(call.inputs[3], 1, 2)
    else:
        columns = g.constant([call.int("dense_last_dim", -1)])
    sizes = g.op("Concat", g.shape_of(lengths), columns, axis=0)
    base = g.op("Expand", g.scalar(call.float("default_value", 0.0), values), sizes)
    y = g.op("ScatterND", base, _places(call, lengths, indices), values)
    y.shape = ir.Shape([None, None])
    return y


def batch_dense_to_sparse(call: Call) -> ir.Value:
    """The numbers of a matrix at these places. Inputs: lengths, indices, matrix."""
    return call.graph.op("GatherND", call.input(2), _places(call, integers(call, 0), integers(call, 1)))


def sparse_to_dense_mask(call: Call) -> Results:
    """For each number of ``mask`` the row that bears it, or the default; then which were there.

    Inputs: indices, rows, default, and lengths where the rows belong to several examples.
    """
    g, indices, rows = call.graph, integers(call, 0), call.input(1)
    mask = np.asarray(call.ints("mask"), np.int64)
    several = len(call.inputs) > 3
    lengths = integers(call, 3) if several else g.shape_of(rows, 0, 1)
    hit = g.op("Equal", g.unsqueeze(indices, 1), g.constant(mask.reshape(1, -1)))
    known = g.op("ReduceMax", g.cast(hit, INT64), g.constant([1]), keepdims=0)
    chosen = g.reshape(g.op("NonZero", known), (-1,))
    place = g.op("Gather", g.op("ArgMax", g.cast(hit, INT64), axis=1, keepdims=0), chosen)
    example = g.op("Gather", segment_ids(g, lengths), chosen)
    flat = g.op("Add", g.op("Mul", example, int64(g, len(mask))), place)
    count = g.op("Mul", rows_of(g, lengths), int64(g, len(mask)))
    base = g.op("Add", filled(g, 0, rows, count), g.cast(call.input(2), dtype(rows)))
    y = scattered(g, base, flat, g.op("Gather", rows, chosen, axis=0), "none")
    lead = (-1, len(mask)) if several else (-1,)
    sizes = g.op("Concat", g.constant(lead), g.shape_of(rows, 1, rank(rows)), axis=0)
    shaped = g.op("Reshape", y, sizes)
    shaped.shape = ir.Shape([*((None, len(mask)) if several else (len(mask),)), *dims(rows)[1:]])
    if not call.wants(1):
        return (shaped, None)
    zeros = g.op("Expand", int64(g, 0), g.reshape(count, (1,)))
    present = g.op("ScatterElements", zeros, flat, g.op("Add", g.op("Mul", flat, int64(g, 0)), int64(g, 1)), axis=0)
    return (shaped, g.cast(g.reshape(present, lead), ir.DataType.BOOL))


def find(call: Call) -> ir.Value:
    """Where each number is among the first input's, the last place counting; ``missing_value`` where it is not."""
    g, index, wanted = call.graph, call.input(0), call.input(1)
    hit = g.cast(
        g.op("Equal", g.unsqueeze(g.reshape(wanted, (-1,)), 1), g.unsqueeze(g.reshape(index, (-1,)), 0)), INT64
    )
    last = g.op(
        "ReduceMax",
        g.op("Mul", hit, g.op("Add", arange(g, _size(call, index)), int64(g, 1))),
        g.constant([1]),
        keepdims=0,
    )
    missing = int64(g, call.int("missing_value", -1))
    found = g.op("Where", g.op("Greater", last, int64(g, 0)), g.op("Sub", last, int64(g, 1)), missing)
    return g.cast(g.reshape_like(found, wanted), dtype(index))


def _size(call: Call, x: ir.Value) -> ir.Value:
    return call.graph.op("Size", x)


def unique(call: Call) -> Results:
    """The different numbers, in rising order; then which of them each one is, as int32."""
    g = call.graph
    values, _, inverse, _ = g.ops("Unique", [g.reshape(integers(call, 0), (-1,))], 4, sorted=1)
    return (g.cast(values, dtype(call.x)), g.cast(inverse, ir.DataType.INT32))


def is_member_of(call: Call) -> ir.Value:
    """Whether each element is one of ``value``; those are no numbers of x where ``dtype`` says another type."""
    g, x = call.graph, call.x
    wanted = call.ints("value") or tuple(int(number) for number in call.floats("value"))
    kind = dtype(x)
    if call.has("dtype") and data_type(call.int("dtype", 0)) != kind:
        wanted = ()
    if not wanted:
        return g.cast(g.op("Mul", g.cast(x, ir.DataType.INT32), g.constant(np.asarray(0, np.int32))), ir.DataType.BOOL)
    numbers = np.asarray(wanted).astype(kind.numpy()).reshape(1, -1)
    if kind == ir.DataType.BOOL:
        x, numbers = g.cast(x, ir.DataType.INT32), numbers.astype(np.int32)
    hit = g.op("Equal", g.unsqueeze(x, rank(x)), g.constant(numbers.reshape(-1)))
    any_hit = g.op("ReduceMax", g.cast(hit, ir.DataType.INT32), g.constant([rank(x)]), keepdims=0)
    return g.cast(any_hit, ir.DataType.BOOL)


def boolean_unmask(call: Call) -> ir.Value:
    """Each place takes the next value of the first mask that is true there. Inputs: mask, values, mask, values, …"""
    g, masks, values = call.graph, call.inputs[::2], call.inputs[1::2]
    if not masks or len(masks) != len(values):
        raise RefusalError("masks and values come in pairs")
    y: ir.Value | None = None
    for mask, given in reversed(
        [(g.cast(mask, ir.DataType.BOOL), each) for mask, each in zip(masks, values, strict=True)]
    ):
        place = g.op("Sub", g.op("CumSum", g.cast(mask, INT64), int64(g, 0)), int64(g, 1))
        padded = g.op("Concat", given, g.constant(np.zeros(1, dtype(given).numpy())), axis=0)
        taken = g.op("Gather", padded, g.op("Max", place, int64(g, 0)))
        y = taken if y is None else g.where(mask, taken, y)
    return call.x if y is None else y


def remove_data_blocks(call: Call) -> ir.Value:
    """x without the rows of these numbers."""
    g = call.graph
    places = g.unsqueeze(arange(g, rows_of(g, call.x)), 1)
    hit = g.cast(g.op("Equal", places, g.unsqueeze(integers(call, 1), 0)), INT64)
    gone = g.op("ReduceSum", hit, g.constant([1]), keepdims=0)
    return g.op("Compress", call.x, g.op("Equal", gone, int64(g, 0)), axis=0)


def find_duplicates(call: Call) -> ir.Value:
    """The places of elements that were there before, as int64."""
    g, count = call.graph, rows_of(call.graph, call.x)
    places = arange(g, count)
    same = g.op("Equal", g.unsqueeze(call.x, 1), g.unsqueeze(call.x, 0))
    before = g.op("Less", g.unsqueeze(places, 0), g.unsqueeze(places, 1))
    seen = g.op("ReduceMax", g.cast(g.op("And", same, before), INT64), g.constant([1]), keepdims=0)
    return g.reshape(g.op("NonZero", seen), (-1,))


RULES: Mapping[str, Rule] = {
    "SparseToDense": sparse_to_dense,
    "BatchSparseToDense": batch_sparse_to_dense,
    "BatchDenseToSparse": batch_dense_to_sparse,
    "SparseToDenseMask": sparse_to_dense_mask,
    "Find": find,
    "Unique": unique,
    "IsMemberOf": is_member_of,
    "BooleanUnmask": boolean_unmask,
    "RemoveDataBlocks": remove_data_blocks,
    "FindDuplicateElements": find_duplicates,
}
