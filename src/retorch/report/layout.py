"""Where the boxes of a directed graph go: ranks from top to bottom, few crossings, straight chains."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

#: Between neighbours in a rank, and between ranks, in units of the drawing.
GAP = 28.0
RANK_GAP = 44.0
_BEND_WIDTH = 10.0
_SWEEPS = 8


@dataclass(frozen=True, slots=True)
class Layout:
    """The upper left corners of the boxes, and the points each edge passes: its source's, bends, its target's."""

    corners: tuple[tuple[float, float], ...]
    routes: tuple[tuple[tuple[float, float], ...], ...]
    width: float
    height: float


@dataclass(slots=True)
class _Graph:
    """Boxes and bends: an edge over several ranks has a bend in each rank between."""

    ranks: list[int]
    widths: list[float]
    before: list[list[int]] = field(default_factory=lambda: list[list[int]]())
    after: list[list[int]] = field(default_factory=lambda: list[list[int]]())

    def add(self, rank: int, width: float) -> int:
        self.ranks.append(rank)
        self.widths.append(width)
        self.before.append([])
        self.after.append([])
        return len(self.ranks) - 1

    def connect(self, source: int, target: int) -> None:
        self.after[source].append(target)
        self.before[target].append(source)


def arrange(widths: Sequence[float], height: float, edges: Sequence[tuple[int, int]]) -> Layout:
    """Place boxes of the given widths and one height; edges are pairs of positions.

    An edge to an earlier box (a layer used again) is drawn, but ranks ignore it.
    """
    ranks = _ranks(len(widths), [(a, b) for a, b in edges if a < b])
    graph = _Graph([], [])
    for rank, width in zip(ranks, widths, strict=True):
        graph.add(rank, width)
    chains = [_chain(graph, a, b) for a, b in edges]
    rows = _ordered(graph)
    centres = _centres(graph, rows)
    pitch = height + RANK_GAP
    left = min((centres[i] - w / 2 for i, w in enumerate(graph.widths)), default=0.0)
    right = max((centres[i] + w / 2 for i, w in enumerate(graph.widths)), default=0.0)
    corners = tuple((centres[i] - left - w / 2, ranks[i] * pitch) for i, w in enumerate(widths))
    routes = tuple(tuple((centres[i] - left, graph.ranks[i] * pitch + height / 2) for i in chain) for chain in chains)
    return Layout(corners, routes, right - left, (max(ranks, default=0) + 1) * pitch - RANK_GAP)


def _ranks(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """One below the lowest of what a box reads."""
    ranks = [0] * count
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        ranks[target] = max(ranks[target], ranks[source] + 1)
    return ranks


def _chain(graph: _Graph, source: int, target: int) -> list[int]:
    low, high = graph.ranks[source], graph.ranks[target]
    if high <= low:
        return [source, target]
    chain = [source, *(graph.add(rank, _BEND_WIDTH) for rank in range(low + 1, high)), target]
    for a, b in itertools.pairwise(chain):
        graph.connect(a, b)
    return chain


def _ordered(graph: _Graph) -> list[list[int]]:
    """The boxes and bends of each rank from left to right: each near the mean of its neighbours."""
    rows: list[list[int]] = [[] for _ in range(max(graph.ranks, default=0) + 1)]
    for node, rank in enumerate(graph.ranks):
        rows[rank].append(node)
    place = {node: float(i) for row in rows for i, node in enumerate(row)}
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        neighbours = graph.before if down else graph.after
        for row in rows if down else reversed(rows):
            wish = {n: _mean([place[m] for m in neighbours[n]], place[n]) for n in row}
            row.sort(key=lambda n, wish=wish: wish[n])
            place.update({n: float(i) for i, n in enumerate(row)})
    return rows


def _centres(graph: _Graph, rows: Sequence[Sequence[int]]) -> list[float]:
    """Centres that keep the order and the gaps, and are drawn towards those of their neighbours."""
    centres = [0.0] * len(graph.ranks)
    for row in rows:
        at = 0.0
        for node in row:
            centres[node] = at + graph.widths[node] / 2
            at += graph.widths[node] + GAP
    for sweep in range(_SWEEPS):
        neighbours = graph.before if sweep % 2 == 0 else graph.after
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wishes = [_mean([centres[m] for m in neighbours[n]], centres[n]) for n in row]
            for node, centre in zip(row, _spread([graph.widths[n] for n in row], wishes), strict=True):
                centres[node] = centre
    return centres


def _spread(widths: Sequence[float], wishes: Sequence[float]) -> list[float]:
    """The centres nearest to the wishes that keep all gaps: boxes that want the same place form a block."""
    blocks: list[tuple[list[int], float]] = []
    offsets: list[float] = []
    at = 0.0
    for width in widths:
        offsets.append(at + width / 2)
        at += width + GAP
    for index, wish in enumerate(wishes):
        members, start = [index], wish - offsets[index]
        while blocks and blocks[-1][1] > start:
            earlier, _ = blocks.pop()
            members = earlier + members
            start = _mean([wishes[i] - offsets[i] for i in members], 0.0)
        blocks.append((members, start))
    return [start + offsets[i] for members, start in blocks for i in members]


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
