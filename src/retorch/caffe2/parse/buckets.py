"""Numbers sorted into buckets, and columns of which one is 1."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import RefusalError, constant_of, rank
from retorch.caffe2.parse.lengths import integers
from retorch.caffe2.parse.segments import INT64, int64, layout, segment_ids

INT32 = ir.DataType.INT32


def bucketize(call: Call) -> ir.Value:
    """How many of ``boundaries`` are below each element, as int32."""
    g, bounds = call.graph, np.asarray(call.floats("boundaries"), np.float32)
    below = g.op("Less", g.constant(bounds), g.unsqueeze(call.x, rank(call.x)))
    return g.op("ReduceSum", g.cast(below, INT32), g.constant([rank(call.x)]), keepdims=0)


def batch_bucketize(call: Call) -> ir.Value:
    """The same for picked columns, each with its own boundaries. Inputs: rows, indices, boundaries, lengths."""
    g = call.graph
    columns = g.op("Gather", call.x, integers(call, 1), axis=1)
    return g.cast(_below(call, columns, call.input(2), integers(call, 3)), INT32)


def _below(call: Call, columns: ir.Value, bounds: ir.Value, lengths: ir.Value, test: str = "Less") -> ir.Value:
    """How many boundaries of its column are below each element (or not above, by ``LessOrEqual``), as float."""
    g = call.graph
    ids = segment_ids(g, lengths)
    below = g.cast(g.op(test, g.unsqueeze(bounds, 0), g.op("Gather", columns, ids, axis=1)), ir.DataType.FLOAT)
    zeros = g.op("Expand", g.constant(np.zeros((), np.float32)), g.shape_of(columns))
    spread = g.op("Expand", g.unsqueeze(ids, 0), g.op("Shape", below))
    return g.op("ScatterElements", zeros, spread, below, axis=1, reduction="add")


def one_hot(call: Call) -> ir.Value:
    """One row per index, with a single 1 in it."""
    g, depth = call.graph, constant_of(call.input(1))
    if depth is None:
        places = g.op("Range", int64(g, 0), g.reshape(integers(call, 1), ()), int64(g, 1))
    else:
        count = int(depth.ravel()[0]) if depth.size else -1
        if not 0 <= count <= 1 << 26:
            raise RefusalError(f"OneHot of {count} columns")
        places = g.constant(list(range(count)))
    if rank(call.x) != 1:
        raise RefusalError(f"OneHot of {rank(call.x)} dimensions")
    return g.cast(g.op("Equal", g.unsqueeze(integers(call, 0), 1), places), ir.DataType.FLOAT)


def segment_one_hot(call: Call) -> ir.Value:
    """One row per segment, with 1 at each of its indices. Inputs: lengths, indices, number of columns."""
    g, lengths = call.graph, integers(call, 0)
    ids = segment_ids(g, lengths)
    pairs = g.op("Concat", g.unsqueeze(ids, 1), g.unsqueeze(integers(call, 1), 1), axis=1)
    sizes = g.op("Concat", g.shape_of(lengths), g.reshape(integers(call, 2), (1,)), axis=0)
    zeros = g.op("Expand", g.constant(np.zeros((), np.float32)), sizes)
    ones = g.op("Expand", g.constant(np.ones((), np.float32)), g.shape_of(ids))
    y = g.op("ScatterND", zeros, pairs, ones)
    y.shape = ir.Shape([None, None])
    return y


def batch_one_hot(call: Call) -> ir.Value:
    """For each column the values it may have, and 1 where it has one. Inputs: rows, lengths, values; as those of x."""
    g = call.graph
    each = g.op("Gather", g.reshape(call.x, (0, -1)), segment_ids(g, integers(call, 1)), axis=1)
    hit = g.op("Equal", each, g.reshape(call.input(2), (1, -1)))
    return hit if call.x.dtype == ir.DataType.BOOL else g.op("CastLike", hit, call.x)


def batch_bucket_one_hot(call: Call) -> ir.Value:
    """For each column its buckets, and 1 at the one that its number falls into. Inputs: rows, lengths, boundaries.

    A number on several equal boundaries is in the middle one of the buckets between them.
    """
    g, lengths = call.graph, integers(call, 1)
    twice = [_below(call, call.x, call.input(2), lengths, test) for test in ("Less", "LessOrEqual")]
    buckets = g.op("Floor", g.op("Mul", g.op("Add", *twice), g.constant(np.asarray(0.5, np.float32))))
    places = layout(g, g.op("Add", lengths, int64(g, 1)))
    each = g.cast(g.op("Gather", buckets, places.ids, axis=1), INT64)
    return g.cast(g.op("Equal", each, g.unsqueeze(places.offsets, 0)), ir.DataType.FLOAT)


RULES: Mapping[str, Rule] = {
    "Bucketize": bucketize,
    "BatchBucketize": batch_bucketize,
    "OneHot": one_hot,
    "SegmentOneHot": segment_one_hot,
    "BatchOneHot": batch_one_hot,
    "BatchBucketOneHot": batch_bucket_one_hot,
}
