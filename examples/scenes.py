"""Pictures of a village, drawn by a program, with the class of every pixel: what the examples learn from.

Needs NumPy only. Equal seeds give equal pictures.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Random = np.random.Generator

CLASSES = ("sky", "grass", "road", "tree", "house", "car")
#: The colour of each class in a map of classes.
PALETTE = ((120, 180, 255), (90, 170, 60), (110, 110, 110), (20, 90, 30), (190, 60, 40), (255, 210, 0))
SKY, GRASS, ROAD, TREE, HOUSE, CAR = range(6)


class _Canvas:
    """A picture in the making; places are parts of its height and width, from 0 to 1."""

    def __init__(self, height: int, width: int) -> None:
        self.rows, self.columns = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
        self.colours = np.zeros((height, width, 3))
        self.classes = np.zeros((height, width), np.uint8)

    def paint(self, mask: Mask, colour: Any, kind: int) -> None:
        """Colour the pixels of a mask: one colour, or one for each pixel of the picture."""
        self.colours[mask] = np.broadcast_to(colour, self.colours.shape)[mask]
        self.classes[mask] = kind

    def box(self, top: float, left: float, height: float, width: float) -> Mask:
        """Pixels of a rectangle."""
        inside = (self.rows >= top) & (self.rows < top + height)
        return inside & (self.columns >= left) & (self.columns < left + width)

    def ellipse(self, row: float, column: float, high: float, wide: float) -> Mask:
        """Pixels of an ellipse around a place."""
        return ((self.rows - row) / high) ** 2 + ((self.columns - column) / wide) ** 2 < 1


def scene(random: Random, height: int = 96, width: int = 128) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture (height, width, 3), and the class of each of its pixels (height, width), an index of CLASSES."""
    canvas = _Canvas(height, width)
    horizon = random.uniform(0.3, 0.5)
    _land(canvas, random, horizon)
    centre = random.uniform(0.3, 0.7)
    for place in np.sort(random.uniform(horizon - 0.02, 0.75, random.integers(3, 7))):
        size = 0.08 + 0.5 * (place - horizon + 0.05)
        side = random.choice([-1, 1])
        column = centre + side * random.uniform(0.15 + 0.4 * (place - horizon), 0.55)
        (_house if random.random() < 0.4 else _tree)(canvas, random, place + 0.05, column, size)
    for place in np.sort(random.uniform(horizon + 0.2, 0.92, random.integers(1, 3))):
        _car(canvas, random, place, centre + random.uniform(-0.5, 0.5) * (place - horizon) * 0.5, place - horizon)
    light = random.uniform(0.75, 1.1) * canvas.colours + random.normal(0, 0.015, canvas.colours.shape)
    return (np.clip(light, 0, 1) * 255).astype(np.uint8), canvas.classes


def _land(canvas: _Canvas, random: Random, horizon: float) -> None:
    """Sky with a sun and clouds, hills, and a road that comes from the horizon."""
    rows, columns = canvas.rows, canvas.columns
    high, low = np.array([0.25, 0.45, 0.85]), np.array([0.75, 0.85, 0.95])
    canvas.paint(np.full(rows.shape, True), high + (low - high) * (rows / horizon)[..., None], SKY)
    canvas.paint(canvas.ellipse(random.uniform(0.05, 0.2), random.random(), 0.06, 0.045), [1, 0.95, 0.6], SKY)
    for _ in range(random.integers(1, 4)):
        row, column = random.uniform(0.05, horizon - 0.1), random.random()
        for shift in (-0.06, 0, 0.06):
            canvas.paint(canvas.ellipse(row, column + shift, 0.03, 0.07), [0.97, 0.97, 0.98], SKY)
    waves = sum(random.uniform(0, 0.03) * np.sin(columns * k * 3 + random.uniform(0, 6)) for k in (1, 2, 4))
    blades = 0.04 * np.sin(rows * 150 + 9 * np.sin(columns * 60))
    green = np.array([0.3, 0.6, 0.2]) * random.uniform(0.8, 1.2) + blades[..., None]
    canvas.paint(rows > horizon + waves - 0.02, green, GRASS)
    _road(canvas, random, horizon)


def _road(canvas: _Canvas, random: Random, horizon: float) -> None:
    depth = (canvas.rows - horizon) / (1 - horizon)
    middle = random.uniform(0.35, 0.65) + random.uniform(-0.15, 0.15) * (1 - depth)
    across = np.abs(canvas.columns - middle)
    canvas.paint((depth > 0) & (across < 0.03 + 0.25 * depth), np.full(3, random.uniform(0.35, 0.5)), ROAD)
    dashes = np.sin(18 / (depth + 0.25)) > 0
    canvas.paint((depth > 0) & (across < 0.012 * (depth + 0.2)) & dashes, [0.9, 0.9, 0.85], ROAD)


def _tree(canvas: _Canvas, random: Random, foot: float, column: float, size: float) -> None:
    canvas.paint(canvas.box(foot - size * 0.5, column - size * 0.05, size * 0.5, size * 0.1), [0.4, 0.26, 0.13], TREE)
    green = np.array([0.1, 0.4, 0.12]) * random.uniform(0.7, 1.3)
    for _ in range(6):
        row, aside = foot - size * random.uniform(0.5, 1.0), column + size * random.uniform(-0.2, 0.2)
        shade = green * random.uniform(0.8, 1.2)
        canvas.paint(canvas.ellipse(row, aside, size * 0.25, size * 0.2), shade, TREE)


def _house(canvas: _Canvas, random: Random, foot: float, column: float, size: float) -> None:
    wall = np.array([0.9, 0.85, 0.7]) * random.uniform(0.75, 1.05) * random.uniform(0.9, 1.05, 3)
    top, left = foot - size * 0.6, column - size * 0.4
    canvas.paint(canvas.box(top, left, size * 0.6, size * 0.8), wall, HOUSE)
    ridge = top - size * 0.4
    slope = (canvas.rows - ridge) / (size * 0.4)
    roof = (slope >= 0) & (slope < 1) & (np.abs(canvas.columns - column) < slope * size * 0.5)
    canvas.paint(roof, np.array([0.6, 0.2, 0.15]) * random.uniform(0.7, 1.3), HOUSE)
    for aside in (-0.22, 0.22):
        window = canvas.box(top + size * 0.1, column + (aside - 0.08) * size, size * 0.16, size * 0.16)
        canvas.paint(window, [0.3, 0.4, 0.55], HOUSE)
    canvas.paint(canvas.box(foot - size * 0.3, column - size * 0.07, size * 0.3, size * 0.14), [0.35, 0.2, 0.1], HOUSE)


def _car(canvas: _Canvas, random: Random, foot: float, column: float, depth: float) -> None:
    size = 0.06 + 0.4 * depth
    colour = np.array([[0.8, 0.1, 0.1], [0.1, 0.2, 0.8], [0.9, 0.8, 0.1], [0.85, 0.85, 0.9]])[random.integers(4)]
    canvas.paint(canvas.box(foot - size * 0.55, column - size * 0.3, size * 0.3, size * 0.6), colour * 0.9, CAR)
    canvas.paint(canvas.box(foot - size * 0.5, column - size * 0.24, size * 0.17, size * 0.48), [0.2, 0.25, 0.3], CAR)
    canvas.paint(canvas.box(foot - size * 0.32, column - size * 0.45, size * 0.25, size * 0.9), colour, CAR)
    for aside in (-0.28, 0.28):
        canvas.paint(
            canvas.ellipse(foot - size * 0.08, column + aside * size, size * 0.11, size * 0.09), [0.05] * 3, CAR
        )
