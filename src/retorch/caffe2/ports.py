"""What a Caffe2 net takes and gives, as far as its operators say it before any input is seen: its files do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import onnx_ir as ir

from retorch.caffe2.description import DESCRIPTION
from retorch.caffe2.files import Caffe2Net
from retorch.caffe2.parse.inputs import guess, is_index, type_beside
from retorch.graph.ports import Port, inputs_of, outputs_of

if TYPE_CHECKING:
    from retorch.caffe2.parse.net import Outline

#: What stands in the place of a type where the operators take several.
INTEGERS, OPEN = "int32 or int64", "type not stated"
#: Blobs and their types, as far as they are known.
Types: TypeAlias = Mapping[str, ir.DataType | None]
#: How many dimensions are tried for inputs of unknown shape, the likeliest first.
_RANKS = (2, 3, 4, 1, 5)


def inputs(net: Caffe2Net, model: ir.Model | None) -> tuple[Port, ...]:
    """The blobs that are fed; ``model`` is what the net was read as, None before its sizes are known."""
    if model is None:
        found = {name: guess(net.predict, net.params, name) for name in net.inputs}
        ports = [Port(name, (one.dtype or one.likely).numpy(), None) for name, one in found.items()]
    else:
        ports = list(inputs_of(model))
    return tuple(replace(port, types=_types(net, port)) for port in ports)


def _types(net: Caffe2Net, port: Port) -> str:
    """What is said of the type of an input where several will do."""
    if port.name in net.declared or _was_converted(net):
        return ""
    if is_index(net.predict, port.name):
        return INTEGERS
    # a weight that is calculated with says the type where the operators do not
    sure = guess(net.predict, net.params, port.name).dtype or type_beside(net.predict, net.params, port.name)
    return "" if sure is not None else INTEGERS if port.dtype.kind == "i" else OPEN


def _was_converted(net: Caffe2Net) -> bool:
    return any(arg.name in DESCRIPTION for arg in net.predict.arg)


def outputs(net: Caffe2Net, model: ir.Model | None) -> tuple[Port, ...]:
    """The blobs that come out, by Caffe2's own names; those that nothing makes are none."""
    taken = inputs(net, model)
    types: Types = {} if model is not None else _outline(net, taken, {})
    ports = _known(model) if model is not None else [Port(name, _numpy(kind), None) for name, kind in types.items()]
    open_ones = {port.name: _another(port) for port in taken if port.types}
    others: Types = _outline(net, taken, open_ones) if open_ones else {}
    unknown = {name for name, kind in types.items() if kind is None}
    return tuple(
        replace(port, types=OPEN if port.name in unknown else _span(port, others.get(port.name))) for port in ports
    )


def _known(model: ir.Model) -> list[Port]:
    blobs = cast("Mapping[str, Sequence[str]]", model.meta)["blobs"]
    return [replace(port, name=blob) for port, blob in zip(outputs_of(model), blobs, strict=True)]


def _numpy(kind: ir.DataType | None) -> np.dtype[Any]:
    return (kind or ir.DataType.FLOAT).numpy()


def _another(port: Port) -> ir.DataType:
    """A type that an input of several may have, other than the one that is taken."""
    return ir.DataType.INT32 if port.dtype == np.int64 else ir.DataType.INT64


def _span(port: Port, other: ir.DataType | None) -> str:
    """What is said of the type of an output that has another one where the inputs have others."""
    if other is None or other.numpy() == port.dtype:
        return ""
    return INTEGERS if port.dtype.kind == "i" and other.is_integer() else OPEN


def _outline(net: Caffe2Net, taken: Sequence[Port], types: Mapping[str, ir.DataType]) -> Types:
    """The outputs and their types, by the ranks with which the most operators can be said."""
    return min(_outlines(net, taken, types), key=lambda one: one.unsaid).types


def _outlines(net: Caffe2Net, taken: Sequence[Port], types: Mapping[str, ir.DataType]) -> Iterator[Outline]:
    """The net at one rank after the other for inputs of unknown shape, until one does: integers are lists."""
    from retorch.caffe2.parse.net import outline

    for rank in _RANKS:
        shapes: dict[str, Sequence[int | str | None]] = {}
        for port in taken:
            if guess(net.predict, net.params, port.name).shape is None:
                length = 1 if port.dtype.kind == "i" else rank
                shapes[port.name] = [f"{port.name}_{axis}" for axis in range(length)]
        found = outline(net, shapes, types)
        yield found
        if not found.unsaid:
            return
