"""What every layer shares: the registry, the typed fields read from the file, and how it runs.

A layer is one class, named after its Torch class. Its annotations are the fields it reads, its docstring is its
formula, ``forward`` is the formula in NumPy, ``lower`` the same in ONNX operators.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, ClassVar, Protocol, TypeVar, cast, get_origin

import numpy as np

from retorch import limits
from retorch.errors import MAKES_NO_SENSE, Problem, Refusal, UnsupportedError, UsageError, said
from retorch.layers.base.depth import deeper
from retorch.layers.base.index import MODULES
from retorch.layers.base.memory import (
    OVERLAP,
    READ_BEFORE_WRITTEN,
    Array,
    Nested,
    Run,
    Sizes,
    current,
    current_run,
    forward_pass,
    overwritten_output,
    set_output,
    tensors,
)
from retorch.torch7 import LuaFunction, LuaTable, TorchObject


def calls(root: Layer) -> int:
    """How many layers run in one pass through a network, if every container runs each of its modules once."""
    counts: dict[int, int] = {}
    stack: list[tuple[Layer, bool]] = [(root, False)]
    while stack:
        at, ready = stack.pop()
        if ready:
            counts[id(at)] = 1 + sum(counts.get(id(child), 1) for child in at.children())
        elif id(at) not in counts:
            counts[id(at)] = 1
            stack.append((at, True))
            stack.extend((child, False) for child in at.children())
    return counts[id(root)]


def noise_for(owner: Layer, shape: Sizes) -> Array:
    """What Torch draws at random for a layer: this pass was given it."""
    run = current_run.get()
    if run is None or run.noise is None:
        raise Refusal("draws random numbers, and was given none")
    return run.noise(owner, shape)


class Binder(Protocol):
    """What turns stored objects into layers; see :mod:`retorch.layers.base.binding`."""

    layers: dict[int, Layer]
    problems: list[Problem]
    notes: list[str]
    #: Which version of nn is assumed where versions differ: ``old``, ``new``, or what the file says.
    nn_age: str | None

    def __call__(self, obj: object, path: str) -> Layer:
        """The layer that a stored object means; raises Refusal for what is no module."""
        ...

    def sequence(self, table: LuaTable, path: str) -> list[Layer]:
        """The modules 1…n of a table."""
        ...


class _Fields:
    """What the annotations of a class say, worked out when first asked for: of most classes that is never."""

    def __get__(self, instance: object, owner: type) -> Mapping[str, Any]:
        return _declared(next((cls for cls in owner.__mro__ if cls in _described), None))


@cache
def _declared(cls: type | None) -> Mapping[str, Any]:
    """The fields that a registered class declares, and their types."""
    hints = {} if cls is None else typing.get_type_hints(cls)
    said = {n: t for n, t in hints.items() if get_origin(t) is not ClassVar and n not in _OWN_NAMES}
    return types.MappingProxyType(said)


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
    #: It measures a loss, and has no part in a network's output.
    is_loss: ClassVar[bool] = False
    #: Torch's module has no output tensor of its own: each run gives a new one, or the input itself.
    owns_no_output: bool = False
    #: The sizes of the states that its input and output end in, of a network that hands on its states.
    state_sizes: tuple[Sizes, ...] = ()
    #: The declared fields and their types, of the registered class.
    fields = _Fields()

    #: Whether ``forward`` takes a table, by its annotation; None where it takes either. Filled by :func:`layer`.
    takes_table: ClassVar[bool | None] = None

    path: str
    typename: str
    raw: TorchObject

    @classmethod
    def computes_the_same(cls, function: LuaFunction) -> bool:
        """Whether a function that a file stores in place of ``updateOutput`` does what the class's own does."""
        return False

    def setup(self, bind: Binder) -> None:
        """Called once all fields are read: for what a field alone does not say."""

    def children(self) -> Iterable[Layer]:
        """The modules inside, in execution order where there is one."""
        return ()

    def every(self) -> Iterator[Layer]:
        """This layer and all inside it, each once, outermost first, in the order of the file."""
        seen: set[int] = set()
        stack: list[Layer] = [self]
        while stack:
            at = stack.pop()
            if id(at) not in seen:
                seen.add(id(at))
                yield at
                stack.extend(reversed(list(at.children())))

    def settings(self) -> dict[str, object]:
        """What a person wants to see of the layer: its fields, less weights, modules and defaults' noise."""
        shown: dict[str, object] = {}
        for name in self.fields:
            value = getattr(self, name)
            if isinstance(value, (int, float, str)) or (isinstance(value, tuple) and len(cast("Sizes", value)) < 9):
                shown[name] = value
        return shown

    def batch_axis(self) -> int:
        """Which dimension of its input is the batch, from 0: some recurrent modules take the time first."""
        return 0

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
        """The same in ONNX operators; ``op`` is a :class:`retorch.graph.lowering.Builder`."""
        raise Refusal("cannot be converted")

    def forward_over(self, x: Any, last: Array, /) -> Any:
        """``forward`` where x lies in the memory of ``last``, the module's own last output, which Torch overwrites."""
        if self.typename.rpartition(".")[2] in READ_BEFORE_WRITTEN:
            return self.forward(x)
        raise Refusal(OVERLAP)

    def lower_over(self, op: Any, x: Any, last: Any, /) -> Any:
        """The same in ONNX operators."""
        if self.typename.rpartition(".")[2] in READ_BEFORE_WRITTEN:
            return self.lower(op, x)
        raise Refusal(OVERLAP)

    def __call__(self, x: Nested) -> Nested:
        """Run the layer as Torch does: into the buffer that the module owns."""
        run = current_run.get()
        if run is None:
            with forward_pass():
                return self(x)
        run.steps += 1
        limits.check_steps(run.steps, "this pass")
        return deeper(self._run, run, x)

    def _run(self, run: Run, x: Nested) -> Nested:
        try:
            x = current(x)
            self.check_nesting(x)
            last = overwritten_output(run, self, x)
            if last is not None:
                y = cast("Nested", self.forward_over(x, last))
                if isinstance(y, np.ndarray) and y.size != last.size:
                    raise Refusal(OVERLAP)
            else:
                y = cast("Nested", self.forward(x))
            if not self.container and isinstance(y, np.ndarray):
                y = set_output(run, self, x, y)
        except Refusal as refusal:
            problem = Problem(self.path, self.typename, str(refusal), refusal.hint)
            raise UnsupportedError([problem], what="run on this input") from refusal
        except MemoryError as error:
            problem = Problem(self.path, self.typename, f"needs more memory than there may be: {said(error)}")
            raise UnsupportedError([problem], what="run on this input", hint="--max-memory allows more") from error
        except MAKES_NO_SENSE as error:
            # NumPy's own word on shapes and indices that do not fit
            what = " and ".join(str(t.shape) for t in tensors(x))
            raise UsageError(f"{self.path or '(root)'} {self.typename}: does not take {what}: {said(error)}") from error
        if run.listen is not None:
            run.listen(self, x, y)
        return y

    def check_nesting(self, x: object) -> None:
        """Refuse a table where the layer takes a tensor, and the other way round."""
        if self.takes_table is not None and isinstance(x, list) != self.takes_table:
            wanted, given = ("a table", "a tensor") if self.takes_table else ("a tensor", "a table")
            raise Refusal(f"takes {wanted}, but is given {given}")

    def __repr__(self) -> str:
        inside = ", ".join(f"{k}={v}" for k, v in self.settings().items())
        return f"{self.typename}({inside})"


_OWN_NAMES = frozenset(Layer.__annotations__)
L = TypeVar("L", bound=type[Layer])
_LAYERS = "retorch.layers"
_registry: dict[str, type[Layer]] = {}
_aliases: dict[str, str] = {}
_described: set[type] = set()


def layer(*names: str, kind: str = "") -> Callable[[L], L]:
    """Register a class as the meaning of one or more Torch classes.

    Args:
        names: Torch's own first, then its aliases (``"nn.ReLU", "cudnn.ReLU"``).
        kind: the stem of its blobs' names; by default the last part of the first name, in lower case.

    Raises:
        ValueError: a name that is taken.
    """

    def register(cls: L) -> L:
        own = cls.__module__.startswith("retorch.")
        for name in names:
            if not own:
                _import_family(name)
            taken = _registry.get(name)
            if taken is not None and (taken.__qualname__ != cls.__qualname__ or (own and taken is not cls)):
                raise ValueError(f"{name} is already {taken.__qualname__}")
            _registry[name] = cls
        cls.names = names
        cls.kind = kind or names[0].rpartition(".")[2].lower()
        cls.takes_table = _takes_table(cls)
        _described.add(cls)
        if not own:
            _declared(cls)  # a plugin's own names are gone once it has run
        return cls

    return register


def _takes_table(cls: type[Layer]) -> bool | None:
    annotations = [a for name, a in cls.forward.__annotations__.items() if name != "return"]
    said = str(annotations[0]) if annotations else ""
    return True if said.startswith("list[") else False if said == "Array" else None


def rule(name: str) -> type[Layer] | None:
    """What a Torch class means, where anybody knows it: retorch, a plugin, or another installed package."""
    if name not in _registry:
        _import_family(name)
    if name not in _registry:
        _load_entry_points()
        import_families()
    return _registry.get(name)


def _import_family(name: str) -> None:
    """Import the file whose rules know a Torch class: a network holds few of all the families that there are."""
    module = MODULES.get(name)
    if module is not None:
        importlib.import_module(f"{_LAYERS}.{module}")


@cache
def import_families() -> None:
    """Import every family of layers, for what asks after all classes."""
    for found in pkgutil.walk_packages(importlib.import_module(_LAYERS).__path__, f"{_LAYERS}."):
        importlib.import_module(found.name)


@cache
def _load_entry_points() -> None:
    """Layers of other installed packages, which register themselves when their module is imported."""
    from importlib.metadata import entry_points  # takes as long as all layers together, and is seldom needed

    for entry in entry_points(group="retorch.layers"):
        entry.load()


def registered() -> Mapping[str, type[Layer]]:
    """Every Torch class that has a rule, by name."""
    import_families()
    return types.MappingProxyType(_registry)


def alias(name: str, of: str) -> None:
    """Read objects of one Torch class as another: a class that is one of ``nn`` under a name of its own.

    Args:
        name: the class as files name it (``"nn.CustomLinear"``).
        of: a class that has a rule (``"nn.Linear"``).

    Raises:
        ValueError: ``name`` has a rule already, or ``of`` has none.
    """
    if rule(name) is not None:
        raise ValueError(f"{name} is known already")
    if rule(of) is None:
        raise ValueError(f"{of} is not known")
    _aliases[name] = of


def aliased(name: str) -> str:
    """The class as which objects of a class are read: by an alias another, otherwise itself."""
    return _aliases.get(name, name)
