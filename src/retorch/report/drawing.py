"""The architecture as shapes of an SVG: a box per layer with operators, an arrow per tensor that flows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from retorch.report.facts import Facts, LayerFacts
from retorch.report.layout import arrange

BOX_HEIGHT = 40.0
_CHARACTER = 7.4
_LONGEST = 24
_LEAST_WIDTH = 96.0
_MARGIN = 16.0


@dataclass(frozen=True, slots=True)
class Box:
    """A layer, an input or the outputs: where it is, what it says, how wrong it is, which row of the table it means."""

    x: float
    y: float
    width: float
    title: str
    line: str
    level: str
    row: int | None


@dataclass(frozen=True, slots=True)
class Drawing:
    """Boxes, arrows as SVG paths, and the size of it all."""

    boxes: tuple[Box, ...]
    arrows: tuple[str, ...]
    width: float
    height: float


def level(layer: LayerFacts, tolerance: float) -> str:
    """The colour of an error: ``good``, ``fair`` (within a tenth of the tolerance), ``near``, ``off``, ``wrong``."""
    if layer.verdict == "wrong":
        return "wrong"
    error = layer.whole if layer.whole is not None else layer.alone
    if layer.verdict == "off":
        return "off"
    if error is None:
        return "none"
    return "good" if error <= tolerance / 100 else "fair" if error <= tolerance / 10 else "near"


def draw(facts: Facts) -> Drawing:
    """Lay out the layers that have operators, the inputs above and the outputs below."""
    boxes = [
        (f"input {i}" if len(facts.inputs) > 1 else "input", text, "port", None, -i)
        for i, text in enumerate(facts.inputs, 1)
    ]
    tolerance = facts.report.tolerance
    shown = [(i, layer) for i, layer in enumerate(facts.layers) if layer.operators]
    boxes += [(_title(layer), _line(layer), level(layer, tolerance), i, i) for i, layer in shown]
    boxes.append(("outputs" if len(facts.outputs) > 1 else "output", _outputs(facts), "port", None, len(facts.layers)))
    place = {key: at for at, (*_, key) in enumerate(boxes)}
    edges = [(place[a], place[b]) for a, b in facts.flows if a in place and b in place]
    widths = [max(_LEAST_WIDTH, 16 + _CHARACTER * max(len(title), len(line))) for title, line, *_ in boxes]
    layout = arrange(widths, BOX_HEIGHT, edges)
    made = tuple(
        Box(round(x + _MARGIN, 1), round(y + _MARGIN, 1), round(width, 1), title, line, colour, row)
        for (x, y), width, (title, line, colour, row, _) in zip(layout.corners, widths, boxes, strict=True)
    )
    arrows = tuple(_arrow([(x + _MARGIN, y + _MARGIN) for x, y in route]) for route in layout.routes)
    return Drawing(made, arrows, math.ceil(layout.width + 2 * _MARGIN), math.ceil(layout.height + 2 * _MARGIN))


def _title(layer: LayerFacts) -> str:
    name = layer.typename.rpartition(".")[2]
    return name.removeprefix("Spatial") if len(name) > 18 else name


def _line(layer: LayerFacts) -> str:
    kinds = layer.operators[0] if len(layer.operators) == 1 else f"{len(layer.operators)} operators"
    shape = layer.shape if len(layer.shape) <= _LONGEST else "several sizes"
    return f"{kinds} {shape}"


def _outputs(facts: Facts) -> str:
    return facts.outputs[0] if len(facts.outputs) == 1 else f"{len(facts.outputs)} tensors"


def _arrow(route: Sequence[tuple[float, float]]) -> str:
    """A curve from the lower edge of a box to the upper edge of another, by way of its bends."""
    half = BOX_HEIGHT / 2
    (x0, y0), (x1, y1) = route[0], route[-1]
    points = [(x0, y0 + half), *route[1:-1], (x1, y1 - half)]
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (ax, ay), (bx, by) in itertools.pairwise(points):
        middle = (ay + by) / 2
        path += f"C{ax:.1f} {middle:.1f} {bx:.1f} {middle:.1f} {bx:.1f} {by:.1f}"
    return path
