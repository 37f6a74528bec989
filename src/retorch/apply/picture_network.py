"""A network from pictures, on pictures of any size: whole where it takes the size, else in tiles or scaled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retorch.apply.border import Border
from retorch.apply.pictures import Pixels, fitted
from retorch.apply.preprocessing import Preprocessing
from retorch.apply.tiles import tiled
from retorch.errors import ConversionError, RetorchError, UsageError

Array = NDArray[Any]
#: Runs a network on one tensor (1, channels, height, width), given the shape that it will be run with again.
Runner = Callable[[Array], Array]
#: A picture of more pixels than this goes through in tiles, where nobody says otherwise.
WHOLE = 1 << 21
TILE = 512
#: Twice what a style network of five residual blocks sees around a pixel: its tiles have no seams.
OVERLAP = 128
#: Networks that halve their pictures often take multiples of this.
STEP = 32


@dataclass
class PictureNetwork:
    """A network that takes one picture.

    Attributes:
        channels: how many channels it reads: 1 or 3.
        fixed: the only height and width that it takes; None where it takes any.
        runner: what runs it at a shape; asked once a shape.
        preprocessing: how it wants its pictures.
        usual: a height and width that it is sure to take, where that is known.
        classes: the names of its classes, where they are known.
        border: what it cuts off its pictures, where it says so.
        said: what was done to pictures that it does not take as they are.
    """

    channels: int
    fixed: tuple[int, int] | None
    runner: Callable[[tuple[int, ...]], Runner]
    preprocessing: Preprocessing
    usual: tuple[int, int] | None = None
    classes: list[str] = field(default_factory=list[str])
    border: Border | None = None
    said: list[str] = field(default_factory=list[str])
    _way: int = 0
    _runners: dict[tuple[int, ...], Runner] = field(default_factory=dict[tuple[int, ...], Runner])

    def size_for(self, pixels: Pixels, asked: tuple[int, int] | None) -> tuple[int, int]:
        """The height and width at which a picture goes in: as asked, as the network must, as trained, or its own."""
        height, width = asked or self.fixed or self.preprocessing.size or pixels.shape[:2]
        return int(height), int(width)

    def _sizes(self, pixels: Pixels, size: tuple[int, int] | None) -> list[tuple[int, int]]:
        """The sizes to try, first the one that is wanted; more only where that is the picture's own."""
        wanted = self.size_for(pixels, size)
        if size or self.fixed or self.preprocessing.size:
            return [wanted]
        rounded = (max(STEP, round(wanted[0] / STEP) * STEP), max(STEP, round(wanted[1] / STEP) * STEP))
        return list(dict.fromkeys(one for one in (wanted, rounded, self.usual) if one))

    def __call__(
        self,
        pixels: Pixels,
        size: tuple[int, int] | None = None,
        tile: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Array:
        """The network's output for a picture.

        Args:
            pixels: (height, width, channels).
            size: the height and width to scale it to; by default that of :meth:`size_for`.
            tile: height and width of tiles; 0 for none; None decides by the picture's size.
            progress: told how many tiles are done, and of how many.
        """
        height, width = self.size_for(pixels, size)
        crop = 1.0 if size else self.preprocessing.crop
        if tile is None:
            tile = TILE if height * width > WHOLE and self.fixed is None else 0
        if not tile:
            return self._run_whole(pixels, self._sizes(pixels, size), crop)
        x = self.preprocessing.tensor(fitted(pixels, (height, width), crop))
        if self.fixed is not None:
            raise UsageError(f"the network takes pictures of {self.fixed[0]}x{self.fixed[1]} only: no tiles")
        return tiled(self._run, x, (tile, tile), min(OVERLAP, tile // 4), progress)

    def _run_whole(self, pixels: Pixels, sizes: list[tuple[int, int]], crop: float) -> Array:
        """The output at the first of these sizes that the network takes."""
        refused: RetorchError | None = None
        for size in sizes[min(self._way, len(sizes) - 1) :]:
            try:
                y = self._run(self.preprocessing.tensor(fitted(pixels, size, crop)))
            except (ConversionError, UsageError) as error:
                refused = refused or error
                continue
            if size != sizes[0]:
                note = f"scaled to {size[0]}x{size[1]}: the network does not take {sizes[0][0]}x{sizes[0][1]}"
                self._way, self.said = sizes.index(size), [note]
            return y
        raise refused or UsageError("the network takes no picture")

    def _run(self, x: Array) -> Array:
        y = self._run_once(x) if self.border is None else self.border.run(self._run_once, x)
        # a network that colours gives the colour alone: the brightness is that of its input
        return np.concatenate([x, y], axis=1) if self.preprocessing.lab and y.shape[1:2] == (2,) else y

    def _run_once(self, x: Array) -> Array:
        if x.shape not in self._runners:
            self._runners.clear()
            self._runners[x.shape] = self.runner(x.shape)
        return np.asarray(self._runners[x.shape](x))


def channels_of(shape: tuple[object, ...] | None) -> int:
    """How many channels an input (N, C, H, W) or (C, H, W) has.

    Raises:
        ConversionError: it is no picture.
    """
    channels = shape[-3] if shape is not None and len(shape) in (3, 4) else None
    if channels not in (1, 3):
        given = "x".join(map(str, shape)) if shape is not None else "a table of inputs"
        raise ConversionError(
            f"the network takes {given}, which is no picture", hint="--input takes arrays too, as .npz"
        )
    return 1 if channels == 1 else 3
