"""Files that appear whole or not at all, and hidden folders in which they are written.

What is written first stands in a hidden folder beside its target: one that only this user can enter, under a name that
nobody can guess, locked as long as it is in use. A killed process leaves it behind without its lock, and the next one
that writes there removes it.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from errno import EINVAL, EISDIR, ENXIO
from pathlib import Path

from retorch.errors import UsageError

if sys.platform != "win32":
    import fcntl

PREFIX = ".retorch-"
#: The mode of a file that a library made for its owner alone, before it knew where it goes.
_PRIVATE = 0o600
_ATTEMPTS = 50 if sys.platform != "win32" else 0
#: The hidden folders in use, and the folders in which their contents will stand.
_in_use: dict[Path, Path] = {}


@contextmanager
def replacing(target: Path) -> Generator[Path]:
    """A new file, which takes the place of ``target`` when all is written; on an error nothing is left behind.

    It has the permissions of the file that it replaces, or those of any new file. A link is followed to its file. What
    is no file on a disk, a pipe or a terminal, stays what it is: the bytes are written into it. Folders are made where
    they are missing. In a hidden folder, where nobody looks, it is ``target`` itself.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        if is_hidden(target.parent):
            target.parent.mkdir(parents=True, exist_ok=True)
            yield target
            _share(target)
            return
        with staging_for(target) as folder:
            part = folder / target.name
            yield part
            put(part, target)
    except OSError as error:
        raise UsageError(f"{destination(target)}: cannot be written: {error.strerror or error}") from error


def staging_for(target: Path) -> AbstractContextManager[Path]:
    """The hidden folder for a file: beside it, or in the system's own place where the target is no file on a disk.

    Raises OSError where the target is a folder, or a disk itself.
    """
    kind = _kind(target)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(EISDIR, "it is a folder", str(target))
    if kind in {stat.S_IFBLK, stat.S_IFSOCK}:
        raise OSError(EINVAL, "it is a disk or a socket, not a file", str(target))
    if kind not in {0, stat.S_IFREG}:
        return staging(Path(tempfile.gettempdir()))
    parent = resolved(target).parent
    parent.mkdir(parents=True, exist_ok=True)
    return staging(parent)


def _kind(path: Path) -> int:
    """What a path leads to, as ``stat`` says it; 0 where there is nothing."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        return 0


def resolved(target: Path) -> Path:
    """Where a path leads, through every link; the last of them may lead to a file that is not there yet."""
    return Path(os.path.realpath(target))


def named_file(target: Path) -> Path:
    """The file that a path names, through links, by which what belongs to it is named too.

    It keeps the path's own name where the ending of the file's says something else.
    """
    real = resolved(target)
    return real if real.suffix == target.suffix else real.with_name(target.name)


def put(part: Path, target: Path) -> None:
    """Let a file that is written take the place of ``target``, or write it into what is no file on a disk."""
    kind = _kind(target)
    if kind not in {0, stat.S_IFREG}:
        _write_into(part, target)
        return
    if kind:
        part.chmod(stat.S_IMODE(target.stat().st_mode))
    else:
        _share(part)
    part.replace(resolved(target))


def _share(part: Path) -> None:
    """Let a file that its writer made for its owner alone be what a new file may be."""
    if stat.S_IMODE(part.stat().st_mode) == _PRIVATE:
        part.chmod(_mode_of_new_files(part.parent))


def _mode_of_new_files(folder: Path) -> int:
    """What a new file may be by the process's mask, which can only be read by changing it: so a file is made."""
    descriptor, name = tempfile.mkstemp(dir=folder)
    os.close(descriptor)
    probe = Path(name)
    probe.unlink()
    probe.touch()
    mode = stat.S_IMODE(probe.stat().st_mode)
    probe.unlink()
    return mode


def _write_into(part: Path, target: Path) -> None:
    """The bytes of a file into a pipe or a terminal. A pipe that nobody reads would make us wait for ever."""
    try:
        descriptor = os.open(target, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
    except OSError as error:
        if error.errno == ENXIO:
            raise OSError(ENXIO, "nobody reads from this pipe", str(target)) from None
        raise
    with open(descriptor, "wb") as stream, part.open("rb") as source:  # noqa: PTH123 (a descriptor)
        os.set_blocking(descriptor, True)
        shutil.copyfileobj(source, stream)


@contextmanager
def staging(folder: Path, meant: Path | None = None) -> Generator[Path]:
    """A hidden folder in ``folder``, locked while it is in use and removed at the end, whatever happens.

    ``meant`` is where its contents will stand, by default ``folder`` (see :func:`destination`). Raises OSError.
    """
    hidden, lock = _locked_folder(folder)
    _in_use[hidden] = folder if meant is None else meant
    try:
        _sweep(hidden)
        yield hidden
    finally:
        del _in_use[hidden]
        shutil.rmtree(hidden, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def is_hidden(folder: Path) -> bool:
    """Whether a folder is a hidden one in use, or inside of one."""
    return bool(_in_use) and not _in_use.keys().isdisjoint((folder, *folder.parents))


def destination(path: Path) -> Path:
    """Where a path will be found in the end: that of a hidden folder in use is the one that it stands for."""
    for hidden, folder in list(_in_use.items()):
        if path.is_relative_to(hidden):
            return destination(folder / path.relative_to(hidden))
    return path


def _locked_folder(parent: Path) -> tuple[Path, int | None]:
    """A new hidden folder and the lock on it; None where the file system, or Windows, has no locks."""
    for _ in range(_ATTEMPTS):
        hidden = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        lock = _lock(hidden)
        # between its making and its lock, another process may have taken it for a leftover
        with suppress(FileNotFoundError):
            if lock is not None and os.path.samestat(os.fstat(lock), hidden.stat()):
                return hidden, lock
        if lock is not None:
            os.close(lock)
        shutil.rmtree(hidden, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)), None


def _sweep(mine: Path) -> None:
    """Remove what killed processes left beside ``mine``: hidden folders of ours that nobody locks."""
    for other in mine.parent.glob(f"{PREFIX}*"):
        if other != mine and (taken := _lock(other)) is not None:
            shutil.rmtree(other, ignore_errors=True)
            os.close(taken)


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Other writers of ours wait meanwhile, for ten seconds at most."""
    lock = None
    for _ in range(1000):
        lock = _lock(folder)
        if lock is not None or sys.platform == "win32":
            break
        time.sleep(0.01)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """A file descriptor that holds the lock on ``folder``, or None where somebody else has it."""
    if sys.platform == "win32":
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # it has just gone, belongs to somebody else, or is no folder at all
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
