"""What a network says of itself: how its inputs and outputs nest, and the shapes that it was converted with.

It stands in the metadata of an ONNX model, and in arguments of a Caffe2 net that Caffe2 passes over.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

import onnx_ir as ir

from retorch.caffe2.emit.net import EmitOptions, emit
from retorch.caffe2.files import Caffe2Net
from retorch.caffe2.parse.graph import MISFIT, NeedsShapeError
from retorch.errors import ConversionError, UnsupportedError
from retorch.graph.metadata import checked
from retorch.graph.ports import Port
from retorch.graph.shapes import BATCH, fix_sizes, inferred

#: The sizes of the input of a network whose states are further inputs and outputs.
STATE = "retorch.state"
DESCRIPTION = ("retorch.inputs", "retorch.outputs", "retorch.example_shapes", STATE)


def emit_described(model: ir.Model, options: EmitOptions) -> tuple[Caffe2Net, dict[str, int]]:
    """The model as a Caffe2 net that says of itself what the model does; and the sizes that had to be fixed, by name.

    What varies in the model goes on to vary where Caffe2 can express that; else the number of samples alone; else
    nothing: all sizes are those that it was converted with. Raises UnsupportedError with every node that cannot be
    expressed.
    """
    whole = inferred(model)
    errors: list[ConversionError] = []
    for tried in _ever_more_fixed(whole):
        try:
            return _described(emit(tried, options), model, options), _fixed(whole, tried)
        except ConversionError as error:
            errors.append(error)
    raise errors[-1]


def _ever_more_fixed(model: ir.Model) -> Iterator[ir.Model]:
    """The model with its free sizes, then with the number of samples alone, then with none."""
    yield model
    for batch in (False, True):
        fixed = fix_sizes(model, batch=batch)
        if fixed is not None:
            yield fixed


def _fixed(model: ir.Model, tried: ir.Model) -> dict[str, int]:
    """What has a name in one model, and is a number in the other."""
    found: dict[str, int] = {}
    for before, after in zip(model.graph.inputs, tried.graph.inputs, strict=True):
        for name, size in zip(before.shape or (), after.shape or (), strict=True):
            if not isinstance(name, int) and isinstance(size, int):
                found[str(name)] = size
    return found


def needs_sizes(fixed: Mapping[str, int]) -> tuple[str, ...]:
    """What to tell of sizes that had to be fixed."""
    batch = [f"a batch of {size}" for name, size in fixed.items() if name == BATCH]
    sizes = [f"{name} = {size}" for name, size in fixed.items() if name != BATCH]
    told = ", ".join(batch + sizes)
    return (f"Caffe2 can express this network for {told} only",) if told else ()


def retyped(outputs: Iterable[Port]) -> tuple[str, ...]:
    """What to tell of outputs that Caffe2's operators, as they are written, give as another type."""
    kinds = {"float64": "float32", "float16": "float32", **dict.fromkeys(("int64", "int16", "int8", "uint8"), "int32")}
    return tuple(
        f"output {port.name} is {kinds[port.dtype.name]} as Caffe2 is written, and was {port.dtype.name}"
        for port in outputs
        if port.dtype.name in kinds
    )


def _described(net: Caffe2Net, model: ir.Model, options: EmitOptions) -> Caffe2Net:
    for key in () if options.brew else DESCRIPTION:
        text = model.metadata_props.get(key)
        if text is not None:
            net.predict.arg.add(name=key, s=text.encode())
    return net


def parse_described(
    net: Caffe2Net,
    shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    types: Mapping[str, ir.DataType] | None = None,
) -> ir.Model:
    """The net as a model, with what it says of itself; for the rest, as :func:`retorch.caffe2.parse.net.parse`."""
    from retorch.caffe2.parse.net import parse  # all operators that are read; writing needs none of them

    said = _said_of(net)
    model = parse(net, shapes, types)
    model.metadata_props.update(said)
    return model


def first_model(net: Caffe2Net) -> ir.Model | None:
    """The model before any input is seen: from the operators alone, and where they leave sizes open, at those that a
    ``value_info.json`` beside the files gives, or that retorch converted it with. Inputs that may be of any type are
    integers where the operators refuse floats. None where only an input can tell: its sizes are missing, or no one
    type for all such inputs fits."""
    types = {name: blob.dtype for name, blob in net.declared.items()}
    try:
        return _at_said_sizes(net, types)
    except UnsupportedError as error:
        bare = replace(net, declared={})  # what lies beside it may be about something else
        for others in [*([{}] if types else []), *_integers(net)]:
            with contextlib.suppress(UnsupportedError):
                return _at_said_sizes(bare, others)
        if _untyped(net) and all(MISFIT in problem.reason for problem in error.problems):
            return None
        raise


def _untyped(net: Caffe2Net) -> dict[str, ir.DataType]:
    """The inputs that may be of any type, and what they are taken for."""
    from retorch.caffe2.parse.inputs import guess

    known = {name: guess(net.predict, net.params, name) for name in net.inputs}
    return {name: found.likely for name, found in known.items() if found.dtype is None}


def _integers(net: Caffe2Net) -> Iterator[dict[str, ir.DataType]]:
    """Types for the inputs that may be of any."""
    names = _untyped(net)
    whole = [name for name, likely in names.items() if likely != ir.DataType.FLOAT]
    if whole:
        yield dict.fromkeys(whole, ir.DataType.INT64)
    for kind in (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.DOUBLE, ir.DataType.BOOL) if names else ():
        yield dict.fromkeys(names, kind)


def _at_said_sizes(net: Caffe2Net, types: Mapping[str, ir.DataType]) -> ir.Model | None:
    said, model = _said_sizes(net), None
    with contextlib.suppress(NeedsShapeError):
        model = parse_described(net, types=types)
    unknown = said if model is None else {name: said[name] for name in said.keys() & _without_rank(model)}
    if unknown:
        with contextlib.suppress(NeedsShapeError):
            model = parse_described(net, unknown, types)
    return None if model is None else _exemplified(model, said)


def _said_sizes(net: Caffe2Net) -> dict[str, Sequence[int]]:
    """The sizes of the inputs that an example had, by name."""
    stored = _said_of(net).get("retorch.example_shapes")
    known = {} if stored is None else dict(zip(net.inputs, cast("list[list[int]]", json.loads(stored)), strict=False))
    return {**{name: blob.shape for name, blob in net.declared.items()}, **known}


def _said_of(net: Caffe2Net) -> dict[str, str]:
    """What the net says of itself. FormatError where that makes no sense."""
    return checked({arg.name: arg.s.decode(errors="replace") for arg in net.predict.arg if arg.name in DESCRIPTION})


def _without_rank(model: ir.Model) -> set[str]:
    return {str(value.name) for value in model.graph.inputs if value.shape is None}


def _exemplified(model: ir.Model, said: Mapping[str, Sequence[int]]) -> ir.Model:
    """The model with the sizes of an example, where they are known for all inputs."""
    names = [str(value.name) for value in model.graph.inputs]
    if names and said.keys() >= set(names):
        shapes = json.dumps([list(said[name]) for name in names])
        model.metadata_props.setdefault("retorch.example_shapes", shapes)
    return model


def notes_of(model: ir.Model) -> tuple[str, ...]:
    """What the reader of Caffe2's files had to say of the network."""
    meta = cast("Mapping[str, Sequence[str]]", model.meta)
    return tuple(meta.get("notes", ()))
