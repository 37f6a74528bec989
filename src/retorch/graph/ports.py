"""What a model takes and gives: its inputs and outputs, and arrays that fit them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike, NDArray

from retorch.errors import UsageError, counted

Array: TypeAlias = NDArray[Any]
#: What a run takes for an input: an array, a list of such, or arrays by name.
Feed: TypeAlias = "ArrayLike | Sequence[Feed] | Mapping[str, ArrayLike]"


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output. ``shape`` is None where not even its rank is known; a size that varies has a name or None.

    ``dtype`` is what is taken where several types will do; ``types`` then says so.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...] | None
    types: str = ""

    @property
    def sizes(self) -> str:
        """Its shape as a person reads it."""
        return "…" if self.shape is None else "×".join("?" if size is None else str(size) for size in self.shape)

    def __str__(self) -> str:
        return f"{self.name} {self.types or self.dtype.name} {self.sizes}"

    def recorded(self, fixed: Mapping[str, int]) -> dict[str, object]:
        """What a record says of it; a size for which what was written takes one number only is that number."""
        shape = [fixed.get(size, size) if isinstance(size, str) else size for size in self.shape or ()]
        return {"name": self.name, "dtype": self.dtype.name, "shape": shape}

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether it says so: an array of this shape fits the sizes that are known."""
        return (
            self.shape is not None
            and len(shape) == len(self.shape)
            and all(not isinstance(s, int) or size == s for size, s in zip(shape, self.shape, strict=True))
        )

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise UsageError for a shape that cannot fit."""
        if self.shape is not None and not self.takes(shape):
            got = "×".join(map(str, shape)) or "a single number"
            raise UsageError(f"input {self} does not take {got}")

    def converted(self, array: Array) -> Array:
        """The array in the type of the input. UsageError where its shape is another, or it holds no real numbers."""
        if array.dtype.kind not in "fiub":
            raise UsageError(f"input {self} takes numbers, not {array.dtype}")
        self.check(array.shape)
        return np.asarray(array, self.dtype, order="C")


def inputs_of(model: ir.Model) -> tuple[Port, ...]:
    """The inputs, in order; weights are none."""
    weights = model.graph.initializers
    return tuple(_port(value) for value in model.graph.inputs if value.name not in weights)


def outputs_of(model: ir.Model) -> tuple[Port, ...]:
    """The outputs, in order."""
    return tuple(_port(value) for value in model.graph.outputs)


def _port(value: ir.Value) -> Port:
    shape = None if value.shape is None else _sizes(value.shape)
    dtype = value.dtype or ir.DataType.FLOAT
    return Port(value.name or "", dtype.numpy(), shape)


def value_shapes(model: ir.Model) -> dict[str, tuple[int | str | None, ...]]:
    """The shapes of inputs and of all that is computed, by name, where at least the rank is known."""
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    return {value.name or "": _sizes(value.shape) for value in values if value.shape is not None}


def _sizes(shape: ir.Shape) -> tuple[int | str | None, ...]:
    return tuple(dim if isinstance(dim, int) else dim.value for dim in shape)


def known_shapes(ports: Sequence[Port]) -> dict[str, tuple[int, ...]]:
    """The shapes of those whose sizes are all known, by name."""
    shapes = {port.name: tuple(dim for dim in port.shape or () if isinstance(dim, int)) for port in ports}
    return {port.name: shapes[port.name] for port in ports if port.shape and len(shapes[port.name]) == len(port.shape)}


def listed(ports: Sequence[Port]) -> str:
    """How a message names them."""
    return ", ".join(map(str, ports)) or "none"


def names_or_count(inputs: Sequence[Feed]) -> tuple[str, ...] | int:
    """The names that a run gives its inputs, or how many there are where it gives them in order."""
    if len(inputs) == 1 and isinstance(inputs[0], Mapping):
        return tuple(inputs[0])
    return len(_flat(inputs))


def by_name(ports: Sequence[Port], inputs: Sequence[Feed]) -> dict[str, Array]:
    """The arrays of a run by the names of its ports: given in order, in (nested) lists, or in one mapping.

    Raises:
        UsageError: too many or too few, or other names.
    """
    if len(inputs) == 1 and isinstance(inputs[0], Mapping):
        named = inputs[0]
        if set(named) != {port.name for port in ports}:
            raise UsageError(f"got inputs {', '.join(sorted(named))}; the network has {listed(ports)}")
        given: list[ArrayLike] = [named[port.name] for port in ports]
    else:
        given = _flat(inputs)
        if len(given) != len(ports):
            raise UsageError(f"got {counted(len(given), 'input')}; the network has {len(ports)}: {listed(ports)}")
    return {port.name: np.asarray(array) for port, array in zip(ports, given, strict=True)}


def _flat(feed: object) -> list[ArrayLike]:
    """The arrays in nested lists, in order. A list of numbers is not a list of inputs: pass an array."""
    if isinstance(feed, list | tuple):
        return [array for item in cast("Sequence[object]", feed) for array in _flat(item)]
    if isinstance(feed, Mapping):
        raise UsageError("inputs by name come in one mapping, alone")
    return [cast("ArrayLike", feed)]
