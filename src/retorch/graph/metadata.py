"""What a network says of itself, in the metadata of an ONNX model and the arguments of a Caffe2 net: only what retorch
would have written counts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from retorch.errors import FormatError

#: Tables in each other, ranks and sizes beyond which nothing is an input.
_DEEPEST, _RANK, _SIZE = 100, 32, 2**40


def checked(said: Mapping[str, str]) -> dict[str, str]:
    """The entries, as they are.

    Raises:
        FormatError: one of retorch's own that retorch did not write.
    """
    for key, check in _CHECKS.items():
        if key in said and not _passes(check, said[key]):
            raise FormatError(f"what it says of itself as {key} makes no sense: {said[key][:60]!r}")
    return dict(said)


def _passes(check: Callable[[Any], bool], text: str) -> bool:
    try:
        return check(json.loads(text))
    except (ValueError, RecursionError):
        return False


def _nesting(value: object) -> bool:
    found: list[int] = []
    stack = [(value, 0)]
    while stack:
        item, depth = stack.pop()
        if isinstance(item, list) and depth < _DEEPEST:
            stack.extend((inside, depth + 1) for inside in reversed(cast("list[object]", item)))
        elif isinstance(item, int) and not isinstance(item, bool):
            found.append(item)
        else:
            return False
    return found == list(range(len(found))) or all(0 <= position < len(found) for position in found)


def _shape(value: object) -> bool:
    if not isinstance(value, list) or len(cast("list[object]", value)) > _RANK:
        return False
    sizes = cast("list[object]", value)
    return all(isinstance(size, int) and not isinstance(size, bool) and 0 <= size < _SIZE for size in sizes)


def _shapes(value: object) -> bool:
    return isinstance(value, list) and all(_shape(item) for item in cast("list[object]", value))


def _layers(value: object) -> bool:
    return isinstance(value, list) and all(_layer(item) for item in cast("list[object]", value))


def _layer(value: object) -> bool:
    if not isinstance(value, list) or len(cast("list[object]", value)) != 3:
        return False
    path, typename, names = cast("list[object]", value)
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in cast("list[object]", names))
    return isinstance(path, str) and isinstance(typename, str) and is_list


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "retorch.inputs": _nesting,
    "retorch.outputs": _nesting,
    "retorch.example_shapes": _shapes,
    "retorch.layers": _layers,
}
