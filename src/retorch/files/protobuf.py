"""Protobuf's wire format by hand: what it takes to stream gigabytes of weights and to map them back.

A message is a run of fields; a field is a varint ``number << 3 | kind`` and then a varint (kind 0), eight bytes (1), a
length and so many bytes (2), or four bytes (5). See https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retorch.errors import FormatError

Array = NDArray[np.generic]
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_VARINT = 10  # bytes: a negative int64 takes that many
_SHORT = [bytes([value]) for value in range(0x80)]
_STEP = 1 << 16  # elements that are in hand at a time where numbers change their form


@dataclass(frozen=True, slots=True)
class Field:
    """One field as it lies in the file.

    ``value`` is the number of a varint field; otherwise the content is ``start:end``, in bytes from the file's begin.
    """

    number: int
    kind: int
    value: int
    start: int
    end: int


def varint(value: int) -> bytes:
    """A non-negative integer, seven bits a byte, lowest first."""
    if value <= 0x7F:
        return _SHORT[value]
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def head(number: int, size: int) -> bytes:
    """What stands before ``size`` bytes of content in field ``number``."""
    return varint(number << 3 | BYTES) + varint(size)


def delimited(number: int, content: bytes | str) -> bytes:
    """A whole field of bytes, text or an encoded message."""
    data = content.encode() if isinstance(content, str) else content
    return head(number, len(data)) + data


def integer(number: int, value: int) -> bytes:
    """A whole field that holds an int64."""
    return varint(number << 3 | VARINT) + varint(value & 0xFFFF_FFFF_FFFF_FFFF)


def signed(value: int) -> int:
    """What a varint's 64 bits say as an int64."""
    return value - (1 << 64) if value >> 63 else value


def varint_sizes(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many bytes each int64 takes as a varint, same shape."""
    sizes = np.ones(values.shape, np.int64)
    unsigned = values.view(np.uint64)
    for bits in range(7, 64, 7):
        sizes += unsigned >= np.uint64(1 << bits)
    return sizes


def varints(values: NDArray[np.int64], tag: bytes = b"") -> bytes:
    """Many int64 as varints, each behind ``tag`` (one byte, or nothing where they are packed)."""
    unsigned = values.view(np.uint64)
    shifts = np.arange(0, 7 * MAX_VARINT, 7, dtype=np.uint64)
    groups = (unsigned[:, None] >> shifts & np.uint64(0x7F)).astype(np.uint8)
    used = np.arange(MAX_VARINT) < varint_sizes(values)[:, None]
    groups[:, :-1] |= np.where(used[:, 1:], np.uint8(0x80), np.uint8(0))
    if tag:
        groups = np.concatenate([np.full((len(values), 1), tag[0], np.uint8), groups], axis=1)
        used = np.concatenate([np.ones((len(values), 1), np.bool_), used], axis=1)
    return groups[used].tobytes()


def unpack_varints(data: NDArray[np.uint8], offset: int) -> NDArray[np.int64]:
    """The int64 in a run of varints (1-D bytes); ``offset`` is where it lies in the file, for the error."""
    ends = np.flatnonzero(data < 0x80) + 1
    if len(data) and (not len(ends) or ends[-1] != len(data)):
        raise FormatError("a packed list of integers ends inside a number", offset=offset + len(data))
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]]) if len(ends) else ends
    sizes = ends - starts
    if len(sizes) and int(sizes.max()) > MAX_VARINT:
        raise FormatError("an integer of more than ten bytes", offset=offset)
    values = np.zeros(len(ends), np.uint64)
    for byte in range(int(sizes.max()) if len(sizes) else 0):
        here = sizes > byte
        values[here] |= (data[starts[here] + byte].astype(np.uint64) & np.uint64(0x7F)) << np.uint64(7 * byte)
    return values.view(np.int64)


def pieces(
    array: NDArray[np.generic], dtype: np.dtype[np.generic], limit: int = _STEP
) -> Iterator[NDArray[np.generic]]:
    """The elements in C order as 1-D contiguous arrays of ``dtype``: at most ``limit`` at a time where they are copied.

    An array that is contiguous and of that type already comes back whole, as a view.
    """
    if array.dtype == dtype and array.flags.c_contiguous:
        yield array.reshape(-1)
    elif array.size <= limit:
        yield np.ascontiguousarray(array, dtype).reshape(-1)
    else:
        rows = max(1, limit // (array.size // len(array)))
        for first in range(0, len(array), rows):
            part = array[first : first + rows]
            yield from pieces(part[0] if len(part) == 1 else part, dtype, limit)


def read_varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    """The varint at ``at`` and where it ends; FormatError where it runs past ``end``."""
    value = shift = 0
    start = at
    while at < end and at - start < MAX_VARINT:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
    raise FormatError("expected an integer, found the end of its message", offset=start)


def fields(data: memoryview, start: int, end: int) -> Iterator[Field]:
    """The fields of the message in ``data[start:end]``, in order; FormatError where one does not fit into it."""
    at = start
    while at < end:
        here = at
        tag, at = read_varint(data, at, end)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, stop = read_varint(data, at, end)
            yield Field(number, kind, value, at, stop)
            at = stop
            continue
        if kind == BYTES:
            size, at = read_varint(data, at, end)
        else:
            size = {FIXED64: 8, FIXED32: 4}.get(kind, -1)
        if size < 0 or number == 0:
            raise FormatError(f"not a protobuf field (number {number}, kind {kind})", offset=here)
        if size > end - at:
            raise FormatError(f"expected {size} bytes for field {number}, found {end - at}", offset=at)
        yield Field(number, kind, 0, at, at + size)
        at += size


def text(data: memoryview, field: Field) -> str:
    """A field of text; FormatError where it is not UTF-8."""
    try:
        return bytes(data[field.start : field.end]).decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"field {field.number} is not text", offset=field.start) from error
