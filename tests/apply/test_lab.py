"""Colours as brightness and two opposites."""

from __future__ import annotations

import numpy as np
import pytest

from retorch.apply.lab import lab_of, rgb_of
from retorch.apply.preprocessing import PREPROCESSINGS

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 1, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
        ((0.5, 0.5, 0.5), (53.39, 0, 0)),
    ],
)
def test_colours_have_the_places_of_the_standard(rgb: tuple[float, ...], lab: tuple[float, ...]) -> None:
    assert np.allclose(lab_of(np.array(rgb, np.float64)), lab, atol=0.03)


def test_colours_come_back() -> None:
    rgb = RANDOM.random((20, 30, 3))
    assert np.abs(rgb_of(lab_of(rgb)) - rgb).max() < 1e-6


def test_brightness_and_colour_of_a_picture_make_the_picture() -> None:
    pixels = RANDOM.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    preprocessing = PREPROCESSINGS["lab"]
    x = preprocessing.tensor(pixels)
    assert x.shape == (1, 1, 6, 5)
    assert np.allclose(x[0, 0], lab_of(pixels / 255)[..., 0] / 50 - 1, atol=1e-6)
    colour = np.moveaxis(lab_of(pixels / 255)[..., 1:], -1, 0) / 110
    made = preprocessing.pixels(np.concatenate([x[0], colour]))
    assert np.abs(made.astype(int) - pixels).max() <= 1
