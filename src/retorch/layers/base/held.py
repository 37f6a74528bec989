"""Arrays that are known for as long as anybody can look at their memory.

Torch's modules keep their output. Here it is let go as soon as nobody has it or a view of it any more: whether a module
writes over memory that nobody looks at, or into new memory, cannot be told apart. So a pass through a network takes
as much memory as the values that are still to be read, and that memory stays in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import ref

import numpy as np

from retorch.layers.base.storage import Array, offset, storage


class Held:
    """Arrays by number, without what nobody else holds, be it themselves or by a view of their memory."""

    def __init__(self) -> None:
        self._entries: dict[int, Callable[[], Array | None]] = {}

    def get(self, key: int) -> Array | None:
        """The array, where it is still known."""
        found = self._entries.get(key)
        return None if found is None else found()

    def __setitem__(self, key: int, array: Array) -> None:
        owner = storage(array)
        self._entries[key] = ref(array) if owner is array else _view(array, owner)

    def forget(self, key: int) -> None:
        """No array from now on, whoever holds it."""
        self._entries.pop(key, None)

    def items(self) -> list[tuple[int, Array]]:
        """The arrays that are still known."""
        return [(key, array) for key, found in self._entries.items() if (array := found()) is not None]


def _view(array: Array, owner: Array) -> Callable[[], Array | None]:
    """A part of another array, made anew where only other views of that are left."""
    if not owner.flags.c_contiguous:
        return lambda: array
    itself, memory = ref(array), ref(owner)
    shape, dtype, strides = array.shape, array.dtype, array.strides
    start = offset(owner, array)

    def found() -> Array | None:
        same, whole = itself(), memory()
        if same is not None or whole is None:
            return same
        return np.ndarray(shape, dtype, whole, start, strides)

    return found
