"""Arrays that are part of a mapped file."""

from __future__ import annotations

import mmap
import sys
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Bytes from which on it is worth a call.
_LARGE = 1 << 20
#: ``madvise``: the pages of a map at one stroke. Since Linux 5.14.
_POPULATE_READ = 22


def populate(data: NDArray[Any] | memoryview | bytes) -> None:
    """Get the pages of a mapped file into memory at one stroke, before all of ``data`` is read.

    A fault for each page costs as much as copying it.
    """
    source: Any = data
    while isinstance(source, (np.ndarray, memoryview)):
        source = source.base if isinstance(source, np.ndarray) else source.obj
    if isinstance(data, bytes) or data.nbytes < _LARGE or not isinstance(source, mmap.mmap) or sys.platform != "linux":
        return
    array = np.asarray(data)
    if not array.flags.c_contiguous:
        return
    first = array.ctypes.data - np.frombuffer(source, np.uint8).ctypes.data
    start = first - first % mmap.PAGESIZE
    with suppress(OSError):  # of an older Linux
        source.madvise(_POPULATE_READ, start, first + data.nbytes - start)
