"""The ``.t7`` format, and its reader.

A file is one value. A value begins with a type tag, an ``int``; then comes:

    0  nil         nothing
    1  number      double
    2  string      int length, that many bytes
    3  table       int index; where the index is new: int count, count times a key (a value) and a value
    4  object      int index; where new: int length, version ("V 1"), int length, class name, the body of its class.
                   Before versions existed the class name stood in the version's place
    5  boolean     int, 0 or 1
    6  function    int length, bytecode, a value holding the upvalues
    7  function    int index; where new: as 6
    8  function    int index; where new: as 6; each upvalue is a table of its name and value

An index that came before is the same thing again. Bodies by class:

    torch.*Tensor   int n, n longs (sizes), n longs (strides), long (offset in the storage, from 1), its storage or nil
    torch.*Storage  long count, the elements
    tds.Hash        long count, count times a key and a value
    tds.Vec         long count, count values
    nn.DataParallelTable, from version 2: a table of its GPUs, then as any other
    nn.GPU          a table of its tensor type and its device, which are fields too, then as any other
    torch.Timer     nothing
    torch.Generator the bytes of its struct, 5048 where a long has 8 bytes, 2544 where it has 4
    tds.AtomicCounter  long
    any other       a table of its fields

Binary: an ``int`` has 4 bytes, a ``double`` 8, a ``long`` 8 (4 on 32-bit machines and Windows, and then LongStorage's
elements too), in the byte order of the machine that wrote. ASCII: the same in decimal, see ``TextStream``.

The reader walks with a stack of its own, so depth costs nothing, and puts everything into its memo before its children.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np

from retorch.errors import FormatError
from retorch.torch7.binary import BinaryStream
from retorch.torch7.columnar import Layout, describe, describe_pair, read_rows
from retorch.torch7.frame import PATIENCE, Frame
from retorch.torch7.objects import (
    STORAGES,
    TENSORS,
    LuaFunction,
    LuaTable,
    StorageFacts,
    TensorFacts,
    TorchObject,
    TorchStorage,
    TorchTensor,
)
from retorch.torch7.paths import join
from retorch.torch7.stream import DONE, FUNCTION, NIL, TABLE, TORCH, Stream
from retorch.torch7.tensors import tensor_of

_MOST_DIMENSIONS = 32
_ENOUGH = 128  # keys and values that are to come, below which a run is not worth the search
_MOST_AT_ONCE = 8192
_OWN_ENTRIES = ("tds.Hash", "tds.Vec")
_NO_FIELDS = LuaTable()  # what an object has until its table of fields comes
_BYTE = np.dtype("u1")


class Reader:
    """Reads one value off a stream; ``offsets`` keeps where each table, object and function begins, by ``id``."""

    def __init__(self, stream: Stream, offsets: dict[int, int] | None = None) -> None:
        self.stream = stream
        self.offsets = offsets
        self._memo: dict[int, Any] = {}
        self._frames: list[Frame] = []
        self._typename = ""
        self._flat = -1  # where the value began that was just read, if it is a table of scalars or an object of such
        self._assumed: FormatError | None = None  # what is wrong if there is more in the file than was read
        self.linked = False  # whether a tensor was followed by its storage: then the size of a long is right

    def read(self) -> Any:
        """The value; raises FormatError with the byte and the path at which the file is wrong."""
        try:
            value = self._walk()
        except FormatError as error:
            raise self._located(error) from None
        if self._assumed is not None and self.stream.pos < self.stream.end:
            raise self._assumed
        return value

    def _walk(self) -> Any:
        stream, frames = self.stream, self._frames
        root = Frame(1, lambda _: None)
        frames.append(root)
        tag: int | None = None
        while frames:
            frame = frames[-1]
            if tag is None:
                tag = stream.scalars(frame.items, frame.need)
            if tag == TABLE:
                tag = self._table(frame.items)
            elif tag == DONE:
                self._fill(frame.close, frame.items)
                frames.pop()
                tag = None
            elif tag == TORCH:
                tag = self._object(frame.items)
            else:
                tag = self._function(tag, frame.items)
            if self._flat >= 0:
                self._run(frame)
                self._flat = -1
        return root.items[0]

    def _fill(self, close: Callable[[list[Any]], None], items: list[Any]) -> None:
        try:
            close(items)
        except ValueError as error:
            raise FormatError(f"a table in which {error}", offset=self.stream.pos) from None

    def _run(self, frame: Frame) -> None:
        """Read the entries of ``frame`` that follow the last one, a table of scalars, and are built alike."""
        stream = self.stream
        if frame.need - len(frame.items) < _ENOUGH or len(frame.items) % 2:
            return
        if not frame.patience or not frame.pairs or not isinstance(stream, BinaryStream) or self.offsets is not None:
            return
        layout = describe(stream, self._flat, frame.items[-2], frame.items[-1])
        found = self._rows(stream, layout, frame.items, frame.need) if layout else 0
        frame.patience = frame.patience - 1 if found < _ENOUGH else PATIENCE

    def _rows(self, stream: BinaryStream, layout: Layout, items: list[Any], need: int) -> int:
        """Read entries of ``layout`` as long as there are any; how many there were."""
        found, chunk = 0, _ENOUGH
        while len(items) < need:
            wanted = min(chunk, (need - len(items)) // 2)
            keys, values = read_rows(stream, layout, wanted, self._memo)
            items.extend(chain.from_iterable(zip(keys, values, strict=True)))
            found += len(keys)
            if len(keys) < wanted:
                break
            chunk = min(2 * chunk, _MOST_AT_ONCE)
        return found

    def _scalars(self, items: list[Any], need: int) -> int:
        """As the stream's ``scalars`` from the start of a table, but fast where a long one has pairs that are alike."""
        stream, patience = self.stream, PATIENCE
        if not isinstance(stream, BinaryStream) or self.offsets is not None:
            return stream.scalars(items, need)
        while patience and need - len(items) >= _ENOUGH:
            start = stream.pos
            tag = stream.scalars(items, len(items) + 2)
            if tag != DONE:
                return tag
            layout = describe_pair(stream, start)
            found = self._rows(stream, layout, items, need) if layout else 0
            patience = patience - 1 if found < _ENOUGH else PATIENCE
        return stream.scalars(items, need)

    def _remember(self, index: int, value: Any, mark: int) -> None:
        self._memo[index] = value
        if self.offsets is not None:
            self.offsets[id(value)] = mark

    def _checked(self, count: int, values: int, what: str) -> int:
        """``count``, if the file can still hold that many times ``values``."""
        stream = self.stream
        if count < 0 or count * values * stream.least > stream.end - stream.pos:
            left = stream.end - stream.pos
            raise FormatError(f"{what}: {count}, but only {left} bytes are left", offset=stream.pos)
        return count

    def _table(self, items: list[Any]) -> int | None:
        """A table whose tag was read: append it to ``items``, and read it if it holds nothing but scalars.

        Else it gets a frame, and the tag of its first value that is no scalar is returned.
        """
        stream = self.stream
        mark, index = stream.mark, stream.int("a table's index")
        known = self._memo.get(index)
        if known is not None:
            if not isinstance(known, LuaTable):
                raise FormatError(f"index {index} stands for a table here, but is {known!r}", offset=mark)
            items.append(known)
            return None
        self._memo[index] = table = LuaTable()
        if self.offsets is not None:
            self.offsets[id(table)] = mark
        count = self._checked(stream.int("a number of pairs"), 2, "the number of pairs of a table")
        items.append(table)
        if not count:
            return None
        values: list[Any] = []
        try:
            tag = self._scalars(values, 2 * count) if 2 * count >= _ENOUGH else stream.scalars(values, 2 * count)
            if tag == DONE:
                self._fill(table.fill, values)
                self._flat = mark
                return None
        except FormatError:
            self._frames.append(Frame(2 * count, table.fill, True, items=values))  # for the path
            raise
        self._frames.append(Frame(2 * count, table.fill, True, items=values))
        return tag

    def _function(self, tag: int, items: list[Any]) -> int | None:
        """A function whose tag was read: append it to ``items``, go on with its upvalues."""
        stream, mark = self.stream, self.stream.mark
        function = LuaFunction(b"", tag=tag)
        if tag != FUNCTION:
            index = stream.int("a function's index")
            known = self._memo.get(index)
            if known is not None:
                if not isinstance(known, LuaFunction):
                    raise FormatError(f"index {index} stands for a function here, but is {known!r}", offset=mark)
                items.append(known)
                return None
            self._remember(index, function, mark)
        function.code = stream.raw(stream.int("the length of a function"), "a function")
        items.append(function)

        def close(values: list[Any]) -> None:
            function.upvalues = values[0]

        self._frames.append(Frame(1, close, False, "upvalues"))
        return None

    def _object(self, items: list[Any]) -> int | None:
        """An object whose tag was read: append it to ``items``, go on with its body."""
        mark, index = self.stream.mark, self.stream.int("an object's index")
        known = self._memo.get(index)
        if known is not None:
            if not isinstance(known, TorchObject | TorchTensor | TorchStorage):
                raise FormatError(f"index {index} stands for an object here, but is {known!r}", offset=mark)
            items.append(known)
            return None
        self._typename, version = self.stream.class_name()
        typename = self._typename
        if typename in TENSORS:
            items.append(self._tensor(index, typename, version, mark))
            return None
        if typename in STORAGES:
            items.append(self._storage(index, typename, version, mark))
            return None
        value = TorchObject(typename, LuaTable() if typename in _OWN_ENTRIES else _NO_FIELDS, version=version)
        self._remember(index, value, mark)
        items.append(value)
        depth = len(self._frames)
        try:
            return self._body(value, mark)
        except FormatError:
            if len(self._frames) == depth:  # the path of the error ends here, not at the next key
                items.pop()
            raise

    def _body(self, value: TorchObject, mark: int) -> int | None:
        typename, frames, fill = value.typename, self._frames, value.fields.fill
        if typename == "tds.Hash":
            (count,) = self.stream.longs(1, "the size of a tds.Hash")
            frames.append(Frame(2 * self._checked(count, 2, "the size of a tds.Hash"), fill, True, typename))
        elif typename == "tds.Vec":
            (count,) = self.stream.longs(1, "the size of a tds.Vec")
            self._checked(count, 1, "the size of a tds.Vec")
            frames.append(Frame(count, lambda values: fill(_numbered(values)), False, typename))
        elif typename == "nn.DataParallelTable" and (value.version or 0) >= 2:
            frames.append(Frame(2, lambda values: self._headed(value, "gpuAssignments", *values)))
        elif typename == "tds.AtomicCounter":
            (count,) = self.stream.longs(1, "the value of a tds.AtomicCounter")
            value.fields = LuaTable({"value": count})
        elif typename == "torch.Generator":
            value.fields = LuaTable({"state": self._generator()})
        elif value.bodyless:
            value.fields = LuaTable()
        elif typename == "nn.GPU":
            frames.append(Frame(2, lambda values: self._headed(value, "", *values)))
        else:
            return self._fields(value, mark)
        return None

    def _fields(self, value: TorchObject, mark: int) -> int | None:
        """The table of an ordinary object's fields, read into the object itself."""
        if self._has_no_body():
            value.bodyless, value.fields = True, LuaTable()
            self._assumed = self._assumed or self._located(_own_body(value, self.stream.pos))
            return None
        if self.stream.tag() != TABLE:
            raise _own_body(value, self.stream.mark)
        holder: list[Any] = []
        tag = self._table(holder)
        value.fields = holder[0]
        if self._flat >= 0:
            self._flat = mark
        return tag

    def _has_no_body(self) -> bool:
        """Whether the object being read, the value of a field, is followed by the name of the next field at once."""
        frame = self._frames[-1]
        return frame.pairs and len(frame.items) % 2 == 0 and self.stream.name_follows()

    def _generator(self) -> TorchStorage:
        """The bytes of a random generator: five numbers, 624 of its state, three doubles and a flag."""
        count = 2544 if self.stream.dialect.long_size == 4 else 5048
        self.stream.met_long = True
        return self.stream.elements(_BYTE, count)

    def _headed(self, value: TorchObject, name: str, header: Any, fields: Any) -> None:
        """A body of two: what stands in front becomes the field ``name``, if it is not one of the fields anyway."""
        if not isinstance(fields, LuaTable):
            raise FormatError(f"{value.typename} without a table of fields", offset=self.stream.mark)
        value.fields = fields
        if name and header is not None:
            fields.setdefault(name, header)

    def _storage(self, index: int, typename: str, version: int | None, mark: int) -> TorchStorage:
        stream = self.stream
        (count,) = stream.longs(1, "the size of a storage")
        storage = stream.elements(STORAGES[typename], count).named(StorageFacts(typename, version))
        self._remember(index, storage, mark)
        return storage

    def _tensor(self, index: int, typename: str, version: int | None, mark: int) -> TorchTensor:
        stream = self.stream
        self._memo[index] = ()  # taken, though the tensor can only be made when its storage is known
        dimensions = stream.int("the number of dimensions of a tensor")
        if not 0 <= dimensions <= _MOST_DIMENSIONS:
            raise FormatError(f"a {typename} of {dimensions} dimensions", offset=stream.pos)
        longs = stream.longs(2 * dimensions + 1, "the sizes, strides and offset of a tensor")
        sizes, strides, offset = longs[:dimensions], longs[dimensions:-1], longs[-1]
        facts = TensorFacts(typename, version, sizes, strides, offset, self._storage_of(typename))
        tensor = tensor_of(facts, mark).named(facts)
        self._remember(index, tensor, mark)
        return tensor

    def _storage_of(self, typename: str) -> TorchStorage | None:
        stream = self.stream
        tag, mark = stream.tag(), stream.mark
        if tag == NIL:
            return None
        known: Any = None
        if tag == TORCH:
            index = stream.int("a storage's index")
            known = self._memo.get(index)
            if known is None:
                name, version = stream.class_name()
                self._typename = name
                self.linked = name in STORAGES
                known = self._storage(index, name, version, mark) if name in STORAGES else None
        if not isinstance(known, TorchStorage) or known.dtype != TENSORS[typename]:
            raise FormatError(f"a {typename} on something that is not its storage", offset=mark)
        return known

    def _located(self, error: FormatError) -> FormatError:
        *outer, last = self._frames or [Frame(0, list[Any].clear)]
        keys = [frame.key(inner=True) for frame in outer] + [last.key(inner=False)]
        inside = join(key for key in keys if key is not None) or "the root"
        if self._typename:
            inside += f" (the last class was {self._typename})"
        return FormatError(error.detail, offset=error.offset, path=inside, hint=error.hint)


def _own_body(value: TorchObject, offset: int) -> FormatError:
    return FormatError(
        f"{value.typename} has a body of its own, not a table of fields",
        offset=offset,
        hint="its class wrote itself in a way that only its own code can read",
    )


def _numbered(values: list[Any]) -> list[Any]:
    return [item for pair in enumerate(values, start=1) for item in pair]
