"""Where the networks stand among what a file holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any

from retorch.layers.base.layer import import_families, rule
from retorch.torch7 import LuaTable, TorchObject
from retorch.torch7.paths import Way, child

#: What makes an object of a table that stands for a network in some project's checkpoints, or gives None.
_readers: list[Callable[[LuaTable], TorchObject | None]] = []


def stored_as_table(reader: Callable[[LuaTable], TorchObject | None]) -> Callable[[LuaTable], TorchObject | None]:
    """Register a function that makes an object of a table that stands for a network, and gives None for others."""
    _readers.append(reader)
    return reader


#: What nn trains a network by, and keeps it in.
TRAINER = "nn.StochasticGradient"


def is_module(value: object) -> bool:
    """Whether a stored object looks like a network: a class with a rule, or one that has modules inside."""
    if not isinstance(value, TorchObject):
        return False
    if value.typename == TRAINER:
        return False
    known = rule(value.typename) is not None
    return known or isinstance(value.get("modules"), LuaTable) or value.typename.startswith(("nn.", "cudnn."))


def measures_loss(value: TorchObject) -> bool:
    """Whether an object is a criterion, which is no network, whatever modules it may hold."""
    known = rule(value.typename)
    return known.is_loss if known is not None else value.typename.endswith("Criterion")


def networks(root: object) -> dict[str, TorchObject]:
    """The outermost networks in a file, by path; criterions left out."""
    found: dict[str, TorchObject] = {}
    seen: set[int] = set()
    stack: list[tuple[Way, object]] = [(None, root)]
    while stack:
        path, value = stack.pop()
        if id(value) in seen or not isinstance(value, (TorchObject, LuaTable)):
            continue
        seen.add(id(value))
        if isinstance(value, TorchObject) and is_module(value):
            if not measures_loss(value):
                found[reduce(child, _keys(path), "")] = value
            continue
        made = None
        if isinstance(value, LuaTable) and "modules" in value:
            import_families()
            made = next((made for read in _readers if (made := read(value)) is not None), None)
        if made is not None:
            found[reduce(child, _keys(path), "")] = made
            continue
        inside: list[tuple[Way, object]] = [
            ((path, key), item) for key, item in value.items() if isinstance(key, (str, int))
        ]
        stack.extend(reversed(inside))
    return found


def modules(net: TorchObject, path: str, typed: str) -> Iterator[str]:
    """Where the modules of a network stand, and of those inside whose path is typed already theirs."""
    stack: list[tuple[str, TorchObject]] = [(path, net)]
    seen: set[int] = set()
    while stack:
        at, module = stack.pop()
        inside = module.get("modules")
        if id(module) in seen or not isinstance(inside, LuaTable):
            continue
        seen.add(id(module))
        for index, item in enumerate(inside.sequence(), 1):
            where = child(child(at, "modules"), index)
            if isinstance(item, TorchObject):
                yield where
                if typed.startswith(where):
                    stack.append((where, item))


def _keys(way: Way) -> list[Any]:
    keys: list[Any] = []
    while way is not None:
        way, key = way
        keys.append(key)
    return keys[::-1]
