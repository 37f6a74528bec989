"""Where something stands inside a file: ``protos.rnn``, ``modules[3].weight``, counted from 1 as Lua counts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import reduce
from typing import Any, TypeAlias

import numpy as np

from retorch.errors import UsageError
from retorch.torch7.objects import LuaTable, TorchObject

#: The keys on the way to a value, innermost first: a chain that costs nothing to make longer.
Way: TypeAlias = "tuple[Way, Any] | None"
#: Keys of a path that are shown.
_SHOWN = 64
_NAME = re.compile(r"[^\W\d]\w*")


def step(key: Any) -> str:
    """One key as it stands in a path: ``.name``, ``[3]``, ``["any text"]``."""
    match key:
        case bool():
            return f"[{str(key).lower()}]"
        case int() | float():
            return f"[{key}]"
        case str() if _NAME.fullmatch(key):
            return f".{key}"
        case str() | bytes():
            text = key if isinstance(key, str) else key.decode("latin-1")
            shown = text if len(text) <= 60 else text[:57] + "..."
            return '["' + shown.encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"]'
        case _:
            return f"[{type(key).__name__}]"


def join(keys: Iterable[Any]) -> str:
    """The path of ``keys``, outermost first; empty for the root. The middle of a long one is left out."""
    steps = list(keys)
    left_out = len(steps) - _SHOWN
    if left_out <= 0:
        return "".join(map(step, steps)).removeprefix(".")
    head, tail = steps[: _SHOWN // 2], steps[-_SHOWN // 2 :]
    return "".join([*map(step, head), f" …{left_out} more… ", *map(step, tail)]).removeprefix(".")


def linked(way: Way) -> str:
    """The path of a value, from the keys on the way to it."""
    keys: list[Any] = []
    while way is not None:
        way, key = way
        keys.append(key)
    return join(reversed(keys))


def child(path: str, key: str | int) -> str:
    """One step deeper: ``model`` + ``1`` is ``model[1]``."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def steps(path: str) -> list[str | int]:
    """The keys of a path: ``protos.rnn``, ``1``, ``[1].modules[3]``."""
    parts = path.replace("[", ".").replace("]", "").split(".")
    return [int(p) if p.lstrip("-").isdigit() else p for p in parts if p]


def follow(root: object, path: str) -> object:
    """The value at a path.

    Raises:
        UsageError: the path names nothing; the message lists the keys that are there.
    """
    at = root
    for i, key in enumerate(steps(path)):
        if not isinstance(at, (TorchObject, LuaTable)):
            here = reduce(child, steps(path)[:i], "") or "the root"
            raise UsageError(f"--at {path}: {here} is a {_kind(at)}, with nothing inside")
        if key not in at:
            keys = ", ".join(str(k) for k in list(at)[:20])
            raise UsageError(f"--at {path}: there is no {key!r}; there are: {keys}")
        at = at[key]  # type: ignore[index]
    return at


def _kind(value: object) -> str:
    if isinstance(value, np.ndarray):
        return "tensor"
    if isinstance(value, bool) or value is None:
        return "nil" if value is None else "boolean"
    return "number" if isinstance(value, (int, float)) else "string"
