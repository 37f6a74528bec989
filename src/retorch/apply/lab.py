"""Colours as brightness and two opposites (CIE L*a*b*, D65), as networks that colour grey pictures have them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]

#: From linear red, green and blue of sRGB to X, Y and Z.
_XYZ: Floats = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
_WHITE: Floats = _XYZ.sum(axis=1)
#: Below it the cube root is a straight line.
_LINE = 6 / 29


def lab_of(rgb: Array) -> Floats:
    """L from 0 to 100, a and b of red, green and blue from 0 to 1; along the last axis."""
    linear: Floats = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    t: Floats = linear @ _XYZ.T / _WHITE
    f: Floats = np.where(t > _LINE**3, np.cbrt(t), t / (3 * _LINE**2) + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def rgb_of(lab: Array) -> Floats:
    """The inverse of :func:`lab_of`; colours that no screen shows are cut to those that it shows."""
    light, a, b = lab[..., 0], lab[..., 1], lab[..., 2]
    y: Floats = (light + 16) / 116
    f: Floats = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    t: Floats = np.where(f > _LINE, f**3, 3 * _LINE**2 * (f - 4 / 29))
    linear: Floats = np.clip((t * _WHITE) @ np.linalg.inv(_XYZ).T, 0, 1)
    return np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, linear * 12.92)
