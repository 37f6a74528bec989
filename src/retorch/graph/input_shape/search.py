"""Which input a network takes, where nobody says: worked out from its own weights.

Channels come from the first convolution or linear layer. Height and width are found by trying: the network is lowered
at a size, and the first layer whose weights do not fit says whether the image was too small or too large. Only square
images are tried. Where several sizes fit, it is the one at which no layer drops border pixels, if there is just one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from retorch.errors import UnsupportedError, UsageError
from retorch.graph.builder import Builder, Value, flatten
from retorch.graph.builder import Nested as Values
from retorch.graph.lowering import InputSpec, lower_inputs
from retorch.layers.base.layer import Layer

LARGEST = 2048
_MOST_SIZES = 40
#: Layers lowered before giving up: some 20 sizes for a network of 200 layers, or one long recurrence.
_MOST_LAYERS = 5_000

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


def input_shape(net: Layer) -> Guess:
    """The shape of a network's input.

    Raises:
        UnsupportedError: the network cannot be converted at any size.
        UsageError: the network does not say, or several sizes fit.
    """
    first = next((found for found in _readers(net)), None)
    if first is None:
        raise UsageError("which input this network takes cannot be worked out", hint=_HINT)
    layer, pattern = first
    free = [i for i, size in enumerate(pattern) if size is None]
    known = tuple(1 if size is None else size for size in pattern)
    where = f"{layer.path or '(root)'} {layer.typename}"
    if not free:
        if _fit(net, known, iter(range(_MOST_LAYERS))) is not Fit.FITS:
            raise UsageError(f"the input's shape does not follow from {where}", hint=_HINT)
        return Guess(known, f"assumed the input {_text(known)}, from {where}")
    size, why = _solve(net, pattern)
    shape = tuple(size if s is None else s for s in pattern)
    return Guess(shape, f"assumed the input {_text(shape)}: channels from {where}; {why}")


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _readers(layer: Layer) -> Iterator[tuple[Layer, tuple[int | None, ...]]]:
    """The layers that say what they read, in order of the file; a batch of one."""
    for at in layer.every():
        pattern = at.reads()
        if pattern is not None:
            yield at, (1, *pattern)


def _solve(net: Layer, pattern: tuple[int | None, ...]) -> tuple[int, str]:
    budget = iter(range(_MOST_LAYERS))

    def at(size: int) -> tuple[int, ...]:
        return tuple(size if s is None else s for s in pattern)

    def fit(size: int, *, whole: bool = False) -> Fit:
        return _fit(net, at(size), budget, whole=whole)

    low, high = 1, 2
    while high < LARGEST and fit(high) is Fit.TOO_SMALL:
        # from below: a network that unrolls over the image's width costs more the larger it is
        low, high = high + 1, 2 * high
    while low < high:
        middle = (low + high) // 2
        if fit(middle) is Fit.TOO_SMALL:
            low = middle + 1
        else:
            high = middle
    sizes = list(itertools.takewhile(lambda size: fit(size) is Fit.FITS, range(low, low + _MOST_SIZES)))
    if not sizes:
        raise UsageError(f"no square image, or sequence, up to {LARGEST} fits this network", hint=_HINT)
    if len(sizes) == 1:
        return low, "no other square size fits"
    whole = [size for size in sizes if fit(size, whole=True) is Fit.FITS]
    if len(whole) != 1 or len(sizes) == _MOST_SIZES:
        more = "and larger" if len(sizes) == _MOST_SIZES else f"to {sizes[-1]}"
        raise UsageError(f"several sizes fit this network, {_text(at(low))} {more}", hint=_HINT)
    return whole[0], f"of the sizes {low} to {sizes[-1]} that fit, the only one at which no layer drops border pixels"


def _fit(net: Layer, shape: tuple[int, ...], budget: Iterator[int], *, whole: bool = False) -> Fit:
    op = Builder(strict=True, watch=_watch_sizes(shape[0], budget, whole))
    inputs, _ = lower_inputs(op, net, [InputSpec(shape)], 0)
    try:
        op.call(net, inputs)
    except _Misfit as found:
        return found.fit
    except UnsupportedError:
        if op.refused and not isinstance(op.refused[1], list) and op.refused[0].takes_table:
            raise UsageError("this network takes a table of tensors", hint=_HINT) from None
        return Fit.TOO_SMALL if op.refused is None else _judge(*op.refused, batch=shape[0]) or Fit.TOO_SMALL
    except (ValueError, IndexError, ZeroDivisionError):
        return Fit.TOO_SMALL
    return Fit.FITS


class _Misfit(Exception):  # noqa: N818 - a finding, not an error
    def __init__(self, fit: Fit) -> None:
        self.fit = fit


def _watch_sizes(batch: int, budget: Iterator[int], whole: bool) -> Callable[[Layer, Values], None]:
    """A View takes a multiple of what it names for more examples: a size that comes to that is no fit."""

    def watch(layer: Layer, x: Values) -> None:
        if next(budget, None) is None:
            raise UsageError("which input this network takes would take too long to find out", hint=_HINT)
        fit = _judge(layer, x, batch=batch) if layer.reads() is None else None
        if fit:
            raise _Misfit(fit)
        if whole and _drops_pixels(layer, x):
            raise _Misfit(Fit.TOO_LARGE)

    return watch


def _drops_pixels(layer: Layer, x: Values) -> bool:
    """Whether the last step of a sliding window does not reach the image's end."""
    windows = [[getattr(layer, name + side, None) for name in ("k", "d", "pad")] for side in "HW"]
    if not isinstance(x, Value) or x.rank < 3 or getattr(layer, "ceil_mode", False):
        return False
    for size, (kernel, stride, pad) in zip(x.shape[-2:], windows, strict=True):
        if isinstance(kernel, int) and isinstance(stride, int) and (size + 2 * (pad or 0) - kernel) % stride:
            return True
    return False


def _judge(layer: Layer, x: Values, *, batch: int) -> Fit | None:
    """What the numbers that a layer got say about the size; nothing where it takes any count."""
    wanted = layer.elements()
    got = sum(math.prod(v.shape) for v in flatten(x))
    if wanted is None or got == wanted * batch:
        return None
    return Fit.TOO_LARGE if got > wanted * batch else Fit.TOO_SMALL
