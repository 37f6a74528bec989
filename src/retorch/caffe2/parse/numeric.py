"""Formulas that belong to no other family: bits, powers of Box and Cox, positions, integral images, …"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.elementwise import aligned
from retorch.caffe2.parse.graph import RefusalError, axis_of, dims, dtype, rank, size
from retorch.caffe2.parse.lengths import integers

FLOAT = ir.DataType.FLOAT


def bitwise(name: str) -> Rule:
    """A rule for And, Or or Xor, bit by bit."""

    def rule(call: Call) -> ir.Value:
        a, b = call.input(0), call.input(1)
        kind = name if a.dtype == ir.DataType.BOOL else f"Bitwise{name}"
        return call.graph.op(kind, a, aligned(call, a, b))

    return rule


def batch_box_cox(call: Call) -> ir.Value:
    """(max(x + b, 1e-6)^a - 1) / a, its logarithm where a is 0. Inputs: rows, a and b for each column."""
    g, x, power = call.graph, call.x, call.input(1)
    shifted = g.op("Max", g.op("Add", x, call.input(2)), g.scalar(1e-6, x))
    plain = g.op("Equal", power, g.scalar(0.0, power))
    divisor = g.op("Where", plain, g.scalar(1.0, power), power)
    raised = g.op("Div", g.op("Sub", g.op("Pow", shifted, power), g.scalar(1.0, x)), divisor)
    return g.op("Where", plain, g.op("Log", shifted), raised)


def sinusoid_position_encoding(call: Call) -> ir.Value:
    """amplitude * sin(p / alpha^(k / size)), every other one a cosine, for the position p that begins each row."""
    g, size = call.graph, call.count("embedding_size", 100, 1 << 20)
    alpha, amplitude = call.float("alpha", 10000.0), call.float("amplitude", 1.0)
    steps = np.asarray([alpha ** (-k / size) for k in range(size)], np.float32)
    phase = np.asarray([k % 2 * math.pi / 2 for k in range(size)], np.float32)
    first = g.unsqueeze(g.cast(g.slice(call.x, 1, 0, 1), FLOAT), 2)
    # Caffe2 takes the logarithm of the position: of 0 the last number alone is one, of negative ones none.
    least = np.asarray([*[np.finfo(np.float32).tiny] * (size - 1), 0.0], np.float32)
    known = g.op("GreaterOrEqual", first, g.constant(least))
    first = g.op("Where", known, first, g.scalar(math.nan, first))
    angles = g.op("Add", g.op("Mul", first, g.constant(steps)), g.constant(phase))
    waves = g.op("Mul", g.op("Sin", angles), g.constant(np.asarray(amplitude, np.float32)))
    y = g.op("Expand", waves, g.op("Concat", g.shape_of(call.x), g.constant([size]), axis=0))
    y.shape = ir.Shape([*dims(call.x), size])
    return y


def integral_image(call: Call) -> ir.Value:
    """Sums of all that is above and to the left, with a row and a column of zeros in front."""
    g, x = call.graph, call.x
    if rank(x) != 4:
        raise RefusalError(f"IntegralImage of {rank(x)} dimensions")
    padded = g.op("Pad", x, g.constant([0, 0, 1, 1, 0, 0, 0, 0]))
    rows = g.op("CumSum", padded, g.constant(np.asarray(2, np.int64)))
    return g.op("CumSum", rows, g.constant(np.asarray(3, np.int64)))


def square_root_divide(call: Call) -> ir.Value:
    """Each row over the square root of its number; as it is where that is 0."""
    g, x = call.graph, call.x
    number = g.reshape(g.cast(call.input(1), dtype(x)), (-1, *(1,) * (rank(x) - 1)))
    none = g.op("Equal", number, g.scalar(0, x))
    return g.op("Div", x, g.op("Sqrt", g.op("Where", none, g.scalar(1, x), number)))


def conditional(call: Call) -> ir.Value:
    """Whole rows of the second input where the first is true, of the third elsewhere."""
    g, yes = call.graph, call.input(1)
    condition = g.reshape(g.cast(call.input(0), ir.DataType.BOOL), (-1, *(1,) * (rank(yes) - 1)))
    return g.where(condition, yes, call.input(2))


def weight_scale(call: Call) -> ir.Value:
    """The weights, times ``scale`` in every step that ``stepsize`` divides, before ``upper_bound_iter``."""
    g, x = call.graph, call.x
    step = g.op("Add", g.reshape(integers(call, 1), ()), g.constant(np.asarray(1, np.int64)))
    size, last = call.int("stepsize", 2**63 - 1), call.int("upper_bound_iter", 2**63 - 1)
    whole = g.op("Equal", g.op("Mod", step, _int64(call, size)), _int64(call, 0))
    due = g.op("And", whole, g.op("Less", step, _int64(call, last)))
    return g.op("Where", due, g.op("Mul", x, g.scalar(call.float("scale", 1.0), x)), x)


def _int64(call: Call, number: int) -> ir.Value:
    return call.graph.constant(np.asarray(number, np.int64))


def nan_check(call: Call) -> ir.Value:
    """x; Caffe2 stops where it holds a NaN."""
    return call.x


def channel_stats(call: Call) -> Results:
    """The sum and the sum of squares of each channel."""
    g, x = call.graph, call.x
    rest = _but_channels(call)
    return (g.op("ReduceSum", x, rest, keepdims=0), g.op("ReduceSumSquare", x, rest, keepdims=0))


def batch_moments(call: Call) -> Results:
    """The mean and the mean square of each channel."""
    g, x = call.graph, call.x
    rest = _but_channels(call)
    return (g.op("ReduceMean", x, rest, keepdims=0), g.op("ReduceMean", g.op("Mul", x, x), rest, keepdims=0))


def _but_channels(call: Call) -> ir.Value:
    channel = rank(call.x) - 1 if call.channels_last() else 1
    return call.graph.constant([axis for axis in range(rank(call.x)) if axis != channel])


def rms_norm(call: Call) -> Results:
    """x / sqrt(mean(x^2) + eps) * gamma + beta over the dimensions from ``axis`` on; then what x was multiplied by."""
    g, x = call.graph, call.x
    axis = axis_of(x, call.int("axis", 1))
    rest = g.constant(list(range(axis, rank(x))))
    square = g.op("ReduceMean", g.op("Mul", x, x), rest, keepdims=1)
    inverse = g.op("Reciprocal", g.op("Sqrt", g.op("Add", square, g.scalar(call.float("eps", 0.0), x))))
    gamma, beta = (g.op("Reshape", value, g.shape_of(x, axis, rank(x))) for value in call.inputs[1:3])
    y = g.op("Add", g.op("Mul", g.op("Mul", x, inverse), gamma), beta)
    return (y, g.squeeze(inverse, *range(axis, rank(x))))


def sum_reduce_like(call: Call) -> ir.Value:
    """A summed up until it has the shape of B, which stands at ``axis`` of A, or at its end."""
    g, a, b = call.graph, call.input(0), call.input(1)
    axis = call.int("axis", -1)
    if call.has("axis_str"):
        axis = call.string("order", "NCHW").index(call.string("axis_str", ""))
    begin = rank(a) - rank(b) if axis < 0 else axis
    lead = [*range(begin), *range(begin + rank(b), rank(a))]
    same = [begin + at for at in range(rank(b)) if size(b, at) == 1]
    y = g.op("ReduceSum", a, g.constant([*lead, *same]), keepdims=1) if lead or same else a
    return g.reshape_like(y, b)


RULES: Mapping[str, Rule] = {
    **{f"Bitwise{name}": bitwise(name) for name in ("And", "Or", "Xor")},
    "BatchBoxCox": batch_box_cox,
    "SinusoidPositionEncoding": sinusoid_position_encoding,
    "IntegralImage": integral_image,
    "SquareRootDivide": square_root_divide,
    "Conditional": conditional,
    "WeightScale": weight_scale,
    "NanCheck": nan_check,
    "ChannelStats": channel_stats,
    "BatchMoments": batch_moments,
    "RMSNorm": rms_norm,
    "SumReduceLike": sum_reduce_like,
}
