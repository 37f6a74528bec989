"""Layers as a tree of text, as a person reads them."""

from __future__ import annotations

from collections.abc import Collection

from retorch.layers.base.layer import Layer

_MOST_LINES = 400


def tree(root: Layer, problems: Collection[str] = ()) -> str:
    """One line for each layer, those inside further to the right; layers that cannot be converted are marked."""
    lines: list[str] = []
    seen: set[int] = set()
    stack: list[tuple[int, Layer]] = [(0, root)]
    while stack:
        depth, layer = stack.pop()
        again = id(layer) in seen
        mark = "  (again)" if again else "  (cannot be converted)" if layer.path in problems else ""
        lines.append("  " * depth + line(layer) + mark)
        if not again:
            seen.add(id(layer))
            stack.extend((depth + 1, child) for child in reversed(list(layer.children())))
    hidden = len(lines) - _MOST_LINES
    return "\n".join([*lines[:_MOST_LINES], f"… {hidden} more"] if hidden > 0 else lines)


def line(layer: Layer) -> str:
    """A layer: where it stands in the one around it, its class, its settings, its arrays."""
    words = [layer.path.rpartition(".")[2], layer.typename]
    words += [f"{name}={short(value)}" for name, value in layer.settings().items()]
    words += [f"{name} {'x'.join(map(str, array.shape))}" for name, array in layer.parameters().items()]
    return "  ".join(filter(None, [words[0], " ".join(words[1:])]))


def short(value: object) -> str:
    """A setting in few characters."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return "x".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return str(value)
