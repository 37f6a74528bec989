"""Numbers that a net draws: those of the real Caffe2 where the operator has a seed, else others in every run."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.fill import asked_sizes
from retorch.caffe2.parse.graph import NeedsShapeError, RefusalError, constant_of
from retorch.caffe2.random_laws import LARGEST, LAWS, OF_SHAPE, Law, Shape, from_seed, law_of, seed_of, seeded

_DRAWING = ("RandomNormalLike", "RandomUniformLike")


def random_fill(call: Call) -> ir.Value:
    """Numbers in the shape of an argument, of the input, or that the input spells out."""
    sizes, seed = asked_sizes(call), seed_of(call.definition)
    known = constant_of(sizes)
    shape = None if known is None else tuple(int(size) for size in known.ravel())
    if seed is None:
        return _in_every_run(call, _law(call, shape), sizes)
    if shape is None:
        raise NeedsShapeError(f"{call.type} draws as many numbers as its input says, which is not known")
    if min(shape, default=0) < 0 or math.prod(shape) > LARGEST:
        raise RefusalError(f"draws numbers for shape {shape}")
    call.graph.notes.append(seeded(call.definition))
    return call.graph.constant(from_seed(_law(call, shape), math.prod(shape), seed).reshape(shape))


def _law(call: Call, shape: Shape | None) -> Law:
    if shape is None and call.type in OF_SHAPE:
        raise NeedsShapeError(f"{call.type} draws weights in the shape of its input, which is not known")
    try:
        return law_of(call.definition, shape or ())
    except ValueError as error:
        raise RefusalError(str(error)) from error


def _in_every_run(call: Call, law: Law, sizes: ir.Value) -> ir.Value:
    """Nodes that draw whenever the network runs."""
    g = call.graph
    g.notes.append(f"{call.type}: draws other numbers in every run, as it does in Caffe2: no two runs agree")
    kind = ir.DataType.DOUBLE if law.whole else ir.DataType.FLOAT  # floats do not hold every integer
    like = g.op("Expand", g.constant(np.zeros((), kind.numpy())), sizes)
    drawn = g.op("RandomNormalLike" if law.normal else "RandomUniformLike", like, dtype=int(kind))
    scaled = g.op("Mul", drawn, g.scalar(law.scale, drawn))
    if law.whole:
        scaled = g.cast(g.op("Floor", scaled), ir.DataType.INT32)
    y = g.op("Add", scaled, g.scalar(law.offset, scaled))
    return g.cast(y, ir.DataType.FLOAT16) if law.half else y


def only_draws(values: Sequence[ir.Value], weights: Collection[str]) -> bool:
    """Whether all of these come from numbers that every run draws, and from no input and no weight."""
    return bool(values) and all(_sources(value, weights) == {"draw"} for value in values)


def _sources(value: ir.Value, weights: Collection[str]) -> set[str]:
    """What the numbers of a value come from: ``draw``, or ``data`` for inputs and weights; constants are neither."""
    found, seen, waiting = set[str](), set[int](), [value]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        node = one.producer()
        if node is None:
            found |= {"data"} if one.const_value is None or one.name in weights else set()
        elif node.op_type in _DRAWING:
            found.add("draw")
        elif node.op_type not in ("Shape", "Size"):
            waiting += [given for given in node.inputs if given is not None]
    return found


RULES: Mapping[str, Rule] = dict.fromkeys(LAWS, random_fill)
