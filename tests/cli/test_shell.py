"""What a person expects of any program in a shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import retorch
from golden_cases import GOLDEN
from retorch.cli import main

DIGITS = str(GOLDEN / "digits" / "digits.t7")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"retorch {retorch.__version__}\n"
    done = subprocess.run([sys.executable, "-m", "retorch", "--version"], capture_output=True, text=True, check=False)
    assert done.stdout == f"retorch {retorch.__version__}\n"


def test_quiet_and_verbose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", DIGITS, "-o", str(tmp_path / "out"), "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["-v", "inspect", DIGITS]) == 0
    said = capsys.readouterr().err
    assert said.startswith(f"retorch {retorch.__version__} (Python ")
    assert "took " in said.splitlines()[-1]


def test_several_files_are_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.t7").write_text("hello\n")
    (tmp_path / "good.t7").write_bytes((GOLDEN / "Linear_1.t7").read_bytes())
    assert main(["inspect", f"{tmp_path}/*.t7"]) == 3
    head, bad, good = capsys.readouterr().out.splitlines()
    assert head.split() == ["file", "size", "holds", "modules", "parameters", "converts"]
    assert "not a Torch7 file" in bad
    assert good.split()[-4:] == ["nn.Linear", "1", "28", "yes"]
    assert main(["inspect", str(tmp_path / "good.t7"), DIGITS, "--json"]) == 0
    assert [line["parameters"] for line in json.loads(capsys.readouterr().out)] == [28, 65354]


def test_errors_are_json_where_json_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path / "nowhere.t7"), "--json"]) == 3
    said = json.loads(capsys.readouterr().out)
    assert said["exit_code"] == 3
    assert said["error"].endswith("nowhere.t7: no such file or folder")


@pytest.mark.parametrize("arguments", [["convert"], ["nonsense"], ["inspect", DIGITS, "--nope"]])
def test_words_that_do_not_fit_are_answered_in_our_form(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: retorch")
    assert hint.endswith("--help")


def test_paths_of_inspect_are_those_that_at_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nets = {"generator": retorch.read(DIGITS), "critic": retorch.read(GOLDEN / "Linear_1.t7")}
    retorch.write(tmp_path / "all.t7", {"parts": nets, "options": {"rate": 1}})
    assert main(["inspect", str(tmp_path / "all.t7"), "--json"]) == 0
    layers = json.loads(capsys.readouterr().out)["network"]["layers"]
    assert [layer["path"] for layer in layers[:2]] == ["parts.generator", "parts.generator.modules[1]"]
    for layer in layers[:3]:
        assert main(["inspect", str(tmp_path / "all.t7"), "--at", layer["path"]]) == 0


def test_the_shell_completes_values(tmp_path: Path) -> None:
    retorch.write(tmp_path / "all.t7", {"parts": {"generator": retorch.read(DIGITS)}, "rate": 1})

    def completed(words: str) -> list[str]:
        asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_RETORCH_COMPLETE": "complete_bash"}
        done = subprocess.run(
            [sys.executable, "-m", "retorch"], env={**os.environ, **asked}, capture_output=True, text=True, check=False
        )
        return done.stdout.split()

    assert completed("retorch convert --to o") == ["onnx"]
    assert completed("retorch verify a --engine caffe2-1.1") == ["caffe2-1.10.2"]
    assert completed(f"retorch convert {tmp_path}/all.t7 --at par") == ["parts.generator"]
