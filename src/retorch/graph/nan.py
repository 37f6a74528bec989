"""Where NaN can come from in a graph: weights that are not finite, and operators outside their domain."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from retorch.files.mapped import rows

#: What tells one array of weights from another.
Key: TypeAlias = tuple[object, ...]


class NanSources:
    """Which values can be NaN where the network's inputs are finite; weights are looked at when somebody asks."""

    def __init__(self) -> None:
        #: whether weights are finite, as far as somebody looked: the same network may be lowered again
        self.finite: dict[Key, bool] = {}
        self._weights: dict[ir.Value, tuple[Key, NDArray[Any]]] = {}
        self._can_be: dict[ir.Value, bool] = {}

    def add_weight(self, value: ir.Value, key: Key, array: NDArray[Any]) -> None:
        """A value that holds weights."""
        if array.dtype.kind == "f":
            self._weights[value] = key, array

    def can_be(self, value: ir.Value) -> bool:
        """Whether a value can be NaN, for all that the graph says."""
        stack = [value]
        while stack:
            found, first = self._judged(stack[-1])
            if found is None:
                stack += first
            else:
                self._can_be[stack.pop()] = found
        return self._can_be[value]

    def _judged(self, value: ir.Value) -> tuple[bool | None, list[ir.Value]]:
        """Whether it can; None where other values have to be judged first."""
        if value in self._can_be:
            return self._can_be[value], []
        node = value.producer()
        if node is None:
            return value in self._weights and not self._is_finite(*self._weights[value]), []
        if makes_nan(node) or not hands_on_nan(node):
            return makes_nan(node), []
        inputs = [v for v in node.inputs if v is not None]
        if any(self._can_be.get(v) for v in inputs):
            return True, []
        unknown = [v for v in inputs if v not in self._can_be]
        return (None, unknown) if unknown else (False, [])

    def _is_finite(self, key: Key, array: NDArray[Any]) -> bool:
        if key not in self.finite:
            self.finite[key] = all_finite(array)
        return self.finite[key]


def makes_nan(node: ir.Node) -> bool:
    """Whether an operator gives NaN for some finite numbers."""
    if node.op_type == "Div" and (divisor := node.inputs[1]) is not None and divisor.const_value is not None:
        return not bool(np.all(divisor.const_value.numpy()))
    return node.op_type in {"Acos", "Asin", "Div", "Log", "Pow", "Sqrt"}


def hands_on_nan(node: ir.Node) -> bool:
    """Whether an operator can give NaN for NaN: of those in use, all but the one that compares and chooses."""
    return node.op_type != "ThresholdedRelu"


def all_finite(array: NDArray[Any]) -> bool:
    """In one pass without a copy: what is not finite shows in the sum, which may overflow besides."""
    with np.errstate(all="ignore"):
        parts = rows(array.reshape(-1) if array.flags.c_contiguous else array)
        return all(np.isfinite(part.sum()) or np.isfinite(part.sum(dtype=np.float64)) for part in parts)
