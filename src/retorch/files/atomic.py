"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from errno import EISDIR
from pathlib import Path

from retorch.errors import UsageError


@contextmanager
def replacing(target: Path) -> Generator[Path]:
    """A new file beside ``target``, which takes its place when all is written; on an error nothing is left behind.

    It has the permissions of the file that it replaces, or those of any new file. Folders are made where they are
    missing.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        if target.is_dir():
            raise IsADirectoryError(EISDIR, "it is a folder", str(target))
        target.parent.mkdir(parents=True, exist_ok=True)
        with _beside(target) as part:
            yield part
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror or error}") from error


@contextmanager
def _beside(target: Path) -> Generator[Path]:
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(descriptor)
    part = Path(name)
    try:
        yield part
        part.chmod(_mode(target))
        part.replace(target)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise


def _mode(target: Path) -> int:
    with suppress(FileNotFoundError):
        return target.stat().st_mode & 0o7777
    return 0o666 & ~umask()


def umask() -> int:
    """The process's mask for new files, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
