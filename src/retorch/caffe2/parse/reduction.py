"""Sums, means, extremes and norms over dimensions."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import RefusalError, axis_of, rank


def reduce(op_type: str) -> Rule:
    """A rule for a reduction over ``axes``, all of them by default; sizes of 1 stay unless told."""

    def rule(call: Call) -> ir.Value:
        axes = [axis_of(call.x, axis) for axis in call.ints("axes")] or list(range(rank(call.x)))
        return call.graph.op(op_type, call.x, call.graph.constant(axes), keepdims=int(bool(call.int("keepdims", 1))))

    return rule


def reduce_end(op_type: str, *, front: bool) -> Rule:
    """A rule for a reduction over the first or the last ``num_reduce_dim`` dimensions."""

    def rule(call: Call) -> ir.Value:
        if len(call.inputs) > 1:
            raise RefusalError("lengths per row are not supported")
        amount, total = call.int("num_reduce_dim", 1), rank(call.x)
        if not 0 <= amount <= total:
            raise RefusalError(f"num_reduce_dim {amount} of {total} dimensions")
        axes = list(range(amount)) if front else list(range(total - amount, total))
        if not axes:
            return call.x
        return call.graph.op(op_type, call.x, call.graph.constant(axes), keepdims=0)

    return rule


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
    return call.graph.op("ReduceSum", call.x, call.graph.constant(list(range(1, rank(call.x)))), keepdims=0)


def row_mul(call: Call) -> ir.Value:
    """Each row times a number of its own."""
    g, x = call.graph, call.x
    return g.op("Mul", x, g.reshape(call.input(1), (-1, *(1,) * (rank(x) - 1))))


RULES: Mapping[str, Rule] = {
    **{f"Reduce{kind}": reduce(f"Reduce{kind}") for kind in ("Sum", "Mean", "Max", "Min", "L1", "L2")},
    **{f"ReduceFront{kind}": reduce_end(f"Reduce{kind}", front=True) for kind in ("Sum", "Mean", "Max")},
    **{f"ReduceBack{kind}": reduce_end(f"Reduce{kind}", front=False) for kind in ("Sum", "Mean", "Max")},
    "RowwiseMax": over("ReduceMax", 2),
    "ColwiseMax": over("ReduceMax", 1),
    "SumElements": sum_elements,
    "SumSqrElements": sum_squares,
    "AveragedLoss": averaged_loss,
    "LpNorm": lp_norm,
    "ReduceTailSum": reduce_tail_sum,
    "RowMul": row_mul,
}
