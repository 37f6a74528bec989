"""Rows dealt out by their keys, and brought together again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.graph import RefusalError, dtype, rank
from retorch.caffe2.parse.lengths import integers
from retorch.caffe2.parse.segments import INT64, arange, counted, int64, rows_of, segment_ids

INT32 = ir.DataType.INT32
_HALF = np.asarray(0.5)


def _shards(call: Call, main: int, parts: int) -> ir.Value:
    """The part of each key: the rest of its division, never negative."""
    g = call.graph
    return g.op("Mod", g.reshape(integers(call, main), (-1,)), int64(g, parts))


def _places(call: Call, shards: ir.Value, part: int) -> ir.Value:
    g = call.graph
    return g.reshape(g.op("NonZero", g.op("Equal", shards, int64(g, part))), (-1,))


def _rows(call: Call, x: ir.Value, lead: int) -> ir.Value:
    """x with its first ``lead`` dimensions as one."""
    g = call.graph
    if lead == 1:
        return x
    if rank(x) == lead:
        return g.reshape(x, (-1,))
    return g.op("Reshape", x, g.op("Concat", g.constant([-1]), g.shape_of(x, lead, rank(x)), axis=0))


def _dealt(call: Call, main: int, parts: int) -> list[list[ir.Value]]:
    """For each part the rows of the inputs from ``main`` on whose keys, input ``main``, belong to it."""
    g, shards, lead = call.graph, _shards(call, main, parts), rank(call.input(main))
    keys = g.reshape(call.input(main), (-1,))
    if call.int("pack_first_input", 0):
        whole = g.op("Sub", g.cast(keys, INT64), shards)
        keys = g.cast(g.op("Div", whole, int64(g, parts)), dtype(call.input(main)))
    rows = [keys, *(_rows(call, x, lead) for x in call.inputs[main + 1 :])]
    places = [_places(call, shards, part) for part in range(parts)]
    return [[g.op("Gather", x, chosen, axis=0) for x in rows] for chosen in places]


def _parts(call: Call) -> int:
    if not call.inputs or call.outputs % len(call.inputs):
        raise RefusalError(f"{call.outputs} outputs for {len(call.inputs)} inputs")
    return call.outputs // len(call.inputs)


def partition(call: Call) -> Results:
    """Keys, and the rows that belong to them, dealt out by the rest of each key's division by how many parts.

    With ``pack_first_input`` the keys that are given are the quotients.
    """
    return [x for part in _dealt(call, 0, _parts(call)) for x in part]


def lengths_partition(call: Call) -> Results:
    """The same behind an input of lengths: each part has lengths of its own."""
    g, parts = call.graph, _parts(call)
    if parts == 1:
        return call.inputs
    ids, shards = segment_ids(g, integers(call, 0)), _shards(call, 1, parts)
    results: list[ir.Value] = []
    for part, rows in enumerate(_dealt(call, 1, parts)):
        own = g.op("Gather", ids, _places(call, shards, part))
        results += [g.cast(counted(g, own, rows_of(g, call.x)), INT32), *rows]
    return results


def gather_by_key(call: Call) -> ir.Value:
    """Rows in the order of the keys, each taken from the part of its key: what undoes a partition."""
    g, parts = call.graph, call.inputs[1:]
    shards = _shards(call, 0, max(len(parts), 1))
    hit = g.cast(g.op("Equal", g.unsqueeze(shards, 1), g.constant(list(range(len(parts))))), INT64)
    before = g.op("CumSum", hit, int64(g, 0), exclusive=1)
    within = g.op("ReduceSum", g.op("Mul", before, hit), g.constant([1]), keepdims=0)
    counts = g.op("Concat", *(g.shape_of(part, 0, 1) for part in parts), axis=0)
    begin = g.op("Gather", g.op("CumSum", counts, int64(g, 0), exclusive=1), shards)
    return g.op("Gather", g.op("Concat", *parts, axis=0), g.op("Add", begin, within), axis=0)


def key_split(call: Call) -> Results:
    """For each number below ``categorical_limit`` the places that hold it, as int32."""
    g, limit = call.graph, call.count("categorical_limit", 0, 1 << 16)
    keys = g.reshape(integers(call, 0), (-1,))
    return [g.cast(_places(call, keys, key), INT32) for key in range(limit)]


def merge_id_lists(call: Call) -> Results:
    """For each example the different ids of all lists, in rising order. Inputs: lengths and ids of each list."""
    g, kind = call.graph, dtype(call.input(1))
    if len(call.inputs) % 2:
        raise RefusalError("lengths and ids come in pairs")
    pairs: Sequence[ir.Value] = [
        g.op(
            "Concat", g.unsqueeze(segment_ids(g, integers(call, at)), 1), g.unsqueeze(integers(call, at + 1), 1), axis=1
        )
        for at in range(0, len(call.inputs), 2)
    ]
    # Rows of (example, id) sort by the example first.
    unique = g.ops("Unique", [g.op("Concat", *pairs, axis=0)], 4, axis=0, sorted=1)[0]
    unique.shape = ir.Shape([None, 2])
    lengths = counted(g, g.reshape(g.slice(unique, 1, 0, 1), (-1,)), rows_of(g, call.x))
    return (g.cast(lengths, INT32), g.cast(g.reshape(g.slice(unique, 1, 1, 2), (-1,)), kind))


def dense_to_id_list(call: Call) -> Results:
    """How many numbers of each row are not 0 when rounded, then their columns, as int32."""
    g = call.graph
    rounded = g.cast(g.op("Add", g.cast(call.x, ir.DataType.DOUBLE), g.constant(_HALF)), INT32)
    there = g.op("Not", g.op("Equal", rounded, g.scalar(0, rounded)))
    lengths = g.op("ReduceSum", g.cast(there, INT64), g.constant([1]), keepdims=0)
    columns = g.op(
        "Add", g.op("Mul", g.cast(rounded, INT64), int64(g, 0)), arange(g, g.reshape(g.shape_of(call.x, 1, 2), ()))
    )
    return (
        g.cast(lengths, INT32),
        g.cast(g.op("Compress", g.reshape(columns, (-1,)), g.reshape(there, (-1,)), axis=0), INT32),
    )


RULES: Mapping[str, Rule] = {
    "Partition": partition,
    "LengthsPartition": lengths_partition,
    "GatherByKey": gather_by_key,
    "KeySplit": key_split,
    "MergeIdLists": merge_id_lists,
    "DenseVectorToIdList": dense_to_id_list,
}
