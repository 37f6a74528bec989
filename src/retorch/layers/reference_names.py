"""A network's tensors under the names of a PyTorch class that exists already: ``export --like``.

What the class has is a list of names and shapes, as ``state_dict()`` prints them. Both sides are runs of modules, each
with its tensors, and are laid beside each other in order so that as many tensors as possible fit; what is left over is
matched where its shapes occur once on either side.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np

from retorch.errors import FormatError, MissingFileError
from retorch.layers import module_order
from retorch.layers.base.layer import Array
from retorch.layers.state import Entry

Shape: TypeAlias = tuple[int, ...]
#: PyTorch counts the batches that running statistics were taken from; Torch7 does not.
_COUNTER = "num_batches_tracked"
_LARGEST_HEADER = 100 << 20
_LINE = re.compile(r"""^\W*(?P<name>[A-Za-z0-9_][\w.]*)['"]?[\s:,=]+(?:torch\.Size|tensor|Size)?(?P<shape>.*)$""")


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """What fits and what does not.

    Attributes:
        tensors: by the reference's names.
        renamed: reference's name, Torch's path and field, and what was done to the layout (``""``: nothing).
        missing: names of the reference that nothing fits, with their shapes.
        unused: tensors of the network that the reference has no place for, with their shapes.
    """

    tensors: dict[str, Array]
    renamed: tuple[tuple[str, str, str], ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def read_reference(path: Path) -> dict[str, Shape]:
    """Names and shapes: of a ``.safetensors`` file, of JSON, or of text with one of each on a line.

    Raises:
        MissingFileError: there is no such file.
        FormatError: nothing of the kind is in it.
    """
    if not path.is_file():
        raise MissingFileError(path)
    with path.open("rb") as file:
        head = file.read(8)
        size = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if 2 <= size <= min(_LARGEST_HEADER, path.stat().st_size) and (text := file.read(size))[:1] == b"{":
            return _of_safetensors(text, path)
    try:
        written = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise FormatError(
            f"{path}: no list of names and shapes", hint="print(k, tuple(v.shape)) for each k, v"
        ) from None
    found = _of_json(written) if written.lstrip()[:1] in {"{", "["} else None
    found = dict(_of_text(written)) if found is None else found
    if not found:
        raise FormatError(f"{path}: no list of names and shapes", hint="one `name (sizes)` on a line, or JSON")
    return found


def _of_safetensors(text: bytes, path: Path) -> dict[str, Shape]:
    try:
        header = cast("dict[str, Any]", json.loads(text))
        shapes = {name: tuple(map(int, entry["shape"])) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path}: not a safetensors file ({error})") from error
    return module_order.ordered(shapes)


def repeated_shapes(reference: Mapping[str, Shape]) -> int:
    """How many weights of a reference have a shape that another one has too."""
    weights = Counter(shape for shape in reference.values() if len(shape) > 1)
    return sum(count for count in weights.values() if count > 1)


def _of_json(text: str) -> dict[str, Shape] | None:
    try:
        value: Any = json.loads(text)
    except ValueError:
        return None
    listed = cast("list[Any]", value) if isinstance(value, list) else []
    pairs = list(cast("dict[str, Any]", value).items()) if isinstance(value, dict) else list(map(_pair, listed))
    return {name: tuple(map(int, cast("list[Any]", shape))) for name, shape in map(_pair, pairs) if _is_shape(shape)}


def _pair(item: Any) -> tuple[str, Any]:
    """A name and its shape, of ``[name, shape]`` or ``{"name": …, "shape": …}``, which may stand for the shape too."""
    if isinstance(item, dict):
        entry = cast("dict[str, Any]", item)
        return str(entry.get("name")), entry.get("shape")
    parts = cast("list[Any]", item) if isinstance(item, (list, tuple)) else []
    if len(parts) != 2:
        return "", None
    shape = parts[1]
    return str(parts[0]), cast("dict[str, Any]", shape).get("shape") if isinstance(shape, dict) else shape


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, list) and all(isinstance(size, int) for size in cast("list[Any]", shape))


def _of_text(text: str) -> Iterator[tuple[str, Shape]]:
    for line in text.splitlines():
        found = _LINE.match(line)
        if found and (
            "(" in found["shape"] or "[" in found["shape"] or re.search(r"\d+x\d+|^\s*\d+\s*$", found["shape"])
        ):
            yield found["name"], tuple(map(int, re.findall(r"\d+", found["shape"])))


@dataclass(slots=True)
class _Group:
    """The tensors of one module, by their last names."""

    prefix: str
    fields: dict[str, Any]


def match(entries: Sequence[Entry], reference: Mapping[str, Shape]) -> Matched:
    """Give a network's tensors the names of a reference."""
    ours = _grouped((entry.prefix, entry.field, entry) for entry in entries)
    theirs = _grouped((*_split(name), shape) for name, shape in reference.items() if not name.endswith(_COUNTER))
    pairs = _aligned(ours, theirs)
    pairs += _leftovers(ours, theirs, pairs)
    tensors: dict[str, Array] = {}
    renamed: list[tuple[str, str, str]] = []
    used: set[int] = set()
    for mine, other in pairs:
        for field, shape in theirs[other].fields.items():
            entry: Entry | None = ours[mine].fields.get(field)
            fitted = None if entry is None else fit(entry, shape)
            if entry is not None and fitted is not None:
                name = _joined(theirs[other].prefix, field)
                tensors[name], done = fitted
                renamed.append((name, _joined(entry.path, entry.field), done))
                used.add(id(entry))
    for name in reference:
        if name.endswith(_COUNTER) and _joined(_split(name)[0], "running_var") in tensors:
            tensors[name] = np.zeros((), np.int64)
    ordered = {name: tensors[name] for name in reference if name in tensors}
    missing = tuple(f"{name} {_sizes(shape)}" for name, shape in reference.items() if name not in ordered)
    unused = tuple(f"{_joined(e.path, e.field)} {_sizes(e.array.shape)}" for e in entries if id(e) not in used)
    return Matched(ordered, tuple(renamed), missing, unused)


def fit(entry: Entry, shape: Shape) -> tuple[Array, str] | None:
    """A tensor in the shape that a reference has, and what was done for that; None where it has none such.

    What was a linear layer over an image's channels may be a convolution there, and the other way about.
    """
    array, stored = entry.array, entry.stored
    if array.shape == shape:
        return array, "" if stored is None or stored.shape == shape else "laid out as PyTorch does"
    if entry.typename.startswith("nn.LookupTable") and shape == (array.shape[0] + 1, *array.shape[1:]):
        return np.concatenate([np.zeros_like(array[:1]), array]), "row 0 added, as Torch7 counts from 1"
    if array.size != math.prod(shape):
        return None
    flat = [size for size in shape if size != 1]
    for candidate in (array, *(() if stored is None else (stored,))):
        if [size for size in candidate.shape if size != 1] == flat:
            return candidate.reshape(shape), f"from {_sizes(candidate.shape)}"
    if stored is None and entry.field == "weight" and array.ndim > 1 and len(shape) > 1 and array.shape[0] == shape[0]:
        return array.reshape(shape), f"from {_sizes(array.shape)}"
    return None


def _grouped(tensors: Iterable[tuple[str, str, Any]]) -> list[_Group]:
    groups: dict[str, _Group] = {}
    for prefix, field, tensor in tensors:
        groups.setdefault(prefix, _Group(prefix, {})).fields[field] = tensor
    return list(groups.values())


def _split(name: str) -> tuple[str, str]:
    prefix, _, field = name.rpartition(".")
    return prefix, field


def _joined(prefix: str, field: str) -> str:
    return f"{prefix}.{field}" if prefix else field


def _sizes(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))})"


def _score(mine: _Group, other: _Group) -> int:
    """How well two modules fit: a tensor that fits counts much, one that is only on one side a little against it."""
    both = mine.fields.keys() & other.fields.keys()
    fits = [field for field in both if fit(mine.fields[field], other.fields[field]) is not None]
    if not fits or len(fits) < len(both):
        return 0
    return 10 * len(fits) - len(mine.fields.keys() ^ other.fields.keys())


def _aligned(ours: Sequence[_Group], theirs: Sequence[_Group]) -> list[tuple[int, int]]:
    """The pairs, in order on both sides, with the best sum of scores."""
    rows, columns = len(ours), len(theirs)
    best = np.zeros((rows + 1, columns + 1), np.int64)
    took = np.zeros((rows, columns), np.int64)
    for i in range(rows - 1, -1, -1):
        for j in range(columns - 1, -1, -1):
            took[i, j] = _score(ours[i], theirs[j])
            skipped = max(best[i + 1, j], best[i, j + 1])
            best[i, j] = max(skipped, best[i + 1, j + 1] + took[i, j]) if took[i, j] else skipped
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < rows and j < columns:
        if took[i, j] and best[i, j] == best[i + 1, j + 1] + took[i, j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i, j] == best[i + 1, j]:
            i += 1
        else:
            j += 1
    return pairs


def _leftovers(
    ours: Sequence[_Group], theirs: Sequence[_Group], pairs: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Modules that stand in another order: those that fit one another and nothing else that is left."""
    mine = [i for i in range(len(ours)) if i not in {i for i, _ in pairs}]
    other = [j for j in range(len(theirs)) if j not in {j for _, j in pairs}]
    fits = {(i, j) for i in mine for j in other if _score(ours[i], theirs[j])}
    return [
        (i, j)
        for i, j in sorted(fits)
        if sum(1 for a, _ in fits if a == i) == 1 and sum(1 for _, b in fits if b == j) == 1
    ]
