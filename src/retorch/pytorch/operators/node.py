"""A node of the ONNX graph with its operands as source text, and the forms that most expressions have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import onnx_ir as ir

from retorch.layers.base.layer import Array, Refusal

INT64, BOOL = 7, 9


class Node:
    """An operator with its operands as source text."""

    def __init__(self, node: ir.Node, text: Callable[[ir.Value], str]) -> None:
        self.node = node
        self.kind = node.op_type
        self._text = text

    def __getitem__(self, i: int) -> str:
        value = self.node.inputs[i]
        if value is None:
            raise Refusal(f"{self.kind} lacks its operand {i}")
        return self._text(value)

    def __len__(self) -> int:
        return len(self.node.inputs)

    def has(self, i: int) -> bool:
        """Whether operand ``i`` is given."""
        return i < len(self) and self.node.inputs[i] is not None

    def array(self, i: int) -> Array:
        """Operand ``i``, which is a constant."""
        value = self.node.inputs[i]
        if value is None or value.const_value is None:
            raise Refusal(f"{self.kind} takes an operand that is no constant")
        return value.const_value.numpy()

    def ints(self, i: int) -> list[int]:
        """Operand ``i`` as whole numbers."""
        return [int(v) for v in self.array(i).ravel()]

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute, or its default."""
        found = self.node.attributes.get(name)
        return default if found is None else cast("Any", found).value

    def shape(self, i: int = 0) -> list[int]:
        """The sizes of operand ``i``."""
        value = self.node.inputs[i]
        shape = None if value is None else value.shape
        if shape is None or not shape.is_static():
            raise Refusal(f"{self.kind} takes an operand of unknown sizes")
        return [int(cast("int", d)) for d in shape]

    def rank(self, i: int = 0) -> int:
        """The number of dimensions of operand ``i``."""
        value = self.node.inputs[i]
        if value is None or value.shape is None:
            raise Refusal(f"{self.kind} takes an operand of unknown rank")
        return len(value.shape)

    def is_float(self, i: int = 0) -> bool:
        """Whether operand ``i`` holds floats."""
        value = self.node.inputs[i]
        return value is not None and value.dtype == ir.DataType.FLOAT


Said: TypeAlias = Callable[[Node], str]


def infix(sign: str) -> Said:
    return lambda n: f"{n[0]} {sign} {n[1]}"


def method(name: str, *more: str) -> Said:
    return lambda n: f"{receiver(n)}.{name}({', '.join(more)})"


def receiver(n: Node, i: int = 0) -> str:
    """An operand that a method is called on."""
    text = n[i]
    return text if text.replace("_", "").replace(".", "").isalnum() and not text[0].isdigit() else f"({text})"


def one_or_list(values: Sequence[int]) -> str:
    """``3`` for ``[3, 3]``, else ``(3, 5)``."""
    return str(values[0]) if len(set(values)) == 1 else str(tuple(values))


def options(**given: tuple[str, str]) -> str:
    return "".join(f", {name}={value}" for name, (value, default) in given.items() if value != default)
