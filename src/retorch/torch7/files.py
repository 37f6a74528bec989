"""From a path, bytes or a file to what is in it: the mapping, the dialect, the whole value."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

from retorch.errors import FormatError
from retorch.torch7.reader import Reader
from retorch.torch7.stream import BinaryStream, Buffer, ByteOrder, Dialect, Stream, TextStream

Source: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO"


@dataclass(frozen=True, slots=True)
class Document:
    """A file that was read: its value and how it was written.

    ``size`` and ``trailing`` are bytes, ``trailing`` those after the value. ``offsets`` holds, by ``id`` of the table, object,
    tensor, storage or function, the byte at which its type tag stands, where it was asked for.
    """

    root: Any
    name: str
    dialect: Dialect
    size: int
    trailing: int
    offsets: Mapping[int, int] = field(default_factory=dict[int, int], repr=False)


def read(source: Source) -> Any:
    """The value in a ``.t7`` file, given as a path, its bytes, or a binary file object.

    Arrays are read-only views of the file, which must not be cut short while they are in use. Raises FormatError.
    """
    return open_file(source).root


def open_file(source: Source, *, offsets: bool = False) -> Document:
    """As ``read``, with the dialect, sizes and, on request, the offsets of every object."""
    name, buffer = _map(source)
    found: list[Document] = []
    errors: list[FormatError] = []
    for stream in _candidates(buffer):
        places: dict[int, int] | None = {} if offsets else None
        try:
            root = Reader(stream, places).read()
        except FormatError as error:
            errors.append(error)
            continue
        document = Document(root, name, stream.dialect, len(buffer), len(buffer) - stream.pos, places or {})
        if not document.trailing:
            return document
        found.append(document)
    if found:
        return min(found, key=lambda document: document.trailing)
    raise max(errors, key=lambda error: error.offset or 0)


def _candidates(buffer: Buffer) -> list[Stream]:
    """The dialects that the first bytes allow. Nothing tells how long a long is, so the usual 8 comes before 4."""
    if buffer[:1].isdigit():
        return [TextStream(buffer)]
    order: ByteOrder = "big" if buffer[:3] == bytes(3) and buffer[3:4] != b"\0" else "little"
    sizes: tuple[Literal[8], Literal[4]] = (8, 4)
    return [BinaryStream(buffer, order, size) for size in sizes]


def _map(source: Source) -> tuple[str, Buffer]:
    if isinstance(source, bytes):
        return "(bytes)", source
    if not isinstance(source, str | os.PathLike):
        return str(getattr(source, "name", "(file)")), source.read()
    path = Path(source)
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise FormatError("the file is empty", offset=0)
        return str(path), mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
