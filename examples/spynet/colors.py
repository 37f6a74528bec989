"""The Middlebury colour code of flows: the hue is the direction, the saturation the length.

Baker et al., "A Database and Evaluation Methodology for Optical Flow" (IJCV 2011): 55 hues, unevenly spaced so
that they look evenly spaced; red is to the right, yellow down, cyan to the left, blue to violet up.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from examples.spynet.pyramid import Array

#: Corners of the wheel and how many hues lead from each to the next.
_CORNERS = (
    ((255, 0, 0), 15),  # red to yellow
    ((255, 255, 0), 6),  # yellow to green
    ((0, 255, 0), 4),  # green to cyan
    ((0, 255, 255), 11),  # cyan to blue
    ((0, 0, 255), 13),  # blue to magenta
    ((255, 0, 255), 6),  # magenta to red
)
#: Longer flows than this, and what is no number, are unknown: Middlebury's files mark them so.
UNKNOWN = 1e9
_BEYOND = 0.75  # how bright flows are that are longer than the longest


def wheel() -> NDArray[np.float64]:
    """The 55 hues: (55, 3), in 0…255."""
    hues: list[Array] = []
    for i, (start, count) in enumerate(_CORNERS):
        end = _CORNERS[(i + 1) % len(_CORNERS)][0]
        # whole numbers, rounded towards the corner that is left, as in the original
        step = np.arange(count)[:, None] * 255 // count
        hues.append(np.array(start) + np.sign(np.subtract(end, start)) * step)
    return np.concatenate(hues).astype(np.float64)


def known(flow: Array) -> NDArray[np.bool_]:
    """Which pixels have a flow: (H, W)."""
    return np.all(np.abs(np.nan_to_num(flow, nan=np.inf)) <= UNKNOWN, axis=0)


def longest(flow: Array) -> float:
    """The length of the longest known flow in pixels; 0 where there is none."""
    lengths = np.hypot(*flow.astype(np.float64))[known(flow)]
    return float(lengths.max()) if lengths.size else 0.0


def colored(flow: Array, most: float | None = None) -> NDArray[np.uint8]:
    """A flow (2, H, W) as a picture (H, W, 3).

    Flows of ``most`` pixels have the full colour, none is white, longer ones are darker, unknown ones black. By default
    ``most`` is the length of the longest.
    """
    there = known(flow)
    scale = longest(flow) if most is None else most
    u, v = np.where(there, flow, 0).astype(np.float64) / (scale or 1.0)
    hues = wheel()
    place = (np.arctan2(-v, -u) / np.pi + 1) / 2 * (len(hues) - 1)
    low = place.astype(np.int64)
    share = (place - low)[..., None]
    full = ((1 - share) * hues[low] + share * hues[(low + 1) % len(hues)]) / 255
    length = np.hypot(u, v)[..., None]
    # what is a rounding error longer than the longest is not longer
    shade = np.where(length <= 1 + 1e-6, 1 - length * (1 - full), full * _BEYOND)
    return np.where(there[..., None], np.floor(255 * np.clip(shade, 0, 1)), 0).astype(np.uint8)


def disc(size: int) -> NDArray[np.uint8]:
    """The key to the colours: (size, size, 3); a pixel has the colour of the flow from the centre to it."""
    at = np.linspace(-1, 1, size)
    flow = np.stack(np.meshgrid(at, at))
    return np.where(np.hypot(*flow)[..., None] <= 1, colored(flow, 1.0), 255).astype(np.uint8)
