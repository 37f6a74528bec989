"""What every layer shares: the registry, the typed fields read from the file, and the forward pass's bookkeeping.

A layer is one class, named after its Torch class. Its annotations are the fields it reads, its docstring is its
formula, ``forward`` is the formula in NumPy, ``lower`` the same in ONNX operators.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias, TypeVar, cast, get_args, get_origin

import numpy as np
from numpy.typing import NDArray

from retorch.errors import Problem, UnsupportedError, UsageError
from retorch.layers.bookkeeping import BOOKKEEPING
from retorch.torch7 import LuaFunction, LuaTable, TorchObject

Array: TypeAlias = NDArray[Any]
#: What Torch passes between modules: a tensor, or a table of such.
Nested: TypeAlias = "Array | list[Nested]"
Sizes: TypeAlias = tuple[int, ...]


class Refusal(Exception):  # noqa: N818 - a rule's bare fact; the walk turns it into an UnsupportedError with the path
    """A rule cannot say this layer; the walk adds where it stands."""


class MissingFieldError(Exception):
    """A field that the layer cannot do without is not in the file."""


@dataclass
class Run:
    """One forward pass: Torch's module-owned output buffers, what recurrent layers remember, and who listens."""

    buffers: dict[int, Array] = field(default_factory=lambda: dict[int, Array]())
    memory: dict[int, Any] = field(default_factory=lambda: dict[int, Any]())
    listen: Callable[[Layer, Nested, Nested], None] | None = None
    depth: int = 0


_current_run: ContextVar[Run | None] = ContextVar("run", default=None)


@contextmanager
def forward_pass(listen: Callable[[Layer, Nested, Nested], None] | None = None) -> Generator[Run]:
    """Everything that runs inside is one forward pass of one network."""
    token = _current_run.set(Run(listen=listen))
    try:
        run = _current_run.get()
        # infinities and NaN are results like any other, in Torch
        with np.errstate(all="ignore"):
            if run is not None:
                yield run
    finally:
        _current_run.reset(token)


def memory() -> dict[int, Any]:
    """What the recurrent layers of this pass keep from one step to the next, by ``id`` of the layer."""
    return run.memory if (run := _current_run.get()) else {}


@contextmanager
def fresh_clones() -> Generator[None]:
    """One time step: Torch runs each on a clone of the module, which owns buffers of its own."""
    run = _current_run.get()
    if run is None:
        yield
        return
    outer, run.buffers = run.buffers, {}
    try:
        yield
    finally:
        run.buffers = outer


def tensors(x: Nested) -> Iterator[Array]:
    """The tensors of a nested table, in order."""
    if isinstance(x, list):
        for item in x:
            yield from tensors(item)
    else:
        yield x


class Layer:
    """A Torch module: the fields it declares, its formula, its lowering.

    Attributes:
        path: where the module stands in the network, as Lua would write it; ``""`` for the root.
        typename: the class as the file names it (``cudnn.ReLU``).
        raw: the object as stored.
    """

    #: How the layer's blobs are named: ``conv`` gives ``conv1``, ``conv1_w``, …
    kind: ClassVar[str] = ""
    #: The Torch names the class answers to; filled by :func:`layer`.
    names: ClassVar[tuple[str, ...]] = ()
    #: Fields of this class's files that its formula has no use for.
    ignored: ClassVar[frozenset[str]] = frozenset()
    #: Containers pass on what their children made and own no buffer.
    container: ClassVar[bool] = False
    #: The declared fields and their types; filled by :func:`layer`.
    fields: ClassVar[Mapping[str, Any]] = types.MappingProxyType({})

    path: str
    typename: str
    raw: TorchObject

    def setup(self, bind: Binder) -> None:
        """Called once all fields are read: for what a field alone does not say."""

    def children(self) -> Iterable[Layer]:
        """The modules inside, in execution order where there is one."""
        return ()

    def settings(self) -> dict[str, object]:
        """What a person wants to see of the layer: its fields, less weights, modules and defaults' noise."""
        shown: dict[str, object] = {}
        for name in self.fields:
            value = getattr(self, name)
            if isinstance(value, (int, float, str)) or (isinstance(value, tuple) and len(cast("Sizes", value)) < 9):
                shown[name] = value
        return shown

    def index_limit(self) -> int | None:
        """For layers that use their input as indices from 1: the largest that they accept."""
        return None

    def reads(self) -> tuple[int | None, ...] | None:
        """One sample of the input as the weights want it, None for free sizes (``(3, None, None)``), where they say."""
        return None

    def elements(self) -> int | None:
        """How many numbers one sample of the input has, for layers that accept no other count."""
        pattern = self.reads()
        if pattern is None or None in pattern:
            return None
        return math.prod(size for size in pattern if size is not None)

    def parameters(self) -> dict[str, Array]:
        """The layer's own arrays by field name, as stored."""
        return {name: value for name in self.fields if isinstance(value := getattr(self, name), np.ndarray)}

    def forward(self, x: Any, /) -> Any:
        """The formula; written from Torch's definition, evaluation mode."""
        raise UnsupportedError([Problem(self.path, self.typename, "has no formula")])

    def lower(self, op: Any, x: Any, /) -> Any:
        """The same in ONNX operators; ``op`` is a :class:`retorch.lowering.Builder`."""
        raise Refusal("cannot be converted")

    def __call__(self, x: Nested) -> Nested:
        """Run the layer as Torch does: into the buffer that the module owns."""
        run = _current_run.get()
        if run is None:
            with forward_pass():
                return self(x)
        try:
            y = cast("Nested", self.forward(x))
        except Refusal as refusal:
            raise UnsupportedError([Problem(self.path, self.typename, str(refusal))]) from refusal
        except (ValueError, IndexError) as error:
            # NumPy's own word on shapes and indices that do not fit
            what = " and ".join(str(t.shape) for t in tensors(x))
            raise UsageError(f"{self.path or '(root)'} {self.typename}: does not take {what}: {error}") from error
        if not self.container and isinstance(y, np.ndarray):
            y = _settle(run, self, x, y)
        if run.listen is not None:
            run.listen(self, x, y)
        return y

    def __repr__(self) -> str:
        inside = ", ".join(f"{k}={v}" for k, v in self.settings().items())
        return f"{self.typename}({inside})"


def _settle(run: Run, owner: Layer, x: Nested, y: Array) -> Array:
    """A module used twice writes its second output over its first: the same tensor, in Torch."""
    if any(np.may_share_memory(y, t) for t in tensors(x)):
        return y
    if owner_weights_share(owner, y):
        return y
    if not y.flags.c_contiguous:
        # Torch's buffers are: a view of one must share its memory
        y = y.copy()
    last = run.buffers.get(id(owner))
    if last is None or last.shape != y.shape or last.dtype != y.dtype:
        run.buffers[id(owner)] = y
        return y
    last[...] = y
    return last


def owner_weights_share(owner: Layer, y: Array) -> bool:
    """Whether a layer returned (a view of) one of its own stored arrays."""
    return not y.flags.writeable or any(np.may_share_memory(y, w) for w in owner.parameters().values())


_OWN_NAMES = frozenset(Layer.__annotations__)
L = TypeVar("L", bound=type[Layer])
_registry: dict[str, type[Layer]] = {}


def layer(*names: str, kind: str = "") -> Callable[[L], L]:
    """Register a class as the meaning of one or more Torch classes.

    Args:
        names: Torch's own first, then its aliases (``"nn.ReLU", "cudnn.ReLU"``).
        kind: the stem of its blobs' names; by default the last part of the first name, in lower case.

    Raises:
        ValueError: a name that is taken.
    """

    def register(cls: L) -> L:
        for name in names:
            if name in _registry and _registry[name].__qualname__ != cls.__qualname__:
                raise ValueError(f"{name} is already {_registry[name].__qualname__}")
            _registry[name] = cls
        cls.names = names
        cls.kind = kind or names[0].rpartition(".")[2].lower()
        hints = typing.get_type_hints(cls)
        cls.fields = {n: t for n, t in hints.items() if get_origin(t) is not ClassVar and n not in _OWN_NAMES}
        return cls

    return register


def registered() -> Mapping[str, type[Layer]]:
    """Every Torch class that has a rule, by name."""
    return types.MappingProxyType(_registry)


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


class Binder:
    """Turns stored objects into layers: one layer for one object, however often it is used."""

    def __init__(self) -> None:
        self.layers: dict[int, Layer] = {}
        self.problems: list[Problem] = []
        self.notes: list[str] = []

    def __call__(self, obj: object, path: str) -> Layer:
        """The layer that a stored object means.

        Raises:
            Refusal: the object is not a module at all.
        """
        if not isinstance(obj, TorchObject):
            raise Refusal(f"{path or 'the root'} should be a module, but is a {type(obj).__name__}")
        if id(obj) in self.layers:
            return self.layers[id(obj)]
        # a loss by any name: nn.Criterion's rule says what becomes of it
        known = "nn.Criterion" if obj.typename.endswith("Criterion") else obj.typename
        cls = _registry.get(known, Unknown)
        reason = _why_not(obj, cls)
        made = Unknown() if reason else cls()
        made.path, made.typename, made.raw = path, obj.typename, obj
        self.layers[id(obj)] = made
        if isinstance(made, Unknown):
            self._give_up(made, reason)
            return made
        try:
            self._read_fields(made, obj)
            made.setup(self)
        except (MissingFieldError, Refusal) as error:
            self.problems.append(Problem(path, obj.typename, str(error)))
        return made

    def _give_up(self, made: Unknown, reason: str) -> None:
        made.reason = reason
        self.problems.append(Problem(made.path, made.typename, reason))
        modules = made.raw.get("modules")
        if isinstance(modules, LuaTable):
            made.inside = self.sequence(modules, f"{made.path}.modules")

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
    return f"{value!r}" if isinstance(value, (int, float, str, bool)) else f"a {type(value).__name__}"


def _allows_none(hint: Any) -> bool:
    return type(None) in get_args(hint)


def _why_not(obj: TorchObject, cls: type[Layer]) -> str:
    for method in ("updateOutput", "forward"):
        if isinstance(obj.get(method), LuaFunction) and method not in cls.ignored:
            return f"a Lua function stored in the file overrides its {method}"
    if cls is Unknown:
        fields = ", ".join(sorted(str(k) for k in obj if str(k) not in BOOKKEEPING)) or "none"
        return f"unknown class (fields: {fields})"
    return ""


def _int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise _Wrong("a whole number")
    return int(value)


def _float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _Wrong("a number")
    return float(value)


def _bool(value: object) -> bool:
    # Lua counts 0 as true, but files written by other programs mean false by it
    return value not in (False, 0)


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise _Wrong("a string")
    return value


def _array(value: object) -> Array:
    if not isinstance(value, np.ndarray):
        raise _Wrong("a tensor")
    return cast("Array", value).view(np.ndarray)


def _sizes(value: object) -> Sizes:
    if isinstance(value, np.ndarray):
        return tuple(int(v) for v in cast("Array", value).ravel())
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
