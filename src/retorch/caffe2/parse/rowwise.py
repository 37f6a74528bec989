"""Tables in 8, 4 or 2 bits with a scale and a bias a row, beside the row or fused to its end; sums over them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.graph import Graph, dims, dtype, rank, size
from retorch.caffe2.parse.lengths import integers
from retorch.caffe2.parse.segment_reduction import by_lengths, reduced
from retorch.caffe2.parse.segments import INT64, column, counted, int64, rows_of, segment_ids, total

FLOAT, DOUBLE, HALF = ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16


def _floats(graph: Graph, data: ir.Value, *, half: bool) -> ir.Value:
    """The number that the last dimension of bytes spells, little-endian: IEEE's single or half precision."""
    g = graph
    numbers = g.cast(data, DOUBLE)
    weights = g.constant(np.asarray([256.0**at for at in range(2 if half else 4)]))
    bits = g.op("ReduceSum", g.op("Mul", numbers, weights), g.constant([rank(data) - 1]), keepdims=0)
    fraction_bits, bias, exponents = (10, 15, 32) if half else (23, 127, 256)
    unit = g.scalar(2.0**fraction_bits, bits)
    high = g.op("Floor", g.op("Div", bits, unit))
    fraction = g.op("Div", g.op("Sub", bits, g.op("Mul", high, unit)), unit)
    sign = g.op("Floor", g.op("Div", high, g.scalar(float(exponents), bits)))
    exponent = g.op("Sub", high, g.op("Mul", sign, g.scalar(float(exponents), bits)))
    one, zero = g.scalar(1.0, bits), g.scalar(0.0, bits)
    normal = g.cast(g.op("Greater", exponent, zero), DOUBLE)
    # The last exponent stands for infinity, and with a fraction for no number.
    beyond = g.op("Equal", exponent, g.scalar(float(exponents - 1), bits))
    nothing = g.op("And", beyond, g.op("Greater", fraction, zero))
    infinite = g.op("Where", nothing, g.scalar(math.nan, bits), g.scalar(math.inf, bits))
    power = g.op("Sub", g.op("Max", exponent, one), g.scalar(float(bias), bits))
    size_of = g.op("Mul", g.op("Pow", g.scalar(2.0, bits), power), g.op("Add", normal, fraction))
    size_of = g.op("Where", beyond, infinite, size_of)
    signed = g.op("Mul", size_of, g.op("Sub", one, g.op("Mul", sign, g.scalar(2.0, bits))))
    return g.cast(signed, FLOAT)


def _unpacked(graph: Graph, data: ir.Value, bits: int) -> ir.Value:
    """Bytes as the numbers of so many bits in them, the low ones first."""
    g = graph
    if bits == 8:
        return g.cast(data, FLOAT)
    numbers = g.unsqueeze(g.cast(data, FLOAT), rank(data))
    steps = g.constant(np.asarray([2.0 ** (bits * at) for at in range(8 // bits)], np.float32))
    shifted = g.op("Floor", g.op("Div", numbers, steps))
    most = g.scalar(2.0**bits, shifted)
    kept = g.op("Sub", shifted, g.op("Mul", g.op("Floor", g.op("Div", shifted, most)), most))
    columns = g.op("Mul", g.shape_of(data, rank(data) - 1), g.constant([8 // bits]))
    return g.op("Reshape", kept, g.op("Concat", g.shape_of(data, 0, rank(data) - 1), columns, axis=0), allowzero=1)


def _fused(graph: Graph, table: ir.Value, bits: int, *, half: bool) -> ir.Value:
    """A fused table as floats: q * scale + bias."""
    g, last = graph, rank(table) - 1
    wide = 2 if half else 4
    end = 2**31 - 1
    data = g.slice(table, last, 0, -2 * wide)
    scale = _floats(g, g.slice(table, last, -2 * wide, -wide), half=half)
    bias = _floats(g, g.slice(table, last, -wide, end), half=half)
    numbers = g.op("Mul", _unpacked(g, data, bits), g.unsqueeze(scale, last))
    return g.op("Add", numbers, g.unsqueeze(bias, last))


def fused_to_float(bits: int, *, half: bool, to: ir.DataType = FLOAT) -> Rule:
    """A rule for a whole table as floats of single or half precision."""

    def rule(call: Call) -> ir.Value:
        return call.graph.cast(_fused(call.graph, call.x, bits, half=half), to)

    return rule


def gather_fused(call: Call) -> ir.Value:
    """Rows of a fused table, picked by index, as floats."""
    return _fused(call.graph, call.graph.op("Gather", call.x, integers(call, 1), axis=0), 8, half=False)


def sparse_lengths_fused(bits: int, kind: str, *, half: bool) -> Rule:
    """A rule for sums over rows of a fused table. Inputs: table, weights where weighted, indices, lengths."""

    def rule(call: Call) -> ir.Value:
        weighted = kind.startswith("Weighted")
        at = 2 if weighted else 1
        rows = call.graph.op("Gather", call.x, integers(call, at), axis=0)
        numbers = _fused(call.graph, rows, bits, half=half)
        return _weighted_sum(call, numbers, at + 1, kind)

    return rule


def sparse_lengths_pruned(bits: int, kind: str) -> Rule:
    """The same of a table without some of its rows. A last input says where each row is now, -1 for none.

    Rows that are gone count as zeros. A mapping of one 0 stands for a table that has all of its rows.
    """

    def rule(call: Call) -> ir.Value:
        g, at = call.graph, 2 if kind.startswith("Weighted") else 1
        mapping, indices = g.reshape(integers(call, at + 2), (-1,)), integers(call, at)
        if size(mapping, 0) == 1:
            unmapped = g.op("Equal", mapping, int64(g, 0))
            places = g.op("Where", unmapped, indices, g.op("Add", g.op("Mul", indices, int64(g, 0)), mapping))
        else:
            places = g.op("Gather", mapping, indices)
        there = g.op("GreaterOrEqual", places, int64(g, 0))
        rows = g.op("Gather", call.x, g.op("Max", places, int64(g, 0)), axis=0)
        numbers = _fused(g, rows, bits, half=bits < 8)
        known = g.op("Where", g.cast(column(g, there, numbers), ir.DataType.BOOL), numbers, g.scalar(0.0, numbers))
        return _weighted_sum(call, known, at + 1, kind)

    return rule


def sparse_lookup(call: Call) -> Results:
    """Where the rows of a pruned table are now, without those that are gone; how many each segment has; weights."""
    g, indices, lengths = call.graph, integers(call, 0), integers(call, 1)
    # Indices that belong to no segment are left out.
    indices, *weights = (g.op("Slice", each, g.constant([0]), g.reshape(total(g, lengths), (1,)))
                         for each in (indices, *call.inputs[3:4]))  # fmt: skip
    places = g.op("Gather", integers(call, 2), indices)
    there = g.op("Not", g.op("Equal", places, int64(g, -1)))
    ids = g.op("Compress", segment_ids(g, lengths), there, axis=0)
    left = g.cast(counted(g, ids, rows_of(g, lengths)), ir.DataType.INT32)
    kept = g.cast(g.op("Compress", places, there, axis=0), dtype(call.x))
    return (kept, left, *(g.op("Compress", each, there, axis=0) for each in weights))


def _weighted_sum(call: Call, rows: ir.Value, lengths: int, kind: str) -> ir.Value:
    if kind.startswith("Weighted"):
        g = call.graph
        # Caffe2 does not mind weights that are left over.
        weights = g.op("Slice", call.input(1), g.constant([0]), g.shape_of(rows, 0, 1))
        rows = g.op("Mul", rows, column(g, weights, rows))
    return reduced(call, kind.removeprefix("Weighted"), rows, by_lengths(call, lengths))


def sparse_lengths_8bits(kind: str) -> Rule:
    """A rule for sums over rows whose scales and biases are the last input, (rows, 2)."""

    def rule(call: Call) -> ir.Value:
        g, at = call.graph, 2 if kind.startswith("Weighted") else 1
        indices = integers(call, at)
        rows = g.op("Gather", call.x, indices, axis=0)
        scales = g.op("Gather", call.input(at + 2), indices, axis=0)
        return _weighted_sum(call, _scaled(g, rows, scales), at + 1, kind)

    return rule


def _scaled(graph: Graph, rows: ir.Value, scale_bias: ir.Value) -> ir.Value:
    g, ones = graph, (1,) * (rank(rows) - 1)
    scale, bias = (g.reshape(g.slice(scale_bias, 1, at, at + 1), (-1, *ones)) for at in (0, 1))
    return g.op("Add", g.op("Mul", g.cast(rows, FLOAT), scale), bias)


def rowwise_to_float(call: Call) -> ir.Value:
    """q * scale + bias, of each row its own."""
    return _scaled(call.graph, call.x, call.input(1))


def float_to_rowwise(call: Call) -> Results:
    """Each row in 8 bits between its smallest and its largest number; then scale and bias of each."""
    g, x = call.graph, call.x
    rest = g.constant(list(range(1, rank(x))))
    low, high = (g.op(kind, x, rest, keepdims=1, noop_with_empty_axes=1) for kind in ("ReduceMin", "ReduceMax"))
    width = g.op("Sub", high, low)
    flat = g.op("Less", width, g.scalar(1e-10, x))
    scale = g.op("Where", flat, g.scalar(1.0, x), g.op("Div", width, g.scalar(255.0, x)))
    inverse = g.op("Reciprocal", scale)
    steps = g.op("Mul", g.op("Sub", x, low), inverse)
    # Caffe2 rounds halves away from zero, and there are no negative ones.
    data = g.cast(g.op("Floor", g.op("Add", steps, g.scalar(0.5, x))), ir.DataType.UINT8)
    data.shape = ir.Shape(list(dims(x)))
    pair = g.op("Concat", g.reshape(scale, (-1, 1)), g.reshape(low, (-1, 1)), axis=1)
    return (data, pair)


def decode(call: Call) -> Results:
    """The numbers of a codebook that stand for codes. Inputs: codebook, then any number of tensors of codes."""
    g, codes = call.graph, call.graph.reshape(call.x, (-1,))
    return [g.op("Gather", codes, g.cast(each, INT64)) for each in call.inputs[1:]]


def byte_weights(call: Call) -> ir.Value:
    """Bytes as 255 steps between ``min`` and ``max``, in the shape of an argument."""
    g, low, high = call.graph, call.float("min", -3.0), call.float("max", 3.0)
    step = np.asarray(np.float32(high) - np.float32(low), np.float32) / np.float32(255)
    numbers = g.op("Mul", g.cast(g.reshape(call.x, (-1,)), FLOAT), g.constant(np.asarray(step, np.float32)))
    shaped = g.op("Add", numbers, g.constant(np.asarray(low, np.float32)))
    return g.op("Reshape", shaped, g.constant(call.ints("shape")))


_KINDS = ("Sum", "WeightedSum", "Mean")

RULES: Mapping[str, Rule] = {
    **{f"SparseLengths{kind}8BitsRowwise": sparse_lengths_8bits(kind) for kind in (*_KINDS, "WeightedMean")},
    **{
        f"SparseLengths{kind}Fused{bits}BitRowwise": sparse_lengths_fused(bits, kind, half=bits < 8)
        for kind in _KINDS
        for bits in (8, 4, 2)
    },
    **{
        f"SparseLengths{kind}{bits}BitRowwiseSparse": sparse_lengths_pruned(bits, kind)
        for kind in _KINDS
        for bits in (8, 4, 2)
    },
    "SparseLengthsSumSparseLookup": sparse_lookup,
    "QuantDecode": decode,
    "ByteWeightDequant": byte_weights,
    "GatherFused8BitRowwise": gather_fused,
    "Fused8BitRowwiseQuantizedToHalfFloat": fused_to_float(8, half=False, to=HALF),
    # Its name says half; Caffe2 gives single precision.
    "Fused8BitRowwiseQuantizedHalfScaleBiasToHalfFloat": fused_to_float(8, half=True),
    "Fused4BitRowwiseQuantizedToHalf": fused_to_float(4, half=True, to=HALF),
    "Fused2BitRowwiseQuantizedToHalf": fused_to_float(2, half=True, to=HALF),
    "Fused8BitRowwiseQuantizedToFloat": fused_to_float(8, half=False),
    "Fused8BitRowwiseQuantizedHalfScaleBiasToFloat": fused_to_float(8, half=True),
    "Fused4BitRowwiseQuantizedToFloat": fused_to_float(4, half=True),
    "Fused2BitRowwiseQuantizedToFloat": fused_to_float(2, half=True),
    "Rowwise8BitQuantizedToFloat": rowwise_to_float,
    "FloatToRowwiseQuantized8Bits": float_to_rowwise,
}
