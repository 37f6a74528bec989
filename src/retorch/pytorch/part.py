"""What ``model.py`` is put together from: one part for one module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from retorch.layers.base.layer import Array, Layer
from retorch.pytorch.source import Bracket, Expression, call, literal

#: How a class came to PyTorch: by PyTorch's module, a class that spells it out, containers, or operators.
How: TypeAlias = Literal["module", "exact", "operators"]


@dataclass(frozen=True, slots=True)
class State:
    """A parameter or buffer: its values, and the field of the Torch layer that it is."""

    array: Array
    field: str | None = None
    trained: bool = True
    #: where the values stand in the file: two states of one tensor are one parameter
    source: object = None


@dataclass
class Written:
    """A class of this model: its base, and the lines of its methods (without indentation of the class)."""

    name: str
    base: str
    #: lines after ``super().__init__``
    init: list[str] = field(default_factory=list[str])
    forward: list[str] = field(default_factory=list[str])
    #: the arguments of a class that is used with several, and the call of its base that takes them
    signature: list[str] = field(default_factory=list[str])
    body: Expression | None = None


@dataclass(eq=False)
class Part:
    """A module of the twin.

    Attributes:
        name: the class that is called: ``nn.Conv2d``, one of the library, or ``written``'s.
        args, named: its arguments.
        children: the modules inside by name; they are arguments too, unless ``written`` makes them.
        states: its own parameters and buffers by name.
        inline: the same for this run as an expression of ``{0}``, ``{1}``, … or of ``{x}``, the whole input.
        written: the class, where it is one of this model alone.
        callable: whether it can be called; else it holds parameters only.
    """

    name: str
    args: tuple[object, ...] = ()
    named: Mapping[str, object] = field(default_factory=dict[str, object])
    children: dict[str, Part] = field(default_factory=lambda: dict[str, Part]())
    states: dict[str, State] = field(default_factory=lambda: dict[str, State]())
    inline: str | None = None
    written: Written | None = None
    callable: bool = True
    how: How = "module"
    layer: Layer | None = None
    #: whether the modules inside stand before the other arguments
    children_first: bool = False
    #: so many modules that come first, as one expression that gives them
    spread: tuple[int, Expression] | None = None

    def same(self, other: Part) -> bool:
        """Whether both are constructed alike."""
        if (self.name, self.args, dict(self.named)) != (other.name, other.args, dict(other.named)):
            return False
        if self.states.keys() != other.states.keys() or self.children.keys() != other.children.keys():
            return False
        if any(s.array.shape != other.states[n].array.shape for n, s in self.states.items()):
            return False
        return all(child is other.children[n] or child.same(other.children[n]) for n, child in self.children.items())

    def expression(self, function: str = "") -> Expression:
        """The call that constructs it."""
        args = [_argument(value) for value in self.args]
        if not self.callable and self.states:
            args.append(Bracket("{", tuple(_parameter(key, state.array) for key, state in self.states.items()), "}"))
        if self.written is None:
            inside = self.children_as_arguments()
            args = [*inside, *args] if self.children_first else [*args, *inside]
        return call(function or self.name, args, [(name, _argument(value)) for name, value in self.named.items()])

    def children_as_arguments(self) -> list[Expression]:
        """Its children as the arguments of the class that holds them."""
        if not self.children:
            return []
        base = self.written.base if self.written is not None else self.name
        if base == "nn.ModuleDict":
            items = tuple((f'"{name}": ', child.expression()) for name, child in self.children.items())
            return [Bracket("{", items, "}")]
        count, *spread = self.spread or (0,)
        inside = [*spread, *(child.expression() for child in list(self.children.values())[count:])]
        return [Bracket("[", tuple(("", item) for item in inside), "]")] if base == "nn.ModuleList" else inside


def _parameter(name: str, array: Array) -> tuple[str, Expression]:
    """An entry of an ``nn.ParameterDict``."""
    sizes = ", ".join(map(str, array.shape))
    return f'"{name}": ', call("nn.Parameter", [f"torch.empty({sizes})"])


def _argument(value: object) -> Expression:
    return value.expression() if isinstance(value, Part) else literal(value)


def counted(names: Sequence[str]) -> bool:
    """Whether these are 0, 1, 2, …"""
    return list(names) == [str(i) for i in range(len(names))]
