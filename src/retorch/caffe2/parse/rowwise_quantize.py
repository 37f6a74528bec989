"""Tables of floats put into 8, 4 or 2 bits, with the scale and the bias of each row fused to its end as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import Graph, RefusalError, dims, rank
from retorch.caffe2.parse.segments import INT64, arange, int64

FLOAT, DOUBLE, HALF, UINT8 = ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.UINT8


@dataclass(frozen=True, slots=True)
class _Format:
    """IEEE's single or half precision: bytes of a number, bits of its fraction, the exponent of its smallest."""

    size: int
    fraction: int
    smallest: int
    exponents: int


_SINGLE, _HALF = _Format(4, 23, -126, 254), _Format(2, 10, -14, 30)


def _bytes(graph: Graph, numbers: ir.Value, form: _Format) -> ir.Value:
    """The bytes that spell each number of a column (…, 1), little-endian: (…, size)."""
    g = graph
    value = g.cast(numbers, DOUBLE)
    size = g.op("Abs", value)
    powers = g.constant(2.0 ** np.arange(form.smallest, form.smallest + form.exponents, dtype=np.float64))
    last = g.constant([rank(numbers) - 1])
    # The exponent's field is the number of normal powers of two that are not larger.
    field = g.op("ReduceSum", g.cast(g.op("GreaterOrEqual", size, powers), INT64), last, keepdims=1)
    unit = g.op("Gather", powers, g.op("Max", g.op("Sub", field, int64(g, 1)), int64(g, 0)))
    normal = g.cast(g.op("Greater", field, int64(g, 0)), DOUBLE)
    fraction = g.op("Mul", g.op("Sub", g.op("Div", size, unit), normal), g.scalar(2.0**form.fraction, size))
    infinite = g.op("GreaterOrEqual", size, g.scalar(2.0 ** (form.smallest + form.exponents), size))
    fraction = g.op("Where", infinite, g.scalar(0.0, size), fraction)
    field = g.op("Add", field, g.cast(infinite, INT64))
    zero = g.scalar(0.0, value)
    sign = g.op("Where", g.op("Equal", value, zero), g.op("Reciprocal", value), value)  # 1 / -0 is -inf
    negative = g.cast(g.op("Less", sign, zero), INT64)
    top = g.op("Add", field, g.op("Mul", negative, int64(g, form.exponents + 2)))
    bits = g.op("Add", g.op("Mul", top, int64(g, 2**form.fraction)), g.cast(fraction, INT64))
    shifted = g.op("Div", bits, g.constant([256**at for at in range(form.size)]))
    return g.cast(g.op("Mod", shifted, int64(g, 256)), UINT8)


def _extent(graph: Graph, x: ir.Value, *, lanes: bool) -> tuple[ir.Value, ir.Value]:
    """The smallest and the largest number of each row, as columns."""
    g, last = graph, rank(x) - 1
    low = g.op("ReduceMin", x, g.constant([last]), keepdims=1)
    places = arange(g, g.reshape(g.shape_of(x, last, last + 1), ()))
    # Which of equal numbers counts, as 0 and -0 are equal: that with the least number.
    turn = _in_lanes(g, places) if lanes else places
    order = g.op("Where", g.op("Equal", x, low), turn, int64(g, 2**62))
    low = g.op("GatherElements", x, g.op("ArgMin", order, axis=last, keepdims=1), axis=last)
    return low, g.op("ReduceMax", x, g.constant([last]), keepdims=1)


def _in_lanes(graph: Graph, places: ir.Value) -> ir.Value:
    """The order in which equal numbers count where eight columns are compared at once.

    The first of these lanes counts, and within a lane the last number; columns that fill no lanes come behind.
    """
    g, eight = graph, int64(graph, 8)
    block, lane = g.op("Div", places, eight), g.op("Mod", places, eight)
    laned = g.op("Sub", g.op("Mul", lane, int64(g, 2**40)), block)
    full = g.op("Less", block, g.op("Div", g.op("Size", places), eight))
    return g.op("Where", full, laned, g.op("Add", places, int64(g, 2**60)))


def _floats(call: Call) -> ir.Value:
    if rank(call.x) == 0:
        raise RefusalError("a table without dimensions")
    if call.definition.engine == "GREEDY":
        raise RefusalError("engine GREEDY, which searches for the bounds of each row")
    return call.graph.cast(call.x, FLOAT)


def _rounded(graph: Graph, x: ir.Value, low: ir.Value, inverse: ir.Value, most: int) -> ir.Value:
    steps = graph.op("Round", graph.op("Mul", graph.op("Sub", x, low), inverse))
    return graph.op("Clip", steps, graph.scalar(0.0, x), graph.scalar(most, x))


def eight_bits(call: Call) -> ir.Value:
    """Each row in steps of a 255th of its width; scale and bias are single precision."""
    g, x = call.graph, _floats(call)
    low, high = _extent(g, x, lanes=True)
    width = g.op("Sub", high, low)
    scale = g.op("Div", width, g.scalar(255.0, x))
    inverse = g.op("Div", g.scalar(255.0, x), g.op("Add", width, g.scalar(1e-8, x)))
    data = g.cast(_rounded(g, x, low, inverse, 255), UINT8)
    return g.op("Concat", data, _bytes(g, scale, _SINGLE), _bytes(g, low, _SINGLE), axis=rank(x) - 1)


def _half_bounds(graph: Graph, x: ir.Value, bits: int, *, lanes: bool) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Bias and scale, rounded to half precision, and by what a number above the bias is multiplied."""
    g, one, zero = graph, graph.scalar(1.0, x), graph.scalar(0.0, x)
    low, high = _extent(g, x, lanes=lanes)
    low = g.cast(g.cast(low, HALF), FLOAT)
    width = g.op("Sub", high, low)
    step = g.op("Div", width, g.scalar(2**bits - 1, x))
    scale = g.cast(g.cast(g.op("Where", g.op("Equal", width, zero), one, step), HALF), FLOAT)
    scale = g.op("Where", g.op("Equal", scale, zero), one, scale)
    return low, scale, g.op("Reciprocal", scale)


def _packed(graph: Graph, steps: ir.Value, bits: int) -> ir.Value:
    """Numbers of so few bits, several to a byte, the first in the low bits."""
    g, count = graph, 8 // bits
    columns = dims(steps)[-1]
    if columns is not None and columns % count:
        raise RefusalError(f"{columns} columns, not a multiple of {count}")
    grouped = g.reshape(steps, (*(0,) * (rank(steps) - 1), -1, count))
    weights = g.constant(np.asarray([2.0 ** (bits * at) for at in range(count)], np.float32))
    return g.op("ReduceSum", g.op("Mul", grouped, weights), g.constant([rank(steps)]), keepdims=0)


def few_bits(bits: int) -> Rule:
    """A rule for rows in so many bits; scale and bias are half precision."""

    def rule(call: Call) -> ir.Value:
        g, x = call.graph, _floats(call)
        low, scale, inverse = _half_bounds(g, x, bits, lanes=not call.type.startswith("HalfTo"))
        data = _packed(g, _rounded(g, x, low, inverse, 2**bits - 1), bits)
        return g.op("Concat", g.cast(data, UINT8), _bytes(g, scale, _HALF), _bytes(g, low, _HALF), axis=rank(x) - 1)

    return rule


def fake_few_bits(bits: int) -> Rule:
    """The same numbers with a byte for each, and scale and bias in single precision."""

    def rule(call: Call) -> ir.Value:
        g, x = call.graph, _floats(call)
        low, scale, inverse = _half_bounds(g, x, bits, lanes=False)
        data = g.cast(_rounded(g, x, low, inverse, 2**bits - 1), UINT8)
        return g.op("Concat", data, _bytes(g, scale, _SINGLE), _bytes(g, low, _SINGLE), axis=rank(x) - 1)

    return rule


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("FloatToFused8BitRowwiseQuantized", "HalfFloatToFused8BitRowwiseQuantized"), eight_bits),
    **{f"{kind}ToFused8BitRowwiseQuantizedHalfScaleBias": few_bits(8) for kind in ("Float", "HalfFloat")},
    **{f"{kind}ToFused{bits}BitRowwiseQuantized": few_bits(bits) for kind in ("Float", "Half") for bits in (4, 2)},
    **{
        f"{kind}ToFused{bits}BitFakeRowwiseQuantized": fake_few_bits(bits)
        for kind in ("Float", "Half")
        for bits in (4, 2)
    },
}
