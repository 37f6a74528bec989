"""The only code that reads bytes: one class per encoding, the same primitives in both.

Every primitive says what it reads, so an error can: ``expected 8 bytes for a storage size, found 3``. Nothing is read,
and no array made, before it is known that the file holds it. ``scalars`` takes a whole run of nils, numbers, strings
and booleans at a time, because most of a file is that.
"""

from __future__ import annotations

import mmap
import re
import struct
from dataclasses import dataclass
from math import copysign
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from retorch.errors import FormatError
from retorch.torch7.numerals import parse_number, parse_numbers
from retorch.torch7.objects import Array, TorchStorage

Buffer: TypeAlias = "bytes | mmap.mmap"
ByteOrder: TypeAlias = Literal["little", "big"]

NIL, NUMBER, STRING, TABLE, TORCH, BOOLEAN, FUNCTION, LEGACY_RECURSIVE, RECURSIVE = range(9)
"""The type tags."""
DONE = -1
"""What ``scalars`` returns when nothing is left to read."""

_WITH_INDEX = frozenset((TABLE, TORCH, LEGACY_RECURSIVE, RECURSIVE))
_CACHED_STRINGS = 4096
_LONGEST_CACHED = 64


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file is written: ``"binary"`` or ``"ascii"``, and for binary the bytes of a long and their order."""

    encoding: Literal["binary", "ascii"] = "binary"
    long_size: Literal[8, 4] = 8
    byte_order: ByteOrder = "little"

    def __str__(self) -> str:
        if self.encoding == "ascii":
            return "ASCII"
        return f"binary, {self.byte_order}-endian, {self.long_size}-byte long"


class Stream(Protocol):
    """What the reader needs of an encoding.

    ``pos`` is the next byte, ``mark`` the byte of the tag that came last, ``met_long`` whether the size of a long
    mattered.
    """

    pos: int
    mark: int
    met_long: bool
    end: int
    dialect: Dialect

    def int(self, what: str) -> int: ...
    def long(self, what: str) -> int: ...
    def longs(self, count: int, what: str) -> tuple[int, ...]: ...
    def raw(self, count: int, what: str) -> bytes: ...
    def tag(self) -> int: ...
    def elements(self, dtype: np.dtype[Any], count: int) -> TorchStorage: ...
    def scalars(self, items: list[Any], need: int) -> int: ...


def decode(raw: bytes) -> str | bytes:
    """``raw`` as text where it is UTF-8, else as it is."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def missing(what: str, need: int, have: int, offset: int) -> FormatError:
    """The error for a file that ends too early."""
    unit = "byte" if need == 1 else "bytes"
    return FormatError(f"the file is cut off: expected {need} {unit} for {what}, found {max(have, 0)}", offset=offset)


def bad_tag(tag: int, offset: int) -> FormatError:
    """The error for a type tag outside 0…8."""
    return FormatError(f"expected a type tag (0 to 8), found {tag}", offset=offset)


def bad_boolean(value: int, offset: int) -> FormatError:
    """The error for a boolean that is neither 0 nor 1."""
    return FormatError(f"expected a boolean (0 or 1), found {value}", offset=offset)


def number(value: float) -> float:
    """``value`` as an int where it is whole and has no sign to lose, else as it is."""
    if value.is_integer():
        whole = int(value)
        if whole or copysign(1.0, value) > 0:
            return whole
    return value


class BinaryStream:
    """A binary file of either byte order and long size."""

    def __init__(self, buffer: Buffer, byte_order: ByteOrder, long_size: Literal[8, 4]) -> None:
        self.buffer = buffer
        self.pos = 0
        self.mark = 0
        self.met_long = False
        self.end = len(buffer)
        self.dialect = Dialect("binary", long_size, byte_order)
        self.order: Literal["<", ">"] = "<" if byte_order == "little" else ">"
        self._long = "q" if long_size == 8 else "i"
        self.unpack_int = struct.Struct(self.order + "i").unpack_from
        self._unpack_two = struct.Struct(self.order + "ii").unpack_from
        self._unpack_double = struct.Struct(self.order + "d").unpack_from
        self._strings: dict[bytes, str | bytes] = {}

    def int(self, what: str) -> int:
        """A 4-byte integer."""
        pos = self.pos
        if pos + 4 > self.end:
            raise missing(what, 4, self.end - pos, pos)
        self.pos = pos + 4
        return self.unpack_int(self.buffer, pos)[0]

    def long(self, what: str) -> int:
        """A long of the dialect's size."""
        return self.longs(1, what)[0]

    def longs(self, count: int, what: str) -> tuple[int, ...]:
        """``count`` longs."""
        self.met_long = True
        pos, size = self.pos, count * self.dialect.long_size
        if count < 0 or pos + size > self.end:
            raise missing(what, size, self.end - pos, pos)
        self.pos = pos + size
        return struct.unpack_from(f"{self.order}{count}{self._long}", self.buffer, pos)

    def raw(self, count: int, what: str) -> bytes:
        """``count`` bytes as they stand."""
        pos = self.pos
        if count < 0:
            raise FormatError(f"{what} of {count} bytes", offset=pos)
        if pos + count > self.end:
            raise missing(what, count, self.end - pos, pos)
        self.pos = pos + count
        return self.buffer[pos : pos + count]

    def tag(self) -> int:
        """A type tag."""
        self.mark = self.pos
        tag = self.int("a type tag")
        if not 0 <= tag <= RECURSIVE:
            raise bad_tag(tag, self.mark)
        return tag

    def elements(self, dtype: np.dtype[Any], count: int) -> TorchStorage:
        """``count`` elements: a view of the file where it has this machine's byte order and sizes, else a copy."""
        stored = np.dtype(f"{self.order}i4") if self._is_short_long(dtype) else dtype.newbyteorder(self.order)
        pos, size = self.pos, count * stored.itemsize
        if count < 0:
            raise FormatError(f"a storage of {count} elements", offset=pos)
        if pos + size > self.end:
            raise missing(f"the {count} elements of a storage", size, self.end - pos, pos)
        self.pos = pos + size
        if stored == dtype:
            return TorchStorage((count,), dtype, self.buffer, pos)
        return own(np.ndarray((count,), stored, self.buffer, pos).astype(dtype))

    def _is_short_long(self, dtype: np.dtype[Any]) -> bool:
        return self.dialect.long_size == 4 and dtype == np.int64

    def scalars(self, items: list[Any], need: int) -> int:
        """Append values to ``items`` until there are ``need``, or a table, object or function comes: return its tag."""
        buffer, pos, end = self.buffer, self.pos, self.end
        unpack_int, unpack_two, unpack_double = self.unpack_int, self._unpack_two, self._unpack_double
        strings, append = self._strings, items.append
        try:
            for _ in range(need - len(items)):
                tag = unpack_int(buffer, pos)[0]
                if tag == STRING:
                    start = pos + 8
                    stop = start + unpack_int(buffer, pos + 4)[0]
                    if stop > end or stop < start:
                        break
                    raw = buffer[start:stop]
                    append(strings[raw] if raw in strings else self._text(raw))
                    pos = stop
                elif tag == NUMBER:
                    value = unpack_double(buffer, pos + 4)[0]
                    append(number(value) if value.is_integer() else value)
                    pos += 12
                elif tag == BOOLEAN and 0 <= (flag := unpack_two(buffer, pos)[1]) <= 1:
                    append(flag == 1)
                    pos += 8
                elif tag == NIL:
                    append(None)
                    pos += 4
                elif tag in _WITH_INDEX:
                    self.mark, self.pos = pos, pos + 4
                    return tag
                else:
                    break
            else:
                self.pos = pos
                return DONE
        except struct.error:
            pass  # the file ends inside a scalar: the slow way below says in which
        self.pos = pos
        return self._object_or_error()

    def _object_or_error(self) -> int:
        tag = self.tag()
        if tag == STRING:
            self.raw(self.int("a string length"), "a string")
        elif tag == NUMBER:
            raise missing("a number", 8, self.end - self.pos, self.pos)
        elif tag == BOOLEAN:
            flag = self.int("a boolean")
            raise bad_boolean(flag, self.mark + 4)
        return tag

    def _text(self, raw: bytes) -> str | bytes:
        text = decode(raw)
        if len(raw) <= _LONGEST_CACHED and len(self._strings) < _CACHED_STRINGS:
            self._strings[raw] = text
        return text


# Numbers are separated by white space; one newline after a number belongs to it, because raw characters may follow.
# A number that the file ends with may be cut off, so white space must follow.
_TOKEN = re.compile(rb"\s*+(\S{1,64})(?:\r?\n|(?=\s))")
_NEWLINE = re.compile(rb"\r?\n")
_WHOLE = re.compile(rb"[+-]?\d{1,20}")


class TextStream:
    """An ASCII file: numbers in decimal, characters as they are, a newline after each."""

    dialect = Dialect("ascii")
    met_long = False

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer
        self.pos = 0
        self.mark = 0
        self.end = len(buffer)
        self._strings: dict[bytes, str | bytes] = {}

    def _token(self, what: str) -> bytes:
        match = _TOKEN.match(self.buffer, self.pos)
        if match is None:
            left = self.buffer[self.pos : self.pos + 128].split()
            if not left or len(left[0]) <= 64:
                raise FormatError(f"the file is cut off: expected {what} and a newline", offset=self.pos)
            raise FormatError(f"expected {what}, found {left[0][:24]!r}…", offset=self.pos)
        self.mark = match.start(1)
        self.pos = match.end()
        return match[1]

    def int(self, what: str) -> int:
        """A whole number."""
        token = self._token(what)
        if not _WHOLE.fullmatch(token):
            raise FormatError(f"expected {what}, found {decode(token)!r}", offset=self.mark)
        return int(token)

    def long(self, what: str) -> int:
        """A whole number."""
        return self.int(what)

    def longs(self, count: int, what: str) -> tuple[int, ...]:
        """``count`` whole numbers."""
        self._check(count, what)
        return tuple(self.int(what) for _ in range(count))

    def _check(self, count: int, what: str) -> None:
        # Each number takes a digit and a separator, which the last may lack at the end of the file.
        if count < 0:
            raise FormatError(f"{what}: a count of {count}", offset=self.pos)
        if 2 * count > self.end - self.pos + 1:
            raise missing(what, 2 * count - 1, self.end - self.pos, self.pos)

    def raw(self, count: int, what: str) -> bytes:
        """``count`` characters and the newline after them."""
        pos = self.pos
        if count < 0:
            raise FormatError(f"{what} of {count} bytes", offset=pos)
        if pos + count > self.end:
            raise missing(what, count, self.end - pos, pos)
        self.pos = self._skip_newline(pos + count, what) if count else pos
        return self.buffer[pos : pos + count]

    def _skip_newline(self, pos: int, what: str) -> int:
        if pos == self.end:
            raise missing(f"the newline after {what}", 1, 0, pos)
        newline = _NEWLINE.match(self.buffer, pos)
        return newline.end() if newline else pos

    def tag(self) -> int:
        """A type tag."""
        tag = self.int("a type tag")
        if not 0 <= tag <= RECURSIVE:
            raise bad_tag(tag, self.mark)
        return tag

    def elements(self, dtype: np.dtype[Any], count: int) -> TorchStorage:
        """``count`` elements. Bytes and chars are characters and stay a view; numbers are parsed."""
        if dtype.itemsize == 1:
            pos = self.pos
            if count < 0 or pos + count > self.end:
                raise missing(f"the {count} elements of a storage", count, self.end - pos, pos)
            self.pos = self._skip_newline(pos + count, "a storage") if count else pos
            return TorchStorage((count,), dtype, self.buffer, pos)
        self._check(count, "the elements of a storage")
        values, self.pos = parse_numbers(self.buffer, self.pos, dtype, count)
        return own(values)

    def _number(self) -> float:
        token = self._token("a number")
        try:
            return number(parse_number(token))
        except ValueError:
            raise FormatError(f"expected a number, found {decode(token)!r}", offset=self.mark) from None

    def scalars(self, items: list[Any], need: int) -> int:
        """Append values to ``items`` until there are ``need``, or a table, object or function comes: return its tag."""
        while len(items) < need:
            tag = self.tag()
            mark = self.mark
            if tag == STRING:
                items.append(self._text(self.raw(self.int("a string length"), "a string")))
            elif tag == NUMBER:
                items.append(self._number())
            elif tag == BOOLEAN:
                if not 0 <= (flag := self.int("a boolean")) <= 1:
                    raise bad_boolean(flag, self.mark)
                items.append(flag == 1)
            elif tag == NIL:
                items.append(None)
            else:
                return tag
            self.mark = mark
        return DONE

    def _text(self, raw: bytes) -> str | bytes:
        text = self._strings.get(raw)
        if text is None:
            text = decode(raw)
            if len(raw) <= _LONGEST_CACHED and len(self._strings) < _CACHED_STRINGS:
                self._strings[raw] = text
        return text


def own(values: Array) -> TorchStorage:
    """A read-only storage over values that stand nowhere else."""
    values.flags.writeable = False
    return values.view(TorchStorage)
