"""ONNX nodes made quickly: attributes by Python type, output types by ONNX's own inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, cast

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import shape_inference

OPSET = 21

#: Constants up to this many elements are shown to shape inference (shapes, axes, pads, scales).
_SMALL = 64


class DoesNotFitError(Exception):
    """An operator whose inputs do not fit each other."""


def tensor(array: NDArray[Any], name: str | None) -> ir.TensorProtocol:
    """An array as ONNX holds it: mapped weights stay mapped; what must be cast or copied is made when it is written."""
    target = np.dtype(np.float32) if array.dtype.kind == "f" else array.dtype
    if array.dtype == target and array.flags.c_contiguous:
        return ir.Tensor(array, name=name)

    def make() -> ir.TensorProtocol:
        return ir.Tensor(np.ascontiguousarray(array, target), name=name)

    return ir.LazyTensor(make, dtype=ir.DataType.from_numpy(target), shape=ir.Shape(array.shape), name=name)


def attribute(name: str, value: object) -> ir.Attr:
    """An attribute of the kind that its Python value suggests.

    Raises:
        TypeError: a value of another kind.
    """
    if isinstance(value, (bool, int, np.integer)):
        return ir.AttrInt64(name, int(cast("int", value)))
    if isinstance(value, (float, np.floating)):
        return ir.AttrFloat32(name, float(cast("float", value)))
    if isinstance(value, str):
        return ir.AttrString(name, value)
    if isinstance(value, (list, tuple)):
        items = cast("Sequence[Any]", value)
        if all(isinstance(item, (int, np.integer)) for item in items):
            return ir.AttrInt64s(name, [int(item) for item in items])
        if all(isinstance(item, str) for item in items):
            return ir.AttrStrings(name, list(items))
        return ir.AttrFloat32s(name, [float(item) for item in items])
    raise TypeError(f"attribute {name} cannot be {value!r}")


def make(op_type: str, inputs: Sequence[ir.Value | None], attributes: Mapping[str, object], count: int) -> ir.Node:
    """A node of the default domain; an attribute of None is left out."""
    made = [attribute(name, value) for name, value in attributes.items() if value is not None]
    return ir.Node("", op_type, inputs, made, num_outputs=count)


def infer(node: ir.Node) -> None:
    """Set the outputs' types by ONNX's own inference.

    Raises:
        DoesNotFitError: the inputs do not fit.
    """
    proto = onnx.NodeProto(op_type=node.op_type)
    proto.input.extend("" if v is None else str(v.name) for v in node.inputs)
    proto.output.extend(str(v.name) for v in node.outputs)
    proto.attribute.extend(_attribute_proto(a) for a in node.attributes.values())
    types: dict[str, onnx.TypeProto] = {}
    data: dict[str, onnx.TensorProto] = {}
    for value in node.inputs:
        if value is None:
            continue
        types[str(value.name)] = _type(value)
        if value.const_value is not None and value.const_value.size <= _SMALL:
            data[str(value.name)] = onnx.numpy_helper.from_array(value.const_value.numpy(), value.name)
    try:
        inferred = shape_inference.infer_node_outputs(
            _schema(node.op_type), proto, types, data, opset_imports=[_opset()]
        )
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        raise DoesNotFitError(str(error).splitlines()[-1]) from None
    for out in node.outputs:
        found = inferred.get(str(out.name))
        if found is not None:
            out.type = ir.TensorType(ir.DataType(found.tensor_type.elem_type))
            if found.tensor_type.HasField("shape"):
                dims = found.tensor_type.shape.dim
                out.shape = ir.Shape([d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in dims])


def _attribute_proto(attr: ir.Attr) -> onnx.AttributeProto:
    # what ir.to_proto does, without its many checks of protocols: this runs for every node of every lowering
    made = onnx.AttributeProto(name=attr.name, type=cast("Any", int(attr.type)))
    value = attr.value
    match attr.type:
        case ir.AttributeType.INT:
            made.i = value
        case ir.AttributeType.FLOAT:
            made.f = value
        case ir.AttributeType.STRING:
            made.s = value.encode()
        case ir.AttributeType.INTS:
            made.ints.extend(value)
        case ir.AttributeType.FLOATS:
            made.floats.extend(value)
        case _:
            made.strings.extend(item.encode() for item in value)
    return made


def _type(value: ir.Value) -> onnx.TypeProto:
    made = onnx.TypeProto()
    made.tensor_type.elem_type = int(value.dtype or ir.DataType.FLOAT)
    if value.shape is None:
        return made
    made.tensor_type.shape.SetInParent()
    dims = made.tensor_type.shape.dim
    for size in value.shape:
        dim = dims.add()
        if isinstance(size, int):
            dim.dim_value = size
        elif size.value is not None:
            dim.dim_param = size.value
    return made


@cache
def _schema(op_type: str) -> onnx.defs.OpSchema:
    return onnx.defs.get_schema(op_type, OPSET, "")


@cache
def _opset() -> onnx.OperatorSetIdProto:
    return onnx.helper.make_opsetid("", OPSET)
