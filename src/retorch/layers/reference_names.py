"""A network's tensors under the names of a PyTorch class that exists already: ``export --like``.

What the class has is a list of names and shapes, as ``state_dict()`` prints them. Both sides are runs of modules, each
with its tensors; which is which is found in :mod:`retorch.layers.module_alignment`.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np

from retorch.errors import FormatError, MissingFileError
from retorch.layers import module_alignment, module_order
from retorch.layers.base.layer import Array
from retorch.layers.state import Entry

Shape: TypeAlias = tuple[int, ...]
#: PyTorch counts the batches that running statistics were taken from; Torch7 does not.
_COUNTER = "num_batches_tracked"
_LARGEST_HEADER = 100 << 20
_LINE = re.compile(r"""^\W*(?P<name>[A-Za-z0-9_][\w.]*)['"]?[\s:,=]+(?:torch\.Size|tensor|Size)?(?P<shape>.*)$""")


class Reference(dict[str, Shape]):
    """Names and shapes. ``in_order`` is whether they stand as ``state_dict()`` lists them; sorted ones do not."""

    def __init__(self, shapes: Mapping[str, Shape], *, in_order: bool) -> None:
        super().__init__(shapes)
        self.in_order = in_order


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """What fits and what does not.

    Attributes:
        tensors: by the reference's names.
        renamed: reference's name, Torch's path and field, and what was done to the layout (``""``: nothing).
        missing: names of the reference that nothing fits, with their shapes.
        unused: tensors of the network that the reference has no place for, with their shapes.
        unsure: names of the reference, among the missing, that several modules fit.
        is_whole: whether nothing is missing, and nothing unused but zeros.
    """

    tensors: dict[str, Array]
    renamed: tuple[tuple[str, str, str], ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    unsure: tuple[str, ...]
    is_whole: bool


def read_reference(path: Path) -> Reference:
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
    return _as_listed(found)


def _as_listed(shapes: dict[str, Shape]) -> Reference:
    """A list as it stands, but for one that somebody sorted by its text."""
    likely = module_order.ordered(shapes)
    if list(shapes) != sorted(shapes) or list(likely) == list(shapes):
        return Reference(shapes, in_order=True)
    return Reference(likely, in_order=False)


def _of_safetensors(text: bytes, path: Path) -> Reference:
    try:
        header = cast("dict[str, Any]", json.loads(text))
        shapes = {name: tuple(map(int, entry["shape"])) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path}: not a safetensors file ({error})") from error
    return Reference(module_order.ordered(shapes), in_order=False)


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
    """Give a network's tensors the names of a reference. A plain mapping is one in the order of ``state_dict()``."""
    ours = _grouped((entry.prefix, entry.field, entry) for entry in entries)
    theirs = _grouped((*_split(name), shape) for name, shape in reference.items() if not name.endswith(_COUNTER))
    found = _alignment(ours, theirs, in_order=not isinstance(reference, Reference) or reference.in_order)
    tensors: dict[str, Array] = {}
    renamed: list[tuple[str, str, str]] = []
    used: set[int] = set()
    for mine, other in found.pairs:
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
    unused = [entry for entry in entries if id(entry) not in used]
    told = tuple(f"{_joined(e.path, e.field)} {_sizes(e.array.shape)}" for e in unused)
    unsure = tuple(_joined(theirs[j].prefix, field) for j in found.open_theirs for field in theirs[j].fields)
    is_whole = not missing and not any(entry.array.any() for entry in unused)
    return Matched(ordered, tuple(renamed), missing, told, unsure, is_whole)


def equal_shapes(found: Matched) -> int:
    """How many of the modules that got names could be exchanged for another one by their shapes."""
    kinds: dict[str, list[tuple[str, Shape]]] = {}
    for name, array in found.tensors.items():
        prefix, field = _split(name)
        kinds.setdefault(prefix, []).append((field, array.shape))
    count = Counter(map(tuple, kinds.values()))
    return sum(number for number in count.values() if number > 1)


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


def _alignment(ours: Sequence[_Group], theirs: Sequence[_Group], *, in_order: bool) -> module_alignment.Alignment:
    known: dict[tuple[object, object], int] = {}
    kinds = [_kind(group, lambda e: (e.typename, e.array.shape)) for group in ours]
    others = [_kind(group, lambda shape: shape) for group in theirs]

    def score(i: int, j: int) -> int:
        key = kinds[i], others[j]
        if key not in known:
            known[key] = _score(ours[i], theirs[j])
        return known[key]

    if in_order:
        return module_alignment.in_order(len(ours), len(theirs), score)
    return module_alignment.by_names([g.prefix for g in ours], [g.prefix for g in theirs], score)


def _kind(group: _Group, of: Callable[[Any], object]) -> tuple[tuple[str, object], ...]:
    """What the modules have in common that fit alike."""
    return tuple((field, of(tensor)) for field, tensor in group.fields.items())
