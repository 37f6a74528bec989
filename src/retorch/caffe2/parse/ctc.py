"""Labels read from what a network says of each step of a sequence (connectionist temporal classification)."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.lengths import integers
from retorch.caffe2.parse.segments import arange, int64, rows_of

INT32 = ir.DataType.INT32


def greedy(call: Call) -> Results:
    """The likeliest label of each step, without 0, the blank, and with ``merge_repeated`` without those just said.

    Inputs: scores (steps, batch, labels), and how many steps each sequence has. Outputs: how many labels are left of
    each, and all of these after each other.
    """
    g = call.graph
    labels = g.transpose(g.op("ArgMax", call.x, axis=2, keepdims=0), (1, 0))
    kept = g.op("Greater", labels, int64(g, 0))
    if call.int("merge_repeated", 1):
        first = g.op("Mul", g.slice(labels, 1, 0, 1), int64(g, 0))
        before = g.op("Concat", first, g.slice(labels, 1, 0, -1), axis=1)
        kept = g.op("And", kept, g.op("Not", g.op("Equal", labels, before)))
    if len(call.inputs) > 1:
        steps = g.unsqueeze(arange(g, rows_of(g, call.x)), 0)
        kept = g.op("And", kept, g.op("Less", steps, g.unsqueeze(integers(call, 1), 1)))
    counts = g.op("ReduceSum", g.cast(kept, INT32), g.constant([1]), keepdims=0)
    values = g.op("Compress", g.reshape(labels, (-1,)), g.reshape(kept, (-1,)), axis=0)
    return (counts, g.cast(values, INT32))


RULES: Mapping[str, Rule] = {"CTCGreedyDecoder": greedy}
