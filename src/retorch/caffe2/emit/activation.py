"""Functions of one tensor, element by element, and softmax."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

import numpy as np

from retorch.caffe2.emit.arithmetic import binary, reduce, scale, shift
from retorch.caffe2.emit.op import BOOL, FLOAT32, INT32, Blob, Op, RefusalError, Result, Rule
from retorch.caffe2.emit.primitives import normal, transpose

# Operators of both worlds that mean the same and take no arguments.
_SAME = {
    **{name: name for name in ("Relu", "Sigmoid", "Tanh", "Softsign", "Not", "Sign", "Floor", "Ceil", "Reciprocal")},
    **{name: name for name in ("Exp", "Log", "Sqrt", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh")},
    "Neg": "Negative",
}


def _same(kind: str) -> Rule:
    def rule(op: Op) -> Result:
        return op.map(kind, op.blob(0))

    return rule


def absolute(op: Op) -> Result:
    x = op.blob(0)
    if op.is_float():
        return op.map("Abs", x)
    return op.map("Cast", op.map("Abs", op.map("Cast", x, to=FLOAT32)), to=INT32)


def leaky_relu(op: Op) -> Result:
    return op.map("LeakyRelu", op.blob(0), alpha=op.float("alpha", 0.01))


def elu(op: Op) -> Result:
    return op.map("Elu", op.blob(0), alpha=op.float("alpha", 1.0))


def celu(op: Op) -> Result:
    """max(x, 0) + min(0, a (exp(x/a) - 1)) = a elu(x/a) for a > 0."""
    alpha = op.float("alpha", 1.0)
    return scale(op, op.map("Elu", scale(op, op.blob(0), 1 / alpha), alpha=1.0), alpha)


def selu(op: Op) -> Result:
    alpha, gamma = op.float("alpha", 1.67326319217681884765625), op.float("gamma", 1.05070102214813232421875)
    return op.map("Selu", op.blob(0), alpha=alpha, scale=gamma)


def thresholded_relu(op: Op) -> Result:
    return op.map("ThresholdedRelu", op.blob(0), alpha=op.float("alpha", 1.0))


def clip(op: Op) -> Result:
    bounds: dict[str, float] = {}
    for index, name in ((1, "min"), (2, "max")):
        bound = op.number(index, "a bound")
        if bound is not None:
            bounds[name] = bound
    x = op.blob(0)
    if not bounds:
        return x
    if not op.is_float():
        return op.map("Cast", op.map("Clip", op.map("Cast", x, to=FLOAT32), **bounds), to=INT32)
    return op.map("Clip", x, **bounds)


def hard_sigmoid(op: Op) -> Result:
    return op.map("HardSigmoid", op.blob(0), alpha=op.float("alpha", 0.2), beta=op.float("beta", 0.5))


def hard_swish(op: Op) -> Result:
    x = op.blob(0)
    return binary(op, "Mul", x, op.map("HardSigmoid", x, alpha=1 / 6, beta=0.5))


def softplus(op: Op) -> Result:
    return stable_softplus(op, op.blob(0))


def stable_softplus(op: Op, x: Blob) -> Blob:
    """log(1 + exp x) = max(x, 0) + log(1 + exp -|x|); Caffe2's own overflows at 89."""
    small = op.map("Softplus", op.map("Negative", op.map("Abs", x)))
    return binary(op, "Add", op.map("Relu", x), small)


def mish(op: Op) -> Result:
    x = op.blob(0)
    return binary(op, "Mul", x, op.map("Tanh", stable_softplus(op, x)))


def erf(op: Op, x: Blob) -> Blob:
    """The error function; on the old Caffe2 by Abramowitz and Stegun 7.1.26, whose error is at most 1.5e-7.

    erf |x| = 1 - (a1 t + ... + a5 t^5) exp(-x^2), t = 1 / (1 + p |x|).
    """
    if op.options.release == "1.10":
        return op.map("Erf", x)
    magnitude = op.map("Abs", x)
    t = op.map("Reciprocal", shift(op, scale(op, magnitude, 0.3275911), 1.0))
    series = scale(op, t, 1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = binary(op, "Mul", shift(op, series, factor), t)
    bell = op.map("Exp", op.map("Negative", op.map("Sqr", x)))
    upper = shift(op, op.map("Negative", binary(op, "Mul", series, bell)), 1.0)
    return binary(op, "Mul", upper, op.map("Sign", x))


def gelu(op: Op) -> Result:
    """x (1 + erf(x / sqrt 2)) / 2, or its approximation by tanh."""
    x = op.blob(0)
    if op.string("approximate", "none") == "tanh":
        cube = binary(op, "Mul", op.map("Sqr", x), x)
        inner = scale(op, binary(op, "Add", x, scale(op, cube, 0.044715)), sqrt(2 / np.pi))
        gate = op.map("Tanh", inner)
    else:
        gate = erf(op, scale(op, x, sqrt(0.5)))
    return binary(op, "Mul", scale(op, x, 0.5), shift(op, gate, 1.0))


def round_even(op: Op) -> Result:
    """To the nearest whole number, halves to the even one.

    Adding and taking away 2^23 leaves no room for a fraction in a float32; numbers of that size have none.
    """
    x = op.blob(0)
    magnitude = op.map("Abs", x)
    magic = float(1 << 23)
    near = shift(op, shift(op, magnitude, magic), -magic)
    small = binary(op, "LT", magnitude, op.param(np.array([magic], np.float32), "whole"))
    whole = op.make("Where", [small, near, magnitude], x.dims)
    return binary(op, "Mul", whole, op.map("Sign", x))


def shrink(op: Op) -> Result:
    """x + bias below -lambd, x - bias above lambd, else 0."""
    x, bias, edge = op.blob(0), op.float("bias", 0.0), op.float("lambd", 0.5)
    if bias == edge >= 0:
        return binary(op, "Sub", x, op.map("Clip", x, min=-edge, max=edge))
    if edge < 0:
        raise RefusalError("Shrink with lambd below 0")
    above = op.map("ThresholdedRelu", x, alpha=edge)
    below = op.map("ThresholdedRelu", op.map("Negative", x), alpha=edge)
    kept = binary(op, "Sub", above, below)
    return kept if bias == 0 else binary(op, "Sub", kept, scale(op, op.map("Sign", kept), bias))


def prelu(op: Op) -> Result:
    """x where positive, else slope * x. Caffe2 knows one slope, or one per channel."""
    x, slope = op.blob(0), op.constant(1)
    if slope is not None:
        shape = (1,) * (x.rank - slope.ndim) + slope.shape
        others = shape[:1] + shape[2:]
        # the channels of a vector are out of its range, even for one slope
        if x.rank > 1 and (slope.size == 1 or (shape[1] == x.dims[1] and all(dim == 1 for dim in others))):
            flat = op.blob(1) if slope.ndim == 1 else op.weight(1, slope.reshape(-1), "slope")
            return op.make("PRelu", [x, flat], x.dims)
    below = binary(op, "Mul", op.map("Clip", x, max=0.0), op.blob(1))
    return binary(op, "Add", op.map("Relu", x), below)


_HALF = 10  # onnx.TensorProto.FLOAT16; the Caffe2 of torch 1.0 has no rounding to it on a CPU


def cast(op: Op) -> Result:
    targets = {1: FLOAT32, 11: FLOAT32, 10: FLOAT32, 6: INT32, 7: INT32, 9: BOOL}
    to = op.int("to", 1)
    op.int("saturate", 1)
    if to not in targets:
        raise RefusalError(f"a cast to ONNX type {to}")
    value = op.value(0)
    x = Blob(value.name or "", op.dims(0)) if value.is_graph_input() else op.blob(0)
    if op.is_float() and to == 1 and not value.is_graph_input():
        return x
    if op.is_float() and to == _HALF and op.options.release == "1.10":
        return op.map("HalfToFloat", op.map("FloatToHalf", x))
    return op.map("Cast", x, to=targets[to])


def softmax(op: Op) -> Result:
    """Caffe2 flattens behind the axis: right where nothing but 1s stand behind it."""
    x = op.blob(0)
    axis = normal(op.int("axis", -1), x.rank)
    if all(dim == 1 for dim in x.dims[axis + 1 :]):
        return op.map("Softmax", x, axis=axis)
    swap = list(range(x.rank))
    swap[axis], swap[-1] = swap[-1], swap[axis]
    last = transpose(op, x, swap)
    return transpose(op, op.map("Softmax", last, axis=x.rank - 1), swap)


def log_softmax(op: Op) -> Result:
    """x - max - log sum exp(x - max): the logarithm of Softmax alone would underflow."""
    x = op.blob(0)
    axis = normal(op.int("axis", -1), x.rank)
    centred = binary(op, "Sub", x, reduce(op, "ReduceMax", x, [axis], keep=True))
    total = op.map("Log", reduce(op, "ReduceSum", op.map("Exp", centred), [axis], keep=True))
    return binary(op, "Sub", centred, total)


def erf_rule(op: Op) -> Result:
    return erf(op, op.blob(0))


RULES: Mapping[str, Rule] = {
    **{name: _same(kind) for name, kind in _SAME.items()},
    "Abs": absolute,
    "Cast": cast,
    "Celu": celu,
    "Clip": clip,
    "Elu": elu,
    "Erf": erf_rule,
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "LeakyRelu": leaky_relu,
    "LogSoftmax": log_softmax,
    "Mish": mish,
    "PRelu": prelu,
    "Round": round_even,
    "Selu": selu,
    "Shrink": shrink,
    "Softmax": softmax,
    "Softplus": softplus,
    "ThresholdedRelu": thresholded_relu,
}
