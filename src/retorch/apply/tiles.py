"""Large pictures in pieces: tiles with overlap, so that memory stays bounded however large the picture is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retorch.errors import UsageError

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Span:
    """One tile along an axis: where it is read, and which part of it is kept."""

    start: int
    keep: int
    keep_end: int

    def kept(self, scale: float) -> slice:
        """Where its part stands in the whole output."""
        return slice(round(self.keep * scale), round(self.keep_end * scale))

    def within(self, scale: float) -> slice:
        """Where its part stands in the tile's own output."""
        return slice(round((self.keep - self.start) * scale), round((self.keep_end - self.start) * scale))


def spans(length: int, tile: int, overlap: int) -> list[Span]:
    """Tiles of ``tile`` that cover ``length``; each gives away half of the ``overlap`` where it has a neighbour.

    Raises:
        UsageError: an overlap that leaves nothing of a tile.
    """
    if length <= tile:
        return [Span(0, 0, length)]
    step = tile - overlap
    if step < 1:
        raise UsageError(f"an overlap of {overlap} leaves nothing of a tile of {tile}")
    starts = [*range(0, length - tile, step), length - tile]
    found: list[Span] = []
    kept = 0
    for i, start in enumerate(starts):
        end = length if i == len(starts) - 1 else start + tile - overlap // 2
        found.append(Span(start, kept, end))
        kept = end
    return found


def tiled(
    run: Callable[[Array], Array],
    x: Array,
    tile: tuple[int, int],
    overlap: int,
    progress: Callable[[int, int], None] | None = None,
) -> Array:
    """Run a network from pictures to pictures tile by tile.

    Args:
        run: from (1, C, h, w), h and w those of ``tile``, to (1, D, s·h, s·w); s is worked out from the first tile.
        x: (1, C, H, W). Where it is smaller than a tile, it is mirrored at its end.
        tile: height and width of a tile.
        overlap: how much neighbours share, in pixels of the input. It should be twice what the network sees around a
            pixel; then the result is that of the whole picture, for a network without statistics over the picture.
        progress: called with the number of tiles done and of all tiles.

    Returns:
        (1, D, s·H, s·W).

    Raises:
        UsageError: outputs that are no picture of a multiple of the tile's size.
    """
    height, width = x.shape[2:]
    rows, columns = spans(height, tile[0], overlap), spans(width, tile[1], overlap)
    y: Array | None = None
    for done, (row, column, piece) in enumerate(_pieces(x, tile, rows, columns), 1):
        made = run(piece)
        scale = _scale(made, tile)
        if y is None:
            y = np.empty((1, made.shape[1], round(height * scale), round(width * scale)), made.dtype)
        y[:, :, row.kept(scale), column.kept(scale)] = made[:, :, row.within(scale), column.within(scale)]
        if progress is not None:
            progress(done, len(rows) * len(columns))
    if y is None:
        raise UsageError("the picture is empty")
    return y


def _pieces(
    x: Array, tile: tuple[int, int], rows: list[Span], columns: list[Span]
) -> Iterator[tuple[Span, Span, Array]]:
    for row in rows:
        for column in columns:
            piece = x[:, :, row.start : row.start + tile[0], column.start : column.start + tile[1]]
            lacks = [(0, 0), (0, 0), (0, tile[0] - piece.shape[2]), (0, tile[1] - piece.shape[3])]
            yield row, column, np.pad(piece, lacks, "symmetric") if any(end for _, end in lacks) else piece


def _scale(made: Array, tile: tuple[int, int]) -> float:
    """How much larger the output is than the tile."""
    scale = made.shape[2] / tile[0] if made.ndim == 4 else 0
    if not scale or made.shape[3] != round(tile[1] * scale) or made.shape[2] != round(tile[0] * scale):
        raise UsageError(
            f"a tile of {tile[0]}x{tile[1]} gives {'x'.join(map(str, made.shape))}, which is no picture of its size",
            hint="networks that cut the border off take no tiles: --size makes the picture smaller",
        )
    return scale
