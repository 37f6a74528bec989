"""The sizes of a model's values: inferred where they are missing, and fixed where they vary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from retorch.errors import MAKES_NO_SENSE, ConversionError, said


def inferred(model: ir.Model) -> ir.Model:
    """The model with the shapes of all its values, which files from elsewhere often lack."""
    if all(value.shape is not None and value.type is not None for node in model.graph for value in node.outputs):
        return model
    try:
        return ShapeInferencePass(check_type=False)(model.clone()).model
    except MAKES_NO_SENSE as error:
        raise ConversionError(f"the shapes of its values cannot be worked out: {said(error)}") from error


#: The name of the number of samples.
BATCH = "N"


def fix_sizes(model: ir.Model, *, batch: bool = True) -> ir.Model | None:
    """The model at the sizes it was converted with; None where it has no varying sizes or does not know them.

    Without ``batch``, the number of samples may go on to vary.
    """
    stored = model.metadata_props.get("retorch.example_shapes")
    if stored is None:
        return None
    fixed = model.clone()
    known: dict[str, int] = {}
    shapes = cast("list[list[int]]", json.loads(stored))
    if len(shapes) != len(fixed.graph.inputs):
        return None
    for value, shape in zip(fixed.graph.inputs, shapes, strict=True):
        if value.shape is None or len(value.shape) != len(shape):
            return None
        pairs = zip(value.shape, shape, strict=True)
        known.update((str(dim), n) for dim, n in pairs if not isinstance(dim, int) and (batch or str(dim) != BATCH))
        value.shape = ir.Shape([_fixed(dim, known, n) for dim, n in zip(value.shape, shape, strict=True)])
    if not known:
        return None
    values = [output for node in fixed.graph for output in node.outputs]
    for value in values:
        if value.shape is not None and not value.shape.is_static():
            value.shape = ir.Shape([_fixed(dim, known) for dim in value.shape])
    if all(value.type is not None and value.shape is not None and value.shape.is_static() for value in values):
        return fixed
    return ShapeInferencePass(check_type=False)(fixed).model


def _fixed(dim: int | ir.SymbolicDim, known: Mapping[str, int], size: int | None = None) -> int | ir.SymbolicDim:
    """A size, or a multiple of a named one (``4*N``), as a number; ``size`` is what a name of an input stands for."""
    if isinstance(dim, int) or dim.value is None:
        return dim if size is None or isinstance(dim, int) else size
    times, _, name = str(dim.value).rpartition("*")
    if name in known and (times or "1").isdigit():
        return known[name] * int(times or 1)
    return dim if name == BATCH and BATCH not in known else ir.SymbolicDim(None)
