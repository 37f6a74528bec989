"""What a network cuts off the border of its pictures, and the wider pictures that make up for it (waifu2x)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retorch.torch7 import LuaTable

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Border:
    """As waifu2x says it in a network's own fields.

    Attributes:
        offset: how many pixels of the output are missing on each side (``w2nn_offset``).
        scale: how much larger the output is than the input (``w2nn_scale_factor``).
        step, rest: heights and widths of the input that the network takes leave ``rest`` when divided by ``step``
            (``w2nn_valid_input_size``, a list of them).
    """

    offset: int
    scale: int = 1
    step: int = 1
    rest: int = 0

    def run(self, run: Callable[[Array], Array], x: Array) -> Array:
        """From (1, C, H, W) to (1, D, scale·H, scale·W): the edge is repeated outwards before, as waifu2x does."""
        pad = -(-self.offset // self.scale)
        height, width = x.shape[2:]
        lacks = [(self.rest - size - 2 * pad) % self.step for size in (height, width)]
        sides = [(0, 0), (0, 0), (pad, pad + lacks[0]), (pad, pad + lacks[1])]
        wide = np.pad(x, sides, "edge")
        rows, columns = (self.scale * size - 2 * self.offset for size in wide.shape[2:])
        # its last module may have made one row of numbers of each picture
        y = run(wide).reshape(1, -1, rows, columns)
        cut = pad * self.scale - self.offset
        return y[:, :, cut : cut + self.scale * height, cut : cut + self.scale * width]


def border_of(network: Mapping[Any, object]) -> Border | None:
    """What the fields of a stored network say; None where they say nothing."""
    offset, scale = network.get("w2nn_offset"), network.get("w2nn_scale_factor", 1)
    if not isinstance(offset, int) or not isinstance(scale, int) or offset < 0 or scale < 1:
        return None
    listed = network.get("w2nn_valid_input_size")
    sizes = [size for size in listed.sequence() if isinstance(size, int)] if isinstance(listed, LuaTable) else []
    step = int(np.gcd.reduce(np.diff(sizes))) if len(sizes) > 1 else 1
    return Border(offset, scale, step, sizes[0] % step) if step > 0 and sizes else Border(offset, scale)
