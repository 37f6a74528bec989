"""Blocks of sequences with a number in the place of what is behind their ends, or above or below a diagonal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import RefusalError, axis_of, rank
from retorch.caffe2.parse.lengths import integers
from retorch.caffe2.parse.segments import arange, int64


@dataclass(frozen=True, slots=True)
class _Block:
    """x as (rows, columns), or as (batch, rows, columns, the same mask for all), and its numbers of row and column."""

    x: ir.Value
    down: ir.Value
    across: ir.Value


def _sizes(call: Call, start: int, end: int) -> ir.Value:
    g = call.graph
    if start == end:
        return g.constant([1])
    return g.op("ReduceProd", g.shape_of(call.x, start, end), g.constant([0]), keepdims=1)


def _block(call: Call) -> _Block:
    g, x, mode = call.graph, call.x, call.string("mode", "")
    axis = axis_of(x, call.int("axis", 1))
    batch = axis_of(x, call.int("batch", 0)) + 1 if call.has("batch") else 0
    if batch > axis:
        raise RefusalError(f"batch {batch - 1} is not before axis {axis}")
    inner = rank(x)
    if call.has("repeat_from_axis") and mode == "sequence":
        inner = axis_of(x, call.int("repeat_from_axis", -1))
        if batch or inner < axis:
            raise RefusalError(f"repeat_from_axis {inner} with axis {axis}" + (" and batch" if batch else ""))
    bounds = ((0, batch), (batch, axis), (axis, inner), (inner, rank(x)))
    sizes = [_sizes(call, *pair) for pair in bounds]
    shaped = g.op("Reshape", x, g.op("Concat", *sizes, axis=0))
    shaped.shape = ir.Shape([None] * 4)
    rows, columns = (arange(g, g.reshape(sizes[at], ())) for at in (1, 2))
    return _Block(shaped, g.reshape(rows, (-1, 1, 1)), g.reshape(columns, (-1, 1)))


def _given(call: Call, block: _Block) -> ir.Value:
    """The number of each row, from the second input, of which Caffe2 does not mind what is left over."""
    g, numbers = call.graph, call.graph.reshape(integers(call, 1), (-1, 1, 1))
    return g.op("Slice", numbers, g.constant([0]), g.op("Shape", block.down, start=0, end=1))


def sequence_mask(call: Call) -> ir.Value:
    """The matrix that x is at ``axis`` with ``fill_val`` behind lengths, or above or below a diagonal (``mode``).

    With ``batch`` there is a matrix for each entry of the dimensions up to that one; ``repeat_from_axis`` counts the
    dimensions from there on as one element.
    """
    g, mode, block = call.graph, call.string("mode", ""), _block(call)
    match mode:
        case "sequence":
            hidden = g.op("GreaterOrEqual", block.across, _given(call, block))
        case "window":
            away = g.op("Abs", g.op("Sub", block.across, _given(call, block)))
            hidden = g.op("Greater", away, int64(g, call.int("radius", 10)))
        case "upper" | "upperdiag" | "lower" | "lowerdiag":
            kind = {"upper": "Greater", "upperdiag": "GreaterOrEqual", "lower": "Less", "lowerdiag": "LessOrEqual"}
            hidden = g.op(kind[mode], block.across, block.down)
        case _:
            raise RefusalError(f"mode {mode}")
    # ``grad`` is for its own gradient, of which nothing comes from what is hidden.
    fill = g.scalar(0.0 if call.int("grad", 0) else call.float("fill_val", -math.inf), call.x)
    return g.reshape_like(g.where(hidden, fill, block.x), call.x)


RULES: Mapping[str, Rule] = {"SequenceMask": sequence_mask}
