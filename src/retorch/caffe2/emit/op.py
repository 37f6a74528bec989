"""What a rule sees: one ONNX node to read, and a pen for Caffe2 operators.

A rule is a function from an ``Op`` to the blob (or blobs) that hold the node's outputs. It reads inputs and attributes,
writes operators, and returns the last blob; names are given afterwards, so that the blob that is returned bears the
name of the ONNX output and what leads there is called ``{output}_{operator}``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import onnx_ir as ir

from retorch.caffe2.proto.caffe2_pb2 import OperatorDef
from retorch.caffe2.schema import Arg, operator
from retorch.errors import UsageError
from retorch.files.protobuf import Array

Dim: TypeAlias = int | str
Dims: TypeAlias = tuple[Dim, ...]

INT32 = 2  # caffe2.TensorProto.INT32
FLOAT32 = 1
BOOL = 5
INT64 = 10
_INTEGERS = {ir.DataType.INT64, ir.DataType.INT32, ir.DataType.INT16, ir.DataType.INT8, ir.DataType.UINT8}


class RefusalError(Exception):
    """A node that Caffe2 cannot express; the text says why."""


class SizeRefusalError(RefusalError):
    """A node that Caffe2 can express only where a size that is symbolic here is a number."""


@dataclass(frozen=True, slots=True)
class EmitOptions:
    """How Caffe2 nets are written.

    ``release``: "1.0" writes what is right on the Caffe2 of torch 1.0.0 and of 1.10.2 alike, "1.10" may use operators
    that only the latter has. ``nnpack`` picks the NNPACK engine where it is right, ``mkldnn`` the device of MKL-DNN
    where it is right and no operator has that engine. ``in_place`` reuses blobs where safe. ``brew`` writes operators
    as ``brew`` and ``mobile_exporter`` would (see ``brew.py``): UsageError together with ``mkldnn``.
    """

    release: Literal["1.0", "1.10"] = "1.0"
    nnpack: bool = False
    in_place: bool = False
    brew: bool = False
    mkldnn: bool = False

    def __post_init__(self) -> None:
        if self.brew and self.mkldnn:
            raise UsageError("brew would not have picked MKL-DNN: --brew or --mkldnn")


@dataclass(frozen=True, slots=True)
class Blob:
    """A Caffe2 blob and its dimensions: numbers, or names for what is known at run time only."""

    name: str
    dims: Dims

    @property
    def rank(self) -> int:
        return len(self.dims)

    def sizes(self) -> tuple[int, ...]:
        """The dimensions as numbers. SizeRefusalError where one is symbolic."""
        return tuple(size(dim) for dim in self.dims)


def size(dim: Dim) -> int:
    """The dimension as a number. SizeRefusalError where it is symbolic."""
    if isinstance(dim, str):
        raise SizeRefusalError(f"the size {dim} must be a number")
    return dim


@dataclass(slots=True)
class Pending:
    """An operator whose blobs may still be renamed; ``dims`` are those of its outputs, where a rule made it."""

    kind: str
    inputs: list[str]
    outputs: list[str]
    args: Mapping[str, Arg]
    engine: str = ""
    dims: Sequence[Dims] = ()
    ideep: bool = False

    def numbers(self, name: str) -> tuple[int | float, ...]:
        """An argument that is a list; empty where it is not there."""
        found = self.args.get(name, ())
        return tuple(found) if not isinstance(found, int | float | str) else ()

    def operator(self) -> OperatorDef:
        """The finished operator; Reshape and Concat have a second output that Caffe2 demands and nobody reads."""
        extra = {"Reshape": "dims", "Concat": "concat_dims"}.get(self.kind)
        outputs = [*self.outputs, f"_{self.outputs[0]}_{extra}"] if extra else self.outputs
        return operator(self.kind, self.inputs, outputs, self.args, self.engine, ideep=self.ideep)


@dataclass
class Draft:
    """The net under construction."""

    options: EmitOptions
    names: set[str]
    shared: frozenset[str] = frozenset()
    ops: list[Pending] = field(default_factory=list[Pending])
    params: dict[str, Array] = field(default_factory=dict[str, Array])
    aliases: dict[str, str] = field(default_factory=dict[str, str])
    constants: dict[str, Array] = field(default_factory=dict[str, Array])

    def fresh(self, name: str) -> str:
        """``name``, or with a number behind it where it is taken."""
        number, made = 1, name
        while made in self.names:
            number += 1
            made = f"{name}{number}"
        self.names.add(made)
        return made

    def constant(self, value: ir.Value) -> Array | None:
        """The value where it is known now, else None."""
        name = value.name or ""
        if name not in self.constants and value.const_value is not None:
            self.constants[name] = value.const_value.numpy()
        return self.constants.get(name)

    def blob(self, value: ir.Value) -> Blob:
        """The blob that holds ``value``; a constant becomes a parameter of its own name."""
        name = value.name or ""
        constant = self.constant(value)
        if constant is not None:
            if name not in self.params:
                self.params[name] = storable(constant)
            return Blob(name, constant.shape)
        if value.is_graph_input() and value.dtype in _INTEGERS and name not in self.aliases:
            # Callers feed what they have, floats or any integers; index arithmetic here is in int32.
            self.aliases[name] = self.fresh(f"{name}_int")
            self.ops.append(Pending("Cast", [name], [self.aliases[name]], {"to": INT32}))
        return Blob(self.aliases.get(name, name), dims_of(value))


def storable(array: Array) -> Array:
    """``array`` in a type that Caffe2 computes with: float32, int32 or bool. Not a copy where it is one already."""
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    if array.dtype.kind in "iu":
        whole = array.astype(np.int32, copy=False)
        if not np.array_equal(whole, array):
            raise RefusalError("whole numbers of more than 32 bits")
        return whole
    return array


def dims_of(value: ir.Value) -> Dims:
    """The shape of an ONNX value; unnamed symbols get a name of their own."""
    if value.shape is None:
        raise RefusalError(f"the shape of {value.name!r} is unknown")
    return tuple(
        dim if isinstance(dim, int) else dim.value or f"{value.name}.{axis}" for axis, dim in enumerate(value.shape)
    )


class Op:
    """One ONNX node: what it says, and the operators written for it."""

    def __init__(self, draft: Draft, node: ir.Node) -> None:
        self.draft = draft
        self.options = draft.options
        self.kind = node.op_type
        self.node = node
        self.ops: list[Pending] = []
        self._read: set[str] = set()

    @property
    def y(self) -> str:
        """The name of the first output."""
        return self.node.outputs[0].name or ""

    # Reading -----------------------------------------------------------------------------------------------------

    def has(self, index: int) -> bool:
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def value(self, index: int) -> ir.Value:
        found = self.node.inputs[index] if index < len(self.node.inputs) else None
        if found is None:
            raise RefusalError(f"{self.kind} lacks its input {index}")
        return found

    def blob(self, index: int) -> Blob:
        return self.draft.blob(self.value(index))

    def blobs(self) -> list[Blob]:
        """All inputs; those that are left out at the end, as a bias may be, are none."""
        count = max((index + 1 for index in range(len(self.node.inputs)) if self.has(index)), default=0)
        return [self.blob(index) for index in range(count)]

    def dims(self, index: int) -> Dims:
        return dims_of(self.value(index))

    def out_dims(self, index: int = 0) -> Dims:
        return dims_of(self.node.outputs[index])

    def is_float(self, index: int = 0) -> bool:
        return self.value(index).dtype == ir.DataType.FLOAT

    def is_bool(self, index: int = 0) -> bool:
        return self.value(index).dtype == ir.DataType.BOOL

    def constant(self, index: int) -> Array | None:
        return self.draft.constant(self.value(index)) if self.has(index) else None

    def known(self, index: int, what: str) -> Array:
        """The input as a constant; a refusal names ``what`` where it is computed by the network."""
        found = self.constant(index)
        if found is None:
            raise RefusalError(f"{what} must be constant")
        return found

    def integers(self, index: int, what: str) -> tuple[int, ...] | None:
        """The constant input as integers, None where it is absent."""
        return tuple(int(item) for item in self.known(index, what).ravel()) if self.has(index) else None

    def number(self, index: int, what: str) -> float | None:
        """The constant input as one number, None where it is absent."""
        return float(self.known(index, what).astype(np.float64).ravel()[0]) if self.has(index) else None

    def floats(self, index: int, what: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return self.known(index, what).astype(np.float32, copy=False)

    def _attribute(self, name: str) -> ir.Attr | None:
        self._read.add(name)
        return self.node.attributes.get(name)

    def int(self, name: str, default: int) -> int:
        found = self._attribute(name)
        return default if found is None else found.as_int()

    def float(self, name: str, default: float) -> float:
        found = self._attribute(name)
        return default if found is None else found.as_float()

    def string(self, name: str, default: str) -> str:
        found = self._attribute(name)
        return default if found is None else found.as_string()

    def ints(self, name: str, default: Sequence[int]) -> tuple[int, ...]:
        found = self._attribute(name)
        return tuple(default if found is None else found.as_ints())

    def strings(self, name: str, default: Sequence[str]) -> tuple[str, ...]:
        found = self._attribute(name)
        return tuple(default if found is None else found.as_strings())

    def tensor(self, name: str, default: Array) -> Array:
        found = self._attribute(name)
        return default if found is None else found.as_tensor().numpy()

    def unread(self) -> list[str]:
        """The attributes that the rule never asked for."""
        return [name for name in self.node.attributes if name not in self._read]

    # Writing -----------------------------------------------------------------------------------------------------

    def many(self, kind: str, inputs: Sequence[Blob], dims: Sequence[Dims], /, **args: Arg) -> list[Blob]:
        """An operator with several outputs, of the dimensions given."""
        made = [Blob(self.draft.fresh(f"{self.y}_{kind.lower()}"), each) for each in dims]
        names = [blob.name for blob in inputs], [blob.name for blob in made]
        self.ops.append(Pending(kind, *names, args, dims=dims))
        return made

    def make(self, kind: str, inputs: Sequence[Blob], dims: Dims, /, **args: Arg) -> Blob:
        """An operator with one output, of the dimensions ``dims``."""
        return self.many(kind, inputs, [dims], **args)[0]

    def map(self, kind: str, x: Blob, /, **args: Arg) -> Blob:
        """An operator whose output has the dimensions of its first input."""
        return self.make(kind, [x], x.dims, **args)

    def assign(self, data: Blob, places: Blob, rows: Blob) -> None:
        """Writes ``rows`` into ``data``, a blob of this node's own, at ``places`` of its first axis."""
        self.ops.append(Pending("ScatterAssign", [data.name, places.name, rows.name], [data.name], {}))

    def param(self, array: Array, suffix: str) -> Blob:
        """A new parameter ``{output}_{suffix}``."""
        name = self.draft.fresh(f"{self.y}_{suffix}")
        self.draft.params[name] = storable(array)
        return Blob(name, array.shape)

    def owns(self, name: str) -> bool:
        """Whether nobody but this node reads the parameter, and it has not been read yet."""
        return name not in self.draft.shared and not any(name in pending.inputs for pending in self.ops)

    def weight(self, index: int, array: Array, form: str) -> Blob:
        """The constant input in another form: under its own name where nobody else reads it."""
        name = self.value(index).name or ""
        if name in self.draft.params or name in self.draft.shared:
            name = self.draft.fresh(f"{name}_{form}")
        self.draft.params[name] = storable(array)
        return Blob(name, array.shape)


Result: TypeAlias = Blob | Sequence[Blob]
Rule: TypeAlias = Callable[[Op], Result]
