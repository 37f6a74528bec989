"""Many alike: a table of a million small records is read column by column.

The entries of a long table are often built alike: the same keys, the same types, only the values differ. ``describe``
looks at one entry (a key and a flat table, or an object with one; ``describe_pair`` at a key and a scalar) and tells
which of its bytes are fixed; ``read_rows``
takes as many of the following entries as match in exactly these bytes. What does not match is left to the reader.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import numpy as np

from retorch.torch7.binary import BinaryStream
from retorch.torch7.objects import Array, LuaTable, TorchObject
from retorch.torch7.stream import BOOLEAN, NUMBER, STRING, TABLE, decode, number

_MOST_VALUES = 32
_EXACT = 2.0**53


@dataclass(frozen=True, slots=True)
class Field:
    """Bytes that may differ: ``kind`` is a type tag, or TABLE for an index; they stand at ``offset`` of a segment."""

    kind: int
    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class Layout:
    """How one entry is built: ``segments`` of fixed length, all but the last ending in the length of a string.

    A segment is its bytes and a mask of those that must be the same. ``fields`` are, in order, the key, the indices,
    the values of the table; ``keys`` the table's keys.
    """

    segments: tuple[tuple[Array, Array], ...]
    fields: tuple[Field, ...]
    keys: tuple[str | int, ...]
    typename: str
    version: int | None


def _size(key: Any) -> int:
    """The bytes of a key; 0 where it is not one that a layout may have."""
    if isinstance(key, str | bytes):
        return 8 + len(key.encode() if isinstance(key, str) else key)
    return 12 if isinstance(key, int | float) and not isinstance(key, bool) else 0


class _Survey:
    """Walks one entry and notes which bytes are free."""

    def __init__(self, stream: BinaryStream) -> None:
        self.stream = stream
        self.begin = stream.pos
        self.free: list[tuple[int, int]] = []
        self.segments: list[tuple[Array, Array]] = []
        self.fields: list[Field] = []

    def field(self, kind: int, size: int) -> None:
        """``size`` free bytes of ``kind`` come next."""
        stream = self.stream
        offset = stream.pos - self.begin
        self.fields.append(Field(kind, len(self.segments), offset))
        self.free.append((offset, offset + size))
        if kind == STRING:
            length = stream.int("a length")
            self.cut()
            stream.pos += length
            self.begin = stream.pos
        else:
            stream.pos += size

    def cut(self) -> None:
        """End a segment here."""
        pattern = np.frombuffer(self.stream.buffer[self.begin : self.stream.pos], np.uint8)
        fixed = np.ones(len(pattern), np.bool_)
        for start, stop in self.free:
            fixed[start:stop] = False
        self.segments.append((pattern, fixed))
        self.free = []

    def scalar(self) -> bool:
        """A scalar whose value is free; False where something else stands."""
        tag = self.stream.tag()
        if tag == NUMBER:
            self.field(NUMBER, 8)
        elif tag in (STRING, BOOLEAN):
            self.field(tag, 4)
        return tag in (NUMBER, STRING, BOOLEAN)


def describe(stream: BinaryStream, mark: int, key: Any, value: Any) -> Layout | None:
    """The layout of the entry of ``key`` and ``value``, whose tag is at ``mark``; None where it is not of this kind."""
    table = value.fields if isinstance(value, TorchObject) else value
    start = mark - _size(key)
    if start == mark or not isinstance(table, LuaTable):
        return None
    keys = tuple(table)
    if not 0 < len(keys) <= _MOST_VALUES or not {str, int}.issuperset(map(type, keys)):
        return None
    here, stream.pos = stream.pos, start
    survey = _Survey(stream)
    try:
        if not survey.scalar():
            return None
        if isinstance(value, TorchObject):
            stream.tag()
            survey.field(TABLE, 4)
            stream.pos += 0 if value.version is None else 4 + len(f"V {value.version}")
            stream.pos += 4 + len(value.typename)
        stream.tag()
        survey.field(TABLE, 4)
        stream.int("a count")
        for inner in keys:
            stream.pos += _size(inner)
            if not survey.scalar():
                return None
        survey.cut()
        if stream.pos != here:  # a key that came twice
            return None
    finally:
        stream.pos = here
    known = isinstance(value, TorchObject)
    return Layout(
        tuple(survey.segments),
        tuple(survey.fields),
        keys,
        value.typename if known else "",
        value.version if known else None,
    )


def describe_pair(stream: BinaryStream, start: int) -> Layout | None:
    """The layout of the key and scalar at ``start``; None where it is not of this kind."""
    here, stream.pos = stream.pos, start
    survey = _Survey(stream)
    try:
        if not (survey.scalar() and survey.scalar()):
            return None
        survey.cut()
    finally:
        stream.pos = here
    return Layout(tuple(survey.segments), tuple(survey.fields), (), "", None)


def read_rows(
    stream: BinaryStream, layout: Layout, count: int, memo: dict[int, Any]
) -> tuple[list[Any], list[LuaTable] | list[TorchObject] | list[Any]]:
    """Up to ``count`` keys and values of ``layout`` from where the stream stands; it then stands behind them."""
    starts = _starts(stream, [len(pattern) for pattern, _ in layout.segments], count)
    source = np.frombuffer(stream.buffer, np.uint8)
    fits = np.ones(len(starts), np.bool_)
    parts: list[Array] = []
    for (pattern, fixed), begins in zip(layout.segments, starts.T, strict=True):
        part = source[begins[:, None] + np.arange(len(pattern))]
        fits &= ((part == pattern) | ~fixed).all(axis=1)
        parts.append(part)
    raw = [_column(stream, field, parts) for field in layout.fields]
    for field, column in zip(layout.fields, raw, strict=True):
        if field.kind == BOOLEAN:
            fits &= (column == 0) | (column == 1)
    indices = [column for field, column in zip(layout.fields, raw, strict=True) if field.kind == TABLE]
    rows = _prefix(fits)
    if indices:
        rows = _new_indices(np.stack(indices, axis=1)[:rows], memo)
    if not rows:
        return [], []
    after = starts[rows - 1, -1] + len(layout.segments[-1][0])
    texts = _Texts(stream, int(starts[0, 0]), int(after))
    columns = [
        texts.column(starts[:rows, field.segment] + field.offset + 4, starts[:rows, field.segment + 1])
        if field.kind == STRING
        else _values(field, column[:rows])
        for field, column in zip(layout.fields, raw, strict=True)
    ]
    stream.pos = int(after)
    return columns[0], _build(layout, columns[1:], memo)


def _starts(stream: BinaryStream, lengths: list[int], count: int) -> Array:
    """Where each segment of each row begins, if every row is of the layout, shape (rows, segments)."""
    *inner, last = lengths
    buffer, begin, end, unpack = stream.buffer, stream.pos, stream.end, stream.unpack_int
    if not inner:
        return (begin + last * np.arange(min(count, (end - begin) // last)))[:, None]
    # A string's length stands right before it; what is not a length, because the layout ends, is found out afterwards.
    gaps = [last + inner[0], *inner[1:]]
    sizes: list[int] = []
    pos = begin - last - 4
    try:
        for gap in chain.from_iterable(repeat(gaps, count)):
            pos += gap
            (size,) = unpack(buffer, pos)
            sizes.append(size)
            pos += size
    except struct.error:
        pass  # the file ends before the row does: the rows in front of it stand, and the reader refuses this one
    rows = len(sizes) // len(inner)
    lengths_read = np.array(sizes[: rows * len(inner)], np.int64).reshape(rows, len(inner))
    spans = np.column_stack([lengths_read + inner, np.full(rows, last)]).reshape(-1)
    stops = begin + np.cumsum(spans)
    starts = (stops - spans).reshape(rows, len(lengths))
    possible = (lengths_read >= 0).all(axis=1) & (stops[len(inner) :: len(lengths)] <= end)
    return starts[: _prefix(possible)]


def _prefix(fits: Array) -> int:
    return len(fits) if fits.all() else int(fits.argmin())


def _new_indices(indices: Array, memo: dict[int, Any]) -> int:
    """How many rows have indices that count upwards and mean nothing yet."""
    flat = indices.reshape(-1)
    rising = np.diff(flat) > 0
    if not rising.all():
        flat = flat[: int(rising.argmin()) + 1]
    return len(flat) // indices.shape[1] if memo.keys().isdisjoint(flat.tolist()) else 0


def _column(stream: BinaryStream, field: Field, parts: list[Array]) -> Array:
    """A field of all rows, shape (rows,): doubles for numbers, else integers."""
    dtype = np.dtype(stream.order + ("f8" if field.kind == NUMBER else "i4"))
    part = parts[field.segment][:, field.offset : field.offset + dtype.itemsize]
    return np.ascontiguousarray(part).view(dtype)[:, 0]


def _values(field: Field, column: Array) -> list[Any]:
    if field.kind == BOOLEAN:
        return (column == 1).tolist()
    if field.kind == NUMBER:
        return _numbers(column)
    return column.tolist()


def _numbers(column: Array) -> list[Any]:
    """What ``number`` makes of each, for all at once."""
    with np.errstate(invalid="ignore"):
        wholes = column.astype(np.int64)
        large = np.abs(column) >= _EXACT
        is_whole = (wholes == column) & ((column != 0) | ~np.signbit(column))
    if is_whole.all() and not large.any():
        return wholes.tolist()
    if large.any():
        return [number(value) for value in column.tolist()]
    rows = zip(wholes.tolist(), column.tolist(), is_whole.tolist(), strict=True)
    return [whole if fits else value for whole, value, fits in rows]


class _Texts:
    """The characters from ``start`` to ``stop``, to cut strings out of."""

    def __init__(self, stream: BinaryStream, start: int, stop: int) -> None:
        raw = stream.buffer[start:stop]
        self.start = start
        self.raw = raw
        self.text = raw.decode("latin-1")
        self.above = np.concatenate(([0], np.cumsum(np.frombuffer(raw, np.uint8) >= 128)))

    def column(self, starts: Array, stops: Array) -> list[Any]:
        """The strings from each of ``starts`` to each of ``stops``."""
        begins, ends, text = starts - self.start, stops - self.start, self.text
        spans = list(zip(begins.tolist(), ends.tolist(), strict=True))
        found: list[Any] = [text[begin:end] for begin, end in spans]
        for row in np.flatnonzero(self.above[ends] > self.above[begins]).tolist():
            begin, end = spans[row]
            found[row] = decode(self.raw[begin:end])
        return found


def _build(
    layout: Layout, columns: list[list[Any]], memo: dict[int, Any]
) -> list[LuaTable] | list[TorchObject] | list[Any]:
    if not layout.keys:
        return columns[0]
    heads = 2 if layout.typename else 1
    tables = LuaTable.rows(layout.keys, columns[heads:])
    memo.update(zip(columns[heads - 1], tables, strict=True))
    if not layout.typename:
        return tables
    objects = [TorchObject(layout.typename, table, version=layout.version) for table in tables]
    memo.update(zip(columns[0], objects, strict=True))
    return objects
