"""Sequences of frames: numbered picture files, from ``in/%04d.png``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from examples.spynet.application import SpyNet
from examples.spynet.colors import longest
from examples.spynet.flofile import read_flo, write_flo
from examples.spynet.pictures import flow_picture, read_frame, write_picture
from retorch.errors import UsageError

_NUMBER = re.compile(r"%0?(\d*)d")


def numbered(pattern: str) -> list[Path]:
    """The files that a pattern with one ``%d`` or ``%04d`` stands for, by number.

    UsageError for another pattern, for fewer than two files, and for a number that is missing in between.
    """
    where = Path(pattern)
    found = _NUMBER.search(where.name)
    if found is None or len(_NUMBER.findall(where.name)) != 1 or "%" in str(where.parent):
        raise UsageError(f"{pattern}: the name of the frames needs one number", hint="for example in/%04d.png")
    shape = re.compile(re.escape(where.name[: found.start()]) + r"(\d+)" + re.escape(where.name[found.end() :]))
    there = {name: int(match[1]) for name in _names(where.parent) if (match := shape.fullmatch(name))}
    numbers = sorted(number for name, number in there.items() if where.name % number == name)
    if len(numbers) < 2:
        raise UsageError(f"{pattern}: found {len(numbers)} frames; a flow takes two")
    missing = sorted(set(range(numbers[0], numbers[-1])) - set(numbers))
    if missing:
        raise UsageError(f"{pattern}: frame {where.name % missing[0]} is missing")
    return [where.parent / (where.name % number) for number in numbers]


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    return [path.name for path in folder.iterdir()]


def flow_of_sequence(
    spynet: SpyNet, pattern: str, target: Path, most: float | None, step: Callable[[int, int], None]
) -> list[Path]:
    """Write ``NAME.flo`` and ``NAME.png`` for each frame but the last; returns the ``.flo`` files.

    All pictures have one scale, ``most`` pixels or that of the longest flow. ``step`` is called with how many pairs are
    done, and of how many.
    """
    frames = numbered(pattern)
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
