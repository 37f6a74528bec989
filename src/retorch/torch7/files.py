"""From a path, bytes or a file to what is in it: the bytes, the dialect, the whole value."""

from __future__ import annotations

import gzip
import importlib
import io
import mmap
import os
import re
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, TypeAlias

from retorch import limits
from retorch.errors import FormatError, MissingFileError, UsageError
from retorch.files.artifacts import CAFFE2
from retorch.files.garbage import collector_paused
from retorch.torch7.binary import BinaryStream
from retorch.torch7.reader import Reader
from retorch.torch7.repair import mend
from retorch.torch7.sniff import refuse_foreign
from retorch.torch7.stream import RECURSIVE, Buffer, ByteOrder, Dialect, Stream
from retorch.torch7.text import TextStream

Source: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO"

_HEAD = 4096
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_SMALL = 8 << 20
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Document:
    """A file that was read: its value and how it was written.

    ``size`` and ``trailing`` are bytes (unpacked, where the file was gzip), ``trailing`` those after the value.
    ``offsets`` holds, by ``id`` of the table, object, tensor, storage or function, the byte at which its type tag
    stands, where it was asked for. ``damage`` says which numbers the file has lost (see ``mending``).
    """

    root: Any
    name: str
    dialect: Dialect
    size: int
    trailing: int
    offsets: Mapping[int, int] = field(default_factory=dict[int, int], repr=False)
    damage: tuple[str, ...] = ()


def read(source: Source, *, writable: bool = False) -> Any:
    """The value in a ``.t7`` file, given as a path, a URL, its bytes, or a binary file object; gzip is unpacked.

    Arrays are read-only views of the file, which must not be cut short while they are in use; with ``writable`` they
    are a copy in which tensors that share a storage still share it. Raises FormatError for a file that is missing, cut
    off, hostile, or of another kind.
    """
    return open_file(source, writable=writable).root


def open_file(source: Source, *, offsets: bool = False, writable: bool = False) -> Document:
    """As ``read``, with the dialect, sizes and, on request, the offsets of every object."""
    name, buffer = load(source, writable=writable)
    head = buffer[:_HEAD]
    if not head:
        raise FormatError("the file is empty", offset=0)
    refuse_foreign(head)
    with collector_paused():
        return _first_that_fits(name, buffer, offsets)


def _first_that_fits(name: str, buffer: Buffer, offsets: bool) -> Document:
    """The file in the first dialect that reads it to its last byte, else in the one that makes most sense of it."""
    found: list[Document] = []
    errors: list[tuple[bool, FormatError]] = []
    for stream in _candidates(buffer):
        places: dict[int, int] | None = {} if offsets else None
        reader = Reader(stream, places)
        try:
            root = reader.read()
        except FormatError as error:
            errors.append((reader.linked, error))
        else:
            document = Document(root, name, stream.dialect, len(buffer), len(buffer) - stream.pos, places or {})
            # Zeros before a cut can look like the other size of a long, but not like a tensor and its storage.
            if not document.trailing or reader.linked or not stream.met_long:
                return document
            found.append(document)
        if not stream.met_long:
            break
    if found and found[0].dialect.long_size == 8:
        return found[0]
    places = {} if offsets else None
    mended = mend(lambda: _candidates(buffer)[0], places)
    if mended is not None:
        root, stream, damage = mended
        return Document(root, name, stream.dialect, len(buffer), len(buffer) - stream.pos, places or {}, damage)
    raise max(errors, key=lambda error: error[0])[1]


def _candidates(buffer: Buffer) -> list[Stream]:
    """The dialects that the first bytes allow. Nothing tells how long a long is, so the usual 8 comes before 4."""
    if buffer[0] > RECURSIVE:
        return [TextStream(buffer)]
    order: ByteOrder = "big" if buffer[0] == 0 and buffer[3:4] > b"\0" else "little"
    sizes: tuple[Literal[8], Literal[4]] = (8, 4)
    return [BinaryStream(buffer, order, size) for size in sizes]


def load(source: Source, *, writable: bool = False) -> tuple[str, Buffer]:
    """The name and bytes of a source: a map of the file where it is one, unpacked where it is gzip.

    ``writable`` bytes change in memory only.
    """
    access = mmap.ACCESS_COPY if writable else mmap.ACCESS_READ
    if isinstance(source, bytes):
        name, buffer = "(bytes)", source
    elif isinstance(source, str | os.PathLike):
        text = os.fspath(source)
        name, buffer = text, fetch(text) if _URL.match(text) else _map(Path(text), access)
    else:
        name, buffer = str(getattr(source, "name", "(file)")), _from_file(source, access)
    if packed := buffer[:2] == _GZIP:
        buffer = _unpack(buffer)
    return name, _anonymous(buffer) if writable and (packed or isinstance(buffer, bytes)) else buffer


def _anonymous(data: Buffer) -> Buffer:
    """The bytes in memory of their own that can be written."""
    if not data:
        return data
    memory = mmap.mmap(-1, len(data))
    memory[:] = data[:]
    return memory


def _from_file(file: IO[Any], access: int) -> Buffer:
    """The bytes from where ``file`` stands; a map where it is a file on disk that nobody has read from."""
    if isinstance(file, io.TextIOBase):
        raise UsageError("a file that is open as text", hint='open it with mode "rb"')
    if isinstance(getattr(file, "raw", file), io.FileIO) and file.seekable() and not file.tell():
        size = os.fstat(file.fileno()).st_size
        return mmap.mmap(file.fileno(), 0, access=access) if size else b""
    return bytes(file.read())


def _map(path: Path, access: int) -> Buffer:
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise FormatError(
            f"{path}: this is a pipe or a device, not a file", hint="save what comes out of it, and read that"
        )
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= _SMALL and access == mmap.ACCESS_READ:
                return file.read()  # a map of a file that is cut short meanwhile would end us
            return mmap.mmap(file.fileno(), 0, access=access)
    except FileNotFoundError:
        raise MissingFileError(path) from None
    except IsADirectoryError:
        raise FormatError(f"{path}: this is a folder, not a file", hint=_what_is_in(path)) from None
    except OSError as error:
        raise FormatError(f"{path}: cannot be opened: {error.strerror}") from error


def _what_is_in(folder: Path) -> str:
    """What a person can do with a folder, by the names of its files."""
    torch = sorted(entry.name for entry in folder.glob("*.t7"))
    if torch:
        return f"name a file in it, as {folder / torch[0]}"
    if any(folder.glob("*.py")):
        return f"it holds Python source: Python runs it, and `retorch verify MODEL.t7 {folder}` compares it"
    if any(entry.suffix in CAFFE2 for entry in folder.iterdir()):
        return "it holds a Caffe2 network: `retorch inspect`, `run`, `convert`, `export` and `check` take it"
    return "no Torch7 file is in it"


def _unpack(buffer: Buffer) -> Buffer:
    """What a gzip archive holds; its size is found out before room is made for it."""
    try:
        size = sum(map(len, _unpacked(buffer)))
        if reason := limits.too_large(size):
            raise FormatError(f"unpacked, this file {reason}", offset=0)
        if size <= _SMALL:
            return b"".join(_unpacked(buffer))
        with tempfile.TemporaryFile() as file:
            file.writelines(_unpacked(buffer))
            file.flush()
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"a damaged gzip archive: {error}", offset=0) from None


def _unpacked(buffer: Buffer) -> Iterator[bytes]:
    with gzip.open(io.BytesIO(buffer)) as stream:
        total = 0
        while (chunk := stream.read(1 << 20)) and total <= limits.memory():
            total += len(chunk)
            yield chunk


def fetch(url: str) -> bytes:
    """The bytes behind a URL, by fsspec, which is an optional extra."""
    try:
        fsspec: Any = importlib.import_module("fsspec")
    except ImportError:
        raise UsageError(f"{url}: remote files need fsspec", hint="pip install 'retorch[remote]'") from None
    try:
        with fsspec.open(url, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        if error.__cause__ is not None:
            raise FormatError(f"{url}: cannot be fetched: {error.__cause__}") from error
        status = " (404)" if url.startswith("http") else ""
        raise MissingFileError(f"{url}{status}") from None
    except Exception as error:
        # what a server answers (401, 403, 500) comes as an error of the library that fsspec uses for it
        status: Any = getattr(error, "status", None)
        if status is None and not isinstance(error, (OSError, ImportError, ValueError)):
            raise
        said = f"the server answers {status}" if status is not None else str(error)
        raise FormatError(f"{url}: cannot be fetched: {said}") from error
