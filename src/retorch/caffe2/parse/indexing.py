"""Choosing elements by index, and finding indices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.graph import RefusalError, axis_of, constant_of, dims, dtype, rank
from retorch.caffe2.parse.segments import arange

#: Caffe2's TensorProto.DataType; strings and float16 pairs have no ONNX number here.
TYPES: Mapping[int, ir.DataType] = {
    1: ir.DataType.FLOAT,
    2: ir.DataType.INT32,
    3: ir.DataType.UINT8,
    5: ir.DataType.BOOL,
    6: ir.DataType.UINT8,
    7: ir.DataType.INT8,
    8: ir.DataType.UINT16,
    9: ir.DataType.INT16,
    10: ir.DataType.INT64,
    12: ir.DataType.FLOAT16,
    13: ir.DataType.DOUBLE,
}
_LARGEST_HALF = 65504.0
_BY_NAME: Mapping[str, ir.DataType] = {
    "float": TYPES[1],
    "int": TYPES[2],
    "int32": TYPES[2],
    "byte": TYPES[3],
    "bool": TYPES[5],
    "uint8": TYPES[6],
    "int8": TYPES[7],
    "uint16": TYPES[8],
    "int16": TYPES[9],
    "int64": TYPES[10],
    "float16": TYPES[12],
    "double": TYPES[13],
}


def data_type(number: int) -> ir.DataType:
    """The ONNX type of a Caffe2 type number; a refusal where there is none."""
    if number not in TYPES:
        raise RefusalError(f"data type {number}")
    return TYPES[number]


def cast(call: Call) -> ir.Value:
    """x as the type ``to``, a number or a name."""
    argument = next((a for a in call.definition.arg if a.name == "to"), None)
    if argument is not None and argument.HasField("s"):
        name = argument.s.decode().lower()
        if name not in _BY_NAME:
            raise RefusalError(f"cast to {name}")
        return call.graph.cast(call.x, _BY_NAME[name])
    return call.graph.cast(call.x, data_type(call.int("to", 1)))


def fixed_cast(kind: ir.DataType) -> Rule:
    """A rule for a cast to one type."""

    def rule(call: Call) -> ir.Value:
        return call.graph.cast(call.x, kind)

    return rule


def gather(call: Call) -> ir.Value:
    """Slices of x along ``axis``, one per index; negative indices count from the end.

    With ``match_outer`` the indices have the dimensions before ``axis`` too, and each picks from its own part of x.
    """
    return _picked(call, axis_of(call.x, call.int("axis", 0)))


def batch_gather(call: Call) -> ir.Value:
    """The same along dimension 1."""
    return _picked(call, 1)


def _picked(call: Call, axis: int) -> ir.Value:
    g, indices = call.graph, call.input(1)
    if not call.int("match_outer", 0) or axis == 0:
        return g.op("Gather", call.x, indices, axis=axis)
    if rank(indices) < axis:
        raise RefusalError(f"match_outer with indices of {rank(indices)} dimensions, for axis {axis}")
    places = g.unsqueeze(g.cast(indices, ir.DataType.INT64), rank(indices))
    return g.op("GatherND", call.x, places, batch_dims=axis)


def batch_permutation(call: Call) -> ir.Value:
    """The rows of x in the order of the second input."""
    return call.graph.op("Gather", call.x, call.input(1), axis=0)


def boolean_mask(call: Call) -> Results:
    """The entries of x, along its first dimension, where the mask is true; then which those are, as int64."""
    g, mask = call.graph, call.input(1)
    chosen = g.op("Compress", call.x, mask, axis=0)
    return (chosen, g.reshape(g.op("NonZero", mask), (-1,)) if call.wants(1) else None)


def arg(op_type: str) -> Rule:
    """A rule for the index of an extreme along ``axis``, the last by default, as int64; the first one wins."""

    def rule(call: Call) -> ir.Value:
        axis = axis_of(call.x, call.int("axis", -1))
        return call.graph.op(op_type, call.x, axis=axis, keepdims=int(bool(call.int("keepdims", 1))))

    return rule


def top_k(call: Call) -> Results:
    """The k largest along ``axis`` in falling order, then 0; their indices, and their places in x, then -1."""
    g, x = call.graph, call.x
    axis = axis_of(x, call.int("axis", -1))
    count = call.count("k", 1, 1 << 31)
    length = dims(x)[axis]
    if length is None:
        wanted = g.op("Min", g.shape_of(x, axis, axis + 1), g.constant([count]))
    else:
        wanted = g.constant([min(count, length)])
    values, indices = g.ops("TopK", [x, wanted], 2, axis=axis, largest=1, sorted=1)
    flat = _flat_places(call, indices, axis) if call.wants(2) else None
    if length is None or length < count:
        values, indices = _grown(call, values, axis, 0), _grown(call, indices, axis, -1)
        flat = None if flat is None else _grown(call, flat, axis, -1)
    return (values, indices, None if flat is None else g.reshape(flat, (-1,)))[: call.outputs]


def _grown(call: Call, x: ir.Value, axis: int, number: int) -> ir.Value:
    """x with as many entries along ``axis`` as ``k`` asks for, those that are missing being ``number``."""
    g, count = call.graph, call.int("k", 1)
    missing = g.op("Sub", g.constant([count]), g.shape_of(x, axis, axis + 1))
    before, after = g.constant([0] * (rank(x) + axis)), g.constant([0] * (rank(x) - axis - 1))
    y = g.op("Pad", x, g.op("Concat", before, missing, after, axis=0), g.scalar(number, x))
    y.shape = ir.Shape([count if at == axis else size for at, size in enumerate(dims(x))])
    return y


def _flat_places(call: Call, indices: ir.Value, axis: int) -> ir.Value:
    """Where in the flat tensor x the elements are that ``indices`` pick along ``axis``."""
    g, x = call.graph, call.x
    zero, one = (g.constant(np.asarray(number, np.int64)) for number in (0, 1))
    whole = g.op("Range", zero, g.op("Size", x), one)
    shaped = g.op("Reshape", whole, g.shape_of(x))
    shaped.shape = x.shape
    return g.op("GatherElements", shaped, indices, axis=axis)


def constant_range(call: Call) -> ir.Value:
    """start, start + step, … below stop, all of them scalars in blobs."""
    g, like = call.graph, call.x
    bounds = [g.reshape(value, ()) for value in call.inputs]
    if not 1 <= len(bounds) <= 3:
        raise RefusalError(f"Range of {len(bounds)} inputs")
    if len(bounds) == 1:
        bounds = [g.scalar(0, like), *bounds]
    if len(bounds) == 2:
        bounds = [*bounds, g.scalar(1, like)]
    step = constant_of(bounds[2])
    if dtype(like).is_floating_point() or (step is not None and step > 0):
        return g.op("Range", *bounds)
    places = g.cast(arange(g, _whole_steps(call, *bounds)), dtype(like))
    return g.op("Add", g.op("Mul", places, bounds[2]), bounds[0])


def _whole_steps(call: Call, start: ir.Value, stop: ir.Value, step: ir.Value) -> ir.Value:
    """How many whole numbers Caffe2 finds there: it divides towards zero, and adds one where that falls short."""
    g = call.graph
    way = g.op("Sub", stop, start)
    steps = g.op("Div", way, step)
    more = g.op("Less", g.op("Mul", steps, step), way)
    return g.op("Add", g.cast(steps, ir.DataType.INT64), g.cast(more, ir.DataType.INT64))


def float_to_half(call: Call) -> ir.Value:
    """x in half precision; with ``clip`` the largest number of it instead of what is larger."""
    g, x = call.graph, call.x
    if call.int("clip", 0):
        x = g.op("Clip", x, g.scalar(-_LARGEST_HALF, x), g.scalar(_LARGEST_HALF, x))
    return g.cast(x, ir.DataType.FLOAT16)


RULES: Mapping[str, Rule] = {
    "Cast": cast,
    "HalfToFloat": fixed_cast(ir.DataType.FLOAT),
    "FloatToHalf": float_to_half,
    "Gather": gather,
    "BatchGather": batch_gather,
    "BatchPermutation": batch_permutation,
    "BooleanMask": boolean_mask,
    "ArgMax": arg("ArgMax"),
    "ArgMin": arg("ArgMin"),
    "TopK": top_k,
    "Range": constant_range,
}
