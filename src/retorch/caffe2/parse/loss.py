"""Losses and distances, forward: what a network measures about its own output."""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx_ir as ir

from retorch.caffe2.parse.activation import softmax
from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.graph import RefusalError, axis_of, dtype, rank
from retorch.caffe2.parse.lengths import integers
from retorch.caffe2.parse.segments import INT64, arange

_SMALLEST = 1e-20  # Caffe2 takes no logarithm of less


def softmax_with_loss(call: Call) -> Results:
    """Softmax on the matrix that x is at ``axis``; then the weighted mean of -log(what the label gets), scaled.

    Labels are class numbers, or with ``label_prob`` probabilities. Inputs: logits, labels, weights.
    """
    g, x = call.graph, call.x
    if call.channels_last():
        raise RefusalError("order NHWC")
    probabilities = softmax(call)
    if not call.wants(1):
        return (probabilities, None)
    axis = axis_of(x, call.int("axis", 1))
    logs = g.op("LogSoftmax", g.op("Flatten", x, axis=axis), axis=1)
    if call.int("label_prob", 0):
        floor = g.op("Max", logs, g.scalar(math.log(_SMALLEST), x))
        each = g.op(
            "ReduceSum", g.op("Mul", floor, g.op("Flatten", call.input(1), axis=axis)), g.constant([1]), keepdims=0
        )
    else:
        labels = g.reshape(integers(call, 1), (-1, 1))
        each = g.reshape(g.op("GatherElements", logs, labels, axis=1), (-1,))
    if len(call.inputs) > 2:
        weights = g.reshape(call.inputs[2], (-1,))
    else:
        weights = g.op("Expand", g.scalar(1.0, x), g.op("Shape", each))
    return (probabilities, _mean_loss(call, each, weights, call.float("scale", 1.0)))


def _mean_loss(call: Call, logs: ir.Value, weights: ir.Value, scale: float = 1.0) -> ir.Value:
    """-sum(w * log) / sum(w) * scale, 0 where nothing weighs anything; both are vectors.

    With ``average_by_batch_size`` it is divided by their length instead.
    """
    g = call.graph
    both = g.constant([0])
    loss = g.op("Neg", g.op("ReduceSum", g.op("Mul", logs, weights), both, keepdims=0))
    weight = g.op("ReduceSum", weights, both, keepdims=0)
    zero = g.scalar(0.0, loss)
    count = weight
    if call.type == "SoftmaxWithLoss" and call.int("average_by_batch_size", 0):
        count = g.cast(g.op("Size", logs), dtype(loss))
    mean = g.op("Div", g.op("Mul", loss, g.scalar(scale, loss)), count)
    return g.op("Where", g.op("Equal", weight, zero), zero, mean)


def spatial_softmax_with_loss(call: Call) -> Results:
    """Softmax over the channels of pictures; then the loss over all places whose label is not -1, never scaled."""
    g, x = call.graph, call.x
    if rank(x) != 4:
        raise RefusalError(f"SpatialSoftmaxWithLoss of {rank(x)} dimensions")
    probabilities = g.op("Softmax", x, axis=1)
    if not call.wants(1):
        return (probabilities, None)
    labels = g.unsqueeze(integers(call, 1), 1)
    known = g.op("GreaterOrEqual", labels, g.constant([0]))
    chosen = g.op("GatherElements", probabilities, g.op("Max", labels, g.constant([0])), axis=1)
    logs = g.op("Log", g.op("Max", chosen, g.scalar(_SMALLEST, x)))
    weights = g.cast(known, dtype(x))
    if len(call.inputs) > 2:
        weights = g.op("Mul", weights, g.unsqueeze(call.inputs[2], 1))
    return (probabilities, _mean_loss(call, g.reshape(logs, (-1,)), g.reshape(weights, (-1,))))


def label_cross_entropy(call: Call) -> ir.Value:
    """-log of the probability that each row gives its label."""
    g = call.graph
    labels = g.reshape(integers(call, 1), (-1, 1))
    chosen = g.op("GatherElements", g.op("Flatten", call.x, axis=1), labels, axis=1)
    return g.op("Neg", g.op("Log", g.op("Max", g.reshape(chosen, (-1,)), g.scalar(_SMALLEST, call.x))))


def cross_entropy(call: Call) -> ir.Value:
    """-sum(label * log(x)) of each row."""
    g = call.graph
    logs = g.op("Log", g.op("Max", call.x, g.scalar(_SMALLEST, call.x)))
    return g.op("Neg", g.op("ReduceSum", g.op("Mul", call.input(1), logs), g.constant([1]), keepdims=0))


def make_two_class(call: Call) -> ir.Value:
    """Each probability p as the pair 1 - p, p, in a new last dimension."""
    g = call.graph
    x = g.unsqueeze(call.x, rank(call.x))
    return g.op("Concat", g.op("Sub", g.scalar(1.0, x), x), x, axis=rank(x) - 1)


def sigmoid_cross_entropy(call: Call) -> ir.Value:
    """The cross entropy of sigmoid(x) and targets, weighted by a third input, averaged over the last dimension."""
    g, x, target = call.graph, call.x, call.input(1)
    weighted = call.type.startswith("Weighted")  # which knows no other forms
    # log(1 + exp(x)), which does not overflow.
    soft = g.op("Log", g.op("Add", g.scalar(1.0, x), g.op("Exp", g.op("Neg", g.op("Abs", x)))))
    rise = g.op("Max", x, g.scalar(0.0, x))
    match (0, 0) if weighted else (call.int("log_D_trick", 0), call.int("unjoined_lr_loss", 0)):
        case 0, 0:
            each = g.op("Sub", g.op("Add", soft, rise), g.op("Mul", x, target))
        case _, 0:
            sign = g.op("Sub", g.op("Mul", target, g.scalar(2.0, x)), g.scalar(1.0, x))
            each = g.op("Mul", sign, g.op("Sub", g.op("Add", soft, rise), x))
        case 0, _:
            rest = g.op("Mul", g.op("Sub", g.scalar(1.0, x), target), g.op("Add", soft, rise))
            each = g.op("Sub", rest, g.op("Mul", x, target))
        case _:
            raise RefusalError("log_D_trick and unjoined_lr_loss together")
    if len(call.inputs) > 2:
        each = g.op("Mul", each, call.inputs[2])
    if rank(x) == 0:
        return each
    return g.op("ReduceMean", each, g.constant([rank(x) - 1]), keepdims=0)


def margin_ranking(call: Call) -> ir.Value:
    """max(-y * (a - b) + margin, 0) for a, b and a y of 1 or -1, in the shape of a, whatever those of b and y."""
    g, a, b = call.graph, call.input(0), call.input(1)
    a, b, y = (g.reshape(each, (-1,)) for each in (a, b, call.input(2)))
    gap = g.op("Mul", g.op("Neg", g.cast(y, dtype(a))), g.op("Sub", a, b))
    loss = g.op("Max", g.op("Add", gap, g.scalar(call.float("margin", 1.0), a)), g.scalar(0.0, a))
    return g.reshape_like(loss, call.x)


def cosine_embedding(call: Call) -> ir.Value:
    """1 - s where y is 1, max(s - margin, 0) where it is -1."""
    g, s, y = call.graph, call.input(0), call.input(1)
    same = g.op("Equal", y, g.scalar(1, y))
    apart = g.op("Max", g.op("Sub", s, g.scalar(call.float("margin", 0.0), s)), g.scalar(0.0, s))
    return g.op("Where", same, g.op("Sub", g.scalar(1.0, s), s), apart)


def bernoulli_jsd(call: Call) -> ir.Value:
    """The Jensen-Shannon divergence of two probabilities, element by element."""
    g, p, q = call.graph, call.input(0), call.input(1)

    def entropy(x: ir.Value) -> ir.Value:
        low, one = g.scalar(_SMALLEST, x), g.scalar(1.0, x)
        sides = (x, g.op("Sub", one, x))
        sure = g.op("Or", *(g.op("Less", side, low) for side in sides))
        parts = [g.op("Mul", side, g.op("Log", side)) for side in sides]
        return g.op("Where", sure, g.scalar(0.0, x), g.op("Neg", g.op("Add", *parts)))

    half = g.scalar(0.5, p)
    mean = g.op("Mul", g.op("Add", p, q), half)
    return g.op("Sub", entropy(mean), g.op("Mul", g.op("Add", entropy(p), entropy(q)), half))


def accuracy(call: Call) -> ir.Value:
    """The share of rows whose label is among their ``top_k`` largest; of equals the first counts as larger."""
    g, labels = call.graph, call.graph.reshape(integers(call, 1), (-1, 1))
    chosen = g.op("GatherElements", call.x, labels, axis=1)
    places = g.unsqueeze(arange(g, g.reshape(g.shape_of(call.x, 1, 2), ())), 0)
    tied = g.op("And", g.op("Equal", call.x, chosen), g.op("Less", places, labels))
    before = g.cast(g.op("Or", g.op("Greater", call.x, chosen), tied), INT64)
    better = g.op("ReduceSum", before, g.constant([1]), keepdims=0)
    right = g.cast(g.op("Less", better, g.constant([call.int("top_k", 1)])), ir.DataType.FLOAT)
    return g.op("ReduceMean", right, g.constant([0]), keepdims=0)


RULES: Mapping[str, Rule] = {
    "SoftmaxWithLoss": softmax_with_loss,
    "SpatialSoftmaxWithLoss": spatial_softmax_with_loss,
    "LabelCrossEntropy": label_cross_entropy,
    "CrossEntropy": cross_entropy,
    "MakeTwoClass": make_two_class,
    "SigmoidCrossEntropyWithLogits": sigmoid_cross_entropy,
    "WeightedSigmoidCrossEntropyWithLogits": sigmoid_cross_entropy,
    "MarginRankingCriterion": margin_ranking,
    "CosineEmbeddingCriterion": cosine_embedding,
    "BernoulliJSD": bernoulli_jsd,
    "Accuracy": accuracy,
}
