"""The order in which a network's modules probably run, where only their names and shapes are known.

A ``.safetensors`` file is sorted by the text of its names: ``bn1`` stands before ``conv1``, ``fc`` before ``layer1``,
``10`` before ``2``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from retorch.layers.state import ORDER

Shape: TypeAlias = tuple[int, ...]
Place: TypeAlias = tuple[int, tuple[int, ...], int, str]
#: Branches around what stands beside them.
BESIDE = frozenset({"downsample", "shortcut"})


def ordered(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """The tensors by module: by the numbers in names; of equal numbers the convolution before its batch norm.

    Dense layers come after the convolutions beside them.
    """
    ranks: dict[str, set[int]] = {}
    leaves = {name.rpartition(".")[0] for name in shapes}
    for name, shape in shapes.items():
        for node in _nodes(name):
            ranks.setdefault(node, set()).update({len(shape)} if len(shape) > 1 else ())

    def place(node: str) -> Place:
        parent, _, word = node.rpartition(".")
        numbers = tuple(map(int, re.findall(r"\d+", word)))
        if word.isdigit():
            return 0, numbers, 0, ""
        is_dense = ranks[node] == {2} and max(ranks[parent]) > 2
        after = 2 if is_dense else 1 if word in BESIDE else 0
        kind = 2 if node not in leaves else 0 if ranks[node] else 1
        return after, numbers, kind, word

    def key(name: str) -> tuple[list[Place], int, str]:
        last = name.rpartition(".")[2]
        field = ORDER.index(last) if last in ORDER else len(ORDER)
        return [place(node) for node in _nodes(name) if node], field, last

    return {name: shapes[name] for name in sorted(shapes, key=key)}


def _nodes(name: str) -> Iterator[str]:
    """The modules that a tensor is in, outermost first; the root is ``""``."""
    parts = name.split(".")[:-1]
    return (".".join(parts[:count]) for count in range(len(parts) + 1))
