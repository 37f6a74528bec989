"""Which input a network takes, where nobody says: worked out from its own weights.

Channels come from the first convolution or linear layer. Height and width are found by trying: the network is lowered
at a size, and the first layer whose weights do not fit says whether the image was too small or too large. Only square
images are tried, and nothing is assumed where several sizes fit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from retorch.builder import Builder, flatten
from retorch.builder import Nested as Values
from retorch.errors import RetorchError, UnsupportedError, UsageError
from retorch.layers.rule import Layer
from retorch.lowering import InputSpec, lower_inputs
from retorch.module import Module

LARGEST = 2048

_HINT = "say it with --input, for example --input 1x3x224x224 (once for each tensor of a table)"


@dataclass(frozen=True, slots=True)
class Guess:
    """A shape, and what was assumed in finding it."""

    shape: tuple[int, ...]
    note: str


class Fit(IntEnum):
    """What a size is to a network."""

    TOO_SMALL = -1
    FITS = 0
    TOO_LARGE = 1


def input_shape(net: Module) -> Guess:
    """The shape of a network's input.

    Raises:
        UnsupportedError: the network cannot be converted at any size.
        UsageError: the network does not say, or several sizes fit.
    """
    if net.problems:
        raise UnsupportedError(net.problems)
    first = next((found for found in _readers(net.layer)), None)
    if first is None:
        raise UsageError("which input this network takes cannot be worked out", hint=_HINT)
    layer, pattern = first
    free = [i for i, size in enumerate(pattern) if size is None]
    known = tuple(1 if size is None else size for size in pattern)
    where = f"{layer.path or '(root)'} {layer.typename}"
    if not free:
        if _fit(net, known) is not Fit.FITS:
            raise UsageError(f"the input's shape does not follow from {where}", hint=_HINT)
        return Guess(known, f"assumed the input {_text(known)}, from {where}")
    shape = _solve(net, pattern)
    return Guess(shape, f"assumed the input {_text(shape)}: channels from {where}, the only square size that fits")


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _readers(layer: Layer) -> Iterator[tuple[Layer, tuple[int | None, ...]]]:
    """The layers that say what they read, in order of the file; a batch of one."""
    stack, seen = [layer], set[int]()
    while stack:
        at = stack.pop()
        if id(at) in seen:
            continue
        seen.add(id(at))
        pattern = at.reads()
        if pattern is not None:
            yield at, (1, *pattern)
        stack.extend(reversed(list(at.children())))


def _solve(net: Module, pattern: tuple[int | None, ...]) -> tuple[int, ...]:
    def at(size: int) -> tuple[int, ...]:
        return tuple(size if s is None else s for s in pattern)

    low, high = 1, LARGEST
    while low < high:
        middle = (low + high) // 2
        if _fit(net, at(middle)) is Fit.TOO_SMALL:
            low = middle + 1
        else:
            high = middle
    if _fit(net, at(low)) is not Fit.FITS:
        raise UsageError(f"no square image up to {LARGEST} fits this network", hint=_HINT)
    if _fit(net, at(low + 1)) is Fit.FITS:
        raise UsageError(f"several sizes fit this network, {_text(at(low))} and larger", hint=_HINT)
    return at(low)


def _fit(net: Module, shape: tuple[int, ...]) -> Fit:
    op = Builder(strict=True)
    inputs, _ = lower_inputs(op, [InputSpec(shape)], 0)
    try:
        op.call(net.layer, inputs)
    except UnsupportedError:
        return _direction(op)
    except (RetorchError, ValueError, IndexError, ZeroDivisionError):
        return Fit.TOO_SMALL
    return Fit.FITS


def _direction(op: Builder) -> Fit:
    """Too small, unless the layer that refused got more than it reads."""
    if op.refused is None:
        return Fit.TOO_SMALL
    layer, x = op.refused
    wanted = layer.elements()
    if wanted is None:
        return Fit.TOO_SMALL
    return Fit.TOO_LARGE if _elements(x) > wanted else Fit.TOO_SMALL


def _elements(x: Values) -> int:
    return sum(math.prod(v.shape) for v in flatten(x))
