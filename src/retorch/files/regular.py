"""Input files: a file on a disk, and nothing that answers when it is opened."""

from __future__ import annotations

import mmap
import stat
from pathlib import Path

from retorch.errors import UsageError

#: Files up to this size are read; larger ones are mapped, which is a danger where they are cut short meanwhile.
SMALL = 8 << 20


def check_regular(path: Path) -> None:
    """Refuse pipes, devices and folders, which would make us wait, or read for ever.

    Raises:
        UsageError: it is no file, or not there.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL in its name
        raise UsageError(f"{path!r}: cannot be read: {error}") from error
    if kind == stat.S_IFDIR:
        raise UsageError(f"{path}: this is a folder, not a file")
    if kind != stat.S_IFREG:
        raise UsageError(f"{path}: this is a pipe or a device, not a file", hint="save what comes out of it")


def content(path: Path) -> bytes | mmap.mmap:
    """The bytes of a file: read where it is small, else mapped.

    Raises:
        UsageError: it is no file, or cannot be read.
    """
    check_regular(path)
    try:
        with path.open("rb") as stream:
            if path.stat().st_size <= SMALL:
                return stream.read()
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
