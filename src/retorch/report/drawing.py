"""The architecture as shapes of an SVG: a box per layer with operators, an arrow per tensor that flows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from retorch.report.layout import arrange
from retorch.report.multicolumn import fold
from retorch.report.summary import Facts, LayerFacts

BOX_HEIGHT = 40.0
_CHARACTER = 7.4
_LONGEST = 24
_LEAST_WIDTH = 96.0
MARGIN = 16


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
    """Boxes, arrows as SVG paths, and the size of it all, which a margin surrounds."""

    boxes: tuple[Box, ...]
    arrows: tuple[str, ...]
    margin: int
    width: int
    height: int


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
    boxes += [(_title(facts, i), _line(layer), level(layer, tolerance), i, i) for i, layer in shown]
    boxes.append(("outputs" if len(facts.outputs) > 1 else "output", _outputs(facts), "port", None, len(facts.layers)))
    place = {key: at for at, (*_, key) in enumerate(boxes)}
    edges = [(place[a], place[b]) for a, b in facts.flows if a in place and b in place]
    widths = [max(_LEAST_WIDTH, 16 + _CHARACTER * max(len(title), len(line))) for title, line, *_ in boxes]
    folded = fold(arrange(widths, BOX_HEIGHT, edges), BOX_HEIGHT)
    made = tuple(
        Box(round(x, 1), round(y, 1), round(width, 1), title, line, colour, row)
        for (x, y), width, (title, line, colour, row, _) in zip(folded.corners, widths, boxes, strict=True)
    )
    return Drawing(made, folded.paths, MARGIN, math.ceil(folded.width), math.ceil(folded.height))


def _title(facts: Facts, position: int) -> str:
    """The class of a layer, after those of the layers that were folded into it."""
    merged = [layer for layer in facts.layers if layer.merged_into == position]
    names = [layer.typename.rpartition(".")[2] for layer in (*merged, facts.layers[position])]
    title = " + ".join(names)
    return " + ".join(name.removeprefix("Spatial") for name in names) if len(title) > 18 else title


def _line(layer: LayerFacts) -> str:
    count = sum(int(kind.partition(" ×")[2] or 1) for kind in layer.operators)
    kinds = layer.operators[0] if count == 1 else f"{count} operators"
    shape = layer.shape if len(layer.shape) <= _LONGEST else "several sizes"
    return f"{kinds} {shape}"


def _outputs(facts: Facts) -> str:
    return facts.outputs[0] if len(facts.outputs) == 1 else f"{len(facts.outputs)} tensors"
