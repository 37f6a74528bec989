"""Sequences of pictures: numbered files, as ``frames/%05d.png`` stands for."""

from __future__ import annotations

import re
from pathlib import Path

from retorch.errors import UsageError

_NUMBER = re.compile(r"%0?(\d*)d")


def check_pattern(pattern: str) -> None:
    """UsageError where the name of a file has not exactly one ``%d`` or ``%05d``."""
    where = Path(pattern)
    if len(_NUMBER.findall(where.name)) != 1 or "%" in _NUMBER.sub("", where.name) or "%" in str(where.parent):
        raise UsageError(f"{pattern}: the name of the files needs one number", hint="for example frames/%05d.png")


def numbered(pattern: str) -> dict[int, Path]:
    """The files that a pattern stands for, in order, by their numbers, whatever the first one is.

    Raises:
        UsageError: another pattern, no files, or a number that is missing in between.
    """
    check_pattern(pattern)
    where = Path(pattern)
    before, after = _NUMBER.split(where.name)[::2]
    shape = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    if not where.parent.is_dir():
        raise UsageError(f"{where.parent}: no such folder")
    there = {path.name: int(match[1]) for path in where.parent.iterdir() if (match := shape.fullmatch(path.name))}
    numbers = sorted(number for name, number in there.items() if where.name % number == name)
    if not numbers:
        raise UsageError(f"{pattern}: there are no such pictures")
    missing = sorted(set(range(numbers[0], numbers[-1])) - set(numbers))
    if missing:
        raise UsageError(f"{pattern}: {where.name % missing[0]} is missing")
    return {number: where.parent / (where.name % number) for number in numbers}
