"""``--json``, help and completion: the command line as programs and shells meet it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

import retorch
from golden_cases import GOLDEN
from retorch.cli import app, main

DOUBLE = GOLDEN / "Double_1.t7"
GROUP: Any = typer.main.get_command(app)


def spoken(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """What a command says as JSON, when it succeeds."""
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


@pytest.fixture
def converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    out = tmp_path / "out"
    said = spoken(capsys, "convert", DOUBLE, "-o", out, "--input", "3x4")
    assert said["output"] == str(out)
    assert said["report"]["ok"] is True
    return out


def test_verify_says_its_verdict(converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = spoken(capsys, "verify", DOUBLE, converted, "--layers")
    assert said["ok"] is True
    rows = [row["path"] for witness in said["witnesses"] for row in witness["layers"]]
    assert {"modules[1]", "modules[2]"} <= set(rows)


def test_run_says_what_it_wrote(converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.zeros((5, 4), np.float32))
    said = spoken(capsys, "run", converted, "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npz")
    assert said["outputs"] == {"output_0": {"shape": [5, 3], "dtype": "float32"}}
    assert np.load(tmp_path / "y.npz")["output_0"].shape == (5, 3)


def test_numbers_that_json_lacks_are_described(capsys: pytest.CaptureFixture[str]) -> None:
    inside = spoken(capsys, "inspect", GOLDEN / "data" / "types_binary.t7")["contents"]["inside"]
    assert (inside["huge"], inside["nan"]) == ({"is": "inf"}, {"is": "nan"})


def test_clean_says_what_it_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields = {"weight": np.ones((3, 4), np.float32), "gradWeight": np.ones((3, 4), np.float32)}
    retorch.write(tmp_path / "in.t7", retorch.TorchObject("nn.Linear", fields))
    said = spoken(capsys, "clean", tmp_path / "in.t7", "-o", tmp_path / "small.t7")
    assert said["emptied"] == 1
    assert said["bytes_after"] == (tmp_path / "small.t7").stat().st_size < said["bytes_before"]


def test_export_names_every_tensor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = spoken(capsys, "export", DOUBLE, "-o", tmp_path / "weights.npz")
    with np.load(tmp_path / "weights.npz") as stored:
        assert said["tensors"] == {n: {"shape": list(stored[n].shape), "dtype": str(stored[n].dtype)} for n in stored}
    assert said["tensors"]["modules[1].weight"]["shape"] == [3, 4]


@pytest.mark.parametrize("name", sorted(GROUP.commands))
def test_every_command_has_an_example_and_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Examples" in shown
    assert f"  retorch {name} " in shown.partition("Examples")[2]
    # a viewer has nothing to say to a program
    assert ("--json" in shown) == (name != "view")


def test_help_shows_how_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f" {name} " in shown for name in GROUP.commands)
    assert "  retorch convert model.t7 -o out" in shown
    assert "--debug" in shown


def test_shells_complete_commands_and_options() -> None:
    def completed(words: str) -> list[str]:
        asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_RETORCH_COMPLETE": "complete_bash"}
        script = "from retorch.__main__ import run; run()"
        done = subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, **asked}, capture_output=True, text=True
        )
        return done.stdout.split()

    assert completed("retorch con") == ["convert"]
    assert completed("retorch verify --la") == ["--layers"]
