"""Which files there are: in folders, behind globs and URLs, in lists and archives."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from retorch.archive.contents import HEAD, classify, classify_head
from retorch.archive.fetching import URL, remote_paths
from retorch.archive.members import MEMBER, open_archive
from retorch.archive.row import Row
from retorch.errors import MissingFileError

_GLOB: Final = re.compile(r"[*?\[]")
#: Folders that hold a version control's own files.
_HIDDEN: Final = frozenset({".git", ".svn", ".hg"})
#: Archives in archives in archives are looked into, and no deeper.
_DEEPEST: Final = 3


@dataclass(frozen=True, slots=True)
class Found:
    """A file that was found.

    Attributes:
        path: what it is called.
        local: where its bytes are; empty where they are behind the URL ``path``.
        row: what is to be said of it, where nothing is to be done.
        is_copy: whether ``local`` is a copy that is removed afterwards.
    """

    path: str
    local: str = ""
    row: Row | None = None
    is_copy: bool = False


def listed(sources: Iterable[str], *, leave_out: Path) -> list[str]:
    """The paths and URLs that sources name, each once, in order; archives are named, not looked into.

    Args:
        sources: folders, globs, files, lists of such in text files, and URLs.
        leave_out: a folder that is not looked into.

    Raises:
        MissingFileError: a source that there is not.
    """
    found: dict[str, None] = {}
    for source in sources:
        found |= dict.fromkeys(_of_source(source, leave_out.resolve()))
    return list(found)


def _of_source(source: str, leave_out: Path) -> Iterable[str]:
    if URL.match(source):
        return remote_paths(source)
    path = Path(os.path.abspath(source))  # noqa: PTH100 (a symlink keeps its name)
    if path.is_dir():
        return _below(path, leave_out)
    if _GLOB.search(source) and not os.path.lexists(path):
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 (absolute, and hidden files left out)
        if not matches:
            raise MissingFileError(source)
        return [name for match in matches for name in _of_source(match, leave_out)]
    if not os.path.lexists(path):
        raise MissingFileError(source)
    if path.is_file() and classify(path).what == "plain text":
        return _of_list(path, leave_out)
    return [str(path)]


def _of_list(path: Path, leave_out: Path) -> Iterator[str]:
    """The sources in a text file, one a line, relative to its folder."""
    for line in path.read_text(encoding="utf-8").splitlines():
        source = line.strip()
        if source and not source.startswith("#"):
            yield from _of_source(source if URL.match(source) else str(path.parent / source), leave_out)


def _below(folder: Path, leave_out: Path) -> Iterator[str]:
    for at, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _HIDDEN and Path(at, name).resolve() != leave_out)
        yield from (str(Path(at, name)) for name in sorted(files))


def opened(paths: Iterable[str], incoming: Path, done: Collection[str]) -> Iterator[Found]:
    """Each file; archives give those members that are not done, each as a copy in ``incoming``."""
    for path in paths:
        if URL.match(path):
            yield Found(path)
        else:
            yield from look(shown(path), path, incoming, done)


def shown(path: str) -> str:
    """A path as text that every program takes; the system's may hold any bytes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def look(path: str, local: str, incoming: Path, done: Collection[str], *, depth: int = 0) -> Iterator[Found]:
    """What is at ``local``: the file itself, or the members of an archive."""
    try:
        kind = classify(Path(local))
    except OSError as error:
        yield Found(path, row=Row(path=path, outcome="unreadable", error=error.strerror or str(error)))
        return
    if kind.outcome:
        size = os.lstat(local).st_size
        yield Found(path, row=kind.row(path, size), is_copy=depth > 0, local=local)
    elif kind.is_archive:
        yield from _members(path, local, incoming, done, depth)
    else:
        yield Found(path, local, is_copy=depth > 0)


def _members(path: str, local: str, incoming: Path, done: Collection[str], depth: int) -> Iterator[Found]:
    if depth == _DEEPEST:
        yield Found(path, row=Row(path=path, outcome="unreadable", error="an archive in too many others"))
        return
    try:
        for name, size, stream in open_archive(Path(local)):
            member = f"{path}{MEMBER}{name}"
            if member in done:
                continue
            head = stream.read(HEAD)
            kind = classify_head(head)
            if kind.outcome:
                yield Found(member, row=kind.row(member, size))
                continue
            copy = stream.copy(incoming, head)
            yield from look(member, str(copy), incoming, done, depth=depth + 1)
            if kind.is_archive:
                copy.unlink()
    except OSError as error:
        yield Found(path, row=Row(path=path, outcome="unreadable", kind="an archive", error=str(error)))
