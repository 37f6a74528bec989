"""What a person gets who gives the commands the wrong thing: one clear line, the right exit code, nothing written."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import retorch
from golden_cases import GOLDEN
from retorch.cli import main

DIGITS = str(GOLDEN / "digits" / "digits.t7")
INPUT = str(GOLDEN / "digits" / "digits.npz")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cut(path: Path) -> None:
    whole = Path(INPUT).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def packed_objects(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, input_0=np.array(["a", None], dtype=object))


def saved(array: np.ndarray) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, array)

    return save


NO_ARRAYS: list[tuple[Callable[[Path], None], str]] = [
    (lambda path: path.mkdir(), "not a file that arrays can be read from"),
    (os.mkfifo, "not a file that arrays can be read from"),
    (lambda path: path.write_bytes(b""), "not an .npy or .npz file"),
    (lambda path: path.write_bytes(b"hello, world"), "not an .npy or .npz file"),
    (cut, "not a readable .npy or .npz file: "),
    (packed_objects, "not a readable .npy or .npz file: "),
    (saved(np.array(["a"])), "holds no arrays of numbers"),
    (saved(np.zeros((1, 1, 32, 32), np.complex64)), "holds no arrays of numbers"),
]


@pytest.mark.parametrize(("make", "message"), NO_ARRAYS)
@pytest.mark.parametrize("command", ["run", "verify"])
def test_a_file_without_arrays_is_named_as_such(
    command: str, make: Callable[[Path], None], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(here / "x.npz")
    if command == "run":
        arguments = ["run", DIGITS, "--input", "x.npz", "-o", "y.npz"]
    else:
        assert main(["convert", DIGITS, "-o", "out", "--no-verify"]) == 0
        arguments = ["verify", DIGITS, "out", "--inputs", "x.npz"]
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"error: x.npz: {message}")
    assert not (here / "y.npz").exists()


@pytest.mark.parametrize("command", ["inspect", "convert", "clean"])
def test_a_pipe_is_refused_and_not_waited_for(command: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(here / "pipe")
    assert main([command, "pipe", *([] if command == "inspect" else ["-o", "out"])]) == 3
    assert capsys.readouterr().err.startswith("error: pipe: this is a pipe or a device, not a file\nhint: ")


WRITERS = [
    ["clean", DIGITS],
    ["export", DIGITS, "--to", "npz"],
    ["run", DIGITS, "--input", INPUT],
]


@pytest.mark.parametrize("arguments", WRITERS, ids=[command for command, *_ in WRITERS])
def test_folders_are_made_and_what_is_in_the_way_is_named(
    arguments: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "-o", "new/folder/file"]) == 0
    assert (here / "new" / "folder" / "file").stat().st_size > 0
    capsys.readouterr()
    for target in ("new", "new/folder/file/x"):
        assert main([*arguments, "-o", target]) == 2
        assert capsys.readouterr().err.startswith(f"error: {target}: cannot be written: ")
    assert sorted(path.name for path in here.rglob("*")) == ["file", "folder", "new"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "model.t7", "--input", "x.npz", "-o", "x.npz"],
        ["run", "model.t7", "--input", "x.npz", "-o", "model.t7"],
        ["export", "model.t7", "--to", "npz", "-o", "model.t7"],
    ],
)
def test_what_is_read_is_not_written_over(arguments: list[str], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(DIGITS, "model.t7")
    shutil.copy(INPUT, "x.npz")
    before = [(here / name).read_bytes() for name in ("model.t7", "x.npz")]
    assert main(arguments) == 2
    assert "is the file that is read" in capsys.readouterr().err
    assert [(here / name).read_bytes() for name in ("model.t7", "x.npz")] == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["convert", DIGITS, "-o", "out", "--input", "²x1x32x32"], "--input ²x1x32x32: a shape is whole numbers"),
        (["inspect", DIGITS, "--at", "modules[1].weight.x"], "modules[1].weight is a tensor, with nothing inside"),
        (["inspect", DIGITS, "--plugin", "leaves.py"], "error: --plugin leaves.py: SystemExit: 7"),
        (
            ["run", DIGITS, "--input", INPUT, "-o", "y.npz", "--engine", "lua"],
            "error: --engine lua: there are reference",
        ),
        (["check", DIGITS], f"error: {DIGITS}: not a Caffe2 network"),
    ],
)
def test_an_unusable_argument_is_said_in_its_own_words(
    arguments: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "leaves.py").write_text("raise SystemExit(7)")
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_options_for_torch_files_are_not_passed_over_for_others(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", DIGITS, "-o", "out", "--no-verify"]) == 0
    for option in (["--at", "model"], ["--plugin", "layers.py"], ["--alias", "My=nn.Linear"], ["--nn-age", "old"]):
        assert main(["run", "out", "--input", INPUT, "-o", "y.npz", *option]) == 2
        assert "are for Torch7 files" in capsys.readouterr().err


def test_an_input_that_does_not_fit_is_said_of_the_input(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("small.npy", np.zeros((1, 1, 30, 30), np.float32))
    assert main(["run", DIGITS, "--input", "small.npy", "-o", "y.npz"]) == 3
    assert "1 layer cannot be run on this input\n  modules[9] nn.View: " in capsys.readouterr().err
    assert main(["convert", DIGITS, "-o", "out", "--input", "1x1x30x30"]) == 3
    assert "hint: that is for --input 1x1x30x30: it may fit another" in capsys.readouterr().err


def test_a_file_is_never_cleaned_onto_itself(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(GOLDEN / "KeptState_1.t7", "model.t7")
    before = (here / "model.t7").read_bytes()
    assert main(["clean", "model.t7", "-o", "model.t7"]) == 2
    assert "is the file that is read" in capsys.readouterr().err
    assert (here / "model.t7").read_bytes() == before


def test_a_table_named_by_at_holds_the_network_at_its_whole_path(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nets = {"generator": retorch.read(DIGITS), "critic": retorch.read(GOLDEN / "Linear_1.t7")}
    retorch.write("all.t7", {"old": retorch.read(GOLDEN / "Tanh_1.t7"), "parts": nets, "options": {"rate": 1}})
    assert main(["convert", "all.t7", "-o", "out", "--at", "parts", "--no-verify"]) == 0
    assert "took parts.generator; also in the file: parts.critic" in capsys.readouterr().out
    assert main(["verify", "out"]) == 0
    assert main(["convert", "all.t7", "-o", "out", "--at", "options"]) == 2
    assert "there is no network at options" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["out", "--range", "255"], "--mean, --std, --range and --bgr prepare a picture"),
    ],
)
def test_verify_says_what_is_missing(
    arguments: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", DIGITS, "-o", "out", "--no-verify"]) == 0
    assert main(["verify", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_names_of_pictures_in_names_are_printed_as_they_are(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "a:cat:.t7"
    retorch.write(name, {":dog:": 1})
    assert main(["inspect", name]) == 0
    shown = capsys.readouterr().out
    assert name in shown
    assert ":dog:" in shown
    assert main(["convert", str(DIGITS), "-o", "out:cat:"]) == 0
    assert "wrote out:cat:" in capsys.readouterr().out


def test_brackets_in_names_are_printed_as_they_are(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = retorch.read(DIGITS)
    odd = {"[/red]": 1, "[bold]": "[/nothing]", "ends\\": "\\[/cyan]", "net": net, "nets[/x]": {"other": net}}
    (here / "in[").mkdir()
    name = "in[/bold].t7"
    retorch.write(name, odd)
    for arguments in (
        ["inspect", name],
        ["inspect", name, "--stats"],
        ["convert", name, "-o", "out[/x]"],
        ["run", name, "--input", INPUT, "-o", "out[/x]/y.npz"],
        ["clean", name, "-o", "out[/x]/z.t7"],
        ["export", name, "-o", "out[/x]/z.npz"],
    ):
        assert main(arguments) == 0, arguments
        assert (name if arguments[0] == "inspect" else "wrote out[/x]") in capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 200])
def test_a_table_loses_columns_and_no_words(columns: int, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    screen = Console(file=shown, width=columns, force_terminal=True, no_color=True)
    monkeypatch.setattr("retorch.cli.verify.console", lambda error=False: screen)
    assert main(["convert", DIGITS, "-o", "out", "--no-verify"]) == 0
    assert main(["verify", DIGITS, "out", "--layers", "--trials", "random"]) == 0
    text = shown.getvalue()
    for word in ("engine", "random, seed 0", "modules[2]", "nn.SpatialBatchNormalization", "relative", "alone"):
        assert word in text
    assert "…" not in text
    assert ("left out: mean error" in text) == (columns == 80)
    rows = [line for line in text.splitlines() if line.startswith(("layer", "modules["))]
    assert max(map(len, rows)) <= columns


@pytest.mark.parametrize("nesting", ["[0, [1]]", "[0, 1, 2, 4]", "[0,,1,2,3]", "{}", "[[0, 1], 2, 3"])
def test_a_nesting_of_other_arrays(nesting: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with np.load(GOLDEN / "MixtureTable_1.npz") as stored:
        np.savez(tmp_path / "x.npz", **{**stored, "input_nesting": nesting})
    arguments = ["run", str(GOLDEN / "MixtureTable_1.t7"), "--input", str(tmp_path / "x.npz"), "-o", "y.npz"]
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'x.npz'}: input_nesting is {nesting}")
