"""Where the networks stand among what a file holds."""

from __future__ import annotations

from retorch.layers.base.layer import registered
from retorch.torch7 import LuaTable, TorchObject
from retorch.torch7.paths import child


def is_module(value: object) -> bool:
    """Whether a stored object looks like a network: a class with a rule, or one that has modules inside."""
    if not isinstance(value, TorchObject):
        return False
    known = value.typename in registered()
    return known or isinstance(value.get("modules"), LuaTable) or value.typename.startswith(("nn.", "cudnn."))


def networks(root: object) -> dict[str, TorchObject]:
    """The outermost networks in a file, by path; criterions left out."""
    found: dict[str, TorchObject] = {}
    seen: set[int] = set()
    stack: list[tuple[str, object]] = [("", root)]
    while stack:
        path, value = stack.pop()
        if id(value) in seen or not isinstance(value, (TorchObject, LuaTable)):
            continue
        seen.add(id(value))
        if isinstance(value, TorchObject) and is_module(value):
            if not value.typename.endswith("Criterion"):
                found[path] = value
            continue
        inside = [(child(path, key), item) for key, item in value.items() if isinstance(key, (str, int))]
        stack.extend(reversed(inside))
    return found
