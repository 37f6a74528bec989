"""Several files put in place as one: a folder holds the old set or the new one, whenever the writer is killed.

The set is written into a hidden folder beside the target. Then

- a target that does not exist yet: the hidden folder is renamed to it;
- a target that exists: everything else in it is hard-linked into the hidden folder, and the two folders change places
  in one system call (``renameat2`` with ``RENAME_EXCHANGE``). What was the target is then removed;
- where that is impossible (not Linux, a file system without it, a mount point, the working directory, which must not
  move away under the user's feet, a parent that cannot be written): the files change one by one, the ``last`` ones
  taken away first and put back at the end. Killed within these microseconds, the set is incomplete, never a mix.

The guarantee is about processes that die, not about machines that lose power: nothing is flushed to the disk.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Collection, Generator
from contextlib import contextmanager
from pathlib import Path

from retorch.files.atomic import umask

if sys.platform != "win32":
    import fcntl

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def replacing(folder: Path, names: Collection[str], last: Collection[str] = ()) -> Generator[Path]:
    """Yields an empty folder to write into; at the end of the block its files become those of ``folder``.

    ``names`` is the whole set: what of it was not written is removed from ``folder``, all other entries stay. ``last``
    are those of the set that a reader looks for first. An exception in the block leaves ``folder`` as it was. Raises
    OSError where the folder cannot be made or written.
    """
    target = Path(os.path.realpath(folder))
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(20, "it is a file", str(folder))
    target.parent.mkdir(parents=True, exist_ok=True)
    staging, lock = _stage(target)
    try:
        yield staging
        _commit(staging, target, names, last)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _stage(target: Path) -> tuple[Path, int | None]:
    """A new hidden folder beside ``target`` (inside it where its parent cannot be written), and the lock on it.

    Those that killed writers left behind, which nobody locks, are removed.
    """
    prefix = f".{target.name}.retorch-"
    try:
        staging = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    except PermissionError:
        if not target.exists():
            raise
        staging = Path(tempfile.mkdtemp(prefix=prefix, dir=target))
    lock = _lock(staging)
    for other in staging.parent.glob(f"{prefix}*"):
        if other != staging and (taken := _lock(other)) is not None:
            shutil.rmtree(other, ignore_errors=True)
            os.close(taken)
    return staging, lock


def _lock(folder: Path) -> int | None:
    """A file descriptor that holds the lock on ``folder``, or None where somebody else has it."""
    if sys.platform == "win32":
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # it has just gone, or belongs to somebody else
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _commit(staging: Path, target: Path, names: Collection[str], last: Collection[str]) -> None:
    if not target.exists():
        staging.chmod(0o777 & ~umask())
        os.rename(staging, target)  # noqa: PTH104 (Path.rename would say the same)
        return
    if staging.parent == target.parent and not _is_home(target) and _exchange_with(staging, target, names):
        return
    for name in last:
        (target / name).unlink(missing_ok=True)
    for name in sorted(names, key=lambda name: name in last):
        if (staging / name).exists():
            (staging / name).replace(target / name)
        else:
            (target / name).unlink(missing_ok=True)


def _is_home(target: Path) -> bool:
    """Whether this process works in ``target`` or below it: moving it would leave it and its shell nowhere."""
    return Path(os.path.realpath(Path.cwd())).is_relative_to(target)


def _exchange_with(staging: Path, target: Path, names: Collection[str]) -> bool:
    """Lets the two folders change places, with all other entries of ``target`` in both; False where that cannot be."""
    try:
        owner = target.stat()
        if (owner.st_uid, owner.st_gid) != (staging.stat().st_uid, staging.stat().st_gid):
            os.chown(staging, owner.st_uid, owner.st_gid)
        staging.chmod(stat.S_IMODE(owner.st_mode))
        _link_all(target, staging, names)
    except OSError:  # another file system inside, one without hard links, a folder of somebody else
        return False
    if not _exchange(staging, target):
        return False
    for entry in staging.iterdir():  # what somebody has put there meanwhile
        if entry.name not in names and not os.path.lexists(target / entry.name):
            entry.rename(target / entry.name)
    return True


def _link_all(source: Path, destination: Path, names: Collection[str]) -> None:
    for entry in os.scandir(source):
        if entry.name in names:
            continue
        copy = destination / entry.name
        if entry.is_dir(follow_symlinks=False):
            copy.mkdir()
            _link_all(Path(entry.path), copy, ())
            shutil.copystat(entry.path, copy)
        else:
            os.link(entry.path, copy, follow_symlinks=False)


def _exchange(one: Path, other: Path) -> bool:
    """Swaps two paths in one system call; False where the system cannot."""
    if sys.platform != "linux":
        return False
    with contextlib.suppress(AttributeError, OSError):  # a libc without it
        call = ctypes.CDLL(None).renameat2
        return call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0
    return False
