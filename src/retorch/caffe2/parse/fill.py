"""Constants that a net makes for itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from retorch.caffe2 import arguments
from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import (
    READABLE,
    Array,
    Graph,
    NeedsShapeError,
    RefusalError,
    constant_of,
    count,
    number_of,
)
from retorch.caffe2.parse.indexing import data_type


def constant_fill(call: Call) -> ir.Value:
    """One value everywhere: in the shape of an argument, of the input, or that the input spells out."""
    g, number, sizes = call.graph, _number(call), asked_sizes(call)
    value, known = constant_of(number), constant_of(sizes)
    if value is not None and known is not None:
        return _filled(g, known.ravel().tolist(), value)
    y = g.op("Expand", number, sizes)
    if not call.int("input_as_shape", 0) and call.x.shape is not None:
        y.shape = ir.Shape([*call.x.shape, *call.ints("extra_shape")])
    return y


def _number(call: Call) -> ir.Value:
    """The value of a second input, else of the argument."""
    g, value = call.graph, _value(call)
    if len(call.inputs) < 2:
        return g.constant(value)
    given = constant_of(call.inputs[1])
    if given is not None:
        return g.constant(given.reshape(()).astype(value.dtype))
    return g.cast(g.reshape(call.inputs[1], ()), ir.DataType.from_numpy(value.dtype))


def _filled(graph: Graph, shape: Sequence[int], value: Array) -> ir.Value:
    """A small constant, which rules can read; a large one is made when the network runs."""
    if any(length < 0 for length in shape):
        raise RefusalError(f"shape {tuple(shape)}")
    if math.prod(shape) <= READABLE:
        return graph.constant(np.full(shape, value))
    return graph.op("Expand", graph.constant(value), graph.constant(list(shape)))


def _value(call: Call) -> Array:
    """``value`` as a ``dtype``, which without being said is that of the value: float, or int64."""
    if not call.has("dtype") and call.has("value"):
        found = arguments.argument(call.definition, "value")
        kind = ir.DataType.FLOAT if found is None or found.HasField("f") else ir.DataType.INT64
    else:
        kind = data_type(call.int("dtype", 1))
    return number_of(call.float("value", 0.0) if kind.is_floating_point() else call.int("value", 0), kind)


def diagonal_fill(call: Call) -> ir.Value:
    """Zeros with ``value`` where all indices are equal, in the sizes of an argument or an input."""
    known = constant_of(asked_sizes(call))
    if known is None:
        raise NeedsShapeError("DiagonalFill of unknown size")
    sizes = tuple(int(size) for size in known.ravel())
    if (len(set(sizes)) > 1 and len(sizes) > 2) or len(sizes) < 2 or min(sizes) < 0 or math.prod(sizes) > 1 << 26:
        raise RefusalError(f"DiagonalFill of {sizes}")
    value = _value(call)
    array = np.zeros(sizes, value.dtype)
    places = np.arange(min(sizes))
    array[(places,) * len(sizes)] = value
    return call.graph.constant(array)


def asked_sizes(call: Call) -> ir.Value:
    """The sizes of an argument, of the input, or that the input spells out; and ``extra_shape`` behind these two."""
    g, extra = call.graph, call.ints("extra_shape")
    if not call.inputs:
        return g.constant(call.ints("shape"))
    if call.ints("shape"):
        raise RefusalError("shape together with an input")
    sizes = g.cast(call.x, ir.DataType.INT64) if call.int("input_as_shape", 0) else g.shape_of(call.x)
    known = constant_of(call.x if call.int("input_as_shape", 0) else sizes)
    if known is not None:
        return g.constant([*(int(size) for size in known.ravel()), *extra])
    return g.op("Concat", sizes, g.constant(extra), axis=0) if extra else sizes


def half_fill(call: Call) -> ir.Value:
    """One value everywhere, in half precision."""
    if call.inputs:
        raise RefusalError("Float16ConstantFill with an input")
    return _filled(call.graph, call.ints("shape"), number_of(call.float("value", 0.0), ir.DataType.FLOAT16))


def range_fill(call: Call) -> ir.Value:
    """0, 1, 2, … in the shape of an argument, of the input, or that the input spells out."""
    g = call.graph
    sizes = asked_sizes(call)
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
        array = np.asarray(numbers).astype(actual.numpy())
        whole = not actual.is_floating_point() and actual != ir.DataType.BOOL
        if whole and not np.array_equal(array, np.asarray(numbers)):
            raise RefusalError(f"values that are not of type {actual.name.lower()}")
        return _shaped(call, array)

    return rule


def given_bytes(call: Call) -> ir.Value:
    """Bytes written in the net as one string."""
    return _shaped(call, np.frombuffer(b"".join(call.strings("values")[:1]), np.uint8))


def _shaped(call: Call, numbers: Array) -> ir.Value:
    """The numbers in the shape of an argument, of the input, or that the input spells out."""
    g = call.graph
    if call.inputs:
        return g.op("Reshape", g.constant(numbers), asked_sizes(call))
    shape = call.ints("shape")
    if count(shape) != len(numbers):
        raise RefusalError(f"{len(numbers)} values for shape {shape}")
    return g.constant(numbers.reshape(shape))


RULES: Mapping[str, Rule] = {
    "ConstantFill": constant_fill,
    "Float16ConstantFill": half_fill,
    "RangeFill": range_fill,
    "DiagonalFill": diagonal_fill,
    "GivenTensorFill": given(ir.DataType.FLOAT),
    "GivenTensorDoubleFill": given(ir.DataType.DOUBLE),
    "GivenTensorIntFill": given(ir.DataType.INT32),
    "GivenTensorInt64Fill": given(ir.DataType.INT64),
    "GivenTensorBoolFill": given(ir.DataType.BOOL),
    "GivenTensorInt16Fill": given(ir.DataType.INT16),
    "GivenTensorFp16Fill": given(ir.DataType.FLOAT16),
    "GivenTensorByteStringToUInt8Fill": given_bytes,
}
