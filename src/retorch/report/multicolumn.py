"""A tall drawing as several columns side by side, like the lines of a text."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from retorch.report.layout import RANK_GAP, Layout

Point = tuple[float, float]

#: How much wider than tall a folded drawing should be.
_SHAPE = 1.9
#: Between columns, for the arrows from the foot of one to the head of the next.
_CHANNEL = 70.0
_HEAD = 34.0
_STEP = 5.0
_MOST = 12
#: What a second edge through a cut is worth, in units of the shape's logarithm.
_CUT_COST = 0.25


@dataclass(frozen=True, slots=True)
class Folded:
    """A layout with every rank in its column.

    Attributes:
        corners: the upper left corners of the boxes.
        paths: the edges as SVG paths.
        width, height: of it all.
    """

    corners: tuple[Point, ...]
    paths: tuple[str, ...]
    width: float
    height: float


class _Fold:
    """Where each rank's column begins."""

    def __init__(self, layout: Layout, height: float) -> None:
        self.layout = layout
        self.half = height / 2
        self.pitch = height + RANK_GAP
        ranks = round((layout.height + RANK_GAP) / self.pitch)
        cut = Counter(self.rank(b[1]) for route in layout.routes for _, b in itertools.pairwise(route))
        self.starts = min(
            (_cuts(ranks, count, cut) for count in range(1, _MOST + 1)),
            key=lambda starts: self._cost(starts, ranks, cut),
        )
        self.ends = [*self.starts[1:], ranks]
        self.column = [sum(rank >= start for start in self.starts) - 1 for rank in range(ranks)]
        self.longest = _longest(self.starts, ranks)
        self.head = _HEAD if len(self.starts) > 1 else 0.0
        self.crossed: Counter[int] = Counter()

    def _cost(self, starts: list[int], ranks: int, cut: Counter[int]) -> float:
        """How far columns are from a good shape, and how many edges they cut."""
        wide = len(starts) * (self.layout.width + _CHANNEL)
        shape = abs(math.log(wide / (_longest(starts, ranks) * self.pitch) / _SHAPE))
        return shape + _CUT_COST * sum(cut[start] - 1 for start in starts[1:])

    def rank(self, y: float) -> int:
        return round((y - self.half) / self.pitch)

    def place(self, point: Point, rank: int) -> Point:
        column = self.column[rank]
        x = point[0] + column * (self.layout.width + _CHANNEL)
        return x, point[1] - self.starts[column] * self.pitch + self.head

    def path(self, route: Sequence[Point]) -> str:
        """From the lower edge of a box to the upper edge of another, by way of its bends."""
        ranks = [self.rank(y) for _, y in route]
        points = [self.place(point, rank) for point, rank in zip(route, ranks, strict=True)]
        points[0] = points[0][0], points[0][1] + self.half
        points[-1] = points[-1][0], points[-1][1] - self.half
        path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
        for (a, ra), (b, rb) in itertools.pairwise(zip(points, ranks, strict=True)):
            path += self._over(a, b, self.column[ra]) if self.column[rb] == self.column[ra] + 1 else _curve(a, b)
        return path

    def _over(self, a: Point, b: Point, column: int) -> str:
        """Down to the foot of a column, up beside it, and over to the head of the next; arrows do not share a line."""
        aside = _STEP * self.crossed[column]
        self.crossed[column] += 1
        channel = (column + 1) * (self.layout.width + _CHANNEL) - _CHANNEL / 2 + aside
        last = self.place((0, (self.ends[column] - 1) * self.pitch), self.ends[column] - 1)[1]
        foot, head = last + 2 * self.half + 10 + aside, self.head - 14 - aside
        return f"V{foot:.1f}H{channel:.1f}V{head:.1f}H{b[0]:.1f}V{b[1]:.1f}"


def _cuts(ranks: int, count: int, cut: Counter[int]) -> list[int]:
    """The first rank of each column: near equal lengths, where few edges are cut."""
    length = ranks / count
    slack = int(length / 5)
    found = [0]
    for i in range(1, count):
        wish = round(i * length)
        near = range(max(found[-1] + 1, wish - slack), min(ranks - 1, wish + slack) + 1)
        if near:
            found.append(min(near, key=lambda rank, wish=wish: (cut[rank], abs(rank - wish))))
    return found


def _longest(starts: Sequence[int], ranks: int) -> int:
    return max(b - a for a, b in itertools.pairwise([*starts, ranks]))


def _curve(a: Point, b: Point) -> str:
    middle = (a[1] + b[1]) / 2
    return f"C{a[0]:.1f} {middle:.1f} {b[0]:.1f} {middle:.1f} {b[0]:.1f} {b[1]:.1f}"


def fold(layout: Layout, height: float) -> Folded:
    """Break a layout of boxes of that height into as many columns as make it wider than tall."""
    folding = _Fold(layout, height)
    corners = tuple(folding.place(corner, folding.rank(corner[1] + height / 2)) for corner in layout.corners)
    count = len(folding.starts)
    width = count * (layout.width + _CHANNEL) - _CHANNEL
    tall = folding.longest * folding.pitch - RANK_GAP + 2 * folding.head
    return Folded(corners, tuple(folding.path(route) for route in layout.routes), width, tall)
