"""What an operator costs, in multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass


def with_sizes(model: ir.Model) -> ir.Model:
    """The model with the sizes of all its values, as far as they can be known."""
    if all(sizes(value) is not None for node in model.graph for value in node.outputs):
        return model
    return ShapeInferencePass(check_type=False)(model.clone()).model


def sizes(value: ir.Value | None) -> tuple[int, ...] | None:
    """A value's sizes where all are known."""
    if value is None or value.shape is None or not all(isinstance(d, int) for d in value.shape):
        return None
    return tuple(cast("Sequence[int]", value.shape))


def multiply_adds(node: ir.Node) -> int:
    """The multiply-adds of a convolution, a matrix product or a recurrent layer; 0 for others or unknown sizes."""
    shapes = [sizes(v) for v in node.inputs]
    made = sizes(node.outputs[0])
    first = shapes[0] if shapes else None
    second = shapes[1] if len(shapes) > 1 else None
    if first is None or second is None:
        return 0
    match node.op_type:
        case "Conv" if made:
            return math.prod(made) * math.prod(second[1:])
        case "ConvTranspose":
            return math.prod(first) * math.prod(second[1:])
        case "Gemm" if made:
            attribute = node.attributes.get("transA")
            return math.prod(made) * first[0 if attribute is not None and attribute.as_int() else 1]
        case "MatMul" if made:
            return math.prod(made) * first[-1]
        case "LSTM" | "GRU" | "RNN" if len(shapes) > 2 and shapes[2] is not None:
            return first[0] * first[1] * (math.prod(second) + math.prod(shapes[2]))
        case _:
            return 0
