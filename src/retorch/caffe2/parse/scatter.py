"""Tensors with some of their rows or elements written over."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import RefusalError, axis_of, dtype, rank
from retorch.caffe2.parse.lengths import integers


def _indices(call: Call, at: int) -> ir.Value:
    return call.graph.unsqueeze(integers(call, at), rank(call.input(at)))


def scatter_assign(call: Call) -> ir.Value:
    """data with data[index[i]] = slices[i]"""
    return call.graph.op("ScatterND", call.x, _indices(call, 1), call.input(2))


def scatter(call: Call) -> ir.Value:
    """data with updates at the places that indices say along ``axis``."""
    return call.graph.op(
        "ScatterElements", call.x, integers(call, 1), call.input(2), axis=axis_of(call.x, call.int("axis", 1))
    )


def copy_rows(call: Call) -> ir.Value:
    """A matrix with one row in the place of those that indices name. Inputs: matrix, indices, row."""
    g = call.graph
    sizes = g.op("Concat", g.shape_of(call.input(1)), g.shape_of(call.input(2)), axis=0)
    rows = g.op("Expand", call.input(2), sizes)
    return g.op("ScatterND", call.x, _indices(call, 1), rows)


def scatter_weighted_sum(call: Call) -> ir.Value:
    """x with the rows at the indices times a weight, plus slices, each times its own weight.

    Inputs: x, weight, indices, then slices and weight in pairs. An index that is there twice counts twice.
    """
    g = call.graph
    if len(call.inputs) < 5 or len(call.inputs) % 2 == 0:
        raise RefusalError(f"{len(call.inputs)} inputs")
    x, where = call.x, _indices(call, 2)
    sizes = g.op("Concat", g.shape_of(call.input(2)), g.shape_of(x, 1, rank(x)), axis=0)
    factor = g.op("Expand", g.reshape(g.cast(call.input(1), dtype(x)), (1,) * rank(x)), sizes)
    y = g.op("ScatterND", x, where, factor, reduction="mul")
    for slices, weight in zip(call.inputs[3::2], call.inputs[4::2], strict=True):
        rows = g.op("Mul", g.op("Reshape", slices, sizes), g.reshape(g.cast(weight, dtype(x)), ()))
        y = g.op("ScatterND", y, where, rows, reduction="add")
    return y


RULES: Mapping[str, Rule] = {
    "ScatterAssign": scatter_assign,
    "Scatter": scatter,
    "CopyRowsToTensor": copy_rows,
    "ScatterWeightedSum": scatter_weighted_sum,
}
