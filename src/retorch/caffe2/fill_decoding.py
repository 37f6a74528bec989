"""Init nets, read: the blobs that an init net's operators store, as views of the mapped file where they are packed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from retorch import limits
from retorch.caffe2 import fill_encoding
from retorch.caffe2.deferred import Deferred
from retorch.caffe2.fill_encoding import ARG_FLOATS, ARG_INTS, ARG_STRINGS, UNPACKED_FLOAT
from retorch.caffe2.proto.caffe2_pb2 import NetDef, OperatorDef
from retorch.errors import FormatError
from retorch.files import protobuf
from retorch.files.precision import Precision
from retorch.files.protobuf import Array

_GIVEN = {kind: (dtype, number) for kind, dtype, number in fill_encoding.FILLS}
# TensorProto.DataType, which ConstantFill's argument dtype names.
_DATA_TYPES = {1: "<f4", 2: "<i4", 5: "?", 6: "u1", 7: "i1", 8: "<u2", 9: "<i2", 10: "<i8", 12: "<f2", 13: "<f8"}
MOST_DIMENSIONS = 32
_FLOAT_TAG = ARG_FLOATS << 3 | protobuf.FIXED32
_INT_TAG = ARG_INTS << 3 | protobuf.VARINT
#: Bytes of a list of integers that is short.
_FEW = 64


@dataclass(frozen=True, slots=True)
class Filled:
    """One blob of an init net.

    Attributes:
        stored: what it holds, or how to make it.
        constant: whether its operator says one number for all (``ConstantFill``).
        precision: of what it was widened from.
    """

    name: str
    stored: Array | Deferred
    constant: bool
    precision: Precision = "float"

    @property
    def array(self) -> Array:
        """What it holds; new each time where it has to be made."""
        return self.stored.made() if isinstance(self.stored, Deferred) else self.stored

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what it holds."""
        return self.stored.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Of what it holds."""
        return np.dtype(np.float32) if isinstance(self.stored, Deferred) else self.stored.dtype


@dataclass(frozen=True, slots=True)
class Load:
    """A ``Load`` operator: the blobs in ``names`` (all, where empty) come from the database at ``path``."""

    path: Path
    kind: str
    names: tuple[str, ...]


@dataclass(slots=True)
class _Argument:
    name: str = ""
    number: float | int | None = None
    string: bytes = b""
    ints: list[NDArray[np.int64]] = field(default_factory=list[NDArray[np.int64]])
    floats: list[NDArray[np.float32]] = field(default_factory=list[NDArray[np.float32]])
    strings: list[NDArray[np.uint8]] = field(default_factory=list[NDArray[np.uint8]])


@dataclass(slots=True)
class _Operator:
    offset: int
    kind: str = ""
    inputs: list[str] = field(default_factory=list[str])
    outputs: list[str] = field(default_factory=list[str])
    arguments: dict[str, _Argument] = field(default_factory=dict[str, _Argument])


def decode(data: memoryview) -> Iterator[Filled | Load | OperatorDef]:
    """What the operators of a serialised init net store, in order; one that computes its blobs comes as it is.

    FormatError for a broken message.
    """
    for net_field in protobuf.fields(data, 0, len(data)):
        if net_field.number != fill_encoding.NET_OP or net_field.kind != protobuf.BYTES:
            continue
        operator = _operator(data, net_field.start, net_field.end)
        rule = None if operator.inputs or "dtype" in operator.arguments else _RULES.get(operator.kind)
        rule = _constant if operator.kind == "ConstantFill" and not operator.inputs else rule
        yield _whole(data, net_field.start, net_field.end) if rule is None else rule(operator)


def device(data: memoryview) -> NetDef:
    """A net with the device of a serialised init net, which its operators run with where they name none."""
    fields = protobuf.fields(data, 0, len(data))
    parts = [item for item in fields if item.number == fill_encoding.NET_DEVICE and item.kind == protobuf.BYTES]
    net = NetDef()
    try:
        for item in parts:
            net.device_option.MergeFromString(bytes(data[item.start : item.end]))
    except DecodeError as error:
        raise FormatError(f"not a device: {error}", offset=parts[0].start) from error
    return net


def _whole(data: memoryview, start: int, end: int) -> OperatorDef:
    try:
        return OperatorDef.FromString(bytes(data[start:end]))
    except DecodeError as error:
        raise FormatError(f"not an operator: {error}", offset=start) from error


def _operator(data: memoryview, start: int, end: int) -> _Operator:
    operator = _Operator(start)
    for item in protobuf.fields(data, start, end):
        if item.number == fill_encoding.OP_TYPE:
            operator.kind = protobuf.text(data, item)
        elif item.number == fill_encoding.OP_INPUT:
            operator.inputs.append(protobuf.text(data, item))
        elif item.number == fill_encoding.OP_OUTPUT:
            operator.outputs.append(protobuf.text(data, item))
        elif item.number == fill_encoding.OP_ARG:
            argument = _argument(data, item.start, item.end)
            operator.arguments[argument.name] = argument
    return operator


def _argument(data: memoryview, start: int, end: int) -> _Argument:
    argument = _Argument()
    at = start
    while at < end:
        if data[at] == _FLOAT_TAG:  # a run of one-float fields, taken at once
            run = _run(data, at, end)
            argument.floats.append(run)
            at += len(run) * UNPACKED_FLOAT.itemsize
            continue
        if data[at] == _INT_TAG:
            numbers, size = _int_run(data, at, end)
            argument.ints.append(numbers)
            at += size
            continue
        item = next(protobuf.fields(data, at, end))
        at = item.end
        _take(argument, item, data)
    return argument


def _run(data: memoryview, at: int, end: int) -> NDArray[np.float32]:
    """The floats of the unpacked fields that begin at ``at``: all up to the first that is something else."""
    records = np.frombuffer(data[at:end], UNPACKED_FLOAT, (end - at) // UNPACKED_FLOAT.itemsize)
    others = np.flatnonzero(records["tag"] != _FLOAT_TAG)
    run = records["value"][: others[0] if len(others) else len(records)]
    if not len(run):
        raise FormatError(f"expected 5 bytes for a float, found {end - at}", offset=at)
    return np.ascontiguousarray(run, np.dtype("<f4"))


def _int_run(data: memoryview, at: int, end: int) -> tuple[NDArray[np.int64], int]:
    """The integers of the unpacked fields that begin at ``at``, and how many bytes they take."""
    if end - at <= _FEW:
        return _few_ints(data, at, end)
    raw = np.frombuffer(data[at:end], np.uint8)
    stops = np.flatnonzero(raw < 0x80)  # the last byte of every tag and of every number, in turn
    ends = stops[1::2]
    tags = stops[::2][: len(ends)]
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])[: len(ends)]
    others = np.flatnonzero((tags != starts) | (raw[tags] != _INT_TAG))
    count = int(others[0]) if len(others) else len(ends)
    if not count:
        raise FormatError("expected an integer, found the end of its message", offset=at + 1)
    size = int(ends[count - 1]) + 1
    keep = np.ones(size, np.bool_)
    keep[tags[:count]] = False
    return protobuf.unpack_varints(raw[:size][keep], at), size


def _few_ints(data: memoryview, at: int, end: int) -> tuple[NDArray[np.int64], int]:
    """The same, one after the other: shapes are short, and then this is quicker."""
    numbers: list[int] = []
    here = at
    while here < end and data[here] == _INT_TAG:
        number, here = protobuf.read_varint(data, here + 1, end)
        numbers.append(protobuf.signed(number))
    return np.array(numbers, np.int64), here - at


def _take(argument: _Argument, item: protobuf.Field, data: memoryview) -> None:
    content = data[item.start : item.end]
    match item.number, item.kind:
        case fill_encoding.ARG_NAME, protobuf.BYTES:
            argument.name = protobuf.text(data, item)
        case fill_encoding.ARG_F, protobuf.FIXED32:
            argument.number = float(np.frombuffer(content, "<f4")[0])
        case fill_encoding.ARG_I, protobuf.VARINT:
            argument.number = protobuf.signed(item.value)
        case fill_encoding.ARG_S, protobuf.BYTES:
            argument.string = bytes(content)
        case fill_encoding.ARG_FLOATS, protobuf.BYTES:
            if len(content) % 4:
                raise FormatError("a packed list of floats is no multiple of four bytes", offset=item.start)
            argument.floats.append(np.frombuffer(content, "<f4"))
        case fill_encoding.ARG_INTS, protobuf.BYTES:
            argument.ints.append(protobuf.unpack_varints(np.frombuffer(content, np.uint8), item.start))
        case fill_encoding.ARG_STRINGS, protobuf.BYTES:
            argument.strings.append(np.frombuffer(content, np.uint8))
        case _:
            pass  # nets, tensors and what later versions added: no fill looks there


def _shape(operator: _Operator) -> tuple[int, ...]:
    """The blob's shape; without one it is a scalar, as in Caffe2."""
    argument = operator.arguments.get("shape", _Argument())
    return checked_shape([size for part in argument.ints for size in part.tolist()], operator.offset)


def checked_shape(sizes: Sequence[int], offset: int) -> tuple[int, ...]:
    """Sizes as a shape, if one can have them. FormatError where none can."""
    if len(sizes) > MOST_DIMENSIONS or not all(abs(size) < 1 << 48 for size in sizes):
        shown = list(sizes) if len(sizes) <= MOST_DIMENSIONS else f"{len(sizes)} dimensions"
        raise FormatError(f"a blob of shape {shown}", offset=offset)
    return tuple(sizes)


def _output(operator: _Operator) -> str:
    if len(operator.outputs) != 1 or operator.inputs:
        raise FormatError(f"{operator.kind} with {len(operator.inputs)} inputs", offset=operator.offset)
    return operator.outputs[0]


def _given(operator: _Operator) -> Filled:
    name, shape = _output(operator), _shape(operator)
    dtype, number = _GIVEN[operator.kind]
    values = operator.arguments.get("values", _Argument())
    parts = {ARG_FLOATS: values.floats, ARG_INTS: values.ints, ARG_STRINGS: values.strings}[number]
    flat = parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, dtype), *parts])
    if min(shape, default=0) < 0 or math.prod(shape) != len(flat):
        raise FormatError(f"blob {name} of shape {list(shape)} has {len(flat)} values", offset=operator.offset)
    return Filled(name, flat.astype(dtype, copy=False).reshape(shape), False)


def _given_half(operator: _Operator) -> Filled:
    """Floats that the blob holds in half precision."""
    filled = _given(replace(operator, kind="GivenTensorFill"))
    return replace(filled, stored=filled.array.astype(np.float16))


def _constant(operator: _Operator) -> Filled:
    name, shape = _output(operator), _shape(operator)
    code = int(operator.arguments.get("dtype", _Argument(number=1)).number or 0)
    if code not in _DATA_TYPES or min(shape, default=0) < 0:
        raise FormatError(f"blob {name}: ConstantFill of type {code}, shape {list(shape)}", offset=operator.offset)
    dtype = np.dtype(_DATA_TYPES[code])
    if reason := limits.too_large(limits.needed(shape, dtype.itemsize)):
        raise FormatError(f"blob {name} {reason}", offset=operator.offset)
    value = operator.arguments.get("value", _Argument()).number or 0
    with np.errstate(all="ignore"):
        number = np.asarray(value).astype(dtype)
    return Filled(name, np.broadcast_to(number, shape), True)


def _load(operator: _Operator) -> Load:
    path = Path(operator.arguments.get("db", _Argument()).string.decode("utf-8", "surrogateescape"))
    kind = operator.arguments.get("db_type", _Argument()).string
    if not path.name or "\0" in str(path):
        raise FormatError("Load without the path of a database", offset=operator.offset)
    return Load(path, kind.decode("ascii", "replace"), tuple(operator.outputs))


_RULES: dict[str, Callable[[_Operator], Filled | Load]] = {
    **dict.fromkeys(_GIVEN, _given),
    "GivenTensorFp16Fill": _given_half,
    "ConstantFill": _constant,
    "Load": _load,
}
