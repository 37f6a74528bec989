"""ONNX nodes made quickly: attributes by Python type, output types by ONNX's own inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, TypeAlias, cast

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import shape_inference

OPSET = 21

#: Constants up to this many elements are shown to shape inference (shapes, axes, pads, scales).
_SMALL = 64
#: Operators whose outputs' sizes do not depend on what their inputs hold: networks are full of them, each with other
#: weights.
_BY_SHAPES = frozenset(
    (
        *("Add", "BatchNormalization", "Conv", "ConvTranspose", "Div", "Gemm", "InstanceNormalization", "MatMul"),
        *("Mul", "PRelu", "Sub"),
    )
)


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


#: An attribute as a key: its name, its kind, its value (lists as tuples).
_Attribute: TypeAlias = tuple[str, int, Any]
#: A value as a key: the type of its elements, its sizes, and the type and bytes of a small constant.
_Known: TypeAlias = tuple[int, "tuple[int | str | None, ...] | None", "tuple[str, bytes] | None"]


def infer(node: ir.Node) -> None:
    """Set the outputs' types by ONNX's own inference.

    Raises:
        DoesNotFitError: the inputs do not fit.
    """
    attributes = tuple(_attribute_key(a) for a in node.attributes.values())
    known = _type_of if node.op_type in _BY_SHAPES else _known
    inputs = tuple(None if value is None else known(value) for value in node.inputs)
    for out, found in zip(node.outputs, _inferred(node.op_type, attributes, inputs, len(node.outputs)), strict=True):
        if found is not None:
            out.type = ir.TensorType(ir.DataType(found[0]))
            if found[1] is not None:
                out.shape = ir.Shape(found[1])


@lru_cache(maxsize=1 << 14)
def _inferred(
    op_type: str, attributes: tuple[_Attribute, ...], inputs: tuple[_Known | None, ...], count: int
) -> tuple[tuple[int, tuple[int | str | None, ...] | None] | None, ...]:
    """Element type and sizes of each output; equal nodes, of which networks are full, are inferred once."""
    proto = onnx.NodeProto(op_type=op_type)
    proto.input.extend("" if known is None else f"x{i}" for i, known in enumerate(inputs))
    proto.output.extend(f"y{i}" for i in range(count))
    proto.attribute.extend(_attribute_proto(*attribute) for attribute in attributes)
    types: dict[str, onnx.TypeProto] = {}
    data: dict[str, onnx.TensorProto] = {}
    for i, known in enumerate(inputs):
        if known is None:
            continue
        element, sizes, constant = known
        types[f"x{i}"] = _type(element, sizes)
        if constant is not None:
            array = np.frombuffer(constant[1], constant[0]).reshape(cast("tuple[int, ...]", sizes))
            data[f"x{i}"] = onnx.numpy_helper.from_array(array, f"x{i}")
    try:
        inferred = shape_inference.infer_node_outputs(_schema(op_type), proto, types, data, opset_imports=[_opset()])
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        raise DoesNotFitError(str(error).splitlines()[-1]) from None
    return tuple(_found(inferred.get(f"y{i}")) for i in range(count))


def _found(inferred: onnx.TypeProto | None) -> tuple[int, tuple[int | str | None, ...] | None] | None:
    if inferred is None:
        return None
    made = inferred.tensor_type
    if not made.HasField("shape"):
        return made.elem_type, None
    return made.elem_type, tuple(
        d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in made.shape.dim
    )


def _attribute_key(attr: ir.Attr) -> _Attribute:
    value = attr.value
    return attr.name, int(attr.type), tuple(cast("Sequence[Any]", value)) if isinstance(value, (list, tuple)) else value


def _known(value: ir.Value) -> _Known:
    """What shape inference may use of a value: of a small constant, its content too."""
    found = value.const_value
    if found is None or found.size > _SMALL:
        return _type_of(value)
    array = found.numpy()
    return int(value.dtype or ir.DataType.FLOAT), array.shape, (array.dtype.str, array.tobytes())


def _type_of(value: ir.Value) -> _Known:
    sizes = None if value.shape is None else tuple(d if isinstance(d, int) else d.value for d in value.shape)
    return int(value.dtype or ir.DataType.FLOAT), sizes, None


def _attribute_proto(name: str, kind: int, value: Any) -> onnx.AttributeProto:
    # what ir.to_proto does, without its many checks of protocols
    made = onnx.AttributeProto(name=name, type=cast("Any", kind))
    match kind:
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


def _type(element: int, sizes: tuple[int | str | None, ...] | None) -> onnx.TypeProto:
    made = onnx.TypeProto()
    made.tensor_type.elem_type = element
    if sizes is None:
        return made
    made.tensor_type.shape.SetInParent()
    dims = made.tensor_type.shape.dim
    for size in sizes:
        dim = dims.add()
        if isinstance(size, int):
            dim.dim_value = size
        elif size is not None:
            dim.dim_param = size
    return made


@cache
def _schema(op_type: str) -> onnx.defs.OpSchema:
    return onnx.defs.get_schema(op_type, OPSET, "")


@cache
def _opset() -> onnx.OperatorSetIdProto:
    return onnx.helper.make_opsetid("", OPSET)
