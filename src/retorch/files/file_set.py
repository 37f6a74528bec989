"""Several files put in place as one: a folder holds the old set or the new one, whenever the writer is killed.

The set is written into a hidden folder beside the target. Then

- a target that does not exist yet: the hidden folder is renamed to it;
- a target that exists: everything else in it is hard-linked into the hidden folder, and the two folders change places
  in one system call (``renameat2`` with ``RENAME_EXCHANGE``). What was the target is then removed;
- where that is impossible (not Linux, a file system without it, a mount point, the working directory, which must not
  move away under the user's feet, a parent that cannot be written): the files change one by one, the ``last`` ones
  taken away first and put back at the end. Killed within these microseconds, the set is incomplete, never a mix.

A file with others beside it, which belong to it, changes after them and before its record: killed in between, the old
record does not fit the new file, and is ignored.

The guarantee is about processes that die, not about machines that lose power: nothing is flushed to the disk.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import stat
import sys
from collections.abc import Collection, Generator
from contextlib import contextmanager
from errno import EEXIST, ENOTEMPTY
from pathlib import Path

from retorch.errors import UsageError
from retorch.files import atomic

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def replacing(folder: Path, names: Collection[str], last: Collection[str] = ()) -> Generator[Path]:
    """Yields an empty folder to write into; at the end of the block its files become those of ``folder``.

    ``names`` is the whole set: what of it was not written is removed from ``folder``, all other entries stay. ``last``
    are those of the set that a reader looks for first. An exception in the block leaves ``folder`` as it was. Raises
    OSError where the folder cannot be made or written.
    """
    if atomic.is_hidden(folder):  # nobody sees what happens there
        folder.mkdir(exist_ok=True)
        yield folder
        return
    target = atomic.resolved(folder)
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(20, "it is a file", str(folder))
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = os.access(target.parent, os.W_OK) or not target.exists()
    with atomic.staging(target.parent if beside else target, target.parent) as hidden:
        staging = hidden / (target.name or "root")
        staging.mkdir()
        yield staging
        _commit(staging, target, names, last)


@contextmanager
def replacing_file(
    target: Path, *, name: str = "", record: str = "", stale: re.Pattern[str] | None = None
) -> Generator[Path]:
    """Yields a hidden path; at the end what was written there takes the target's place.

    It has the name of the target, of a link's file; ``name`` is the one where the target is no file on a disk.

    Files written beside it come to stand beside ``target``: all others first, then the file itself, at last the
    ``record``. One of that name, and files of names that match ``stale``, are removed where they were not written.
    Where the target is no file on a disk (a pipe), its own bytes are all that is written. Raises UsageError where that
    cannot be.
    """
    if atomic.is_hidden(target.parent):
        yield target
        return
    try:
        with atomic.staging_for(target) as hidden:
            if target.exists() and not target.is_file():
                place = hidden / (name or target.name)
                yield place
                atomic.put(place, target)
                return
            place = hidden / atomic.named_file(target).name
            yield place
            with atomic.locked(atomic.resolved(target).parent):
                _put_all(place, target, record, stale)
    except OSError as error:
        raise UsageError(f"{atomic.destination(target)}: cannot be written: {error.strerror or error}") from error


def _put_all(place: Path, target: Path, record: str, stale: re.Pattern[str] | None) -> None:
    hidden, folder = place.parent, atomic.resolved(target).parent
    written = sorted((path.name for path in hidden.iterdir()), key=lambda name: (name == record, name == place.name))
    for name in written:
        atomic.put(hidden / name, target if name == place.name else folder / name)
    for path in list(folder.iterdir()) if stale or record else ():
        if path.name not in written and (path.name == record or (stale and stale.fullmatch(path.name))):
            path.unlink(missing_ok=True)


def _commit(staging: Path, target: Path, names: Collection[str], last: Collection[str]) -> None:
    if not target.exists() and _become(staging, target):
        return
    if staging.parent.parent == target.parent and not _is_home(target) and _exchange_with(staging, target, names):
        return
    with atomic.locked(target):
        _one_by_one(staging, target, names, last)


def _become(staging: Path, target: Path) -> bool:
    """Rename a folder to one that was not there; False where another writer has put it there meanwhile."""
    try:
        os.rename(staging, target)  # noqa: PTH104 (Path.rename would say the same)
    except OSError as error:
        if error.errno in {ENOTEMPTY, EEXIST}:
            return False
        raise
    return True


def _one_by_one(staging: Path, target: Path, names: Collection[str], last: Collection[str]) -> None:
    for name in filter(None, last):
        (target / name).unlink(missing_ok=True)
    for name in sorted(filter(None, names), key=lambda name: name in last):
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
