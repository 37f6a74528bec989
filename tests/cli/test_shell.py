"""What a person expects of any program in a shell."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

import retorch
from golden_cases import GOLDEN
from retorch.cli import main
from retorch.cli.commands import COMMANDS

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
    assert completed(f"retorch convert {tmp_path}/all.t7 --at parts.generator.modules[1") == [
        f"parts.generator.modules[{i}]" for i in (1, 10, 11, 12, 13, 14)
    ]
    assert completed(f"retorch inspect {DIGITS} --at m")[:2] == ["modules[1]", "modules[2]"]


@pytest.mark.parametrize(("more", "is_red"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_errors_are_red_in_a_terminal(more: dict[str, str], is_red: bool, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    plain = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    command = [sys.executable, "-m", "retorch", "inspect", str(tmp_path / "nowhere.t7")]
    done = subprocess.run(command, stderr=theirs, env={**plain, "TERM": "xterm", **more}, check=False)
    said = os.read(ours, 4096)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 3
    assert said.startswith(b"\x1b[1;31merror:\x1b[0m " if is_red else b"error: ")


@pytest.mark.parametrize("command", ["check out", "inspect out", "verify out --layers", "inspect digits.t7"])
def test_tables_fit_a_terminal_of_80_columns(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(DIGITS, tmp_path / "digits.t7")
    assert main(["convert", "digits.t7", "-o", "out", "--no-verify"]) == 0
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
    plain = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with subprocess.Popen(
        [sys.executable, "-m", "retorch", *command.split()], stdout=theirs, env={**plain, "TERM": "xterm"}
    ) as started:
        os.close(theirs)
        said = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    assert started.returncode in {0, 1}
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.decode()).splitlines()
    assert len(lines) > 4
    assert max(map(len, lines)) <= 80


def _read(terminal: int) -> bytes:
    """What is said next; nothing once nobody holds the other end."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


#: Each command with a file that is not there.
MISSING = [
    ["inspect", "nowhere.t7"],
    ["convert", "nowhere.t7", "-o", "out"],
    ["verify", "nowhere.t7", "out"],
    ["verify", DIGITS, "nowhere"],
    ["check", "nowhere"],
    ["clean", "nowhere.t7", "-o", "clean.t7"],
    ["export", "nowhere.t7", "-o", "w.npz"],
    ["export", DIGITS, "-o", "w.npz", "--like", "nowhere.txt"],
    ["run", "nowhere.t7", "--input", "1x3", "-o", "y.npz"],
    ["run", DIGITS, "--input", "nowhere.npz", "-o", "y.npz"],
    ["sample", "nowhere.t7"],
    ["view", "nowhere.t7"],
    ["batch", "nowhere.t7", "-o", "out"],
    ["batch", "nowhere*.t7", "-o", "out"],
    ["batch", ".", "-o", "out", "--input-map", "nowhere.tsv"],
]


@pytest.mark.parametrize("arguments", MISSING, ids=" ".join)
def test_a_missing_file_has_one_exit_code(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 3
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "nowhere" in said
    assert "no such file or folder" in said
    assert list(tmp_path.iterdir()) == []


def test_every_command_that_reads_a_file_is_asked_for_a_missing_one() -> None:
    assert {words[0] for words in MISSING} == {name for name in COMMANDS if name not in {"caffe2", "pytorch"}}
