"""Operators on eight-bit pictures and rows (``Int8…``), to the integer as Caffe2's QNNPACK calculates them.

A blob of these is bytes with a scale and a zero point, which its operator is given as arguments; images are NHWC. In
the graph it is its bytes; the other two are kept beside the value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import Graph, RefusalError

INT32, INT64, FLOAT, UINT8 = ir.DataType.INT32, ir.DataType.INT64, ir.DataType.FLOAT, ir.DataType.UINT8
_KEY = "retorch.int8"
TO_NCHW, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


@dataclass(frozen=True, slots=True)
class Scale:
    """What the bytes of a blob mean: ``scale * (byte - zero)``."""

    scale: np.float32
    zero: int


def scale_of(value: ir.Value) -> Scale | None:
    """What the bytes of a value mean, None where it is an ordinary tensor."""
    found = cast("Mapping[str, object]", value.meta).get(_KEY)
    return found if isinstance(found, Scale) else None


def quantised(value: ir.Value, scale: Scale) -> ir.Value:
    """The value, as bytes of this meaning."""
    value.meta[_KEY] = scale
    return value


def floats(graph: Graph, x: ir.Value, scale: Scale) -> ir.Value:
    """The numbers that bytes stand for."""
    numbers = graph.op("Sub", graph.cast(x, INT32), graph.constant(np.asarray(scale.zero, np.int32)))
    return graph.op("Mul", graph.cast(numbers, FLOAT), graph.constant(np.asarray(scale.scale)))


def blob_of(call: Call, at: int = 0) -> tuple[ir.Value, Scale]:
    value = call.input(at)
    scale = scale_of(value)
    if scale is None:
        raise RefusalError(f"{call.definition.input[at]} is not a blob of eight bits")
    return value, scale


def asked(call: Call) -> Scale:
    """The scale and zero point of the result."""
    scale, zero = np.float32(call.float("Y_scale", 1.0)), call.int("Y_zero_point", 0)
    if not (0 < scale < math.inf and 0 <= zero <= 255):
        raise RefusalError(f"Y_scale {scale} with Y_zero_point {zero}")
    return Scale(scale, zero)


def integer(graph: Graph, number: int) -> ir.Value:
    return graph.constant(np.asarray(number, np.int64))


def _shifted(graph: Graph, x: ir.Value, bits: int) -> ir.Value:
    """floor(x / 2^bits) of whole numbers of at most 31 bits more: ONNX divides towards zero."""
    g = graph
    lift = min(bits + 31, 62)
    moved = g.op("Div", g.op("Add", x, integer(g, 1 << lift)), integer(g, 1 << bits))
    return g.op("Sub", moved, integer(g, 1 << (lift - bits)))


def rounded_shift(graph: Graph, x: ir.Value, bits: int) -> ir.Value:
    """x / 2^bits, halves away from zero."""
    g, whole = graph, _shifted(graph, x, bits)
    rest = g.op("Sub", x, g.op("Mul", whole, integer(g, 1 << bits)))
    rest = g.op("Sub", rest, g.cast(g.op("Less", x, integer(g, 0)), INT64))
    return g.op("Add", whole, g.cast(g.op("Greater", rest, integer(g, ((1 << bits) - 1) >> 1)), INT64))


def as_bytes(graph: Graph, x: ir.Value, scale: Scale, *, relu: bool = False) -> ir.Value:
    """Whole numbers above the zero point as bytes of the scale."""
    g = graph
    moved = g.op("Add", g.cast(x, INT64), integer(g, scale.zero))
    low = scale.zero if relu else 0
    return quantised(g.cast(g.op("Clip", moved, integer(g, low), integer(g, 255)), UINT8), scale)


def requantised(graph: Graph, sums: ir.Value, factor: np.float32, scale: Scale, *, relu: bool) -> ir.Value:
    """Sums times ``factor``, below 1, as bytes: by a multiplier of 31 bits and a shift, both rounded."""
    if not 2.0**-32 <= factor < 1:
        raise RefusalError(f"the scales of input, weights and result give a factor of {factor:.3g}, not below 1")
    pattern = int(np.asarray(factor, np.float32).view(np.uint32))
    multiplier = ((pattern & 0x7FFFFF) | 0x800000) << 7
    shift = 127 + 31 - 32 - (pattern >> 23)
    g = graph
    product = g.op("Mul", g.cast(sums, INT64), integer(g, multiplier))
    high = _shifted(g, g.op("Add", product, integer(g, 1 << 30)), 31)
    return as_bytes(g, rounded_shift(g, high, shift) if shift else high, scale, relu=relu)


def given(call: Call) -> ir.Value:
    """The bytes of ``values``, in ``shape``."""
    text = call.bytes("values")
    shape = _shape(call, len(text))
    return quantised(call.graph.constant(np.frombuffer(text, np.uint8).reshape(shape)), asked(call))


def given_ints(call: Call) -> ir.Value:
    """The biases of ``values``, of 32 bits, in ``shape``."""
    numbers = call.ints("values")
    scale = Scale(np.float32(call.float("Y_scale", 1.0)), call.int("Y_zero_point", 0))
    return quantised(call.graph.constant(np.asarray(numbers, np.int32).reshape(_shape(call, len(numbers)))), scale)


def _shape(call: Call, count: int) -> tuple[int, ...]:
    shape = call.ints("shape")
    if min(shape, default=0) < 0 or math.prod(shape) != count:
        raise RefusalError(f"{count} values for shape {shape}")
    return shape


def quantize(call: Call) -> ir.Value:
    """The nearest bytes of floats, halves as Caffe2 rounds them."""
    g, scale = call.graph, asked(call)
    steps = g.op("Div", call.x, g.constant(np.asarray(scale.scale)))
    low, high, most = (g.constant(np.asarray(number, np.float32)) for number in (-65536, 65536, 2.0**31))
    # NaN, and what is more than an integer holds, become the lowest integer and so the first byte
    held = g.op("Where", g.op("Less", steps, most), steps, low)
    return as_bytes(g, g.op("Round", g.op("Clip", held, low, high)), scale)


def dequantize(call: Call) -> ir.Value:
    """The floats that the bytes stand for."""
    return floats(call.graph, *blob_of(call))


RULES: Mapping[str, Rule] = {
    "Int8GivenTensorFill": given,
    "Int8GivenIntTensorFill": given_ints,
    "Int8Quantize": quantize,
    "Int8Dequantize": dequantize,
}
