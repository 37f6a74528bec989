"""Files that lost bytes: where every ``V 1`` was cut out, inside the numbers too.

Files from before versions are sometimes made from newer ones by deleting each version string, seven bytes, wherever
those bytes stand. Where they stand in the elements of a storage, that storage is short and whatever follows is out of
step. Such a storage can be told by its end: some multiple of seven bytes too early, the file goes on as a file does.
What its elements were is lost: they are NaN, so that nobody computes with them unawares. Usually they are gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from retorch.errors import FormatError
from retorch.torch7.objects import STORAGES, StorageFacts, TorchStorage
from retorch.torch7.reader import Reader
from retorch.torch7.stream import Stream, own

_VERSION_STRING = len(b"\x03\x00\x00\x00V 1")
_MOST_IN_A_STORAGE = 8
_MOST_ATTEMPTS = 64


class MendingReader(Reader):
    """A reader that knows which storages are short, by where their elements begin, and by how many bytes."""

    def __init__(self, stream: Stream, offsets: dict[int, int] | None, short: dict[int, int]) -> None:
        super().__init__(stream, offsets)
        self.short = short
        self.last = -1

    def _storage(self, index: int, typename: str, version: int | None, mark: int) -> TorchStorage:
        stream = self.stream
        start = stream.pos + 8
        if version is None:
            self.last = start
        if start not in self.short or STORAGES[typename].kind != "f":
            return super()._storage(index, typename, version, mark)
        (count,) = stream.longs(1, "the size of a storage")
        left = count * STORAGES[typename].itemsize - self.short[start]
        if left < 0:
            raise FormatError(f"a storage of {count} elements", offset=start)
        stream.raw(left, "the elements of a storage")
        lost = own(np.full(count, np.nan, STORAGES[typename]), writable=stream.writable)
        self._remember(index, lost.named(StorageFacts(typename, version)), mark)
        return lost


def mend(fresh: Callable[[], Stream], offsets: dict[int, int] | None) -> tuple[Any, Stream, tuple[str, ...]] | None:
    """The value of a file that lost bytes, the stream at its end, and what was lost; None where nothing helps.

    ``fresh`` makes a stream at the file's beginning.
    """
    short: dict[int, int] = {}
    for _ in range(_MOST_ATTEMPTS):
        stream = fresh()
        reader = MendingReader(stream, offsets, short)
        try:
            root = reader.read()
        except FormatError:
            # whatever went wrong, it did so after the storage that was read last
            short[reader.last] = short.get(reader.last, 0) + _VERSION_STRING
            if reader.last < 0 or short[reader.last] > _MOST_IN_A_STORAGE * _VERSION_STRING:
                return None
        else:
            return root, stream, tuple(f"the storage at byte {at} lost {n} bytes: it is NaN" for at, n in short.items())
    return None
