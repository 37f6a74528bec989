"""Weights in fewer bits: float16, or eight bits with a scale for each row; which bear it, and how far they move.

Half precision is IEEE's. Eight bits are symmetric: ``code * scale`` with codes from -127 to 127 and one scale for each
index of the first axis that has more than one, which for convolutions and linear layers is the output channel.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retorch.files.mapped import let_go
from retorch.files.precision import Precision

Array: TypeAlias = NDArray[Any]

#: Each row of eight bits has a scale and an offset beside it.
SHORTEST_ROW = 8
_LARGEST_HALF = float(np.finfo(np.float16).max)
_SMALLEST_HALF = float(np.finfo(np.float16).smallest_normal)
#: Rows between these have scales that float32 holds in full.
_ROW_RANGE = (1e-30, 1e30)
#: The most that rounding takes of a step, with a little for the float32 of another machine.
_HALF_A_STEP = np.float32(0.5005)
_STEP = 1 << 20  # numbers that are in hand at a time


@dataclass(frozen=True, slots=True)
class Rows:
    """A tensor in eight bits: ``codes * scales`` along ``axis``."""

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    axis: int


def is_candidate(array: Array, precision: Precision, least: int) -> bool:
    """Whether a tensor may be stored small: a matrix or more of float32. Biases and statistics are vectors.

    ``least`` is how many numbers it takes until what widens them is no larger than what they save.
    """
    if array.dtype != np.float32 or array.ndim < 2 or array.size < least:
        return False
    return precision == "half" or array.size >= SHORTEST_ROW * array.shape[row_axis(array)]


def unfit(array: Array, precision: Precision) -> str:
    """Why a tensor has to stay float32; empty where it need not."""
    reason = _unfit(array, precision)
    let_go(array)
    return reason


def _unfit(array: Array, precision: Precision) -> str:
    ends = float(array.min()), float(array.max())
    if not np.isfinite(ends).all():
        return "it holds NaN or infinity"
    if precision == "int8":
        largest = _row_maxima(array, row_axis(array))
        strange = (largest > 0) & ((largest < _ROW_RANGE[0]) | (largest > _ROW_RANGE[1]))
        return f"a row's largest weight is {largest[strange][0]:.3g}" if strange.any() else ""
    largest = max(ends[1], -ends[0])
    if largest > _LARGEST_HALF:
        return f"its largest weight is {largest:.6g}, and half precision ends at {_LARGEST_HALF:,.0f}"
    if 0 < largest < _SMALLEST_HALF:
        return f"its largest weight is {largest:.3g}, and half precision is exact to its 11 bits from 6.1e-5 on"
    return ""


def row_axis(array: Array) -> int:
    """The axis whose every index has a scale: the first of more than one index."""
    return next((axis for axis, size in enumerate(array.shape) if size > 1), 0)


def to_rows(array: Array) -> Rows:
    """A tensor in eight bits, each code the nearest."""
    axis = row_axis(array)
    largest = _row_maxima(array, axis)
    scales = np.where(largest > 0, largest / 127, 1.0).astype(np.float32)
    codes = np.empty(array.shape, np.int8)
    rows, filled = np.moveaxis(array, axis, 0), np.moveaxis(codes, axis, 0)
    for at, scale in enumerate(scales):
        # row by row: a tensor may be gigabytes
        filled[at] = np.rint(rows[at] / scale).clip(-127, 127)
    return Rows(codes, scales, axis)


def is_rounded(stored: Array, array: Array, precision: Precision) -> bool:
    """Whether a tensor is another one, rounded: no number of it is further away than rounding moves it."""
    if stored.shape != array.shape:
        return False
    axis, step = row_axis(array), max(1, _STEP * len(array) // array.size)
    rows = along(_row_maxima(array, axis) / 127 * _HALF_A_STEP, axis, array.ndim) if precision == "int8" else None
    for first in range(0, len(array), step):
        part = slice(first, first + step)
        allowed = _half_steps(array[part]) if rows is None else rows[part]
        if not (np.abs(stored[part] - array[part]) <= allowed).all():
            return False
    let_go(array)
    return True


def _half_steps(array: Array) -> Array:
    """Half of the step from each number to the next in half precision."""
    _, exponents = np.frexp(array)
    return np.ldexp(_HALF_A_STEP, np.maximum(exponents - 11, -24))


def along(values: Array, axis: int, rank: int) -> Array:
    """A vector, to be combined with a tensor along one of its axes."""
    return values.reshape([-1 if at == axis else 1 for at in range(rank)])


def _row_maxima(array: Array, axis: int) -> Array:
    others = tuple(at for at in range(array.ndim) if at != axis)
    return np.maximum(array.max(axis=others), -array.min(axis=others))


def told(precision: Precision, small: Iterable[str], kept: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """What the user should know: how many tensors are small, and which could not be."""
    names, reasons = list(small), list(kept)
    what = "half precision" if precision == "half" else "eight bits"
    rest = "biases, statistics and small tensors stay float32"
    notes = [f"{len(names)} weight tensors are stored in {what}; {rest}"] if names else []
    notes += [f"{name} stays float32: {why}" for name, why in reasons]
    return tuple(notes) or (f"nothing is stored in {what}: {rest}",)
