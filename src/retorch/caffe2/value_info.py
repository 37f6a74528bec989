"""``value_info.json``: the types and shapes of inputs, as it lies beside nets in Caffe2's own collections of models.

Caffe2's files do not say what is to be fed. Its exporters to ONNX ask for it, and take this: the name of a blob, and
ONNX's number of its type with its sizes, as in ``{"data": [1, [1, 3, 224, 224]]}``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard, cast

import onnx_ir as ir

from retorch.files.regular import content

NAME = "value_info.json"
#: A file of names and sizes is small, and no tensor has more dimensions or larger ones.
_LONGEST, _RANK, _SIZE = 1 << 20, 32, 2**40
_TYPES = frozenset(
    kind.value
    for kind in ir.DataType
    if kind.is_floating_point() or kind.is_integer() or kind == ir.DataType.BOOL
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Declared:
    """What a blob is said to be."""

    dtype: ir.DataType
    shape: tuple[int, ...]

    def __str__(self) -> str:
        """As in ``float32 1×3×224×224``."""
        return f"{self.dtype.numpy().name} {'×'.join(map(str, self.shape)) or 'a single number'}"


def beside(net: Path) -> dict[str, Declared]:
    """What the file beside a net says; nothing where there is none, or something else bears its name."""
    path = net.with_name(NAME)
    if not path.is_file() or path.stat().st_size > _LONGEST:
        return {}
    try:
        said: object = json.loads(bytes(content(path)[:]))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(said, dict):
        return {}
    entries = cast("dict[str, object]", said)
    return {name: _declared(entry) for name, entry in entries.items() if _is_entry(entry)}


def _declared(entry: tuple[int, list[int]]) -> Declared:
    number, sizes = entry
    return Declared(ir.DataType(number), tuple(sizes))


def _is_entry(entry: object) -> TypeGuard[tuple[int, list[int]]]:
    if not isinstance(entry, list) or len(cast("list[object]", entry)) != 2:
        return False
    number, sizes = cast("list[object]", entry)
    if not _is_whole(number) or number not in _TYPES or not isinstance(sizes, list):
        return False
    listed = cast("list[object]", sizes)
    return len(listed) <= _RANK and all(_is_whole(size) and 0 < cast("int", size) < _SIZE for size in listed)


def _is_whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def named(declared: Mapping[str, Declared], blobs: Collection[str]) -> frozenset[str]:
    """The blobs that are said to be inputs: those of them that it has, where it does not have all, weights too."""
    found = declared.keys() & set(blobs)
    return frozenset(found if len(found) < len(blobs) or len(blobs) == 1 else ())
