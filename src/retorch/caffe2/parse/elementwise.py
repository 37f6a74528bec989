"""Functions of several tensors, element by element, with Caffe2's two kinds of broadcasting."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.graph import RefusalError, count, dims, rank


def _axis(call: Call) -> int:
    """The dimension of A at which B begins, from ``axis`` or ``axis_str``; -1 for the end."""
    axis, letter = call.int("axis", -1), call.string("axis_str", "")
    if not letter:
        return axis
    order = call.string("order", "NCHW")
    if axis != -1 or len(letter) != 1 or letter not in order:
        raise RefusalError(f"axis {axis} and axis_str {letter!r} in order {order}")
    return order.index(letter)


def aligned(call: Call, a: ir.Value, b: ir.Value) -> ir.Value:
    """B, shaped so that NumPy's broadcasting does what Caffe2's does.

    With ``broadcast`` B stands at ``axis`` of A, or at its end; without, Caffe2's rules are NumPy's.
    """
    if not call.int("broadcast", 0):
        return b
    if count(dims(b)) == 1:
        return b if rank(b) <= rank(a) else call.graph.reshape(b, ())
    axis = _axis(call)
    free = rank(a) - rank(b)
    if axis == -1:
        axis = free
    if not 0 <= axis <= free:
        raise RefusalError(f"B of {rank(b)} dimensions at axis {axis} of A of {rank(a)}")
    trailing = free - axis
    return call.graph.reshape(b, (*(0,) * rank(b), *(1,) * trailing)) if trailing else b


def binary(op_type: str) -> Rule:
    """A rule for a function of two tensors."""

    def rule(call: Call) -> ir.Value:
        a, b = call.input(0), call.input(1)
        return call.graph.op(op_type, a, aligned(call, a, b))

    return rule


def order(op_type: str) -> Rule:
    """A rule for an operator that compares which of two inputs is larger; of truth values, true is."""

    def rule(call: Call) -> ir.Value:
        a, b = call.input(0), call.input(1)
        if a.dtype == ir.DataType.BOOL:
            a, b = (call.graph.cast(x, ir.DataType.INT32) for x in (a, b))
        return call.graph.op(op_type, a, aligned(call, a, b))

    return rule


def not_equal(call: Call) -> ir.Value:
    """a != b"""
    return call.graph.op("Not", call.graph.op("Equal", call.x, aligned(call, call.x, call.input(1))))


def nary(op_type: str) -> Rule:
    """A rule for a function of any number of tensors of one shape."""

    def rule(call: Call) -> ir.Value:
        if len(call.inputs) == 1:
            return call.x
        # onnxruntime takes these of float32 alone.
        if call.x.dtype == ir.DataType.FLOAT or op_type not in ("Sum", "Mean"):
            return call.graph.op(op_type, *call.inputs)
        total = _total(call)
        return total if op_type == "Sum" else call.graph.op("Div", total, call.graph.scalar(len(call.inputs), total))

    return rule


def _total(call: Call) -> ir.Value:
    total = call.x
    for other in call.inputs[1:]:
        total = call.graph.op("Add", total, other)
    return total


def power(call: Call) -> ir.Value:
    """a ** exponent, or a ** b with b in broadcast form."""
    a = call.x
    if len(call.inputs) == 1:
        if not call.has("exponent"):
            raise RefusalError("Pow without exponent")
        return call.graph.op("Pow", a, call.graph.scalar(call.float("exponent", 0.0), a))
    return call.graph.op("Pow", a, aligned(call, a, call.inputs[1]))


def where(call: Call) -> ir.Value:
    """a where c, b elsewhere; with ``broadcast_on_rows`` c has one entry per row."""
    g, condition, a = call.graph, call.input(0), call.input(1)
    if call.int("broadcast_on_rows", 0) and rank(a) > rank(condition):
        condition = g.unsqueeze(condition, *range(rank(condition), rank(a)))
    return g.where(g.cast(condition, ir.DataType.BOOL), a, call.input(2))


def modulo(call: Call) -> ir.Value:
    """x % divisor with the sign of x, or of the divisor with ``sign_follow_divisor``."""
    divisor = call.graph.scalar(call.int("divisor", 0), call.x)
    follow = call.int("sign_follow_divisor", 0)
    return call.graph.op("Mod", call.x, divisor, fmod=0 if follow else 1)


def weighted_sum(call: Call) -> ir.Value:
    """x_0 * w_0 + x_1 * w_1 + …, the inputs in pairs of a tensor and a number."""
    if len(call.inputs) % 2 or not call.inputs:
        raise RefusalError("WeightedSum takes its inputs in pairs")
    g = call.graph
    terms = [g.op("Mul", x, g.reshape(w, ())) for x, w in zip(call.inputs[::2], call.inputs[1::2], strict=True)]
    return g.op("Sum", *terms)


def sum_relu(call: Call) -> ir.Value:
    """max(x_0 + x_1 + …, 0)"""
    total = _total(call)
    return call.graph.op("Max", total, call.graph.scalar(0, total))


def scale_blobs(call: Call) -> Results:
    """All inputs times ``scale``."""
    factor = call.float("scale", 1.0)
    return [call.graph.op("Mul", x, call.graph.scalar(factor, x)) for x in call.inputs]


RULES: Mapping[str, Rule] = {
    **{name: binary(name) for name in ("Add", "Sub", "Mul", "Div", "And", "Or", "Xor")},
    "GT": order("Greater"),
    "GE": order("GreaterOrEqual"),
    "LT": order("Less"),
    "LE": order("LessOrEqual"),
    "EQ": binary("Equal"),
    "NE": not_equal,
    **{name: nary(name) for name in ("Sum", "Max", "Min", "Mean")},
    "SumInt": nary("Sum"),
    "SumRelu": sum_relu,
    "ScaleBlobs": scale_blobs,
    "Pow": power,
    "Where": where,
    "Mod": modulo,
    "WeightedSum": weighted_sum,
}
