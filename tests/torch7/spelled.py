"""Torch7 values spelled out in bytes by hand: little-endian, 8-byte long unless told otherwise."""

from __future__ import annotations

import struct

NIL = struct.pack("<i", 0)
TRUE = struct.pack("<ii", 5, 1)
FALSE = struct.pack("<ii", 5, 0)


def num(value: float) -> bytes:
    """A number."""
    return struct.pack("<id", 1, value)


def text(value: str | bytes) -> bytes:
    """A string."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<ii", 2, len(raw)) + raw


def table(index: int, *pairs: bytes) -> bytes:
    """A new table of keys and values in turn."""
    return struct.pack("<iii", 3, index, len(pairs) // 2) + b"".join(pairs)


def again(tag: int, index: int) -> bytes:
    """What stood in the file before under ``index``."""
    return struct.pack("<ii", tag, index)


def name(value: str) -> bytes:
    """A class name or version, as a bare string."""
    return struct.pack("<i", len(value)) + value.encode()


def new(index: int, typename: str, body: bytes, version: str = "V 1") -> bytes:
    """A new object."""
    return struct.pack("<ii", 4, index) + (name(version) if version else b"") + name(typename) + body


def longs(*values: int) -> bytes:
    """Longs of 8 bytes."""
    return struct.pack(f"<{len(values)}q", *values)


def storage(index: int, typename: str, code: str, *values: float) -> bytes:
    """A new storage whose elements have the struct code ``code``."""
    return new(index, typename, longs(len(values)) + struct.pack(f"<{len(values)}{code}", *values))


def tensor(index: int, typename: str, sizes: list[int], strides: list[int], offset: int, held: bytes) -> bytes:
    """A new tensor on the storage ``held``."""
    body = struct.pack("<i", len(sizes)) + longs(*sizes, *strides, offset) + held
    return new(index, typename, body)


def function(tag: int, index: int, code: bytes, upvalues: bytes) -> bytes:
    """A function of tag 6 (no index), 7 or 8."""
    head = struct.pack("<i", tag) + (b"" if tag == 6 else struct.pack("<i", index))
    return head + struct.pack("<i", len(code)) + code + upvalues
