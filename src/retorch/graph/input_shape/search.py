"""Which of the inputs that are likely a network takes, by lowering it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from retorch.graph.input_shape.clock import Clock, OutOfTimeError
from retorch.graph.input_shape.draft import Draft, Drafts, Side
from retorch.graph.input_shape.options import Settings
from retorch.graph.input_shape.tensors import example
from retorch.graph.input_shape.trial import Fit, fit
from retorch.layers.base.layer import Layer

#: How long a search may take, in seconds of this process.
SECONDS = 2.0
#: How often an interval of sizes is halved.
_HALVINGS = 12
#: What sides of images are multiples of.
_ROUND = (32, 16, 8, 4)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The input that was found, and what was looked at to find it; ``fits`` where the network could be lowered."""

    draft: Draft
    drafts: Drafts
    fits: bool


def search(root: Layer, stored: Settings) -> Outcome | None:
    """The likeliest input that a network takes, or the likeliest of all; None where nothing is known."""
    clock = Clock(SECONDS)
    views = [Drafts(root, stored, use_record=True)]
    if views[0].recorded:
        # a record may be of another input: what the layers say alone
        views.append(Drafts(root, stored, use_record=False))
    loose: Outcome | None = None
    first: Outcome | None = None
    try:
        for drafts in views:
            for draft, found in _tried(root, drafts, clock):
                outcome = Outcome(draft, drafts, found is Fit.FITS)
                first = first or outcome
                # what Torch ran may have been several samples to a View
                if found is Fit.FITS or (found is Fit.LOOSE and drafts.recorded):
                    return replace(outcome, fits=True)
                if found is Fit.LOOSE:
                    loose = loose or replace(outcome, fits=True)
    except OutOfTimeError:
        pass  # what was found in time is the answer
    return loose or first


def _tried(root: Layer, drafts: Drafts, clock: Clock) -> Iterator[tuple[Draft, Fit]]:
    """Drafts and how they fit: the likely ones, then by halving what is left between too small and too large."""
    if not drafts.known:
        return
    low, high = drafts.low, drafts.high
    for side in drafts.sides:
        if not low <= side.size <= high and side.size:
            continue
        draft = drafts.draft(side)
        found = fit(root, example(draft.input), draft.batch, clock)
        yield draft, found
        if found is Fit.TOO_LARGE:
            high = min(high, side.size - 1)
        elif found is not Fit.LOOSE:
            low = max(low, side.size + 1)
    for samples in (2, 3):
        draft = drafts.draft(drafts.sides[0], samples)
        yield draft, fit(root, example(draft.input), draft.batch, clock)
    if drafts.sides[0].size:
        yield from _halved(root, drafts, clock, low, high)


def _halved(root: Layer, drafts: Drafts, clock: Clock, low: int, high: int) -> Iterator[tuple[Draft, Fit]]:
    """Halving until a size fits; then the round ones near it."""
    for _ in range(_HALVINGS):
        if low > high:
            return
        middle = (low + high) // 2
        draft = drafts.draft(Side(middle))
        found = fit(root, example(draft.input), draft.batch, clock)
        if found is Fit.FITS:
            for step in _ROUND:
                for side in sorted({middle // step * step, -(-middle // step) * step}):
                    rounded = drafts.draft(Side(side))
                    if low <= side <= high:
                        yield rounded, fit(root, example(rounded.input), rounded.batch, clock)
        yield draft, found
        low, high = (low, middle - 1) if found is Fit.TOO_LARGE else (middle + 1, high)
