"""Whether a network can be lowered for inputs of certain shapes; and if not, which way they should change."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import IntEnum

from retorch.errors import RetorchError, UnsupportedError
from retorch.graph.builder import Builder, flatten
from retorch.graph.builder import Nested as Values
from retorch.graph.input_shape.clock import Clock
from retorch.graph.lowering import Example, lower_inputs, specs
from retorch.layers.base.layer import Layer


class Fit(IntEnum):
    """What a size is to a network. ``LOOSE``: it can be lowered, but a View takes several samples for one."""

    TOO_SMALL = -1
    FITS = 0
    TOO_LARGE = 1
    LOOSE = 2
    UNFIT = 3


class _Misfit(Exception):  # noqa: N818 - a finding, not an error
    def __init__(self, fit: Fit) -> None:
        self.fit = fit


def fit(root: Layer, example: Example, batch: int | None, clock: Clock) -> Fit:
    """Lower the network, as far as it goes. ``batch`` is the number of samples, where that is known."""
    found = _lowered(root, example, batch, clock)
    if found in (Fit.TOO_LARGE, Fit.TOO_SMALL) and _lowered(root, example, None, clock) is Fit.FITS:
        return Fit.LOOSE
    return found


def _lowered(root: Layer, example: Example, batch: int | None, clock: Clock) -> Fit:
    op = Builder(strict=True, watch=_watch(batch, clock))
    wanted, nesting = specs(example)
    inputs, _ = lower_inputs(op, root, wanted, nesting)
    try:
        op.call(root, inputs)
    except _Misfit as found:
        return found.fit
    except UnsupportedError:
        judged = None if op.refused is None or batch is None else _judge(*op.refused, batch=batch)
        return judged or Fit.UNFIT
    except (RetorchError, ValueError, IndexError, ZeroDivisionError):
        return Fit.UNFIT
    return Fit.FITS


def _watch(batch: int | None, clock: Clock) -> Callable[[Layer, Values], None]:
    """A View takes a multiple of what it names for more examples: a size that comes to that is no fit."""

    def watch(layer: Layer, x: Values) -> None:
        clock.check()
        found = None if batch is None or layer.reads() is not None else _judge(layer, x, batch=batch)
        if found:
            raise _Misfit(found)

    return watch


def _judge(layer: Layer, x: Values, *, batch: int) -> Fit | None:
    """What the numbers that a layer got say about the size; nothing where it takes any count."""
    wanted = layer.elements()
    got = sum(math.prod(v.shape) for v in flatten(x))
    if wanted is None or got == wanted * batch:
        return None
    return Fit.TOO_LARGE if got > wanted * batch else Fit.TOO_SMALL
