"""What every encoding has in common: the only code that reads bytes is a ``Stream``, one class per encoding.

Every primitive says what it reads, so an error can: ``expected 8 bytes for a storage size, found 3``. Nothing is read,
and no array made, before it is known that the file holds it. ``scalars`` takes a whole run of nils, numbers, strings
and booleans at a time, because most of a file is that.
"""

from __future__ import annotations

import mmap
from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import copysign
from typing import Any, Literal, TypeAlias

import numpy as np

from retorch.errors import FormatError
from retorch.torch7.objects import Array, TorchStorage

Buffer: TypeAlias = "bytes | mmap.mmap"
ByteOrder: TypeAlias = Literal["little", "big"]

NIL, NUMBER, STRING, TABLE, TORCH, BOOLEAN, FUNCTION, LEGACY_RECURSIVE, RECURSIVE = range(9)
"""The type tags."""
DONE = -1
"""What ``scalars`` returns when nothing is left to read."""

LONGEST_NAME = 512
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


class Stream(ABC):
    """What the reader needs of an encoding: the primitives, and what is built of them.

    ``pos`` is the next byte, ``mark`` the byte of the tag that came last, ``met_long`` whether the size of a long
    mattered.
    """

    dialect: Dialect

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer
        self.pos: int = 0
        self.mark: int = 0
        self.met_long = False
        self.end: int = len(buffer)
        self.writable = not memoryview(buffer).readonly
        self.least = 1  # bytes of the smallest value, a nil, at least
        self.names: dict[bytes, str] = {}
        self.strings: dict[bytes, str | bytes] = {}

    @abstractmethod
    def int(self, what: str) -> int:
        """An int; ``what`` it is stands in the error."""

    @abstractmethod
    def longs(self, count: int, what: str) -> tuple[int, ...]:
        """``count`` longs."""

    @abstractmethod
    def raw(self, count: int, what: str) -> bytes:
        """``count`` bytes as they stand."""

    @abstractmethod
    def elements(self, dtype: np.dtype[Any], count: int) -> TorchStorage:
        """``count`` elements: a view of the file where it has this machine's byte order and sizes, else a copy."""

    @abstractmethod
    def double(self, what: str) -> float:
        """A double."""

    def scalars(self, items: list[Any], need: int) -> int:
        """Append values to ``items`` until there are ``need``, or a table, object or function comes: return its tag."""
        while len(items) < need:
            tag = self.tag()
            if tag == STRING:
                raw = self.raw(self.int("a string length"), "a string")
                items.append(self.strings[raw] if raw in self.strings else self.new_text(raw))
            elif tag == NUMBER:
                items.append(number(self.double("a number")))
            elif tag == BOOLEAN:
                items.append(self.boolean())
            elif tag == NIL:
                items.append(None)
            else:
                return tag
        return DONE

    def tag(self) -> int:
        """A type tag."""
        self.mark = self.pos
        tag = self.int("a type tag")
        if not 0 <= tag <= RECURSIVE:
            raise FormatError(f"expected a type tag (0 to 8), found {tag}", offset=self.mark)
        return tag

    def name_follows(self) -> bool:
        """Whether a string follows that can be the name of a field."""
        pos, mark = self.pos, self.mark
        try:
            return self.tag() == STRING and self.raw(self.int("a string length"), "a string").decode().isidentifier()
        except (FormatError, UnicodeDecodeError):
            return False
        finally:
            self.pos, self.mark = pos, mark

    def boolean(self) -> bool:
        """A boolean."""
        pos = self.pos
        value = self.int("a boolean")
        if not 0 <= value <= 1:
            raise FormatError(f"expected a boolean (0 or 1), found {value}", offset=pos)
        return value == 1

    def class_name(self) -> tuple[str, int | None]:
        """The name of a class and its version, None in files from before versions."""
        name = self._name("a class name or version")
        if name.startswith("V ") and (digits := name[2:]).isdecimal() and str(int(digits)) == digits:
            return self._name("a class name"), int(digits)
        return name, None

    def _name(self, what: str) -> str:
        offset, length = self.pos, self.int(what)
        raw = self.raw(length, what) if 0 < length <= LONGEST_NAME else b""
        if not raw.isascii() or not (name := raw.decode("ascii")).isprintable() or not name:
            raise FormatError(f"expected {what}, found {raw or length!r}", offset=offset)
        self.names[raw] = name
        return name

    def new_text(self, raw: bytes) -> str | bytes:
        """A string that is not among ``strings``, where the short ones are kept to be the same object next time."""
        text = decode(raw)
        if len(raw) <= _LONGEST_CACHED and len(self.strings) < _CACHED_STRINGS:
            self.strings[raw] = text
        return text


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


def number(value: float) -> float:
    """``value`` as an int where it is whole and has no sign to lose, else as it is."""
    if value.is_integer():
        whole = int(value)
        if whole or copysign(1.0, value) > 0:
            return whole
    return value


def own(values: Array, *, writable: bool) -> TorchStorage:
    """A storage over values that stand nowhere else; read-only unless the stream's own are ``writable``."""
    values.flags.writeable = writable
    return values.view(TorchStorage)
