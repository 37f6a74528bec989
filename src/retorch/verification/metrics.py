"""How far two arrays are apart, in the units a person asks about."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: The error allowed, relative to max(1, max|y|) of the float64 reference: some hundred roundings of float32.
TOLERANCE = 1e-4

#: Errors of float32 itself that excuse one of this many times their size.
_MANY = 100
#: What no sum of a few float32 numbers around 1 can do without.
_NOTHING = 1e-9
_ROUNDING = float(np.finfo(np.float32).eps)


@dataclass(frozen=True, slots=True)
class Measure:
    """What separates an engine's array from the reference's.

    Attributes:
        shape, expected_shape: the engine's and the reference's.
        max_abs, mean_abs: absolute errors; infinite where the shapes differ or one has a NaN that the other has not.
        scale: the largest magnitude in the reference.
        roundings: ``max_abs`` in float32 roundings at that scale; a sum of n terms explains about sqrt(n).
        cosine: of the angle between both, as vectors; 1 is the same direction.
        finite: whether the engine's array holds neither NaN nor infinity.
        nan: how many values are NaN in both: they are not compared.
        noise: where the error is large for the array's own scale, the error that float32 itself makes; else None.
    """

    shape: tuple[int, ...]
    expected_shape: tuple[int, ...]
    max_abs: float
    mean_abs: float
    scale: float
    cosine: float
    finite: bool
    nan: int = 0
    noise: float | None = None

    @property
    def relative(self) -> float:
        """The largest error relative to max(1, scale): what the tolerance is about."""
        return self.max_abs / max(1.0, self.scale)

    @property
    def roundings(self) -> float:
        """The largest error in units of float32 rounding at the reference's scale."""
        return 0.0 if self.max_abs == 0 else self.max_abs / (_ROUNDING * (self.scale or 1.0))

    def within(self, tolerance: float) -> bool:
        """Whether the shapes are equal, something was compared, and the error is allowed.

        An array of small numbers is measured against its own scale too, as far as float32 bears it.
        """
        if self.shape != self.expected_shape or (self.nan and self.nan == math.prod(self.shape)):
            return False
        own = self.noise is None or self.max_abs <= max(tolerance * self.scale, _MANY * self.noise, _NOTHING)
        return own and self.relative <= tolerance

    def strays(self, tolerance: float) -> bool:
        """Whether the error is allowed, but more than that for numbers as small as these."""
        return self.within(tolerance) and self.max_abs > _NOTHING and self.max_abs > tolerance * self.scale

    def __str__(self) -> str:
        if self.shape != self.expected_shape:
            return f"shape {self.shape}, expected {self.expected_shape}"
        if self.nan and self.nan == math.prod(self.shape):
            return "all values are NaN: nothing was compared"
        return f"max error {self.max_abs:.2e} at scale {self.scale:.3g}"


def measure(expected: NDArray[Any], got: NDArray[Any]) -> Measure:
    """Compare an engine's array with the float64 reference."""
    finite = bool(np.all(np.isfinite(got)))
    if expected.shape != got.shape:
        return Measure(got.shape, expected.shape, math.inf, math.inf, _scale(expected), 0.0, finite)
    want, have = expected.astype(np.float64, copy=False).ravel(), got.astype(np.float64).ravel()
    scale = _largest(want)
    if finite and math.isfinite(scale):
        return _measured(want, have, scale, got.shape)
    missing = np.isnan(want) & np.isnan(have)
    same = (want == have) | missing
    with np.errstate(invalid="ignore", over="ignore"):
        errors = np.where(same, 0.0, np.abs(want - have))
        cosine = _cosine(want, have)
    errors = np.where(np.isnan(errors), math.inf, errors)
    worst = float(errors.max(initial=0.0))
    mean = float(errors.mean()) if errors.size else 0.0
    nan = int(missing.sum())
    return Measure(got.shape, expected.shape, worst, mean, _scale(expected), cosine, finite, nan)


def _measured(want: NDArray[Any], have: NDArray[Any], scale: float, shape: tuple[int, ...]) -> Measure:
    """The measure of arrays without NaN and infinity, in few passes: they may be large."""
    lengths = float(np.linalg.norm(want) * np.linalg.norm(have))
    with np.errstate(over="ignore", invalid="ignore"):
        cosine = float(np.dot(want, have)) / lengths if lengths else 1.0
    np.subtract(want, have, out=have)
    errors = np.abs(have, out=have)
    mean = float(errors.mean()) if errors.size else 0.0
    return Measure(shape, shape, float(errors.max(initial=0.0)), mean, scale, cosine, finite=True)


def _largest(array: NDArray[Any]) -> float:
    """The largest magnitude; NaN where there is one."""
    return max(float(array.max()), -float(array.min())) if array.size else 0.0


def _scale(array: NDArray[Any]) -> float:
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max(initial=0.0))


def _cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    keep = np.isfinite(a) & np.isfinite(b)
    a, b = a[keep], b[keep]
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.dot(a, b)) / lengths if lengths else 1.0
