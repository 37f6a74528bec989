"""How a layer's weights are distributed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retorch.files.mapped import rows

BINS = 32

#: Larger arrays are shown by every k-th of their elements.
_ENOUGH = 1 << 18


@dataclass(frozen=True, slots=True)
class Histogram:
    """One array of weights.

    Attributes:
        name, shape: the Torch field and its sizes.
        low, mean, high, deviation: of the finite elements looked at.
        counts: of ``BINS`` bins of equal width from ``low`` to ``high``; their sum is the number of finite elements
            looked at.
        step: every how many-th element was looked at.
        strange: how many of them are NaN or infinite.
    """

    name: str
    shape: tuple[int, ...]
    low: float
    mean: float
    high: float
    deviation: float
    counts: tuple[int, ...]
    step: int
    strange: int


def histogram(name: str, array: NDArray[Any]) -> Histogram:
    """Count an array's elements by value."""
    step = max(1, math.ceil(array.size / _ENOUGH))
    seen = _every(step, array.ravel())
    values = seen[np.isfinite(seen)]
    strange = int(seen.size - values.size)
    if not values.size:
        return Histogram(name, array.shape, 0.0, 0.0, 0.0, 0.0, (0,) * BINS, step, strange)
    counts, _ = np.histogram(values, bins=BINS)
    low, high = float(values.min()), float(values.max())
    return Histogram(
        name, array.shape, low, float(values.mean()), high, float(values.std()), tuple(map(int, counts)), step, strange
    )


def _every(step: int, flat: NDArray[Any]) -> NDArray[np.float64]:
    """Every so many-th element, read in stretches: one that is part of a file does not come into memory as a whole."""
    found: list[NDArray[np.float64]] = []
    at = 0
    for part in rows(flat):
        found.append(part[-at % step :: step].astype(np.float64))
        at += len(part)
    return np.concatenate(found)
