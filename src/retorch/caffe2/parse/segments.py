"""Rows that belong together: the arithmetic of lengths, offsets and segment numbers.

A segment is a run of rows; ``lengths`` says how many rows each has. All numbers here are int64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.graph import Graph, dims, dtype, number_of

INT64 = ir.DataType.INT64


def int64(graph: Graph, number: int) -> ir.Value:
    """A number without dimensions."""
    return graph.constant(np.asarray(number, np.int64))


def arange(graph: Graph, count: ir.Value) -> ir.Value:
    """0, 1, … below ``count``, a number without dimensions."""
    return graph.op("Range", int64(graph, 0), count, int64(graph, 1))


def rows_of(graph: Graph, x: ir.Value) -> ir.Value:
    """How many rows x has, without dimensions."""
    return graph.reshape(graph.shape_of(x, 0, 1), ())


def total(graph: Graph, numbers: ir.Value) -> ir.Value:
    """The sum of a vector, without dimensions."""
    return graph.op("ReduceSum", numbers, graph.constant([0]), keepdims=0)


def starts(graph: Graph, lengths: ir.Value) -> ir.Value:
    """Where each segment begins."""
    return graph.op("CumSum", lengths, int64(graph, 0), exclusive=1)


def segment_ids(graph: Graph, lengths: ir.Value) -> ir.Value:
    """The segment of each row: 0 as often as the first length says, 1 as often as the second one, …"""
    ends = graph.op("CumSum", lengths, int64(graph, 0))
    places = graph.unsqueeze(arange(graph, total(graph, lengths)), 1)
    # The segment of a place is the number of segments that end before it.
    passed = graph.cast(graph.op("GreaterOrEqual", places, graph.unsqueeze(ends, 0)), INT64)
    return graph.op("ReduceSum", passed, graph.constant([1]), keepdims=0)


@dataclass(frozen=True, slots=True)
class Layout:
    """Segments laid out after each other: of each row its segment and its place within it."""

    ids: ir.Value
    offsets: ir.Value


def layout(graph: Graph, lengths: ir.Value) -> Layout:
    """The rows of segments of these lengths."""
    ids = segment_ids(graph, lengths)
    first = graph.op("Gather", starts(graph, lengths), ids)
    return Layout(ids, graph.op("Sub", arange(graph, total(graph, lengths)), first))


def filled(graph: Graph, number: float, like: ir.Value, rows: ir.Value) -> ir.Value:
    """``rows`` (a number without dimensions) rows of the shape and type of those of ``like``."""
    sizes = graph.op("Concat", graph.reshape(rows, (1,)), graph.shape_of(like, 1, len(dims(like))), axis=0)
    y = graph.op("Expand", graph.constant(number_of(number, dtype(like))), sizes)
    known = rows.const_value
    y.shape = ir.Shape([None if known is None else int(known.numpy()), *dims(like)[1:]])
    return y


def scattered(graph: Graph, base: ir.Value, ids: ir.Value, rows: ir.Value, reduction: str) -> ir.Value:
    """``base`` with each row brought in at its number: put there, added, or the larger (``none``, ``add``, ``max``)."""
    y = graph.op("ScatterND", base, graph.unsqueeze(ids, 1), rows, reduction=reduction)
    y.shape = base.shape
    return y


def counted(graph: Graph, ids: ir.Value, segments: ir.Value) -> ir.Value:
    """How many rows each of ``segments`` segments has."""
    hit = graph.op("Equal", graph.unsqueeze(ids, 0), graph.unsqueeze(arange(graph, segments), 1))
    return graph.op("ReduceSum", graph.cast(hit, INT64), graph.constant([1]), keepdims=0)


def column(graph: Graph, numbers: ir.Value, like: ir.Value) -> ir.Value:
    """A vector in the type of ``like`` that broadcasts over the columns of its rows."""
    return graph.reshape(graph.cast(numbers, dtype(like)), (-1, *(1,) * (len(dims(like)) - 1)))
