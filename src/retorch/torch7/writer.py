"""The writer: the mirror of the reader, whose docstring is the specification of the format.

What came out of a file goes back as it was, class names, versions, strides and shared storages included: for binary
files the bytes are the same. Plain Python values go too: a dict is a table, a list or tuple a sequence, an array a
tensor on a storage of its own. Indices count up in the order of writing, so the same value gives the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np

from retorch.errors import UsageError
from retorch.files.atomic import replacing
from retorch.torch7.objects import (
    DTYPES,
    Array,
    LuaFunction,
    StorageFacts,
    TensorFacts,
    TorchObject,
    TorchStorage,
    TorchTensor,
)
from retorch.torch7.output_stream import BinarySink, Sink, TextSink
from retorch.torch7.paths import join
from retorch.torch7.stream import BOOLEAN, FUNCTION, NIL, NUMBER, STRING, TABLE, TORCH, Dialect

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def write(path: str | os.PathLike[str], value: Any, format: Literal["binary", "ascii"] = "binary") -> None:
    """Write ``value`` to ``path`` as Lua Torch's ``torch.save`` would; replaces a file only when all is written.

    Raises UsageError for what the format cannot hold, naming it; then nothing is left behind.
    """
    if format not in ("binary", "ascii"):
        raise UsageError(f"{format!r} is not a format", hint='the formats are "binary" and "ascii"')
    with replacing(Path(path)) as part, part.open("wb", buffering=1 << 20) as file:
        encode(file, value, Dialect(format))


def encode(file: BinaryIO, value: Any, dialect: Dialect) -> None:
    """Write ``value`` in ``dialect`` to an open file; raises UsageError for what the format cannot hold."""
    sink: Sink = BinarySink(file, dialect) if dialect.encoding == "binary" else TextSink(file)
    _Writer(sink).write(value)


class _Frame:
    """A value whose children are being written: ``items`` gives them, ``key`` is the one they stand at."""

    __slots__ = ("items", "key")

    def __init__(self, pairs: Iterable[tuple[Any, Any]], *, keyed: bool) -> None:
        self.key: Any = None
        self.items = self._children(pairs, keyed)

    def _children(self, pairs: Iterable[tuple[Any, Any]], keyed: bool) -> Iterator[Any]:
        for key, value in pairs:
            self.key = key
            if keyed:
                if key is None or (isinstance(key, float) and isnan(key)):
                    raise UsageError(f"{key} cannot be the key of a table")
                yield key
            yield value


class _Writer:
    """Writes one value; ``_frames`` holds what is being written, innermost last."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._frames: list[_Frame] = []
        self._indices: dict[int, int] = {}
        self._kept: list[Any] = []  # what was made here must live on, or its id could come again

    def write(self, value: Any) -> None:
        """The whole value, with a stack instead of recursion."""
        frames = self._frames
        self._go_on([("", value)])
        try:
            while frames:
                for item in frames[-1].items:
                    depth = len(frames)
                    self._value(item)
                    if len(frames) > depth:
                        break
                else:
                    frames.pop()
        except UsageError as error:
            path = join(frame.key for frame in frames[1:] if frame.key is not None)
            raise UsageError(f"{path or 'the value'}: {error.message}", hint=error.hint) from None

    def _go_on(self, pairs: Iterable[tuple[Any, Any]], *, keyed: bool = False) -> None:
        """Write the values of ``pairs`` next, with their keys where ``keyed``; the keys make the path of errors."""
        self._frames.append(_Frame(pairs, keyed=keyed))

    def _value(self, value: Any) -> None:
        sink = self.sink
        if isinstance(value, str | bytes):
            sink.int(STRING)
            sink.text(_bytes(value))
        elif value is None:
            sink.int(NIL)
        elif isinstance(value, bool | np.bool_):
            sink.int(BOOLEAN)
            sink.int(1 if value else 0)
        elif isinstance(value, int | float | np.integer | np.floating):
            sink.int(NUMBER)
            sink.double(_double(value))
        elif isinstance(value, np.ndarray):
            self._array(cast(Array, value))
        elif isinstance(value, TorchObject):
            self._object(value)
        elif isinstance(value, LuaFunction):
            self._function(value)
        elif isinstance(value, Mapping | list | tuple):
            self._table(cast(Mapping[Any, Any] | Sequence[Any], value))
        else:
            raise UsageError(f"a {type(value).__name__} has no place in a Torch7 file")

    def _seen(self, tag: int, value: Any) -> bool:
        """Write the tag and index of ``value``; True where it stands in the file already."""
        index = self._indices.get(id(value))
        self.sink.int(tag)
        if index is not None:
            self.sink.int(index)
            return True
        self._indices[id(value)] = len(self._indices) + 1
        self._kept.append(value)
        self.sink.int(len(self._indices))
        return False

    def _table(self, value: Mapping[Any, Any] | Sequence[Any]) -> None:
        if self._seen(TABLE, value):
            return
        self.sink.int(len(value))
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value, start=1)
        self._go_on(pairs, keyed=True)

    def _function(self, value: LuaFunction) -> None:
        if value.tag == FUNCTION:
            self.sink.int(FUNCTION)
        elif self._seen(value.tag, value):
            return
        self.sink.text(value.code)
        self._go_on([("upvalues", value.upvalues)])

    def _class(self, typename: str, version: int | None) -> None:
        if version is not None:
            self.sink.text(b"V %d" % version)
        self.sink.text(typename.encode())

    def _object(self, value: TorchObject) -> None:
        if self._seen(TORCH, value):
            return
        self._class(value.typename, value.version)
        fields = value.fields
        if value.bodyless:
            return
        if value.typename == "tds.Hash":
            self.sink.long(len(fields))
            self._go_on(fields.items(), keyed=True)
        elif value.typename == "tds.Vec":
            values = fields.sequence()
            if len(values) != len(fields):
                raise UsageError("a tds.Vec whose keys are not 1, 2, 3, …")
            self.sink.long(len(values))
            self._go_on(enumerate(values, start=1))
        elif value.typename == "tds.AtomicCounter":
            self.sink.long(int(fields["value"]))
        elif value.typename == "torch.Generator":
            self.sink.elements(np.asarray(fields["state"], np.uint8))
        elif value.typename == "nn.DataParallelTable" and (value.version or 0) >= 2:
            self._go_on([("gpuAssignments", fields.get("gpuAssignments")), (None, fields)])
        elif value.typename == "nn.GPU":
            self._go_on([("its header", [fields.get("_type"), fields.get("device")]), (None, fields)])
        else:
            self._go_on([(None, fields)])

    def _array(self, value: Array) -> None:
        facts = value.facts if isinstance(value, TorchTensor | TorchStorage) else None
        if isinstance(facts, StorageFacts):
            self._storage(value, facts)
            return
        if self._seen(TORCH, value):
            return
        if facts is None:
            facts, storage = _plain(value)
        else:
            storage = facts.storage
        sink = self.sink
        self._class(facts.typename, facts.version)
        sink.int(len(facts.sizes))
        sink.long(*facts.sizes)
        sink.long(*facts.strides)
        sink.long(facts.offset)
        if storage is None:
            sink.int(NIL)
        else:
            known = storage.facts if isinstance(storage, TorchStorage) else None
            self._storage(storage, known or StorageFacts(facts.typename.replace("Tensor", "Storage")))

    def _storage(self, value: Array, facts: StorageFacts) -> None:
        if self._seen(TORCH, value):
            return
        self._class(facts.typename, facts.version)
        self.sink.long(value.size)
        self.sink.elements(value)


def _bytes(value: str | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{value!r} is not Unicode text") from None


def _double(value: Any) -> float:
    try:
        number = float(value)
    except OverflowError:
        raise UsageError(f"a number of {len(str(value))} digits: a Lua number is a double") from None
    if isinstance(value, int) and int(number) != value:
        raise UsageError(f"{value} is not exact as a Lua number, which is a double")
    return number


def _plain(value: Array) -> tuple[TensorFacts, Array | None]:
    """How an array that no file held is written: contiguous, on its own storage; no dimension becomes one."""
    array = value.view(np.ndarray)
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    array = array.reshape(1) if array.ndim == 0 else array
    name = _NAMES.get(array.dtype.newbyteorder("="))
    if name is None:
        raise UsageError(f"an array of {array.dtype} has no Torch class", hint="Torch has Byte to Long, Half to Double")
    if not array.size:
        return TensorFacts(f"torch.{name}Tensor", 1, (), (), 1, None), None
    strides = [1]
    for size in array.shape[:0:-1]:
        strides.insert(0, strides[0] * size)
    return TensorFacts(f"torch.{name}Tensor", 1, array.shape, tuple(strides), 1, None), array
