"""The files inside tar and zip archives, one after the other."""

from __future__ import annotations

import lzma
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

#: Between an archive's path and that of a member.
MEMBER: Final = "!"
#: Unpacked bytes of one member: an archive of a few kB can hold any number of zeros.
_LARGEST: Final = 16 << 30
_DAMAGED: Final = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)


@dataclass(frozen=True, slots=True)
class MemberStream:
    """The bytes of a member."""

    file: IO[bytes]

    def read(self, size: int) -> bytes:
        """The next bytes.

        Raises:
            OSError: the archive is damaged.
        """
        try:
            return self.file.read(size)
        except _DAMAGED as error:
            raise OSError(f"a damaged archive: {error}") from error

    def copy(self, folder: Path, head: bytes) -> Path:
        """A file with ``head`` and the rest of the member.

        Raises:
            OSError: the archive is damaged.
        """
        descriptor, name = tempfile.mkstemp(dir=folder)
        with os.fdopen(descriptor, "wb") as target:
            target.write(head)
            try:
                shutil.copyfileobj(self.file, target, 1 << 20)
            except _DAMAGED as error:
                raise OSError(f"a damaged archive: {error}") from error
        return Path(name)


def open_archive(path: Path) -> Iterator[tuple[str, int, MemberStream]]:
    """Name, size and bytes of each file in an archive; the bytes are to be read before the next one is asked for.

    Raises:
        OSError: the archive is damaged, encrypted, or holds a file too large to unpack.
    """
    try:
        members = _zip(path) if zipfile.is_zipfile(path) else _tar(path)
        for name, size, file in members:
            if size > _LARGEST:
                raise OSError(f"{name} has {size:,} bytes unpacked")
            with file:
                yield name, size, MemberStream(file)
    except _DAMAGED as error:
        raise OSError(f"a damaged archive: {error}") from error


def _tar(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None:
                yield member.name, member.size, file


def _zip(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                yield member.filename, member.file_size, archive.open(member)
