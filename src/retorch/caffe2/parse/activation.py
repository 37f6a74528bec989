"""Functions of one value at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from retorch.caffe2.device import TO_CPU, TO_IDEEP
from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.graph import RefusalError, axis_of, count, dims, rank


def plain(op_type: str) -> Rule:
    """A rule for an operator that ONNX has without arguments."""

    def rule(call: Call) -> ir.Value:
        return call.graph.op(op_type, call.x)

    return rule


def leaky_relu(call: Call) -> ir.Value:
    """max(x, 0) + alpha * min(x, 0)"""
    return call.graph.op("LeakyRelu", call.x, alpha=call.float("alpha", 0.01))


def prelu(call: Call) -> ir.Value:
    """max(x, 0) + w * min(x, 0), w one number or one per channel."""
    g, x, slope = call.graph, call.x, call.input(1)
    if count(dims(slope)) == 1:
        return g.op("PRelu", x, g.reshape(slope, (1,) * min(rank(x), 1)))
    channel = rank(x) - 1 if call.channels_last() else 1
    return g.op("PRelu", x, g.reshape(slope, (-1, *(1,) * (rank(x) - channel - 1))))


def elu(call: Call) -> ir.Value:
    """x where x > 0, alpha * (exp(x) - 1) elsewhere."""
    return call.graph.op("Elu", call.x, alpha=call.float("alpha", 1.0))


def selu(call: Call) -> ir.Value:
    """scale * (x where x > 0, alpha * (exp(x) - 1) elsewhere)"""
    alpha, scale = call.float("alpha", 1.6732632423543772), call.float("scale", 1.0507009873554805)
    return call.graph.op("Selu", call.x, alpha=alpha, gamma=scale)


def clip(call: Call) -> ir.Value:
    """min(max(x, min), max)"""
    g = call.graph
    low = call.float("min", -math.inf) if call.has("min") else None
    high = call.float("max", math.inf) if call.has("max") else None
    bounds = [None if bound is None else g.scalar(bound, call.x) for bound in (low, high)]
    return g.op("Clip", call.x, *bounds) if any(bounds) else g.op("Identity", call.x)


def ensure_clipped(call: Call) -> ir.Value:
    """min(max(x, min), max) of all of x; of some of its rows only behind a gradient."""
    if len(call.inputs) > 1:
        raise RefusalError("EnsureClipped of a gradient is a training operator")
    return clip(call)


def is_nan(call: Call) -> ir.Value:
    """1 where a number is NaN, 0 elsewhere, as bytes."""
    return call.graph.cast(call.graph.op("IsNaN", call.x), ir.DataType.UINT8)


def relu_n(call: Call) -> ir.Value:
    """min(max(x, 0), n)"""
    g = call.graph
    return g.op("Clip", call.x, g.scalar(0.0, call.x), g.scalar(call.float("n", 6.0), call.x))


def thresholded_relu(call: Call) -> ir.Value:
    """x where x > alpha, 0 elsewhere; ONNX's operator asks for alpha >= 0, so it is written out."""
    g, x = call.graph, call.x
    above = g.op("Greater", x, g.scalar(call.float("alpha", 1.0), x))
    return g.op("Where", above, x, g.scalar(0.0, x))


def hard_sigmoid(call: Call) -> ir.Value:
    """min(max(alpha * x + beta, 0), 1)"""
    return call.graph.op("HardSigmoid", call.x, alpha=call.float("alpha", 0.2), beta=call.float("beta", 0.5))


def gelu(call: Call) -> ir.Value:
    """x times the normal distribution's integral up to x, or its tanh approximation with ``fast_gelu``."""
    approximate = "tanh" if call.int("fast_gelu", 0) else "none"
    return call.graph.op("Gelu", call.x, approximate=approximate)


def swish(call: Call) -> ir.Value:
    """x * sigmoid(x)"""
    return call.graph.op("Mul", call.x, call.graph.op("Sigmoid", call.x))


def square(call: Call) -> ir.Value:
    """x * x"""
    return call.graph.op("Mul", call.x, call.x)


def cube(call: Call) -> ir.Value:
    """x * x * x"""
    return call.graph.op("Mul", call.graph.op("Mul", call.x, call.x), call.x)


def rsqrt(call: Call) -> ir.Value:
    """1 / sqrt(x)"""
    return call.graph.op("Reciprocal", call.graph.op("Sqrt", call.x))


def cbrt(call: Call) -> ir.Value:
    """The cube root, of negative numbers too."""
    g, x = call.graph, call.x
    root = g.op("Pow", g.op("Abs", x), g.scalar(1.0 / 3.0, x))
    return g.op("Mul", g.op("Sign", x), root)


def log1p(call: Call) -> ir.Value:
    """log(1 + x)"""
    return call.graph.op("Log", call.graph.op("Add", call.x, call.graph.scalar(1.0, call.x)))


def logit(call: Call) -> ir.Value:
    """log(x / (1 - x)) with x kept within [eps, 1 - eps]"""
    g, eps = call.graph, call.float("eps", 1e-6)
    x = g.op("Clip", call.x, g.scalar(eps, call.x), g.scalar(1.0 - eps, call.x))
    return g.op("Log", g.op("Div", x, g.op("Sub", g.scalar(1.0, x), x)))


def scale(call: Call) -> ir.Value:
    """x * scale"""
    return call.graph.op("Mul", call.x, call.graph.scalar(call.float("scale", 1.0), call.x))


def replace_nan(call: Call) -> ir.Value:
    """x with ``value`` in the place of NaN."""
    g, x = call.graph, call.x
    return g.op("Where", g.op("IsNaN", x), g.scalar(call.float("value", 0.0), x), x)


def dropout(call: Call) -> Results:
    """The identity: only a network for evaluation (``is_test``) can be read, or one that drops nothing.

    Only training makes a mask, which then has all that there is.
    """
    if call.int("is_test", 0):
        return (call.x, None)
    if call.float("ratio", 0.5):
        raise RefusalError("Dropout in training mode (is_test is not set)")
    g, mask = call.graph, None
    if call.wants(1):
        mask = g.op("Expand", g.constant(np.asarray(True)), g.shape_of(call.x))
        mask.shape = call.x.shape
    return (call.x, mask)


def identity(call: Call) -> ir.Value:
    """Copies of every kind."""
    return call.x


def each(call: Call) -> Results:
    """All inputs as they are."""
    return call.inputs


def softmax(call: Call) -> ir.Value:
    """exp(x) over its sum, on the matrix that x is when all dimensions from ``axis`` on are one."""
    g, x, total = call.graph, call.x, rank(call.x)
    axis = axis_of(x, call.int("axis", 1))
    if axis == total - 1:
        return g.op("Softmax", x, axis=axis)
    flat = g.op("Softmax", g.op("Flatten", x, axis=axis), axis=1)
    return g.reshape_like(flat, x)


def glu(call: Call) -> ir.Value:
    """a * sigmoid(b), a and b the halves of x along ``dim``."""
    g = call.graph
    axis = axis_of(call.x, call.int("dim", -1))
    left, right = g.ops("Split", [call.x], 2, axis=axis, num_outputs=2)
    return g.op("Mul", left, g.op("Sigmoid", right))


def softplus(call: Call) -> ir.Value:
    """log(exp(x) + 1); Caffe2 overflows above 88 where this goes on."""
    return call.graph.op("Softplus", call.x)


_SAME_NAME = """
Relu Sigmoid Tanh Exp Log Sqrt Abs Sign Floor Ceil Softsign Sin Cos Tan Asin Acos Atan Sinh Cosh Erf Mish Not
"""

RULES: Mapping[str, Rule] = {
    **{name: plain(name) for name in _SAME_NAME.split()},
    "Negative": plain("Neg"),
    "Reciprocal": plain("Reciprocal"),
    **dict.fromkeys(("Copy", "Alias", "StopGradient", "EnsureCPUOutput", "CopyCPUToGPU", "CopyGPUToCPU"), identity),
    **dict.fromkeys((TO_IDEEP, TO_CPU), identity),
    **dict.fromkeys(
        ("CopyOnDeviceLike", "CopyFromCPUInput", "EnsureDense", "Identity", "Snapshot", "AliasWithName"), identity
    ),
    "LeakyRelu": leaky_relu,
    "PRelu": prelu,
    "Elu": elu,
    "Selu": selu,
    "Clip": clip,
    "EnsureClipped": ensure_clipped,
    "IsNaN": is_nan,
    "ReluN": relu_n,
    "ThresholdedRelu": thresholded_relu,
    "HardSigmoid": hard_sigmoid,
    "Gelu": gelu,
    "Swish": swish,
    "Sqr": square,
    "Cube": cube,
    "Rsqrt": rsqrt,
    "Cbrt": cbrt,
    "Log1p": log1p,
    "Logit": logit,
    "Scale": scale,
    "ReplaceNaN": replace_nan,
    "Dropout": dropout,
    "Softmax": softmax,
    "Glu": glu,
    "Softplus": softplus,
    "AsyncNetBarrier": each,
}
