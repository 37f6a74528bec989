"""Sequences of frames: numbered picture files, from ``in/%04d.png``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from examples.spynet.application import SpyNet
from examples.spynet.colors import longest
from examples.spynet.flofile import read_flo, write_flo
from examples.spynet.pictures import flow_picture, read_frame
from retorch.apply.pictures import write_picture
from retorch.apply.sequences import numbered
from retorch.errors import UsageError


def frames_of(pattern: str) -> list[Path]:
    """The frames that a pattern stands for. UsageError where there are fewer than two."""
    frames = list(numbered(pattern).values())
    if len(frames) < 2:
        raise UsageError(f"{pattern}: found {len(frames)} frames; a flow takes two")
    return frames


def flow_of_sequence(
    spynet: SpyNet, pattern: str, target: Path, most: float | None, step: Callable[[int, int], None]
) -> list[Path]:
    """Write ``NAME.flo`` and ``NAME.png`` for each frame but the last; returns the ``.flo`` files.

    All pictures have one scale, ``most`` pixels or that of the longest flow. ``step`` is called with how many pairs are
    done, and of how many.
    """
    frames = frames_of(pattern)
    made: list[Path] = []
    top = 0.0
    step(0, len(frames) - 1)
    first = read_frame(frames[0])
    for done, path in enumerate(frames[1:], 1):
        second = read_frame(path)
        flow = spynet.flow(first, second)
        top = max(top, longest(flow))
        made.append(target / f"{frames[done - 1].stem}.flo")
        write_flo(made[-1], flow)
        first = second
        step(done, len(frames) - 1)
    for file in made:
        write_picture(file.with_suffix(".png"), flow_picture(read_flo(file), top if most is None else most))
    return made
