"""Boxes that lean (centre, width, height, angle in degrees): how much they share, and which of them are left."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.detection import columns, number
from retorch.caffe2.parse.graph import Graph
from retorch.caffe2.parse.loop import Step, repeat
from retorch.caffe2.parse.segments import int64

_END = 2**31 - 1
_PARALLEL = 1e-14  # Caffe2 crosses no edges whose product of lengths and sine is less
_POINTS = 24  # of two boxes: 16 crossings of edges, and the corners of both

#: The intersection over the union of one box (1, …) and others (n, …): (n,).
Overlap: TypeAlias = Callable[[Graph, ir.Value, ir.Value], ir.Value]


@dataclass(frozen=True, slots=True)
class _Corners:
    """The coordinates of corners (n, 4), in order around each box."""

    x: ir.Value
    y: ir.Value

    def edges(self, graph: Graph) -> _Corners:
        """From each corner to the next."""
        return _Corners(*(graph.op("Sub", _next(graph, side), side) for side in (self.x, self.y)))


def _next(graph: Graph, x: ir.Value) -> ir.Value:
    return graph.op("Concat", graph.slice(x, 1, 1, _END), graph.slice(x, 1, 0, 1), axis=1)


def _product(graph: Graph, a: ir.Value, b: ir.Value, c: ir.Value, d: ir.Value, sign: str) -> ir.Value:
    """a * b + c * d, or a * b - c * d."""
    return graph.op(sign, graph.op("Mul", a, b), graph.op("Mul", c, d))


def _corners(graph: Graph, box: Sequence[ir.Value], origin: Sequence[ir.Value]) -> _Corners:
    """The corners, seen from ``origin``; angles turn against the clock where y points down."""
    g, half = graph, number(graph, 0.5)
    radians = g.op("Mul", box[4], number(g, -math.pi / 180))
    cos, sin = g.op("Cos", radians), g.op("Sin", radians)
    across = g.op("Mul", g.op("Mul", box[2], half), g.constant(np.asarray([[-1, -1, 1, 1]], np.float32)))
    down = g.op("Mul", g.op("Mul", box[3], half), g.constant(np.asarray([[1, -1, -1, 1]], np.float32)))
    x = _product(g, across, cos, down, sin, "Sub")
    y = _product(g, across, sin, down, cos, "Add")
    return _Corners(*(g.op("Add", side, g.op("Sub", box[at], origin[at])) for at, side in enumerate((x, y))))


def _crossings(graph: Graph, a: _Corners, b: _Corners) -> tuple[_Corners, ir.Value]:
    """Where the edges of a cross those of b (n, 16), and where they do."""
    g, va, vb = graph, a.edges(graph), b.edges(graph)
    ax, ay, avx, avy = (g.unsqueeze(part, 2) for part in (a.x, a.y, va.x, va.y))
    bx, by, bvx, bvy = (g.unsqueeze(part, 1) for part in (b.x, b.y, vb.x, vb.y))
    slant = _product(g, bvx, avy, avx, bvy, "Sub")
    crosses = g.op("Greater", g.op("Abs", slant), number(g, _PARALLEL))
    by_what = g.op("Where", crosses, slant, number(g, 1.0))
    away = g.op("Sub", bx, ax), g.op("Sub", by, ay)
    along_a = g.op("Div", _product(g, bvx, away[1], away[0], bvy, "Sub"), by_what)
    along_b = g.op("Div", _product(g, avx, away[1], away[0], avy, "Sub"), by_what)
    for along in (along_a, along_b):
        crosses = g.op("And", crosses, _within(g, along, number(g, 1.0)))
    points = [g.op("Add", at, g.op("Mul", along_a, step)) for at, step in ((ax, avx), (ay, avy))]
    return _Corners(*(g.reshape(side, (-1, 16)) for side in points)), g.reshape(crosses, (-1, 16))


def _within(graph: Graph, x: ir.Value, most: ir.Value) -> ir.Value:
    return graph.op("And", graph.op("GreaterOrEqual", x, number(graph, 0.0)), graph.op("LessOrEqual", x, most))


def _inside(graph: Graph, points: _Corners, box: _Corners) -> ir.Value:
    """Which points lie in a box."""
    g, edges = graph, box.edges(graph)
    from_first = [g.op("Sub", p, g.slice(q, 1, 0, 1)) for p, q in ((points.x, box.x), (points.y, box.y))]
    found: list[ir.Value] = []
    for at, sign in ((0, 1.0), (3, -1.0)):
        x, y = (g.op("Mul", g.slice(side, 1, at, at + 1), number(g, sign)) for side in (edges.x, edges.y))
        length = _product(g, x, x, y, y, "Add")
        found.append(_within(g, _product(g, from_first[0], x, from_first[1], y, "Add"), length))
    return g.op("And", *found)


def _area(graph: Graph, points: _Corners, real: ir.Value) -> ir.Value:
    """The area (n, 1) of what the points that are ``real`` go around."""
    g = graph
    one = g.op("ArgMax", g.cast(real, ir.DataType.INT32), axis=1, keepdims=1)
    sides: list[ir.Value] = []
    for side in (points.x, points.y):
        held = g.op("Where", real, side, g.op("GatherElements", side, one, axis=1))
        sides.append(g.op("Sub", held, g.op("ReduceMean", held, g.constant([1]), keepdims=1)))
    reach = g.op("Add", *(g.op("Abs", side) for side in sides))
    level = g.op("Div", sides[0], g.op("Max", reach, number(g, 1e-30)))
    # It falls around the centre as an angle would.
    turn = g.op(
        "Where",
        g.op("GreaterOrEqual", sides[1], number(g, 0.0)),
        g.op("Sub", number(g, 1.0), level),
        g.op("Add", number(g, 3.0), level),
    )
    _, order = g.ops("TopK", [turn, g.constant([_POINTS])], 2, axis=1)
    x, y = (g.op("GatherElements", side, order, axis=1) for side in sides)
    twice = g.op("ReduceSum", _product(g, x, _next(g, y), _next(g, x), y, "Sub"), g.constant([1]), keepdims=1)
    count = g.op("ReduceSum", g.cast(real, ir.DataType.INT32), g.constant([1]), keepdims=1)
    some = g.op("Greater", count, g.constant(np.asarray(2, np.int32)))
    return g.op("Where", some, g.op("Mul", g.op("Abs", twice), number(g, 0.5)), number(g, 0.0))


def overlap(graph: Graph, one: ir.Value, others: ir.Value) -> ir.Value:
    """The intersection over the union of one box (1, 5) and others (n, 5): (n,)."""
    g = graph
    sides = columns(g, one, 5), columns(g, others, 5)
    first, second = (_corners(g, box, sides[0][:2]) for box in sides)
    crossings, crosses = _crossings(g, first, second)
    none = g.op("Mul", second.x, number(g, 0.0))
    spread = _Corners(g.op("Add", first.x, none), g.op("Add", first.y, none))
    points = _Corners(
        g.op("Concat", crossings.x, spread.x, second.x, axis=1), g.op("Concat", crossings.y, spread.y, second.y, axis=1)
    )
    real = g.op("Concat", crosses, _inside(g, spread, second), _inside(g, second, first), axis=1)
    shared = _area(g, points, real)
    areas = [g.op("Mul", box[2], box[3]) for box in sides]
    return g.reshape(g.op("Div", shared, g.op("Sub", g.op("Add", *areas), shared)), (-1,))


def greedy(graph: Graph, boxes: ir.Value, order: ir.Value, bound: float, most: int) -> ir.Value:
    """The places of boxes, in ``order``, that share no more than ``bound`` with one before; ``most`` if positive."""

    def take(g: Graph, _: ir.Value, held: Sequence[ir.Value]) -> Step:
        pending, kept = held
        taken, rest = g.slice(pending, 0, 0, 1), g.slice(pending, 0, 1, _END)
        shared = overlap(g, *(g.op("Gather", boxes, which, axis=0) for which in (taken, rest)))
        left = g.op("Compress", rest, g.op("LessOrEqual", shared, number(g, bound)), axis=0)
        kept = g.op("Concat", kept, taken, axis=0)
        goes_on = g.op("Greater", g.op("Size", left), int64(g, 0))
        if most > 0:
            goes_on = g.op("And", goes_on, g.op("Less", g.op("Size", kept), int64(g, most)))
        return Step(goes_on, [left, kept])

    some = graph.op("Greater", graph.op("Size", order), int64(graph, 0))
    _, kept = repeat(graph, [order, graph.constant(np.zeros(0, np.int64))], take, begins=some)
    return kept
