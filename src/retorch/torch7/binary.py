"""The binary encoding."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from retorch.errors import FormatError
from retorch.torch7.objects import TorchStorage
from retorch.torch7.stream import (
    BOOLEAN,
    DONE,
    LEGACY_RECURSIVE,
    LONGEST_NAME,
    NIL,
    NUMBER,
    RECURSIVE,
    STRING,
    TABLE,
    TORCH,
    Buffer,
    ByteOrder,
    Dialect,
    Stream,
    missing,
    number,
    own,
)

_WITH_INDEX = frozenset((TABLE, TORCH, LEGACY_RECURSIVE, RECURSIVE))
_LONG = np.dtype("i8")


class BinaryStream(Stream):
    """A binary file of either byte order and long size."""

    def __init__(self, buffer: Buffer, byte_order: ByteOrder, long_size: Literal[8, 4]) -> None:
        super().__init__(buffer)
        self.least = 4
        self.dialect = Dialect("binary", long_size, byte_order)
        self.order: Literal["<", ">"] = "<" if byte_order == "little" else ">"
        self._long = "q" if long_size == 8 else "i"
        self.unpack_int = struct.Struct(self.order + "i").unpack_from
        self._unpack_double = struct.Struct(self.order + "d").unpack_from
        unpack_two = struct.Struct(self.order + "ii").unpack_from
        self._often = (buffer, self.end, unpack_two, self._unpack_double, self.strings)
        self._unpack_longs: dict[int, Callable[[Buffer, int], tuple[int, ...]]] = {}
        self._unpack_class = struct.Struct(self.order + "i3si").unpack_from

    def int(self, what: str) -> int:
        """A 4-byte integer."""
        pos = self.pos
        if pos + 4 > self.end:
            raise missing(what, 4, self.end - pos, pos)
        self.pos = pos + 4
        return self.unpack_int(self.buffer, pos)[0]

    def longs(self, count: int, what: str) -> tuple[int, ...]:
        """``count`` longs."""
        self.met_long = True
        pos, size = self.pos, count * self.dialect.long_size
        if count < 0 or pos + size > self.end:
            raise missing(what, size, self.end - pos, pos)
        self.pos = pos + size
        unpack = self._unpack_longs.get(count)
        if unpack is None:
            unpack = self._unpack_longs[count] = struct.Struct(f"{self.order}{count}{self._long}").unpack_from
        return unpack(self.buffer, pos)

    def raw(self, count: int, what: str) -> bytes:
        """``count`` bytes as they stand."""
        pos = self.pos
        if count < 0:
            raise FormatError(f"{what} of {count} bytes", offset=pos)
        if pos + count > self.end:
            raise missing(what, count, self.end - pos, pos)
        self.pos = pos + count
        return self.buffer[pos : pos + count]

    def class_name(self) -> tuple[str, int | None]:
        """As in any stream, but at once for version 1 of a class that was met before."""
        pos, buffer = self.pos, self.buffer
        if pos + 11 <= self.end:
            _, version, size = self._unpack_class(buffer, pos)
            if version == b"V 1" and size <= LONGEST_NAME:
                stop = pos + 11 + size
                name = self.names.get(buffer[pos + 11 : stop])
                if name is not None and len(name) == size:
                    self.pos = stop
                    return name, 1
        return super().class_name()

    def elements(self, dtype: np.dtype[Any], count: int) -> TorchStorage:
        """``count`` elements: a view of the file where it has this machine's byte order and sizes, else a copy."""
        stored = self._stored(dtype)
        pos, size = self.pos, count * stored.itemsize
        if count < 0:
            raise FormatError(f"a storage of {count} elements", offset=pos)
        if pos + size > self.end:
            raise missing(f"the {count} elements of a storage", size, self.end - pos, pos)
        self.pos = pos + size
        if stored is dtype:
            return TorchStorage((count,), dtype, self.buffer, pos)
        return own(np.ndarray((count,), stored, self.buffer, pos).astype(dtype), writable=self.writable)

    def _stored(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """How an element of ``dtype`` stands in the file; ``dtype`` itself where it needs no conversion."""
        if dtype == _LONG and self.dialect.long_size == 4:
            return np.dtype(f"{self.order}i4")
        return dtype if self.dialect.byte_order == sys.byteorder else dtype.newbyteorder(self.order)

    def double(self, what: str) -> float:
        """A double."""
        pos = self.pos
        if pos + 8 > self.end:
            raise missing(what, 8, self.end - pos, pos)
        self.pos = pos + 8
        return self._unpack_double(self.buffer, pos)[0]

    def scalars(self, items: list[Any], need: int) -> int:
        """As in any stream, but fast; what is not as it should be is left to the slow way, which says why."""
        buffer, end, unpack_two, unpack_double, strings = self._often
        pos = self.pos
        append = items.append
        try:
            for _ in range(need - len(items)):
                tag, size = unpack_two(buffer, pos)
                if tag == STRING:
                    start = pos + 8
                    stop = start + size
                    if stop > end or stop < start:
                        break
                    raw = buffer[start:stop]
                    append(strings[raw] if raw in strings else self.new_text(raw))
                    pos = stop
                elif tag == NUMBER:
                    value = unpack_double(buffer, pos + 4)[0]
                    append((int(value) or number(value)) if value.is_integer() else value)
                    pos += 12
                elif tag in _WITH_INDEX:
                    self.mark, self.pos = pos, pos + 4
                    return tag
                elif tag == BOOLEAN and 0 <= size <= 1:
                    append(size == 1)
                    pos += 8
                elif tag == NIL:
                    append(None)
                    pos += 4
                else:
                    break
            else:
                self.pos = pos
                return DONE
        except struct.error:
            pass  # the file ends here: the slow way below reads up to that place and says what is missing
        self.pos = pos
        return super().scalars(items, need)
