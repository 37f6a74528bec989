"""Which network of a file was taken is the first thing that is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import retorch
from building import torch_object
from golden_cases import GOLDEN
from retorch.cli import main


def network(*, known: bool = True) -> Any:
    """A layer of two columns."""
    fields = {"weight": np.eye(2, dtype=np.float32), "bias": np.zeros(2, np.float32), "extra": 1}
    return torch_object("nn.Linear" if known else "my.Own", **fields)


@pytest.mark.parametrize(
    ("content", "taken"),
    [
        ({"model": network(), "epoch": 3}, "note: took model"),
        ({"netD": network(), "netG": network()}, "note: took netG; also in the file: netD"),
    ],
    ids=["one", "two"],
)
def test_it_comes_before_all_else(
    content: dict[str, Any], taken: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "net.t7"
    retorch.write(file, content)
    assert main(["inspect", str(file)]) == 0
    assert capsys.readouterr().out.splitlines()[1] == taken
    assert main(["convert", str(file), "-o", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == taken
    assert lines.count(taken) == 1


def test_it_is_said_where_the_network_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "net.t7"
    retorch.write(file, {"model": torch_object("nn.Sequential", modules=[network(known=False)])})
    assert main(["convert", str(file), "-o", str(tmp_path / "out")]) == 3
    assert "took model" in capsys.readouterr().out


@pytest.mark.parametrize("at", [None, "model"])
def test_a_file_that_is_the_network_or_a_path_that_was_asked_for_needs_no_word(at: str | None, tmp_path: Path) -> None:
    content = network() if at is None else {"model": network()}
    retorch.write(tmp_path / "net.t7", content)
    assert not [note for note in retorch.load(tmp_path / "net.t7", at=at).notes if "took" in note]


def test_standard_input_is_called_so(tmp_path: Path) -> None:
    def said(data: bytes) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "retorch", "inspect", "-"]
        done = subprocess.run(command, input=data, capture_output=True, check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    whole = (GOLDEN / "digits" / "digits.t7").read_bytes()
    code, shown, _ = said(whole)
    assert (code, shown[:16]) == (0, "standard input  ")
    code, _, error = said(whole[:500])
    assert code == 3
    assert error.startswith("error: standard input: the file is cut off")
