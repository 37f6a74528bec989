"""Steps repeated until a condition ends them, as ONNX's Loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.graph import Graph, dtype, rank


@dataclass(frozen=True, slots=True)
class Step:
    """What a step leaves: whether another one follows (None: as long as there are ``times``), the states, the rest."""

    goes_on: ir.Value | None
    states: Sequence[ir.Value]
    collected: Sequence[ir.Value] = ()


#: A step, from a graph of its own, its number and the states.
Body: TypeAlias = Callable[[Graph, ir.Value, Sequence[ir.Value]], Step]


def repeat(
    graph: Graph,
    states: Sequence[ir.Value],
    body: Body,
    *,
    times: ir.Value | None = None,
    begins: ir.Value | None = None,
) -> Sequence[ir.Value]:
    """The last states, then what every step collected in a new first dimension.

    ``times`` bounds the number of steps; ``begins`` says whether there is a first one. The sizes of states may change.
    """
    inner = graph.child()
    number = ir.val(inner.unique(f"{graph.prefix}_step"), ir.DataType.INT64, [])
    goes_on = ir.val(inner.unique(f"{graph.prefix}_goes_on"), ir.DataType.BOOL, [])
    held = [ir.val(inner.unique(f"{graph.prefix}_state"), dtype(state), [None] * rank(state)) for state in states]
    step = body(inner, number, held)
    again = inner.op("Identity", goes_on if step.goes_on is None else step.goes_on)
    results = [again, *(inner.op("Identity", value) for value in (*step.states, *step.collected))]
    block = ir.Graph([number, goes_on, *held], results, nodes=inner.nodes, name=graph.unique(f"{graph.prefix}_loop"))
    first = graph.constant(np.asarray(True)) if begins is None else begins
    node = ir.Node("", "Loop", [times, first, *states], [ir.AttrGraph("body", block)], num_outputs=len(results) - 1)
    for at, (value, made) in enumerate(zip(node.outputs, results[1:], strict=True)):
        value.name = graph.unique(f"{graph.prefix}_loop")
        value.type = ir.TensorType(dtype(made))
        value.shape = ir.Shape([None] * (rank(made) + (at >= len(states))))
    graph.nodes.append(node)
    return node.outputs
