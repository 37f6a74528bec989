"""Numbers that are calculated when they are asked for: weights that a file holds in fewer bits than they are read in.

A network of gigabytes is never held in float32 as a whole where each weight is looked at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from retorch.files import mapped
from retorch.files.protobuf import Array

Floats: TypeAlias = NDArray[np.float32]
#: Numbers that are calculated at a time: what they go through stays in the processor's cache.
_STEP = 1 << 15


@dataclass(frozen=True, slots=True)
class Deferred:
    """Numbers in float32 and how to make them.

    Attributes:
        shape: as an array.
        part: those from one place to another, both counted in C order.
        sources: what they are made of.
        row: numbers that are best calculated together.
        steps: how many calculations stand one behind the other.
    """

    shape: tuple[int, ...]
    part: Callable[[int, int], Floats]
    sources: tuple[Array, ...]
    row: int = 1
    steps: int = 1

    def made(self) -> Floats:
        """All of them, new each time; the pages of mapped files that they come from are let go."""
        numbers = np.empty(math.prod(self.shape), np.float32)
        count = max(1, _STEP // self.row) * self.row
        with np.errstate(all="ignore"):
            for first in range(0, len(numbers), count):
                last = min(first + count, len(numbers))
                numbers[first:last] = self.part(first, last)
        for source in self.sources:
            mapped.let_go(source)
        return numbers.reshape(self.shape)


def part_of(stored: Array | Deferred) -> Callable[[int, int], Array]:
    """Numbers of an array, or of one to be made, from one place to another in C order."""
    if isinstance(stored, Deferred):
        return stored.part
    flat = stored.reshape(-1) if stored.flags.c_contiguous else stored.flat
    return lambda first, last: flat[first:last]
