"""What each ONNX operator is in PyTorch: the tables of all families as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from retorch.errors import Refusal
from retorch.pytorch.operators import (
    convolution,
    elementwise,
    linear,
    normalization,
    pooling,
    reduction,
    resizing,
    shape,
)
from retorch.pytorch.operators.node import Node, Said

_FAMILIES = (convolution, elementwise, linear, normalization, pooling, reduction, resizing, shape)
OPERATORS: Mapping[str, Said] = {kind: said for family in _FAMILIES for kind, said in family.OPERATORS.items()}


def said(node: ir.Node, text: Callable[[ir.Value], str]) -> str:
    """An operator as an expression.

    Raises:
        Refusal: PyTorch's word for it is not known here.
    """
    found = OPERATORS.get(node.op_type)
    if found is None:
        raise Refusal(f"cannot be said in PyTorch: its operator {node.op_type}")
    return found(Node(node, text))
