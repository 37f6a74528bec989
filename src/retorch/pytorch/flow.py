"""A module as a class of its own: what flows through it, as straight lines of calls and expressions."""

from __future__ import annotations

import itertools
import keyword
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from retorch.layers.base.layer import Array, Layer, Refusal
from retorch.layers.nngraph import GModule
from retorch.pytorch.operators.table import said
from retorch.pytorch.part import Part, State, Written, counted
from retorch.pytorch.source import call, laid_out, number, parsed
from retorch.pytorch.statements import tidied
from retorch.pytorch.trace import Flowing, Scope, flat

if TYPE_CHECKING:
    from retorch.pytorch.planning import Planner

#: The fields that Torch's ``parameters()`` gives.
TRAINED = frozenset({"weight", "bias"})


class Flow:
    """Writes the forward of one run of a module."""

    def __init__(self, planner: Planner, scope: Scope, children: dict[str, Part], states: dict[str, State]) -> None:
        self.planner = planner
        self.trace = planner.trace
        self.scope = scope
        self.children = children
        self.states = states
        self.names: dict[ir.Value, str] = {}
        self.holders: dict[str, ir.Value] = {}
        self.lines: list[str] = []
        #: the names of the modules inside that are called
        self.called: set[str] = set()
        #: whether an operator was spelled out
        self.spelled = False

    def inline(self) -> str | None:
        """The whole as one expression of ``{0}``, where it is one of a single tensor."""
        if len(self.lines) != 1 or isinstance(self.scope.given, tuple) or not self.lines[0].startswith("return "):
            return None
        text = self.lines[0].removeprefix("return ")
        if "{" in text or isinstance(self.scope.made, tuple):
            return None
        return re.sub(r"(?<![.\w\"])x(?![\w\"])", "{0}", text)

    def written(self, name: str) -> Written:
        """The class."""
        scope = self.scope
        if isinstance(scope.given, tuple):
            self.lines.append(f"{self._target(scope.given, scope.enter)} = x")
        else:
            self._bind(scope.given, scope.enter, "x")
        self._emit(scope)
        if self._ends_with(scope.made):
            self.lines[-1] = f"return {self.lines[-1].partition(' = ')[2]}"
            return self._class(name)
        self.lines += laid_out(parsed(self._text(scope.made)), 0, "return ", room=8)
        return self._class(name)

    def _ends_with(self, made: Flowing) -> bool:
        """Whether the last line makes what is given back, in one piece."""
        if not self.lines or isinstance(made, tuple) or made not in self.names:
            return False
        left, sign, right = self.lines[-1].partition(" = ")
        return bool(sign) and left == self.names[made] and not self.lines[-1].startswith((" ", ")")) and bool(right)

    def _class(self, name: str) -> Written:
        base = self.base()
        self.lines = tidied(self.lines)
        init: list[str] = []
        for key, state in self.states.items():
            sizes = ", ".join(map(str, state.array.shape)) or "()"
            if state.trained:
                init += laid_out(call("nn.Parameter", [f"torch.empty({sizes})"]), 0, f"self.{key} = ", room=8)
            else:
                dtype = "" if state.array.dtype.kind == "f" else f", dtype=torch.{state.array.dtype.name}"
                init += laid_out(call("self.register_buffer", [f'"{key}"', f"torch.empty({sizes}{dtype})"]), 0, room=8)
        return Written(name, base, init, self.lines)

    def base(self) -> str:
        """What the class is of."""
        if not self.children:
            return "nn.Module"
        return "nn.ModuleList" if counted(list(self.children)) else "nn.ModuleDict"

    # -- names
    def _bind(self, value: ir.Value, now: int, *hints: str) -> str:
        for name in itertools.chain(hints, _letters()):
            held = self.holders.get(name)
            if held is None or held is value or self.trace.last_use.get(held, 0) <= now:
                if held is not None and self.names.get(held) == name:
                    del self.names[held]
                self.holders[name] = value
                self.names[value] = name
                return name
        raise AssertionError("letters do not end")

    def _target(self, made: Flowing, now: int) -> str:
        """The left side of an assignment."""
        if not isinstance(made, tuple):
            return self._bind(made, now, "x")
        names: list[str] = []
        for item in made:
            text = self._target(item, now) if isinstance(item, tuple) else self._fresh(item, now)
            names.append(f"({text})" if isinstance(item, tuple) else text)
        return names[0] + "," if len(names) == 1 else ", ".join(names)

    def _fresh(self, value: ir.Value, now: int) -> str:
        if value in self.names and self.names[value] in self.holders:
            return "_"
        if self.trace.last_use.get(value, 0) <= now:
            return "_"
        return self._bind(value, now, "x")

    def _text(self, x: Flowing) -> str:
        if isinstance(x, tuple):
            inside = ", ".join(self._text(item) for item in x)
            return f"({inside}{',' if len(x) == 1 else ''})"
        return self._operand(x, self.scope.layer)

    def _operand(self, value: ir.Value, owner: Layer) -> str:
        if value in self.names:
            return self.names[value]
        if value.const_value is None:
            raise Refusal("reads what is made elsewhere")
        array = value.const_value.numpy()
        if array.size == 1 and array.ndim <= 1 and not self._field(owner, array):
            item = array.ravel()[0]
            return number(float(item)) if array.dtype.kind == "f" else str(item)
        return self._state(owner, array, str(value.name))

    # -- state
    def _field(self, owner: Layer, array: Array) -> str | None:
        """The field of a layer that an array is, perhaps in another layout."""
        mine = {n: p for n, p in owner.parameters().items() if p.size == array.size and p.dtype.kind == "f"}
        flat_array = array.ravel()
        for name, stored in mine.items():
            if np.array_equal(stored.ravel().astype(np.float32), flat_array, equal_nan=True):
                return name
        for name, stored in mine.items():
            if np.array_equal(np.sort(stored.ravel().astype(np.float32)), np.sort(flat_array)):
                return name
        return None

    def _state(self, owner: Layer, array: Array, blob: str) -> str:
        field = self._field(owner, array)
        trained = field in TRAINED
        mine = owner is self.scope.layer
        if trained and not mine:
            states = self.planner.part(owner).states
        else:
            states = self.states
        name = self._state_name(states, field or re.sub(r"^.*?_|[\W\d]*$", "", blob) or "constant", array, trained)
        states.setdefault(name, State(np.array(array), field if trained or mine else None, trained))
        where = self.access(owner) if trained and not mine else "self"
        return f"{where}.{name}"

    def _state_name(self, states: dict[str, State], wanted: str, array: Array, trained: bool) -> str:
        for i in itertools.count(1):
            name = wanted if i == 1 else f"{wanted}_{i}"
            held = states.get(name)
            if held is None or (
                held.trained == trained and np.array_equal(held.array, array, equal_nan=held.array.dtype.kind == "f")
            ):
                return name
        raise AssertionError("counting does not end")

    def access(self, owner: Layer) -> str:
        """How a module inside is called from here."""
        names = self.planner.names_between(self.scope.layer, owner)
        self.called.add(names[0])
        if len(names) > 1:
            return f'self.get_submodule("{".".join(names)}")'
        return f"self[{names[0]}]" if self.base() == "nn.ModuleList" else f'self["{names[0]}"]'

    # -- statements
    def _emit(self, scope: Scope) -> None:
        for item in scope.items:
            if isinstance(item, ir.Node):
                self._node(item, scope)
            elif self.trace.is_read(item):
                self._call(item)

    def _call(self, scope: Scope) -> None:
        if all(value in self.names for value in flat(scope.made)):
            return
        part = self.planner.run(scope)
        if part is None:
            self._emit(scope)
            return
        if part.inline is not None and not part.states:
            right = part.inline.format(*map(self._text, flat(scope.given)), x=self._text(scope.given))
        else:
            given = self._text(scope.given)
            right = f"{self.access(scope.layer)}({given})"
        self._assign(scope.made, scope.exit, right, self._name_of(scope.layer))

    def _name_of(self, layer: Layer) -> str:
        """What its author called a module of this graph, as a name in Python."""
        owner = self.scope.layer
        name = owner.annotations.get(id(layer), "") if isinstance(owner, GModule) else ""
        name = re.sub(r"\W+", "_", name).strip("_")
        return name if name.isidentifier() and not keyword.iskeyword(name) else ""

    def _node(self, node: ir.Node, scope: Scope) -> None:
        now = self.trace.made_at[node.outputs[0]]
        if all(self.trace.last_use.get(v, 0) <= now for v in node.outputs):
            return
        owner = scope.layer
        right = said(node, lambda value: self._operand(value, owner))
        made: Flowing = node.outputs[0] if len(node.outputs) == 1 else tuple(node.outputs)
        if right == self.names.get(node.outputs[0] if len(node.outputs) == 1 else node.outputs[-1]):
            return
        self.spelled = True
        self._assign(made, now, right)

    def _assign(self, made: Flowing, now: int, right: str, name: str = "") -> None:
        if name and not isinstance(made, tuple):
            left = self._bind(made, now, name)
        else:
            left = self._target(made, now)
        if left == right:
            return
        self.lines += laid_out(parsed(right), 0, f"{left} = ", room=8)


def _letters() -> Iterator[str]:
    yield from "yzuvwabcdefghijklmnopqrst"
    for i in itertools.count(1):
        yield f"x{i}"
