"""``load_lua`` of PyTorch before 1.0: a Torch7 network as objects that are looked into, changed and run in Python.

A module is an instance of a class of its own name, ``type(m).__name__ == "SpatialConvolution"``; its fields are
attributes, ``modules`` a Python list, tensors ``torch.Tensor`` where PyTorch is installed and NumPy arrays elsewhere,
both over the same memory as long as nobody replaces them. Dimensions and indices that Lua counts from 1 are counted
from 0, as ``torch.legacy.nn`` did (see :mod:`retorch.compat.legacy_fields`). ``forward`` runs what is there now.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from retorch.compat import legacy_fields
from retorch.compat.torchfile import hashable_uniq_dict
from retorch.errors import UsageError
from retorch.layers.base.networks import is_module
from retorch.module import bind
from retorch.torch7 import LuaTable, TorchObject, read

Array = NDArray[Any]


def load_lua(
    filename: str | os.PathLike[str], unknown_classes: bool = False, long_size: int | None = None, **_: Any
) -> Any:
    """The value in a ``.t7`` file; networks as :class:`Module`, tables as lists or dicts with attributes.

    ``unknown_classes`` and ``long_size`` are taken and do nothing: every class is read, and the file itself says how
    long a long is.
    """
    return _FromFile().whole(read(filename, writable=True))


class Module:
    """A module as ``torch.legacy.nn`` had it. ``typename`` is the name of its class in the file: ``nn.Linear``."""

    typename = "nn.Module"
    train = False

    def forward(self, input: Any) -> Any:
        """Run it as Torch would at evaluation; torch tensors give torch tensors, arrays give arrays.

        Raises:
            UnsupportedError: layers that retorch cannot run, each with its path.
            UsageError: the input does not fit.
        """
        made = bind(_ToFile().whole(self), name=type(self).__name__).forward(_arrays(input))
        self.output = _tensors(made) if _has_tensor(input) else made
        return self.output

    updateOutput = __call__ = forward

    def evaluate(self) -> Module:
        """Networks are always run as at evaluation."""
        return self._set_train(False)

    def training(self) -> Module:
        """What is saved then says so; running stays that of evaluation."""
        return self._set_train(True)

    def _set_train(self, train: bool) -> Module:
        for one in self.listModules():
            one.train = train
        return self

    def pytorch(self) -> Any:
        """The same network as a ``torch.nn.Module``, which trains and moves to a GPU."""
        retorch: Any = importlib.import_module("retorch")
        return retorch.to_pytorch(bind(_ToFile().whole(self), name=type(self).__name__))

    def float(self) -> Module:
        """All floating point tensors in single precision."""
        return self._cast(np.float32)

    def double(self) -> Module:
        """All floating point tensors in double precision."""
        return self._cast(np.float64)

    def cuda(self, *_: Any) -> Module:
        """Refused: this object runs on the CPU."""
        raise UsageError(
            "a network of load_lua runs on the CPU", hint="model.pytorch() is a torch.nn.Module that moves to a GPU"
        )

    def _cast(self, dtype: type[np.floating[Any]]) -> Module:
        for one in self.listModules():
            for name, value in list(vars(one).items()):
                array = _array(value)
                if array is not None and array.dtype.kind == "f":
                    setattr(one, name, _tensor(array.astype(dtype)))
        return self

    def listModules(self) -> list[Module]:
        """This module and all inside, outermost first, each once."""
        found: dict[int, Module] = {}
        stack: list[Module] = [self]
        while stack:
            one = stack.pop()
            if id(one) not in found:
                found[id(one)] = one
                stack.extend(reversed(list(one._children())))
        return list(found.values())

    def findModules(self, typename: str) -> list[Module]:
        """Those of a class: ``nn.SpatialConvolution``."""
        return [one for one in self.listModules() if one.typename == typename]

    def _children(self) -> Iterator[Module]:
        for value in vars(self).values():
            for item in cast("list[Any]", value) if isinstance(value, list) else [value]:
                if isinstance(item, Module):
                    yield item

    def parameters(self) -> tuple[list[Any], list[Any]]:
        """The weights and biases in order, and their gradients as the file holds them."""
        pairs = [
            (value, vars(one).get(f"grad{name.capitalize()}"))
            for one in self.listModules()
            for name in ("weight", "bias")
            if (value := vars(one).get(name)) is not None
        ]
        return [value for value, _ in pairs], [gradient for _, gradient in pairs]

    modules: list[Module]

    def get(self, index: int) -> Module:
        """A module inside, counted from 0."""
        return self.modules[index]

    def size(self) -> int:
        """How many modules are inside."""
        return len(self.modules)

    def add(self, module: Module) -> Module:
        """Put a module at the end."""
        self.modules.append(module)
        return self

    def insert(self, module: Module, index: int) -> None:
        """Put a module in front of another."""
        self.modules.insert(index, module)

    def remove(self, index: int = -1) -> Module:
        """Take a module out; it is returned."""
        return self.modules.pop(index)

    def __len__(self) -> int:
        return len(self.modules)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        inside = vars(self).get("modules")
        if not isinstance(inside, list):
            return self.typename
        lines = (f"({i}): {one!r}".replace("\n", "\n  ") for i, one in enumerate(cast("list[Any]", inside)))
        return "\n  ".join([f"{self.typename} {{", *lines]) + "\n}"


class TorchClass(Module):
    """An instance of a class that is no module: fields by attribute."""


def module_class(typename: str) -> type[Module]:
    """The Python class of a Torch class: of its last name."""
    return type(typename.rpartition(".")[2], (Module,), {"typename": typename})


def _torch() -> Any:
    return importlib.import_module("torch") if importlib.util.find_spec("torch") else None


def _tensor(array: Array) -> Any:
    torch = _torch()
    return array if torch is None else torch.from_numpy(array)


def _array(value: Any) -> Array | None:
    """A tensor as an array over the same memory; None for what is no tensor."""
    if isinstance(value, np.ndarray):
        return cast("Array", value)
    torch = _torch()
    return value.detach().cpu().numpy() if torch is not None and torch.is_tensor(value) else None


def _has_tensor(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_has_tensor, cast("Iterable[Any]", value)))
    return not isinstance(value, np.ndarray) and _array(value) is not None


def _arrays(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_arrays(item) for item in cast("Iterable[Any]", value)]
    array = _array(value)
    if array is None:
        raise UsageError(f"forward takes tensors, arrays and lists of such, not {type(value).__name__}")
    return array


def _tensors(value: Any) -> Any:
    return [_tensors(item) for item in cast("list[Any]", value)] if isinstance(value, list) else _tensor(value)


class _FromFile:
    """From what a file holds to what a script sees, each object once; cycles and depth cost nothing."""

    def __init__(self) -> None:
        self.made: dict[int, Any] = {}
        self.pending: list[Callable[[], None]] = []
        self.classes: dict[str, type[Module]] = {}
        self.kept: list[Any] = []

    def whole(self, root: Any) -> Any:
        made = self.value(root)
        while self.pending:
            self.pending.pop()()
        return made

    def value(self, value: Any) -> Any:
        if not isinstance(value, (LuaTable, TorchObject, np.ndarray)):
            return value
        held = cast("LuaTable | TorchObject | Array", value)
        if id(held) not in self.made:
            self.kept.append(held)
            self.made[id(held)] = self.twin(held)
        return self.made[id(held)]

    def twin(self, value: LuaTable | TorchObject | Array) -> Any:
        if isinstance(value, LuaTable):
            return self.table(value)
        if isinstance(value, TorchObject):
            return self.object(value)
        return _tensor(value.view(np.ndarray))

    def table(self, table: LuaTable) -> Any:
        sequence = table.sequence()
        if len(sequence) == len(table):
            values: list[Any] = []
            self.pending.append(lambda: values.extend(map(self.value, sequence)))
            return values
        entries = hashable_uniq_dict()
        self.pending.append(lambda: entries.update((self.value(k), self.value(v)) for k, v in table.items()))
        return entries

    def object(self, value: TorchObject) -> Any:
        if value.typename not in self.classes:
            self.classes[value.typename] = module_class(value.typename)
        made = self.classes[value.typename]()
        fields = legacy_fields.to_python(value) if is_module(value) else dict(value.items())
        self.pending.append(lambda: vars(made).update((str(k), self.value(v)) for k, v in fields.items()))
        return made


class _ToFile:
    """The way back, for running and writing."""

    def __init__(self) -> None:
        self.made: dict[int, Any] = {}
        self.pending: list[Callable[[], None]] = []

    def whole(self, root: Any) -> Any:
        made = self.value(root)
        while self.pending:
            self.pending.pop()()
        return made

    def value(self, value: Any) -> Any:
        if not isinstance(value, (Module, list, dict)):
            array = _array(value)
            return value if array is None else self.made.setdefault(id(value), array)
        held = cast("object", value)
        if id(held) not in self.made:
            self.made[id(held)] = self.twin(held)
        return self.made[id(held)]

    def twin(self, value: Any) -> Any:
        if isinstance(value, Module):
            made = TorchObject(value.typename)
            fields = legacy_fields.to_lua(value.typename, vars(value))
            self.pending.append(lambda: made.update((k, self.value(v)) for k, v in fields.items()))
            return made
        table = LuaTable()
        items: Iterable[tuple[Any, Any]] = (
            enumerate(cast("list[Any]", value), 1) if isinstance(value, list) else value.items()
        )
        self.pending.append(lambda: table.update((self.value(k), self.value(v)) for k, v in items))
        return table
