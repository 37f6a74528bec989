"""Long work is shown where somebody watches, and nowhere else."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

import retorch
from building import sequential, torch_object
from retorch.cli import main
from retorch.cli.progress import progress
from retorch.verification import verify

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "digits.t7"


def shown(*, terminal: bool, after: float, work: float) -> str:
    stream = io.StringIO()
    with progress(Console(file=stream, force_terminal=terminal, width=100), after=after) as watch:
        for i in range(5):
            watch("counting layers", i, 5)
            time.sleep(work / 5)
    return stream.getvalue()


def test_long_work_has_a_bar_with_counts() -> None:
    said = shown(terminal=True, after=0.05, work=1.0)
    assert "counting layers" in said
    assert "/5" in said


@pytest.mark.parametrize(("terminal", "after"), [(True, 60.0), (False, 0.0)])
def test_short_work_and_pipes_have_none(terminal: bool, after: float) -> None:
    assert "counting" not in shown(terminal=terminal, after=after, work=0.0)


def test_verification_tells_what_it_does(tmp_path: Path) -> None:
    net = sequential(torch_object("nn.Tanh"), torch_object("nn.Sigmoid"))
    retorch.convert(net, (2, 3), fold=False).save(tmp_path, format="caffe2")
    told: list[tuple[str, int, int]] = []
    verify(net, tmp_path, layers=True, watch=lambda what, done, total: told.append((what.split(": ")[1], done, total)))
    assert told == [("inputs", 0, 1), ("layers", 0, 2), ("layers", 1, 2)]


def test_a_piped_command_prints_no_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(DIGITS), "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err == ""
