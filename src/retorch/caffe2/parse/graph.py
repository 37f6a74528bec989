"""The ONNX graph while it is being written: nodes, constants, the type of every value as soon as it exists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from retorch.errors import ConversionError
from retorch.graph import nodes

Array: TypeAlias = NDArray[Any]
Dim: TypeAlias = int | None
Attribute: TypeAlias = int | float | str | Sequence[int] | Sequence[float]

#: Tensors up to this many elements are fixed when the net is read; what is larger is made when it runs.
READABLE = 64


#: How a refusal begins whose reason may be the type that an input was taken for.
MISFIT = "inputs do not fit"

#: In which type to choose between numbers of another.
_CHOOSABLE = {
    ir.DataType.BOOL: ir.DataType.UINT8,
    ir.DataType.INT8: ir.DataType.INT32,
    ir.DataType.INT16: ir.DataType.INT32,
    ir.DataType.UINT16: ir.DataType.INT32,
    ir.DataType.FLOAT16: ir.DataType.FLOAT,
}


class RefusalError(Exception):
    """A rule cannot say this operator; the walk adds which operator it was."""


class NeedsShapeError(ConversionError):
    """The network can only be said when the sizes of its inputs are known."""


class Graph:
    """Nodes in order and the constants they read.

    Every value's type and shape are inferred when its node is added, so rules can ask for them.
    """

    def __init__(self, taken: Sequence[str]) -> None:
        self.nodes: list[ir.Node] = []
        self.constants: dict[str, ir.Value] = {}
        self.names = set(taken)
        #: What a user should know of how an operator was read.
        self.notes: list[str] = []
        self.prefix = "value"
        self._by_content: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}

    def child(self) -> Graph:
        """The body of a loop: nodes of its own, and the names, constants and notes of this graph."""
        body = Graph(())
        body.names, body.constants, body.notes = self.names, self.constants, self.notes
        body._by_content, body.prefix = self._by_content, self.prefix
        return body

    def unique(self, name: str) -> str:
        """``name``, or the first of ``name_2``, ``name_3`` … that nothing has yet; it is taken from now on."""
        candidate, count = name, 1
        while candidate in self.names:
            count += 1
            candidate = f"{name}_{count}"
        self.names.add(candidate)
        return candidate

    def op(self, op_type: str, *inputs: ir.Value | None, **attributes: Attribute) -> ir.Value:
        """Add a node with one output."""
        return self.ops(op_type, inputs, 1, **attributes)[0]

    def ops(
        self, op_type: str, inputs: Sequence[ir.Value | None], outputs: int, **attributes: Attribute
    ) -> Sequence[ir.Value]:
        """Add a node; its outputs carry the types and shapes that ONNX infers."""
        node = nodes.make(op_type, inputs, attributes, outputs)
        for value in node.outputs:
            value.name = self.unique(f"{self.prefix}_{op_type.lower()}")
        try:
            nodes.infer(node)
        except nodes.DoesNotFitError as error:
            raise RefusalError(f"{MISFIT}: {error}") from error
        self.nodes.append(node)
        return node.outputs

    def constant(self, data: Array | Sequence[int], dtype: np.dtype[Any] | None = None) -> ir.Value:
        """An initializer; int64 unless the array says otherwise. Equal constants are one."""
        array = np.asarray(data, dtype if dtype is not None or isinstance(data, np.ndarray) else np.int64)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._by_content:
            self._by_content[key] = self.weight(self.unique(f"{self.prefix}_const"), array)
        return self._by_content[key]

    def scalar(self, number: float, like: ir.Value) -> ir.Value:
        """A constant without dimensions, of the type of ``like``."""
        return self.constant(number_of(number, dtype(like)))

    def weight(self, name: str, array: Array) -> ir.Value:
        """An initializer under a name that the caller has made sure is free."""
        return self.initializer(ir.Tensor(array, name=name))

    def initializer(self, tensor: ir.TensorProtocol) -> ir.Value:
        """The same for a tensor, under its name."""
        name = str(tensor.name)
        value = ir.val(name, tensor.dtype, tensor.shape.numpy(), const_value=tensor)
        self.constants[name] = value
        return value

    def shape_of(self, x: ir.Value, start: int = 0, end: int | None = None) -> ir.Value:
        """The sizes of dimensions ``start:end`` as int64: a constant where they are known."""
        known = dims(x)[start:end] if x.shape is not None else (None,)
        if all(size is not None for size in known):
            return self.constant([size for size in known if size is not None])
        attributes: dict[str, int] = {"start": start} if end is None else {"start": start, "end": end}
        return self.op("Shape", x, **attributes)

    def reshape(self, x: ir.Value, sizes: Sequence[int]) -> ir.Value:
        """Reshape with ONNX's meaning of 0 (same as in x) and -1 (the rest)."""
        return self.op("Reshape", x, self.constant(list(sizes)))

    def reshape_like(self, x: ir.Value, like: ir.Value) -> ir.Value:
        """x in the shape of ``like``, known or not."""
        result = self.op("Reshape", x, self.shape_of(like))
        result.shape = like.shape
        return result

    def transpose(self, x: ir.Value, order: Sequence[int]) -> ir.Value:
        """x with its dimensions in another order."""
        return x if list(order) == list(range(len(order))) else self.op("Transpose", x, perm=list(order))

    def slice(self, x: ir.Value, axis: int, start: int, end: int) -> ir.Value:
        """x[start:end] along one axis, with Python's meaning of negative numbers."""
        return self.op("Slice", x, self.constant([start]), self.constant([end]), self.constant([axis]))

    def unsqueeze(self, x: ir.Value, *axes: int) -> ir.Value:
        """x with new dimensions of size 1 at ``axes``, counted in the result."""
        return self.op("Unsqueeze", x, self.constant(axes)) if axes else x

    def squeeze(self, x: ir.Value, *axes: int) -> ir.Value:
        """x without the dimensions ``axes``, each of size 1."""
        return self.op("Squeeze", x, self.constant(axes)) if axes else x

    def where(self, condition: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
        """a where the condition holds, b elsewhere, of any type: onnxruntime chooses between few of them."""
        kind, wider = dtype(a), _CHOOSABLE.get(dtype(a))
        if wider is None:
            return self.op("Where", condition, a, b)
        return self.cast(self.op("Where", condition, self.cast(a, wider), self.cast(b, wider)), kind)

    def cast(self, x: ir.Value, to: ir.DataType) -> ir.Value:
        """x as another type; x itself where it already is."""
        return x if x.dtype == to else self.op("Cast", x, to=int(to))


def dims(x: ir.Value) -> tuple[Dim, ...]:
    """The sizes of x, None where one is not known. Raises NeedsShapeError where not even the rank is."""
    if x.shape is None:
        raise NeedsShapeError(f"the number of dimensions of {x.name} is not known")
    return tuple(size if isinstance(size, int) else None for size in x.shape)


def rank(x: ir.Value) -> int:
    """How many dimensions x has."""
    return len(dims(x))


def size(x: ir.Value, axis: int) -> int:
    """One size of x, which must be known."""
    found = dims(x)[axis]
    if found is None:
        raise NeedsShapeError(f"the size of dimension {axis} of {x.name} is not known")
    return found


def sizes(x: ir.Value) -> tuple[int, ...]:
    """All sizes of x, which must be known."""
    return tuple(size(x, axis) for axis in range(rank(x)))


def count(known: Sequence[Dim]) -> int | None:
    """The product of sizes, None where one of them is not known."""
    product = 1
    for length in known:
        if length is None:
            return None
        product *= length
    return product


def axis_of(x: ir.Value, axis: int) -> int:
    """``axis`` counted from the front, as Caffe2's canonical_axis_index does; a refusal where x has no such axis."""
    total = rank(x)
    if not -total <= axis < total:
        raise RefusalError(f"axis {axis} of a tensor of {total} dimensions")
    return axis % total


def dtype(x: ir.Value) -> ir.DataType:
    """The element type of x."""
    if x.dtype is None:
        raise RefusalError(f"the type of {x.name} is not known")
    return x.dtype


def number_of(number: float, kind: ir.DataType) -> Array:
    """A number as an array without dimensions; a refusal where the type cannot hold it."""
    limits = None if kind.is_floating_point() or kind == ir.DataType.BOOL else np.iinfo(kind.numpy())
    if limits is not None and not limits.min <= number <= limits.max:
        raise RefusalError(f"{number} is not a number of type {kind.name.lower()}")
    return np.asarray(number, kind.numpy())


def constant_of(x: ir.Value) -> Array | None:
    """The numbers of x where they are fixed in the network, None where they come out of a calculation."""
    return None if x.const_value is None else x.const_value.numpy()
