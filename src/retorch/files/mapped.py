"""Arrays that are part of a mapped file, as the parameters of a model are: read in stretches.

The pages of a stretch come at one stroke, since a fault for each costs as much as copying it; and they go when the
next one is asked for, so that a model of gigabytes takes little memory.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Bytes of a stretch.
STEP = 32 << 20
#: ``madvise``: have these pages now. Since Linux 5.14.
_POPULATE_READ = 22


def rows(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """An array along its first axis in parts of about :data:`STEP` bytes, which are in memory one after the other."""
    if array.nbytes <= STEP:
        yield array
        return
    source = _map_of(array)
    count = max(1, STEP * len(array) // array.nbytes)
    for at in range(0, len(array), count):
        part = array[at : at + count]
        with _resident(source, part):
            yield part


def pieces(data: memoryview) -> Iterator[memoryview]:
    """Bytes that are part of a mapped file in parts of that kind; others as they are."""
    if data.nbytes <= STEP or _map_of(data) is None:
        yield data
        return
    for part in rows(np.frombuffer(data, np.uint8)):
        yield part.data


def let_go(array: NDArray[Any]) -> None:
    """Take no memory for a large array of a mapped file until it is read again: the file still has it."""
    source = _map_of(array) if array.nbytes >= STEP and array.flags.c_contiguous else None
    if source is not None:
        source.madvise(mmap.MADV_DONTNEED, *_pages(source, array))


@contextmanager
def _resident(source: mmap.mmap | None, part: NDArray[Any]) -> Generator[None]:
    """The part is in memory inside, and no longer takes any of it afterwards: the file still has it."""
    if source is None or not part.flags.c_contiguous:
        yield
        return
    pages = _pages(source, part)
    with suppress(OSError):  # of an older Linux
        source.madvise(_POPULATE_READ, *pages)
    yield
    source.madvise(mmap.MADV_DONTNEED, *pages)


def _pages(source: mmap.mmap, part: NDArray[Any]) -> tuple[int, int]:
    """Where the part's pages begin in the map, and the bytes from there to its end."""
    first = part.ctypes.data - np.frombuffer(source, np.uint8).ctypes.data
    start = first // mmap.PAGESIZE * mmap.PAGESIZE
    return start, first + part.nbytes - start


def _map_of(data: NDArray[Any] | memoryview) -> mmap.mmap | None:
    """The map that these bytes are part of, where it is one that nobody can write into."""
    source: Any = data
    while isinstance(source, (np.ndarray, memoryview)):
        source = source.base if isinstance(source, np.ndarray) else source.obj
    found = isinstance(source, mmap.mmap) and sys.platform == "linux" and memoryview(source).readonly
    return source if found else None
