"""Any stored value as a tree: types, shapes, numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from retorch.cli.terminal import plain
from retorch.cli.tree import Tree
from retorch.errors import counted
from retorch.torch7 import LuaFunction, LuaTable, TorchObject, TorchStorage, TorchTensor

Array: TypeAlias = NDArray[Any]

_MOST_LINES = 2000
_MOST_ENTRIES = 60
_DEEPEST = 100


def entries(value: object) -> Iterable[tuple[object, object]]:
    """The keys and values inside a value."""
    if isinstance(value, (TorchObject, LuaTable)):
        return value.items()
    if isinstance(value, LuaFunction):
        return [("upvalues", value.upvalues)]
    return ()


def describe(value: object, *, stats: bool = False) -> str:
    """One line: what a value is."""
    if isinstance(value, TorchObject):
        return f"{value.typename} ({counted(len(value), 'field')})"
    if isinstance(value, LuaTable):
        return f"table ({len(value)})"
    if isinstance(value, LuaFunction):
        return f"function ({counted(len(value.code), 'byte')} of bytecode)"
    if isinstance(value, np.ndarray):
        return _describe_array(cast("Array", value), stats)
    if isinstance(value, (str, bytes)):
        text = repr(value)
        return text if len(text) < 80 else f"{text[:77]}… ({len(value)})"
    return "nil" if value is None else str(value)


def _describe_array(array: Array, stats: bool) -> str:
    facts = array.facts if isinstance(array, (TorchTensor, TorchStorage)) else None
    kind = facts.typename if facts else str(array.dtype)
    sizes = "x".join(map(str, array.shape)) or "scalar"
    return f"{kind} {sizes}" + (statistics(array) if stats else "")


def statistics(array: Array) -> str:
    """Minimum, mean, maximum, and how many are not numbers."""
    if not array.size or array.dtype.kind not in "fiu":
        return ""
    wide = array.astype(np.float64)
    missing = int(np.isnan(wide).sum())
    good = wide[~np.isnan(wide)]
    if not good.size:
        return f"  all {missing} NaN"
    text = f"  min {good.min():.4g} mean {good.mean():.4g} max {good.max():.4g}"
    return text + (f" NaN {missing}" if missing else "")


def as_tree(root: object, *, stats: bool, offsets: Mapping[int, int]) -> Tree:
    """The value with everything inside, each table and object once."""
    tree = Tree(_label("", root, stats, offsets))
    stack: list[tuple[Tree, object]] = [(tree, root)]
    seen: set[int] = {id(root)}
    lines = 0
    while stack:
        branch, value = stack.pop()
        for i, (key, item) in enumerate(entries(value)):
            lines += 1
            if i >= _MOST_ENTRIES or lines > _MOST_LINES:
                branch.add("[dim]…[/dim]")
                break
            again = id(item) in seen
            twig = branch.add(_label(_key(key), item, stats, offsets) + (" [dim](again)[/dim]" if again else ""))
            if not again and isinstance(item, (TorchObject, LuaTable, LuaFunction)):
                seen.add(id(item))
                stack.append((twig, item))
    return tree


def _key(key: object) -> str:
    return f"[{key}]" if isinstance(key, (int, float, bool)) else key if isinstance(key, str) else describe(key)


def _label(key: str, value: object, stats: bool, offsets: Mapping[int, int]) -> str:
    text = plain(describe(value, stats=stats))
    where = f"  [dim]@{offsets[id(value)]}[/dim]" if id(value) in offsets else ""
    return f"[cyan]{plain(key)}[/cyan] {text}{where}" if key else text + where


def as_json(root: object, *, stats: bool) -> Any:
    """The value as JSON: what cannot be written there is described; what was seen before is named ``again``."""
    made: dict[str, Any] = {}
    stack: list[tuple[dict[str, Any], str, object, int]] = [(made, "root", root, 0)]
    seen: set[int] = set()
    while stack:
        into, key, value, level = stack.pop()
        if not isinstance(value, (TorchObject, LuaTable, LuaFunction)):
            as_is = isinstance(value, (bool, int, str)) or value is None
            as_is = as_is or (isinstance(value, float) and math.isfinite(value))  # JSON has no others
            into[key] = value if as_is else {"is": describe(value, stats=stats)}
            continue
        entry: dict[str, Any] = {"is": describe(value)}
        into[key] = entry
        if id(value) in seen:
            entry["again"] = True
            continue
        if level == _DEEPEST:
            entry["deeper"] = True  # no parser of JSON would follow
            continue
        seen.add(id(value))
        inside = entry.setdefault("inside", {})
        stack.extend((inside, _key(k), item, level + 1) for k, item in entries(value))
    return made["root"]
