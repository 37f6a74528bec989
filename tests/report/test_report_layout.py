"""A drawing in which nothing lies on anything else, whatever the graph."""

from __future__ import annotations

import itertools
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from retorch.report.layout import GAP, RANK_GAP, arrange
from retorch.report.multicolumn import fold

HEIGHT = 40.0


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[float], list[tuple[int, int]]]:
    """Boxes of several widths, each reading some of those before it, and now and then one after it."""
    widths = draw(st.lists(st.sampled_from([60.0, 96.0, 180.0]), min_size=1, max_size=24))
    count = len(widths)
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda pair: pair[0] != pair[1])
    edges = draw(st.lists(pairs, max_size=2 * count, unique=True))
    chain = [(i, i + 1) for i in range(count - 1)] if draw(st.booleans()) else []
    return widths, list(dict.fromkeys([*chain, *edges]))


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_boxes_keep_their_distance_and_read_downwards(graph: tuple[list[float], list[tuple[int, int]]]) -> None:
    widths, edges = graph
    layout = arrange(widths, HEIGHT, edges)
    boxes = [(x, y, width) for (x, y), width in zip(layout.corners, widths, strict=True)]
    for (ax, ay, aw), (bx, by, bw) in itertools.combinations(boxes, 2):
        if ay == by:
            assert ax + aw + GAP <= bx + 1e-6 or bx + bw + GAP <= ax + 1e-6
        else:
            assert abs(ay - by) >= HEIGHT + RANK_GAP - 1e-6
    for a, b in edges:
        if a < b:
            assert layout.corners[a][1] < layout.corners[b][1]
    assert all(x >= -1e-6 and x + w <= layout.width + 1e-6 and y + HEIGHT <= layout.height + 1e-6 for x, y, w in boxes)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_columns_keep_boxes_apart_and_inside(graph: tuple[list[float], list[tuple[int, int]]]) -> None:
    widths, edges = graph
    folded = fold(arrange(widths, HEIGHT, edges), HEIGHT)
    boxes = [(x, y, width) for (x, y), width in zip(folded.corners, widths, strict=True)]
    for (ax, ay, aw), (bx, by, bw) in itertools.combinations(boxes, 2):
        assert ax + aw <= bx + 1e-6 or bx + bw <= ax + 1e-6 or abs(ay - by) >= HEIGHT
    for x, y, width in boxes:
        assert x >= -1e-6
        assert x + width <= folded.width + 1e-6
        assert y >= -1e-6
        assert y + HEIGHT <= folded.height + 1e-6
    assert len(folded.paths) == len(edges)


def test_a_chain_is_straight_and_a_long_one_wraps() -> None:
    widths = [100.0, 60.0, 180.0]
    layout = arrange(widths, HEIGHT, [(0, 1), (1, 2)])
    assert len({round(x + w / 2, 6) for (x, _), w in zip(layout.corners, widths, strict=True)}) == 1
    count = 60
    folded = fold(arrange([100.0] * count, HEIGHT, [(i, i + 1) for i in range(count - 1)]), HEIGHT)
    assert 1 < folded.width / folded.height < 3
    assert sum(1 for path in folded.paths if "H" in path) == len({round(x) for x, _ in folded.corners}) - 1


def test_an_edge_past_other_boxes_goes_around_them() -> None:
    widths = [100.0] * 4
    layout = arrange(widths, HEIGHT, [(0, 1), (1, 2), (2, 3), (0, 3)])
    bends = layout.routes[3][1:-1]
    assert len(bends) == 2
    for (x, _), box in zip(bends, (1, 2), strict=True):
        left = layout.corners[box][0]
        assert x < left or x > left + widths[box]


def test_paths_are_numbers_that_svg_reads() -> None:
    folded = fold(arrange([80.0, 80.0], HEIGHT, [(0, 1), (1, 0)]), HEIGHT)
    assert all(re.fullmatch(r"M[-\d. ]+([CVH][-\d. ]+)+", path) for path in folded.paths)
