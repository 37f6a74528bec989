"""Torch's storages: the memory that tensors lie in, as NumPy has it.

A tensor that gets larger than its storage lets the storage grow, for every tensor that lies in it. An array cannot
grow: a larger one takes its place, and who still holds a tensor in the smaller one is given the same place in the
larger (:func:`moved`).
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
#: Storages that have grown, by ``id``, and what has taken their place.
Grown: TypeAlias = dict[int, tuple[Array, Array]]


def storage(x: Array) -> Array:
    """The array that owns the memory of ``x``."""
    owner, at = x, cast("object", x.base)
    while at is not None:
        owner = cast("Array", at) if isinstance(at, np.ndarray) else owner
        # what as_strided makes has an object between itself and its array
        at = cast("object", getattr(at, "base", None))
    return owner


def holds_other_tensors(x: Array) -> bool:
    """Whether the memory of ``x`` is more than ``x``."""
    return storage(x).size != x.size


def moved(grown: Grown, x: Array) -> Array:
    """``x`` in the storage that has taken the place of its own; ``x`` itself where none has."""
    while (found := grown.get(id(owner := storage(x)))) is not None:
        x = np.ndarray(x.shape, x.dtype, found[1], offset(owner, x), x.strides)
    return x


def from_start_of(grown: Grown, x: Array, sizes: tuple[int, ...]) -> Array | None:
    """A tensor that begins where ``x`` does: ``x:resize(sizes)``; nothing where its storage cannot be followed."""
    owner, size = storage(x), math.prod(sizes)
    start = offset(owner, x)
    if owner.dtype != x.dtype or not owner.flags.c_contiguous or not owner.flags.writeable:
        return None
    first = start // x.itemsize
    if first + size > owner.size:
        larger = np.zeros(first + size, x.dtype)
        larger[: owner.size] = owner.reshape(-1)
        grown[id(owner)] = owner, larger
        owner = larger
    return np.ndarray(sizes, x.dtype, owner, start)


def offset(owner: Array, x: Array) -> int:
    """How many bytes behind the start of its storage a tensor begins."""
    if x.nbytes == owner.nbytes and x.flags.c_contiguous:
        return 0  # asking for addresses takes longer
    return x.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
