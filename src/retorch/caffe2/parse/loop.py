"""Steps repeated until a condition ends them, as ONNX's Loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.graph import Dim, Graph, RefusalError, dims, dtype, rank


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of a value in whichever way it came about: its type, and its sizes, as far as they are."""

    dtype: ir.DataType
    sizes: tuple[Dim, ...] | None


@dataclass(frozen=True, slots=True)
class Step:
    """What a step leaves: whether another one follows (None: as long as there are ``times``), the states, the rest."""

    goes_on: ir.Value | None
    states: Sequence[ir.Value]
    collected: Sequence[ir.Value] = ()


#: A step, from a graph of its own, its number and the states. It may be asked for more than once.
Body: TypeAlias = Callable[[Graph, ir.Value, Sequence[ir.Value]], Step]


def merged(one: ir.Value, other: ir.Value) -> Kind:
    """What is known of a value that is the one or the other."""
    if dtype(one) != dtype(other):
        raise RefusalError(f"{dtype(one).name.lower()} in one case, {dtype(other).name.lower()} in the other")
    if one.shape is None or other.shape is None or rank(one) != rank(other):
        return Kind(dtype(one), None)
    sizes = (a if a == b else None for a, b in zip(dims(one), dims(other), strict=True))
    return Kind(dtype(one), tuple(sizes))


def described(value: ir.Value, name: str, kind: Kind) -> ir.Value:
    """The value, named, and of this kind."""
    value.name, value.type = name, ir.TensorType(kind.dtype)
    value.shape = None if kind.sizes is None else ir.Shape(kind.sizes)
    return value


@dataclass(frozen=True, slots=True)
class _Block:
    """A step written down: its nodes, what comes in (number, condition, states), what goes out (condition, …)."""

    nodes: Sequence[ir.Node]
    inputs: Sequence[ir.Value]
    outputs: Sequence[ir.Value]


def repeat(
    graph: Graph,
    states: Sequence[ir.Value],
    body: Body,
    *,
    times: ir.Value | None = None,
    begins: ir.Value | None = None,
) -> Sequence[ir.Value]:
    """The last states, then what every step collected in a new first dimension.

    ``times`` bounds the number of steps; ``begins`` says whether there is a first one. Sizes of states that change
    from step to step are not known in it.
    """
    kinds = [merged(state, state) for state in states]
    block = _written(graph, body, kinds)
    while kinds != (found := [merged(*pair) for pair in zip(block.inputs[2:], block.outputs[1:], strict=False)]):
        kinds = found
        block = _written(graph, body, kinds)
    kinds += [Kind(dtype(each), (None, *dims(each))) for each in block.outputs[1 + len(states) :]]
    inner = ir.Graph(block.inputs, block.outputs, nodes=block.nodes, name=graph.unique(f"{graph.prefix}_loop"))
    first = graph.constant(np.asarray(True)) if begins is None else begins
    node = ir.Node("", "Loop", [times, first, *states], [ir.AttrGraph("body", inner)], num_outputs=len(kinds))
    for value, kind in zip(node.outputs, kinds, strict=True):
        described(value, graph.unique(f"{graph.prefix}_loop"), kind)
    graph.nodes.append(node)
    return node.outputs


def _written(graph: Graph, body: Body, kinds: Sequence[Kind]) -> _Block:
    inner = graph.child()
    number = described(ir.Value(), inner.unique(f"{graph.prefix}_step"), Kind(ir.DataType.INT64, ()))
    goes_on = described(ir.Value(), inner.unique(f"{graph.prefix}_goes_on"), Kind(ir.DataType.BOOL, ()))
    held = [described(ir.Value(), inner.unique(f"{graph.prefix}_state"), kind) for kind in kinds]
    step = body(inner, number, held)
    again = inner.op("Identity", goes_on if step.goes_on is None else step.goes_on)
    outputs = [again, *(inner.op("Identity", value) for value in (*step.states, *step.collected))]
    return _Block(inner.nodes, [number, goes_on, *held], outputs)
