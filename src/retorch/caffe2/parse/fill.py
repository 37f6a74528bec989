"""Constants that a net makes for itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import READABLE, Array, Graph, RefusalError, constant_of, count, number_of
from retorch.caffe2.parse.indexing import data_type


def constant_fill(call: Call) -> ir.Value:
    """One value everywhere: in the shape of an argument, of the input, or that the input spells out."""
    g = call.graph
    kind = data_type(call.int("dtype", 1))
    value = number_of(_value(call, kind), kind)
    extra = call.ints("extra_shape")
    if not call.inputs:
        return _filled(g, (*call.ints("shape"), *extra), value)
    if call.ints("shape"):
        raise RefusalError("shape together with an input")
    sizes = _target(call)
    if extra:
        sizes = g.op("Concat", sizes, g.constant(extra), axis=0)
    known = constant_of(sizes)
    if known is not None:
        return _filled(g, known.ravel().tolist(), value)
    y = g.op("Expand", g.constant(value), sizes)
    if not call.int("input_as_shape", 0):
        y.shape = ir.Shape([*(call.x.shape or ()), *extra])
    return y


def _filled(graph: Graph, shape: Sequence[int], value: Array) -> ir.Value:
    """A small constant, which rules can read; a large one is made when the network runs."""
    if any(length < 0 for length in shape):
        raise RefusalError(f"shape {tuple(shape)}")
    if math.prod(shape) <= READABLE:
        return graph.constant(np.full(shape, value))
    return graph.op("Expand", graph.constant(value), graph.constant(list(shape)))


def _value(call: Call, kind: ir.DataType) -> float:
    if kind.is_floating_point():
        return call.float("value", 0.0)
    return call.int("value", 0)


def _target(call: Call) -> ir.Value:
    g = call.graph
    if not call.int("input_as_shape", 0):
        return g.shape_of(call.x)
    known = constant_of(call.x)
    return g.cast(call.x, ir.DataType.INT64) if known is None else g.constant(known.astype(np.int64))


def half_fill(call: Call) -> ir.Value:
    """One value everywhere, in half precision."""
    if call.inputs:
        raise RefusalError("Float16ConstantFill with an input")
    return _filled(call.graph, call.ints("shape"), number_of(call.float("value", 0.0), ir.DataType.FLOAT16))


def range_fill(call: Call) -> ir.Value:
    """0, 1, 2, … in the shape of an argument, of the input, or that the input spells out."""
    g = call.graph
    sizes = _target(call) if call.inputs else g.constant(call.ints("shape"))
    count = g.op("ReduceProd", sizes, g.constant([0]), keepdims=0)
    numbers = g.op("Range", g.constant(np.asarray(0)), count, g.constant(np.asarray(1)))
    return g.op("Reshape", g.cast(numbers, ir.DataType.FLOAT), sizes)


def given(kind: ir.DataType) -> Rule:
    """A rule for numbers written in the net itself, of this type unless ``dtype`` says another."""

    def rule(call: Call) -> ir.Value:
        actual = kind
        if kind == ir.DataType.FLOAT and call.int("dtype", 0):
            actual = data_type(call.int("dtype", 0))
        numbers = call.floats("values") if actual.is_floating_point() else call.ints("values")
        shape = call.ints("shape")
        if count(shape) != len(numbers):
            raise RefusalError(f"{len(numbers)} values for shape {shape}")
        array = np.asarray(numbers).astype(actual.numpy())
        if not actual.is_floating_point() and not np.array_equal(array, np.asarray(numbers)):
            raise RefusalError(f"values that are not of type {actual.name.lower()}")
        return call.graph.constant(array.reshape(shape))

    return rule


def given_bytes(call: Call) -> ir.Value:
    """Bytes written in the net as one string."""
    data, shape = b"".join(call.strings("values")[:1]), call.ints("shape")
    if count(shape) != len(data):
        raise RefusalError(f"{len(data)} bytes for shape {shape}")
    return call.graph.constant(np.frombuffer(data, np.uint8).reshape(shape))


RULES: Mapping[str, Rule] = {
    "ConstantFill": constant_fill,
    "Float16ConstantFill": half_fill,
    "RangeFill": range_fill,
    "GivenTensorFill": given(ir.DataType.FLOAT),
    "GivenTensorDoubleFill": given(ir.DataType.DOUBLE),
    "GivenTensorIntFill": given(ir.DataType.INT32),
    "GivenTensorInt64Fill": given(ir.DataType.INT64),
    "GivenTensorBoolFill": given(ir.DataType.BOOL),
    "GivenTensorInt16Fill": given(ir.DataType.INT16),
    "GivenTensorFp16Fill": given(ir.DataType.FLOAT16),
    "GivenTensorByteStringToUInt8Fill": given_bytes,
}
