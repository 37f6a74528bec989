"""How good predictions are, and what a tensor's numbers look like."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.graph import size
from retorch.caffe2.parse.lengths import integers
from retorch.caffe2.parse.segments import INT64

FLOAT = ir.DataType.FLOAT


def multi_class_accuracy(call: Call) -> Results:
    """Of the examples of each class, which share has its highest score there; then how many there are, as int32."""
    g, labels = call.graph, call.graph.reshape(integers(call, 1), (-1, 1))
    best = g.op("ArgMax", g.reshape(call.x, (0, size(call.x, 1))), axis=1, keepdims=1)
    classes = g.constant(np.arange(size(call.x, 1)).reshape(1, -1))
    own, right = g.op("Equal", labels, classes), g.op("Equal", labels, best)
    rows = g.constant([0])
    amounts = g.op("ReduceSum", g.cast(own, INT64), rows, keepdims=0)
    hits = g.op("ReduceSum", g.cast(g.op("And", own, right), FLOAT), rows, keepdims=0)
    share = g.op("Div", hits, g.op("Max", g.cast(amounts, FLOAT), g.scalar(1.0, hits)))
    return (share, g.cast(amounts, ir.DataType.INT32))


def perplexity(call: Call) -> ir.Value:
    """The product of all probabilities to the power of -1 / n, without dimensions."""
    g = call.graph
    x = g.reshape(call.x, (-1,))
    count = g.cast(g.op("Size", x), FLOAT)
    return g.op("ReduceProd", g.op("Pow", x, g.op("Neg", g.op("Reciprocal", count))), g.constant([0]), keepdims=0)


def summarize(call: Call) -> ir.Value:
    """The least, the largest, the mean and the deviation (of n - 1) of all numbers."""
    g, axis = call.graph, call.graph.constant([0])
    x = g.reshape(call.x, (-1,))
    low, high, mean = (g.op(kind, x, axis, keepdims=1) for kind in ("ReduceMin", "ReduceMax", "ReduceMean"))
    squares = g.op("ReduceSumSquare", g.op("Sub", x, mean), axis, keepdims=1)
    count = g.op("Max", g.op("Sub", g.op("Size", x), g.constant(np.asarray(1))), g.constant(np.asarray(1)))
    deviation = g.op("Sqrt", g.op("Div", squares, g.cast(count, FLOAT)))
    return g.op("Concat", low, high, mean, deviation, axis=0)


RULES: Mapping[str, Rule] = {
    "MultiClassAccuracy": multi_class_accuracy,
    "Perplexity": perplexity,
    "Summarize": summarize,
}
