"""The only code that writes bytes: the mirror of ``stream``, one class per encoding."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from math import copysign, isnan
from typing import Any, BinaryIO, Literal, Protocol

import numpy as np

from retorch.errors import UsageError
from retorch.torch7.objects import Array
from retorch.torch7.stream import Dialect

_CHUNK = 1 << 18
"""Elements that are converted at a time, so that a large array needs no second copy."""


class Sink(Protocol):
    """What the writer needs of an encoding."""

    def int(self, value: int) -> None: ...
    def long(self, *values: int) -> None: ...
    def double(self, value: float) -> None: ...
    def text(self, raw: bytes) -> None: ...
    def elements(self, array: Array) -> None: ...


def _chunks(array: Array) -> Iterator[Array]:
    """The elements in order, some at a time; views where ``array`` is contiguous."""
    if array.size <= _CHUNK or array.ndim == 0:
        yield np.ascontiguousarray(array).reshape(-1)
    elif array.flags.c_contiguous:
        flat = array.reshape(-1)
        yield from (flat[start : start + _CHUNK] for start in range(0, flat.size, _CHUNK))
    else:
        rows = max(1, _CHUNK * len(array) // array.size)
        for start in range(0, len(array), rows):
            part = array[start : start + rows]
            yield from _chunks(part if rows > 1 else part[0])


class BinarySink:
    """Writes the binary encoding of a dialect."""

    def __init__(self, file: BinaryIO, dialect: Dialect) -> None:
        self._write = file.write
        self._order: Literal["<", ">"] = "<" if dialect.byte_order == "little" else ">"
        self._long = "q" if dialect.long_size == 8 else "i"
        self._pack_int = struct.Struct(self._order + "i").pack
        self._pack_double = struct.Struct(self._order + "d").pack

    def int(self, value: int) -> None:
        """A 4-byte integer."""
        try:
            self._write(self._pack_int(value))
        except struct.error:
            raise UsageError(f"{value} does not fit the format, whose counts end at 2147483647") from None

    def long(self, *values: int) -> None:
        """Longs of the dialect's size."""
        try:
            self._write(struct.pack(f"{self._order}{len(values)}{self._long}", *values))
        except struct.error:
            raise UsageError(f"one of {values} does not fit a long of this dialect") from None

    def double(self, value: float) -> None:
        """A number."""
        self._write(self._pack_double(value))

    def text(self, raw: bytes) -> None:
        """A length and that many bytes."""
        self.int(len(raw))
        self._write(raw)

    def elements(self, array: Array) -> None:
        """The elements alone, C order."""
        is_long = array.dtype == np.int64
        stored = (
            np.dtype(f"{self._order}i4") if is_long and self._long == "i" else array.dtype.newbyteorder(self._order)
        )
        for part in _chunks(array):
            converted = part.astype(stored, copy=False)
            if stored.itemsize != part.itemsize and not np.array_equal(converted, part):
                raise UsageError("an element does not fit the 4-byte long of this dialect")
            self._write(converted.data)


def decimal(value: float, digits: int = 17) -> str:
    """``value`` as C's ``%.{digits}g`` prints it, with the sign of a NaN."""
    return ("-nan" if copysign(1.0, value) < 0 else "nan") if isnan(value) else f"{value:.{digits}g}"


class TextSink:
    """Writes the ASCII encoding."""

    def __init__(self, file: BinaryIO) -> None:
        self._write = file.write

    def int(self, value: int) -> None:
        """A whole number."""
        self._write(b"%d\n" % value)

    def long(self, *values: int) -> None:
        """Whole numbers on one line; nothing at all for none, as Torch does."""
        if values:
            self._write(b" ".join(b"%d" % value for value in values) + b"\n")

    def double(self, value: float) -> None:
        """A number."""
        self._write(decimal(value).encode() + b"\n")

    def text(self, raw: bytes) -> None:
        """A length and that many bytes."""
        self.int(len(raw))
        if raw:
            self._write(raw + b"\n")

    def elements(self, array: Array) -> None:
        """The elements on one line, bytes as characters; nothing at all for none."""
        if not array.size:
            return
        separator = b""
        for part in _chunks(array):
            if part.dtype.itemsize == 1:
                self._write(part.data)
            else:
                self._write(separator + _line(part))
                separator = b" "
        self._write(b"\n")


def _line(part: Array) -> bytes:
    if part.dtype.kind == "i":
        return " ".join(map(str, part.tolist())).encode()
    digits = 17 if part.dtype == np.float64 else 9
    values: list[Any] = part.tolist()
    if np.isnan(part).any():
        return " ".join(decimal(value, digits) for value in values).encode()
    return (f"%.{digits}g " * len(values) % tuple(values)).encode().rstrip()
