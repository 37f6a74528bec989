"""The best path of labels through a sequence, by the scores of labels and of one label behind another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import Graph
from retorch.caffe2.parse.lengths import integers
from retorch.caffe2.parse.loop import Step, repeat
from retorch.caffe2.parse.segments import int64, rows_of


def viterbi_path(call: Call) -> ir.Value:
    """The labels of the path with the highest sum, as int32. Inputs: scores (steps, labels), transitions (from, to)."""
    g, scores, transitions = call.graph, call.input(0), call.input(1)
    times = g.op("Sub", rows_of(g, scores), int64(g, 1))

    def onward(body: Graph, at: ir.Value, states: Sequence[ir.Value]) -> Step:
        paths = body.op("Add", body.unsqueeze(states[0], 1), transitions)
        best = body.op("ReduceMax", paths, body.constant([0]), keepdims=0)
        following = body.op("Gather", scores, body.op("Add", at, int64(body, 1)), axis=0)
        return Step(None, [body.op("Add", following, best)], [body.op("ArgMax", paths, axis=0, keepdims=0)])

    first = g.op("Gather", scores, int64(g, 0), axis=0)
    last, origins = repeat(g, [first], onward, times=times)

    def backward(body: Graph, at: ir.Value, states: Sequence[ir.Value]) -> Step:
        step = body.op("Sub", body.op("Sub", times, int64(body, 1)), at)
        origin = body.op("Gather", body.op("Gather", origins, step, axis=0), states[0])
        return Step(None, [origin], [origin])

    end = g.op("ArgMax", last, axis=0, keepdims=0)
    _, labels = repeat(g, [end], backward, times=times)
    path = g.op("Concat", g.reshape(end, (1,)), labels, axis=0)
    reverse = g.constant([-1]), g.constant([-(2**31)]), g.constant([0]), g.constant([-1])
    return g.cast(g.op("Slice", path, *reverse), ir.DataType.INT32)


def swap_best_path(call: Call) -> ir.Value:
    """In each row the highest score exchanged with that of a given label. Inputs: scores, labels."""
    g, scores, labels = call.graph, call.input(0), call.graph.unsqueeze(integers(call, 1), 1)
    best = g.op("ArgMax", scores, axis=1, keepdims=1)
    highest, other = (g.op("GatherElements", scores, at, axis=1) for at in (best, labels))
    return g.op("ScatterElements", g.op("ScatterElements", scores, best, other, axis=1), labels, highest, axis=1)


RULES: Mapping[str, Rule] = {"ViterbiPath": viterbi_path, "SwapBestPath": swap_best_path}
