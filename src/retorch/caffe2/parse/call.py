"""One Caffe2 operator as its rule sees it: inputs as values, arguments read the way Caffe2 reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import onnx_ir as ir

from retorch.caffe2 import arguments
from retorch.caffe2.parse.graph import Graph, RefusalError
from retorch.caffe2.proto.caffe2_pb2 import Argument, OperatorDef

#: What a blob around an operator holds, by name; None where there is none.
Outside: TypeAlias = Callable[[str], ir.Value | None]


def nowhere(_: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Call:
    """An operator of the net. ``inputs`` are the current values of its input blobs, ``graph`` is where nodes go."""

    definition: OperatorDef
    inputs: tuple[ir.Value, ...]
    graph: Graph
    #: The blobs that something reads later: outputs outside of it need not be calculated.
    read: frozenset[str] = frozenset()
    #: What every operator means: for those that hold a net of their own.
    rules: Mapping[str, Rule] = field(default_factory=dict[str, "Rule"])
    #: The blobs around it, for those whose nets read and write them.
    outside: Outside = nowhere

    def wants(self, index: int) -> bool:
        """Whether output ``index`` is there and somebody reads it."""
        return index < len(self.definition.output) and self.definition.output[index] in self.read

    @property
    def type(self) -> str:
        """The operator's type, as in ``OperatorDef.type``."""
        return self.definition.type

    @property
    def x(self) -> ir.Value:
        """The first input."""
        return self.input(0)

    @property
    def outputs(self) -> int:
        """How many outputs the net asks of it."""
        return len(self.definition.output)

    def input(self, index: int) -> ir.Value:
        """An input that the operator cannot do without."""
        if index >= len(self.inputs):
            raise RefusalError(f"has {len(self.inputs)} inputs, needs at least {index + 1}")
        return self.inputs[index]

    def _argument(self, name: str) -> Argument | None:
        return arguments.argument(self.definition, name)

    def has(self, name: str) -> bool:
        """Whether the argument is there at all, of whatever type."""
        return self._argument(name) is not None

    def _field(self, name: str, field: str) -> Argument | None:
        try:
            return arguments.stored(self.definition, name, field)
        except ValueError as error:
            raise RefusalError(str(error)) from None

    def int(self, name: str, default: int) -> int:
        """An integer; an argument stored as another type is an error, as in Caffe2."""
        argument = self._field(name, "i")
        return default if argument is None else argument.i

    def count(self, name: str, default: int, most: int, least: int = 1) -> int:
        """An integer that numbers are made for; a refusal where it is out of bounds."""
        number = self.int(name, default)
        if not least <= number <= most:
            raise RefusalError(f"{name} {number}")
        return number

    def float(self, name: str, default: float) -> float:
        """A float; an argument stored as another type is an error, as in Caffe2."""
        argument = self._field(name, "f")
        return default if argument is None else argument.f

    def string(self, name: str, default: str) -> str:
        """A string."""
        argument = self._field(name, "s")
        return default if argument is None else argument.s.decode()

    def bytes(self, name: str) -> bytes:
        """What a string holds that is no text."""
        argument = self._field(name, "s")
        return b"" if argument is None else argument.s

    def ints(self, name: str) -> tuple[int, ...]:
        """A list of integers; empty where it is missing or of another type, as in Caffe2."""
        argument = self._argument(name)
        return () if argument is None else tuple(argument.ints)

    def floats(self, name: str) -> tuple[float, ...]:
        """A list of floats; empty where it is missing or of another type, as in Caffe2."""
        argument = self._argument(name)
        return () if argument is None else tuple(argument.floats)

    def strings(self, name: str) -> tuple[bytes, ...]:
        """A list of byte strings."""
        argument = self._argument(name)
        return () if argument is None else tuple(argument.strings)

    def channels_last(self) -> bool:
        """Whether ``order`` says NHWC."""
        order = self.string("order", "NCHW")
        if order not in ("NCHW", "NHWC"):
            raise RefusalError(f"order {order}")
        return order == "NHWC"


#: What a rule gives: one value per output of the operator; None for an output that has no meaning here.
Results: TypeAlias = ir.Value | Sequence[ir.Value | None]
Rule: TypeAlias = Callable[[Call], Results]
