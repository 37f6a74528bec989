"""Numbered pictures: which files a pattern stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from retorch.apply.sequences import numbered
from retorch.errors import UsageError


def test_frames_of_a_sequence_are_in_order(tmp_path: Path) -> None:
    for number in (9, 10, 11):
        (tmp_path / f"{number}.png").touch()
    (tmp_path / "009.png").touch()
    (tmp_path / "9.jpg").touch()
    assert list(numbered(str(tmp_path / "%d.png")).items()) == [(n, tmp_path / f"{n}.png") for n in (9, 10, 11)]


@pytest.mark.parametrize(
    ("numbers", "pattern", "what"),
    [
        ((1, 2, 4), "%d.png", "3.png is missing"),
        ((1, 2), "%04d.png", "there are no such pictures"),
        ((1, 2), "frame.png", "needs one number"),
        ((1, 2), "%d%d.png", "needs one number"),
        ((1, 2), "none/%d.png", "no such folder"),
    ],
)
def test_sequences_that_are_none(numbers: tuple[int, ...], pattern: str, what: str, tmp_path: Path) -> None:
    for number in numbers:
        (tmp_path / f"{number}.png").touch()
    with pytest.raises(UsageError, match=what):
        numbered(str(tmp_path / pattern))
