"""What a network says of itself: how its inputs and outputs nest, and the shapes that it was converted with.

It stands in the metadata of an ONNX model, and in arguments of a Caffe2 net that Caffe2 passes over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

import onnx_ir as ir

from retorch.caffe2.emit.net import EmitOptions, emit
from retorch.caffe2.files import Caffe2Net
from retorch.caffe2.parse.net import NeedsShapeError, parse
from retorch.errors import ConversionError
from retorch.graph.shapes import fix_sizes, inferred

#: The sizes of the input of a network whose states are further inputs and outputs.
STATE = "retorch.state"
DESCRIPTION = ("retorch.inputs", "retorch.outputs", "retorch.example_shapes", STATE)


def emit_described(model: ir.Model, options: EmitOptions) -> tuple[Caffe2Net, tuple[str, ...]]:
    """The model as a Caffe2 net that says of itself what the model does; and a note where one batch size is left.

    A model for any batch size that Caffe2 can express for one only comes out for the batch size that it was converted
    with. Raises UnsupportedError with every node that cannot be expressed.
    """
    whole = inferred(model)
    try:
        return _described(emit(whole, options), model, options), ()
    except ConversionError:
        fixed = fix_sizes(whole)
        if fixed is None:
            raise
    sizes = zip(whole.graph.inputs[0].shape or (), fixed.graph.inputs[0].shape or (), strict=True)
    batch = next((size for open_size, size in sizes if not isinstance(open_size, int)), "?")
    net = _described(emit(fixed, options), model, options)
    return net, (f"Caffe2 can express this network for a batch of {batch} only",)


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
    model = parse(net, shapes, types)
    model.metadata_props.update({arg.name: arg.s.decode() for arg in net.predict.arg if arg.name in DESCRIPTION})
    return model


def first_model(net: Caffe2Net) -> ir.Model | None:
    """The model before any input is seen: from the operators alone, or at the sizes that retorch converted it with."""
    try:
        return parse_described(net)
    except NeedsShapeError:
        stored = next((arg.s for arg in net.predict.arg if arg.name == "retorch.example_shapes"), None)
        if stored is None:
            return None
        return parse_described(net, dict(zip(net.inputs, cast("list[list[int]]", json.loads(stored)), strict=True)))
