"""Choosing elements by index, and finding indices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.graph import RefusalError, axis_of, constant_of, rank

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
    """Slices of x along ``axis``, one per index; negative indices count from the end."""
    if call.int("match_outer", 0):
        raise RefusalError("match_outer")
    return call.graph.op("Gather", call.x, call.input(1), axis=axis_of(call.x, call.int("axis", 0)))


def batch_gather(call: Call) -> ir.Value:
    """The same slices along dimension 1 for every row."""
    if call.int("match_outer", 0):
        raise RefusalError("match_outer")
    return call.graph.op("Gather", call.x, call.input(1), axis=1)


def boolean_mask(call: Call) -> ir.Value:
    """The entries of x, along its first dimension, where the mask is true."""
    return call.graph.op("Compress", call.x, call.input(1), axis=0)


def arg(op_type: str) -> Rule:
    """A rule for the index of an extreme along ``axis``, the last by default, as int64; the first one wins."""

    def rule(call: Call) -> ir.Value:
        axis = axis_of(call.x, call.int("axis", -1))
        return call.graph.op(op_type, call.x, axis=axis, keepdims=int(bool(call.int("keepdims", 1))))

    return rule


def top_k(call: Call) -> Results:
    """The k largest along ``axis`` in falling order, their indices, and their places in the flat tensor."""
    g = call.graph
    axis = axis_of(call.x, call.int("axis", -1))
    if call.wants(2):
        raise RefusalError("TopK with flattened indices")
    values, indices = g.ops("TopK", [call.x, g.constant([call.int("k", 1)])], 2, axis=axis, largest=1, sorted=1)
    return (values, indices, None)[: call.outputs]


def one_hot(call: Call) -> ir.Value:
    """One row per index, with a single 1 in it."""
    g, depth = call.graph, constant_of(call.input(1))
    if depth is None:
        raise RefusalError("the number of columns comes from a blob that the network calculates")
    columns = g.constant(list(range(int(depth.ravel()[0]))))
    indices = g.unsqueeze(g.cast(call.x, ir.DataType.INT64), 1)
    if rank(call.x) != 1:
        raise RefusalError(f"OneHot of {rank(call.x)} dimensions")
    return g.cast(g.op("Equal", indices, columns), ir.DataType.FLOAT)


def scatter_assign(call: Call) -> ir.Value:
    """data with data[index[i]] = slices[i]"""
    g = call.graph
    indices = g.unsqueeze(g.cast(call.input(1), ir.DataType.INT64), rank(call.input(1)))
    return g.op("ScatterND", call.x, indices, call.input(2))


def lengths_to_segment_ids(call: Call) -> ir.Value:
    """0 as often as the first length says, 1 as often as the second one, …"""
    g = call.graph
    ends = g.op("CumSum", g.cast(call.x, ir.DataType.INT64), g.constant([0]))
    total = g.op("ReduceSum", call.x, g.constant([0]), keepdims=0)
    zero, one = (g.constant(np.asarray(number, np.int64)) for number in (0, 1))
    places = g.unsqueeze(g.op("Range", zero, g.cast(total, ir.DataType.INT64), one), 1)
    # The segment of a place is the number of segments that end before it.
    passed = g.cast(g.op("GreaterOrEqual", places, g.unsqueeze(ends, 0)), ir.DataType.INT32)
    return g.op("ReduceSum", passed, g.constant([1]), keepdims=0)


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
    return g.op("Range", *bounds)


RULES: Mapping[str, Rule] = {
    "Cast": cast,
    "HalfToFloat": fixed_cast(ir.DataType.FLOAT),
    "FloatToHalf": fixed_cast(ir.DataType.FLOAT16),
    "Gather": gather,
    "BatchGather": batch_gather,
    "BooleanMask": boolean_mask,
    "ArgMax": arg("ArgMax"),
    "ArgMin": arg("ArgMin"),
    "TopK": top_k,
    "OneHot": one_hot,
    "Range": constant_range,
    "ScatterAssign": scatter_assign,
    "LengthsToSegmentIds": lengths_to_segment_ids,
}
