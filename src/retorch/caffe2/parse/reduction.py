"""Sums, means, extremes and norms over dimensions."""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import RefusalError, axis_of, dims, dtype, rank
from retorch.caffe2.parse.segments import arange, int64


def reduce(op_type: str) -> Rule:
    """A rule for a reduction over ``axes``, all of them by default; sizes of 1 stay unless told."""

    def rule(call: Call) -> ir.Value:
        axes = [axis_of(call.x, axis) for axis in call.ints("axes")] or list(range(rank(call.x)))
        return call.graph.op(op_type, call.x, call.graph.constant(axes), keepdims=int(bool(call.int("keepdims", 1))))

    return rule


def reduce_end(kind: str, *, front: bool) -> Rule:
    """A rule for a reduction over the first or the last ``num_reduce_dim`` dimensions.

    A second input says how many of the elements that would be reduced count, for each that is left.
    """

    def rule(call: Call) -> ir.Value:
        amount, total = call.int("num_reduce_dim", 1), rank(call.x)
        if not 0 <= amount <= total:
            raise RefusalError(f"num_reduce_dim {amount} of {total} dimensions")
        axes = list(range(amount)) if front else list(range(total - amount, total))
        if len(call.inputs) > 1:
            if amount != 1:
                raise RefusalError(f"lengths with num_reduce_dim {amount}")
            return _counted(call, kind, amount if front else total - amount, front=front)
        if not axes:
            return call.x
        return call.graph.op(f"Reduce{kind}", call.x, call.graph.constant(axes), keepdims=0)

    return rule


def _counted(call: Call, kind: str, split: int, *, front: bool) -> ir.Value:
    """The reduction of as many leading elements as the lengths say; ``split`` parts what is reduced from what stays.

    The first element counts in any case.
    """
    g, x = call.graph, call.x
    matrix = g.op("Flatten", x, axis=split)
    matrix = g.transpose(matrix, (1, 0)) if front else matrix
    lengths = g.cast(g.reshape(call.inputs[1], (-1, 1)), ir.DataType.INT64)
    places = g.unsqueeze(arange(g, g.reshape(g.shape_of(matrix, 1, 2), ())), 0)
    inside = g.op("Less", places, g.op("Max", lengths, int64(g, 1)))
    if kind == "Max":
        y = g.op("ReduceMax", g.op("Where", inside, matrix, g.scalar(-math.inf, x)), g.constant([1]), keepdims=0)
    else:
        y = g.op("ReduceSum", g.op("Where", inside, matrix, g.scalar(0.0, x)), g.constant([1]), keepdims=0)
    if kind == "Mean":
        y = g.op("Div", y, g.cast(g.reshape(lengths, (-1,)), dtype(x)))
    start, end = (split, rank(x)) if front else (0, split)
    result = g.op("Reshape", y, g.shape_of(x, start, end)) if end > start else g.reshape(y, ())
    result.shape = ir.Shape(list(dims(x)[start:end]))
    return result


def over(op_type: str, *axes: int) -> Rule:
    """A rule for a reduction over fixed dimensions."""

    def rule(call: Call) -> ir.Value:
        return call.graph.op(op_type, call.x, call.graph.constant(axes), keepdims=0)

    return rule


def sum_elements(call: Call) -> ir.Value:
    """The sum of everything, or its mean with ``average``."""
    op_type = "ReduceMean" if call.int("average", 0) else "ReduceSum"
    return call.graph.op(op_type, call.x, call.graph.constant(list(range(rank(call.x)))), keepdims=0)


def sum_squares(call: Call) -> ir.Value:
    """The sum of all squares, or their mean with ``average``."""
    g = call.graph
    op_type = "ReduceMean" if call.int("average", 0) else "ReduceSum"
    return g.op(op_type, g.op("Mul", call.x, call.x), g.constant(list(range(rank(call.x)))), keepdims=0)


def averaged_loss(call: Call) -> ir.Value:
    """The mean of everything."""
    return call.graph.op("ReduceMean", call.x, call.graph.constant(list(range(rank(call.x)))), keepdims=0)


def lp_norm(call: Call) -> ir.Value:
    """The sum of |x| or of x^2 over everything, or the mean with ``average``, in one dimension."""
    g, p = call.graph, call.int("p", 2)
    if p not in (1, 2):
        raise RefusalError(f"LpNorm with p = {p}")
    each = g.op("Abs", call.x) if p == 1 else g.op("Mul", call.x, call.x)
    op_type = "ReduceMean" if call.int("average", 0) else "ReduceSum"
    return g.reshape(g.op(op_type, each, g.constant(list(range(rank(call.x)))), keepdims=0), (1,))


def reduce_tail_sum(call: Call) -> ir.Value:
    """One sum per row, over all dimensions but the first."""
    rest = call.graph.constant(list(range(1, rank(call.x))))
    return call.graph.op("ReduceSum", call.x, rest, keepdims=0, noop_with_empty_axes=1)


def row_mul(call: Call) -> ir.Value:
    """Each row times a number of its own."""
    g, x = call.graph, call.x
    return g.op("Mul", x, g.reshape(call.input(1), (-1, *(1,) * (rank(x) - 1))))


RULES: Mapping[str, Rule] = {
    **{f"Reduce{kind}": reduce(f"Reduce{kind}") for kind in ("Sum", "Mean", "Max", "Min", "L1", "L2")},
    **{f"ReduceFront{kind}": reduce_end(kind, front=True) for kind in ("Sum", "Mean", "Max")},
    **{f"ReduceBack{kind}": reduce_end(kind, front=False) for kind in ("Sum", "Mean", "Max")},
    "RowwiseMax": over("ReduceMax", 2),
    "ColwiseMax": over("ReduceMax", 1),
    "SumElements": sum_elements,
    "SumElementsInt": sum_elements,
    "SumSqrElements": sum_squares,
    "AveragedLoss": averaged_loss,
    "LpNorm": lp_norm,
    "ReduceTailSum": reduce_tail_sum,
    "RowMul": row_mul,
}
