"""Weights as processors multiply them: in a file numbers begin at any byte, and NumPy would copy them each time."""

from __future__ import annotations

import weakref

from retorch.layers.base.layer import Array

#: Copies of arrays that nobody can write into, by ``id`` of the array, as long as it is there.
_copies: dict[int, Array] = {}


def aligned(array: Array) -> Array:
    """The array itself where its numbers begin at multiples of their size, else a copy."""
    if array.flags.aligned:
        return array
    if array.flags.writeable:
        return array.copy()
    if id(array) not in _copies:
        weakref.finalize(array, _copies.pop, id(array), None)
        _copies[id(array)] = array.copy()
    return _copies[id(array)]
