"""From stored objects to layers: one layer for one object, its fields read and typed."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, cast, get_args, get_origin

import numpy as np

from retorch import limits
from retorch.errors import MAKES_NO_SENSE, MissingFieldError, Problem, Refusal, UnsupportedError, said
from retorch.layers.base.bookkeeping import BOOKKEEPING
from retorch.layers.base.depth import deeper
from retorch.layers.base.layer import Array, Layer, Sizes, aliased, rule
from retorch.layers.base.random_source import RandomLayer
from retorch.torch7 import LuaFunction, LuaTable, TorchObject

#: More than any size of a tensor: from here on, doubles skip whole numbers.
_LARGEST = 2**53
#: More than any list of sizes that a module keeps.
_MOST_SIZES = 10_000
#: Characters of a value in a message.
_LONGEST = 60
#: Sizes of windows and steps between them, which are never zero.
_FROM_ONE = frozenset({"kW", "kH", "kT", "dW", "dH", "dT", "dilationW", "dilationH", "dilationT"})


class Unknown(Layer):
    """A class that retorch has no rule for; it can be shown, but not run or converted."""

    container = True

    def __init__(self) -> None:
        self.reason = ""
        self.inside: list[Layer] = []

    def children(self) -> Iterable[Layer]:
        return self.inside

    def forward(self, x: Any, /) -> Any:
        raise UnsupportedError([self.problem()])

    def problem(self) -> Problem:
        return Problem(self.path, self.typename, self.reason)


class ObjectBinder:
    """Turns stored objects into layers: one layer for one object, however often it is used."""

    def __init__(self, nn_age: str | None = None) -> None:
        self.nn_age = nn_age
        self.layers: dict[int, Layer] = {}
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self._open: dict[int, str] = {}

    def __call__(self, obj: object, path: str) -> Layer:
        """The layer that a stored object means.

        Raises:
            Refusal: the object is not a module at all.
        """
        if not isinstance(obj, TorchObject):
            raise Refusal(f"{path or 'the root'} should be a module, but is {_describe(obj)}")
        if id(obj) in self._open:
            raise Refusal(f"contains itself: {path} is {self._open[id(obj)] or 'the root'}")
        if id(obj) in self.layers:
            return self.layers[id(obj)]
        self._open[id(obj)] = path
        try:
            return deeper(self._bound, obj, path)
        finally:
            del self._open[id(obj)]

    def _bound(self, obj: TorchObject, path: str) -> Layer:
        # a loss by any name: nn.Criterion's rule says what becomes of it
        typename = aliased(obj.typename)
        is_loss = typename.endswith("Criterion") and rule(typename) is None
        cls = rule("nn.Criterion" if is_loss else typename) or Unknown
        reason = _why_not(obj, cls)
        made = Unknown() if reason else cls()
        made.path, made.typename, made.raw = path, typename, obj
        self.layers[id(obj)] = made
        if typename != obj.typename:
            self.notes.append(f"{path or '(root)'} {obj.typename}: read as {typename}")
        if isinstance(made, Unknown):
            return self._give_up(obj, path, reason)
        try:
            self._read_fields(made, obj)
            made.setup(self)
            _show(made)
        except (MissingFieldError, Refusal) as error:
            return self._give_up(obj, path, str(error))
        except MAKES_NO_SENSE as error:
            return self._give_up(obj, path, f"its fields make no sense together: {said(error)}")
        return made

    def _give_up(self, obj: TorchObject, path: str, reason: str) -> Unknown:
        """What stands for a module that cannot be bound: it can be shown, with the modules inside."""
        made = Unknown()
        made.path, made.typename, made.raw, made.reason = path, obj.typename, obj, reason
        self.layers[id(obj)] = made
        self.problems.append(made.problem())
        modules = obj.get("modules")
        for i, item in enumerate(modules.sequence() if isinstance(modules, LuaTable) else (), 1):
            if isinstance(item, TorchObject) and id(item) not in self._open:
                made.inside.append(self(item, f"{path}.modules[{i}]".removeprefix(".")))
        return made

    def sequence(self, table: LuaTable, path: str) -> list[Layer]:
        """The modules 1…n of a table."""
        path = path.removeprefix(".")
        return [self(item, f"{path}[{i}]") for i, item in enumerate(table.sequence(), 1)]

    def _read_fields(self, made: Layer, obj: TorchObject) -> None:
        for name, hint in made.fields.items():
            try:
                value = self._convert(obj.get(name), hint, f"{made.path}.{name}".removeprefix("."))
            except _Wrong as error:
                raise MissingFieldError(
                    f"field {name!r} should be {error}, but is {_describe(obj.get(name))}"
                ) from None
            if name in _FROM_ONE and isinstance(value, int) and value < 1:
                raise MissingFieldError(f"field {name!r} should be 1 or more, but is {value}")
            if value is None and not _allows_none(hint):
                if not hasattr(made, name):
                    raise MissingFieldError(f"lacks its field {name!r}")
                value = getattr(made, name)
            if value is not None or not hasattr(made, name):
                setattr(made, name, value)
        unread = {str(k) for k in obj} - set(made.fields) - BOOKKEEPING - made.ignored
        unread = {k for k in unread if not isinstance(obj.get(k), LuaFunction)}
        if unread:
            self.notes.append(f"{made.path or '(root)'} {made.typename}: ignores {', '.join(sorted(unread))}")

    def _convert(self, value: object, hint: Any, path: str) -> object:
        if value is None:
            return None
        if get_origin(hint) in (types.UnionType, typing.Union):
            hint = next(t for t in get_args(hint) if t is not type(None))
        if get_origin(hint) is list:
            if not isinstance(value, LuaTable):
                raise _Wrong("a table of modules")
            return self.sequence(value, path)
        if hint is Layer:
            return self(value, path)
        convert = _CONVERTERS.get(hint)
        return value if convert is None else convert(value)


class _Wrong(Exception):  # noqa: N818 - internal: "should be …"
    pass


def _describe(value: object) -> str:
    text = repr(value) if isinstance(value, (int, float, str, bool)) else f"a {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _show(made: Layer) -> None:
    """Ask a layer all that is shown of it, and all that an input's shape is worked out from."""
    list(made.children())
    if isinstance(made, RandomLayer):
        made.draws()
    made.batch_axis()
    made.settings()
    made.parameters()
    made.reads()
    made.elements()
    made.index_limit()


def _allows_none(hint: Any) -> bool:
    return type(None) in get_args(hint)


def _why_not(obj: TorchObject, cls: type[Layer]) -> str:
    for method in ("updateOutput", "forward"):
        stored = obj.get(method)
        if isinstance(stored, LuaFunction) and method not in cls.ignored and not cls.computes_the_same(stored):
            return f"a Lua function stored in the file overrides its {method}"
    if cls is Unknown:
        functions = sorted(str(k) for k in obj if isinstance(obj.get(k), LuaFunction))
        if functions:
            return (
                f"unknown class, with Lua functions of its own in the file ({', '.join(functions)}), which are not run"
            )
        fields = ", ".join(sorted(str(k) for k in obj if str(k) not in BOOKKEEPING)) or "none"
        return f"unknown class (fields: {fields})"
    return ""


def _int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _LARGEST:
        raise _Wrong("a whole number")
    if value != int(value):
        raise _Wrong("a whole number")
    return int(value)


def _float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise _Wrong("a number")
    return float(value)


def _bool(value: object) -> bool:
    # Lua counts 0 as true, but files written by other programs mean false by it
    return not isinstance(value, (bool, int, float)) or value not in (False, 0)


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise _Wrong("a string")
    return value


def _array(value: object) -> Array:
    if not isinstance(value, np.ndarray):
        raise _Wrong("a tensor")
    array = cast("Array", value)
    repeats = any(stride == 0 and size > 1 for stride, size in zip(array.strides, array.shape, strict=True))
    if limits.too_large(array.nbytes) or (repeats and array.nbytes > limits.REPEATED):
        raise _Wrong("a tensor that fits into memory")
    return array.view(np.ndarray)


def _sizes(value: object) -> Sizes:
    if isinstance(value, np.ndarray):
        if cast("Array", value).size > _MOST_SIZES:
            raise _Wrong("a list of whole numbers")
        return tuple(_int(v) for v in cast("Array", value).ravel().tolist())
    if isinstance(value, LuaTable):
        return tuple(_int(v) for v in value.sequence())
    if isinstance(value, (int, float)):
        return (_int(value),)
    raise _Wrong("a list of whole numbers")


_CONVERTERS: dict[Any, Callable[[object], object]] = {
    int: _int,
    float: _float,
    bool: _bool,
    str: _str,
    Array: _array,
    Sizes: _sizes,
}
