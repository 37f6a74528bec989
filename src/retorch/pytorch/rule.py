"""The registry of rules: how a class of layers is said in PyTorch.

A rule is a function in ``rules/FAMILY.py``, registered for classes of layers::

    @rule(Linear)
    def linear(layer: Linear, at: Run) -> Part | None:
        return at.module("nn.Linear", 3, 4, states=..., inline=...)

It is given the layer and one of its runs (what went in, with its sizes) and says the module that is constructed. It
returns None where this network's settings have no such module: then the operators of the layer say it. A layer that
runs several times must get the same module each time (``inline`` may differ). Rules live here and not in the layers'
own files because they know PyTorch's modules and its printer, which stand above the layers.

To add one: find the class in ``layers/``, its formula and fields; write the rule in the file of its family; where
PyTorch has no such module, write the class as one would by hand in ``library/FAMILY.py`` (plain torch) and name
it in the rule. Rows of ``tests/layers`` and the golden cases then hold it to Torch7's numbers without further ado.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import numpy as np
import onnx_ir as ir

from retorch.layers.base.layer import Array, Layer
from retorch.pytorch.part import How, Part, State
from retorch.pytorch.trace import Flowing, Scope, flat

if TYPE_CHECKING:
    from retorch.pytorch.planning import Planner

#: What a rule is: the layer is of the class that it is registered for.
Rule: TypeAlias = "Callable[[Any, Run], Part | None]"
R = TypeVar("R", bound=Rule)
_rules: dict[type[Layer], Rule] = {}
_stateful: set[Rule] = set()
_says: dict[Rule, str] = {}


def rule(*classes: type[Layer], says: str = "") -> Callable[[R], R]:
    """Register a rule for classes of layers and what is derived from them, unless that has a rule of its own.

    ``says`` is what the page of layers shows, where that is not read from the rule's text.
    """

    def register(function: R) -> R:
        _rules.update(dict.fromkeys(classes, function))
        _says[function] = says
        return function

    return register


def keeps_state(function: R) -> R:
    """Mark a rule whose module keeps what it gave until its next run, so that runs read what runs before them made."""
    _stateful.add(function)
    return function


def said_by(function: Rule) -> str:
    """What a rule says that it gives; empty where its text tells."""
    return _says[function]


def is_stateful(function: Rule) -> bool:
    """Whether a rule is marked so."""
    return function in _stateful


@cache
def _load_rules() -> None:
    package = importlib.import_module("retorch.pytorch.rules")
    for found in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"retorch.pytorch.rules.{found.name}")


def rule_of(layer: type[Layer]) -> Rule | None:
    """The rule of a class of layers, if there is one."""
    _load_rules()
    return next((_rules[cls] for cls in layer.__mro__ if cls in _rules), None)


def rules() -> Mapping[type[Layer], Rule]:
    """Every rule by the class it is registered for."""
    _load_rules()
    return _rules


def exactly(layer: Layer, cls: type[Layer]) -> bool:
    """Whether a layer is of this class and no class derived from it."""
    return type(layer) is cls


class Run:
    """One run of a layer, as rules see it."""

    def __init__(self, planner: Planner, scope: Scope) -> None:
        self.planner = planner
        self.scope = scope
        self.layer = scope.layer

    @property
    def given(self) -> Flowing:
        """What went in."""
        return self.scope.given

    @property
    def count(self) -> int:
        """How many tensors went in."""
        return len(flat(self.scope.given))

    def shape(self, i: int = 0) -> tuple[int, ...]:
        """The sizes of tensor ``i`` of what went in."""
        return sizes(flat(self.scope.given)[i])

    def made_shape(self, i: int = 0) -> tuple[int, ...]:
        """The sizes of tensor ``i`` of what came out."""
        return sizes(flat(self.scope.made)[i])

    @property
    def rank(self) -> int:
        """The number of dimensions of the first tensor that went in."""
        return len(self.shape())

    def sized(self) -> Array:
        """An array of the first tensor's sizes that takes no memory, for what asks an array for them."""
        return np.broadcast_to(np.float32(0), self.shape())

    def is_float(self, i: int = 0) -> bool:
        """Whether tensor ``i`` holds floats."""
        return flat(self.scope.given)[i].dtype == ir.DataType.FLOAT

    def module(
        self,
        name: str,
        *args: object,
        states: Mapping[str, State] | None = None,
        children: Mapping[str, Part] | None = None,
        inline: str | None = None,
        how: How | None = None,
        children_first: bool = False,
        **named: Any,
    ) -> Part:
        """A part: ``name`` is PyTorch's (``nn.Conv2d``) or a class of the library.

        Args:
            name, args, named: the call that constructs it; leave out what is PyTorch's default.
            states: its parameters and buffers by PyTorch's names.
            children: the modules inside by name.
            inline: the same as an expression of ``{0}``, ``{1}``, … or ``{x}``, for straight lines; only where nothing
                is lost by it (no parameters, the same in training).
            how: by default PyTorch's module where the name is PyTorch's, else written out.
            children_first: whether the modules inside stand before the other arguments.
        """
        said: How = how or ("module" if name.startswith("nn.") else "exact")
        return Part(
            name,
            args,
            named,
            dict(children or {}),
            dict(states or {}),
            inline,
            how=said,
            layer=self.layer,
            children_first=children_first,
        )

    def child(self, layer: Layer) -> Part:
        """The part of a module inside."""
        return self.planner.part(layer)

    def runs_inside(self) -> list[Scope] | None:
        """The runs of the modules inside, if nothing else happened and each can be called; else None."""
        inside = [item for item in self.scope.items if isinstance(item, Scope)]
        if len(inside) != len(self.scope.items):
            return None
        if any(self.planner.run(item) is None for item in inside):
            return None
        return inside


def sizes(value: ir.Value) -> tuple[int, ...]:
    """The sizes of a value of known sizes."""
    shape = value.shape
    if shape is None or not shape.is_static():
        return ()
    return tuple(int(cast("int", d)) for d in shape)


def trained(array: Array, field: str) -> State:
    """A parameter that is a field of the layer, as stored or in another layout."""
    return State(np.ascontiguousarray(array, np.float32), field, source=where(array))


def kept(array: Array, field: str | None = None) -> State:
    """A buffer, which training does not change by gradients."""
    dtype = np.float32 if array.dtype.kind == "f" else array.dtype
    return State(np.ascontiguousarray(array, dtype), field, False, where(array))


def where(array: Array) -> object:
    """What is equal for two arrays that are the same tensor in Torch, seen in the same way; None for a copy."""
    if array.flags.owndata or array.base is None:
        return None
    return array.__array_interface__["data"][0], array.dtype.str, array.shape, array.strides
