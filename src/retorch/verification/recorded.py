"""Torch's own word: many files still hold what each module gave in Torch's last forward.

Where a module's recorded input and output can be lined up, its formula runs on the one and must give the other. A
module's input is what the module before it gave, as long as nobody has written into that tensor since; dropout,
batch normalization and noise count only where the file says that it was saved at evaluation. Weights may have been
changed since (a training step does that after each forward), so a module with weights is told of in a note where it
does not give again what was recorded, and so are all others then: that recording is of other weights than the file's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from retorch.errors import RetorchError
from retorch.layers.base.layer import Array, Layer, Nested
from retorch.layers.base.memory import forward_pass, tensors
from retorch.layers.base.random_source import RandomLayer
from retorch.layers.container import Concat, ConcatTable, DepthConcat, ParallelTable, Sequential
from retorch.module import Module
from retorch.torch7 import LuaTable
from retorch.verification.metrics import TOLERANCE, Measure, measure
from retorch.verification.report import LayerRow, Witness

ENGINE = "recorded (Torch's own last forward)"

_CONTRADICTED = (
    "its recorded output is not what its recorded input gives, and elsewhere this class gives what it should"
)
#: Classes that give something else in training, by part of their name.
_MOODY = ("Dropout", "BatchNorm", "RReLU", "Noise", "Stochastic", "Whiten")


@dataclass(frozen=True, slots=True)
class _Pair:
    """A layer with the input and the output that Torch recorded."""

    layer: Layer
    x: Nested
    y: Nested

    @property
    def masked(self) -> bool:
        """Whether the formula differs from what was recorded, but only where that is exactly 0."""
        try:
            with forward_pass():
                made = list(tensors(self.layer(_wide(self.x))))
        except RetorchError:
            return False
        wanted = list(tensors(self.y))
        if [t.shape for t in made] != [t.shape for t in wanted]:
            return False
        same = all(measure(w[w != 0], m[w != 0]).within(TOLERANCE) for w, m in zip(wanted, made, strict=True))
        return same and not all(measure(w, m).within(TOLERANCE) for w, m in zip(wanted, made, strict=True))


def recorded(net: Module) -> list[Witness]:
    """The witness that the file itself holds; an empty list where it holds none."""
    return recordings(net)[0]


def recordings(net: Module) -> tuple[list[Witness], tuple[str, ...]]:
    """The witness that the file itself holds, an empty list where it holds none; and notes on what it contradicts."""
    if net.problems:
        return [], ()
    doubts: list[str] = []
    rows: list[LayerRow] = []
    changed: list[Layer] = []
    foreign = 0
    for pair in _pairs(net):
        measures = _compare(pair)
        foreign += not measures
        if pair.masked:
            doubts.append(f"{_named(pair.layer)}: what Torch recorded was set to 0 afterwards here and there")
        elif pair.layer.parameters() and not all(m.within(TOLERANCE) for m in measures):
            changed.append(pair.layer)
        else:
            rows += [LayerRow(pair.layer.path, pair.layer.typename, "", None, m) for m in measures]
    rows, contradicted = _in_doubt(rows)
    doubts += [f"{row.path or '(root)'} {row.typename}: {_CONTRADICTED}" for row in contradicted]
    if changed:
        doubts.append(_changed(changed))
        rows = [row for row in rows if not row.guilty(TOLERANCE)]
    if not rows:
        return [], tuple(doubts)
    trial = f"{len({row.path for row in rows})} layers, on what they were given then"
    trial += f"; {len(changed)} changed since" if changed else ""
    trial += f"; {foreign} of another size than their input asks for" if foreign else ""
    return [Witness(ENGINE, trial, (), layers=tuple(rows))], tuple(doubts)


def _named(layer: Layer) -> str:
    return f"{layer.path or '(root)'} {layer.typename}"


def _changed(layers: Sequence[Layer]) -> str:
    """What to say of layers with weights that do not give what was recorded."""
    one = len(layers) == 1
    who = f"{_named(layers[0])} does" if one else f"{_named(layers[0])} and {len(layers) - 1} more do"
    return f"{who} not give what Torch recorded; {'its' if one else 'their'} weights may have been changed since"


def _in_doubt(rows: list[LayerRow]) -> tuple[list[LayerRow], list[LayerRow]]:
    """The rows that count, and those that differ though the same class gives what was recorded elsewhere.

    There the formula is right, and what was recorded contradicts itself: it accuses nobody.
    """
    proven = {row.typename for row in rows if not row.guilty(TOLERANCE)}
    doubtful = [row for row in rows if row.guilty(TOLERANCE) and row.typename in proven]
    return [row for row in rows if row not in doubtful], doubtful


def _compare(pair: _Pair) -> list[Measure]:
    """The formula's outputs against the recorded ones; empty where these do not belong to that input."""
    try:
        with forward_pass():
            made = list(tensors(pair.layer(_wide(pair.x))))
    except RetorchError:
        # what was recorded last need not belong to one pass: a batch that was cut, another model's buffers
        return []
    wanted = list(tensors(pair.y))
    if [t.shape for t in made] != [t.shape for t in wanted]:
        return []
    return [measure(w, m) for w, m in zip(wanted, made, strict=True)]


def _pairs(net: Module) -> Iterator[_Pair]:
    order = {id(layer): i for i, layer in enumerate(net.layers())}
    writers = [layer for layer in net.layers() if _writes(layer)]
    writes = [(order[id(layer)], memory) for layer in writers for memory in _memory(layer)]
    seen: set[int] = set()
    stack: list[tuple[Layer, Nested | None]] = [(net.layer, None)]
    while stack:
        layer, x = stack.pop()
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        stack.extend(_inside(layer, x))
        y = _stored(layer)
        if x is None or y is None or layer.container or list(layer.children()) or not _steady(layer):
            continue
        later = [memory for i, memory in writes if i >= order[id(layer)]]
        if not any(np.may_share_memory(t, memory) for t in (*tensors(x), *tensors(y)) for memory in later):
            yield _Pair(layer, x, y)


def _inside(layer: Layer, x: Nested | None) -> list[tuple[Layer, Nested | None]]:
    """The modules of a container with the inputs that Torch gave them, last first."""
    modules = list(layer.children())
    found: list[tuple[Layer, Nested | None]] = []
    if isinstance(layer, Sequential):
        for module in modules:
            found.append((module, x))
            x = _stored(module)
    elif isinstance(layer, (Concat, ConcatTable, DepthConcat)):
        found = [(module, x) for module in modules]
    elif isinstance(layer, ParallelTable) and isinstance(x, list):
        found = list(zip(modules, x, strict=False))
    else:
        found = [(module, None) for module in modules]
    return found[::-1]


def _writes(layer: Layer) -> bool:
    return layer.raw.get("inplace") not in (None, False, 0)


def _memory(layer: Layer) -> list[Array]:
    y = _stored(layer)
    return [] if y is None else list(tensors(y))


def _steady(layer: Layer) -> bool:
    if isinstance(layer, RandomLayer) and layer.draws():
        return False
    moody = any(part in layer.typename for part in _MOODY)
    return not moody or layer.raw.get("train") is False


def _stored(layer: Layer) -> Nested | None:
    """What the file holds as a module's output: a tensor or a table of such, none of them empty."""
    return _nested(layer.raw.get("output"))


def _nested(value: object) -> Nested | None:
    if isinstance(value, np.ndarray):
        array = cast("Array", value)
        return array if array.size and array.dtype.kind == "f" else None
    if isinstance(value, LuaTable):
        inside = [made for item in value.sequence() if (made := _nested(item)) is not None]
        return inside if inside and len(inside) == len(value) else None
    return None


def _wide(x: Nested) -> Nested:
    return [_wide(item) for item in x] if isinstance(x, list) else np.array(x, np.float64)
