"""The SHA-256 of files, worked out once, and by threads of their own while files are read and written.

Hashing takes longer than copying. What is written here is hashed as it goes to the disk, and a file that will be asked
for can be begun ahead of time.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeAlias

from retorch.files.mapped import pieces
from retorch.files.regular import SMALL as MAPPED

Chunk: TypeAlias = bytes | memoryview
#: Which file it is, and when it was changed last.
_Identity: TypeAlias = tuple[int, int, int, int]

#: Bytes that are hashed on the spot: below that, a thread costs more than it saves.
_SMALL = 1 << 20
#: Bytes of pieces that are made one.
_SHORT = 1 << 16
#: Pieces that wait to be hashed; those that are no part of a map or an array take memory meanwhile.
_WAITING = 64

_known: dict[_Identity, str] = {}
#: Digests on which a thread is at work, of files that have just been written or will be asked for.
_begun: dict[_Identity, Callable[[], str]] = {}


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        facts = os.fstat(file.fileno())
        identity = _identity(facts)
        if identity in _known:
            return _known[identity]
        begun = _begun.pop(identity, None)
        found = begun() if begun is not None else hashlib.file_digest(file, "sha256").hexdigest()
        if _has_settled(facts):
            _known[identity] = found
        elif begun is not None and facts.st_size > MAPPED:  # which takes longer to write than a clock to tick
            _keep(identity, begun)
        return found


def _has_settled(facts: os.stat_result) -> bool:
    """Whether what changes a file from now on changes the time of its last change too: its clock has ticked since.

    Linux notes every tick of 1 to 10 ms; some file systems round to 10 ms or to two seconds, and their times show it.
    """
    tick = 2_000_000_000 if facts.st_mtime_ns % 10_000_000 == 0 else 20_000_000
    return time.time_ns() - facts.st_mtime_ns > tick


def digest_if_file(path: Path) -> str | None:
    """The SHA-256 of a regular file; None for what is none, or cannot be read."""
    try:
        return digest(path) if stat.S_ISREG(path.stat().st_mode) else None
    except (OSError, ValueError):
        return None


def digests(files: Iterable[Path]) -> dict[str, str]:
    """The SHA-256 of files by their names."""
    return {path.name: digest(path) for path in files}


def begin(path: Path) -> None:
    """Work out the digest of a file in a thread, since it will be asked for; nothing for small files and for others."""
    with suppress(OSError, ValueError):  # whoever reads the file says what is wrong with it
        facts = path.stat()
        identity = _identity(facts)
        if stat.S_ISREG(facts.st_mode) and facts.st_size > MAPPED and identity not in _known and identity not in _begun:
            _keep(identity, _in_thread(lambda: _of_file(path)))


def write(path: Path, chunks: Iterable[Chunk]) -> None:
    """A new file of these bytes, whose digest is worked out meanwhile.

    Raises:
        OSError: it cannot be written.
    """
    hashing = _Hashing()
    try:
        with path.open("wb", buffering=_SMALL) as stream:
            for piece in _joined(chunks):
                hashing.update(piece)
                if isinstance(piece, bytes):
                    stream.write(piece)
                    continue
                for part in pieces(piece):
                    stream.write(part)
    finally:
        hashing.end()
    _keep(_identity(path.stat()), hashing.result)


def _joined(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """The same bytes, short pieces as one: handing a piece to a thread takes as long as hashing thousands of bytes."""
    short: list[Chunk] = []
    held = 0
    for piece in chunks:
        size = len(piece) if isinstance(piece, bytes) else piece.nbytes
        if held + size > _SHORT:
            yield b"".join(short)
            short, held = [], 0
        if size > _SHORT:
            yield piece
        else:
            short.append(piece)
            held += size
    yield b"".join(short)


class _Hashing:
    """A digest that follows a file as it is written: on the spot while that is short, then in a thread."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._count = 0
        self._pieces: SimpleQueue[Chunk | None] = SimpleQueue()
        self._room = threading.Semaphore(_WAITING)
        self._rest: Callable[[], str] | None = None

    def update(self, piece: Chunk) -> None:
        self._count += len(piece) if isinstance(piece, bytes) else piece.nbytes
        if self._rest is None and self._count <= _SMALL:
            self._hash.update(piece)
            return
        if self._rest is None:
            self._rest = _in_thread(self._hash_the_rest)
        self._room.acquire()
        self._pieces.put(piece)

    def end(self) -> None:
        self._pieces.put(None)

    def result(self) -> str:
        return self._hash.hexdigest() if self._rest is None else self._rest()

    def _hash_the_rest(self) -> str:
        while (piece := self._pieces.get()) is not None:
            _update(self._hash, piece)
            self._room.release()
        return self._hash.hexdigest()


def _identity(facts: os.stat_result) -> _Identity:
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def _keep(identity: _Identity, result: Callable[[], str]) -> None:
    """What was begun and never asked for does not pile up."""
    while len(_begun) >= _WAITING:
        _begun.pop(next(iter(_begun)), None)
    _begun[identity] = result


def _in_thread(work: Callable[[], str]) -> Callable[[], str]:
    """Start the work; calling what is returned waits for it. Nobody waits at the end of the program."""
    done: list[str | BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # raised where the result is asked for
            done.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result() -> str:
        thread.join()
        if isinstance(done[0], BaseException):
            raise done[0]
        return done[0]

    return result


def _of_file(path: Path) -> str:
    """Through a map: each read would wait for the interpreter, which others use meanwhile."""
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    found = hashlib.sha256()
    _update(found, memoryview(content))
    return found.hexdigest()


def _update(digest: Any, piece: Chunk) -> None:
    for part in [piece] if isinstance(piece, bytes) else pieces(piece):
        digest.update(part)
