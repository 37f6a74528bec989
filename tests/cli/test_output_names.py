"""``-o`` decides by its suffix, in the shell as in Python."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import retorch
from golden_cases import GOLDEN, check
from golden_cases import Case as Golden
from retorch.cli import main
from retorch.engines.choice import engine
from retorch.engines.interface import Case
from retorch.errors import UsageError
from retorch.files.formats import FORMATS, OutputFormat, destination

LINEAR = str(GOLDEN / "Linear_1.t7")
SHAPE = (3, 6)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".json")}


WRITTEN = [
    ("out", [], {"init_net.pb", "predict_net.pb", "predict_net.pbtxt"}),
    ("resnet-1.0", [], {"init_net.pb", "predict_net.pb", "predict_net.pbtxt"}),
    ("out.d/", [], {"init_net.pb", "predict_net.pb", "predict_net.pbtxt"}),
    ("out/predict_net.pb", [], {"init_net.pb", "predict_net.pb", "predict_net.pbtxt"}),
    ("linear.pb", [], {"linear.pb", "linear_init.pb"}),
    ("linear.onnx", [], {"linear.onnx"}),
    ("linear.minidb", [], {"linear.minidb"}),
    ("out", ["--to", "onnx"], {"model.onnx"}),
]


@pytest.mark.parametrize(("output", "options", "wanted"), WRITTEN)
def test_the_suffix_says_what_is_written(output: str, options: list[str], wanted: set[str], tmp_path: Path) -> None:
    assert main(["convert", LINEAR, "--input", "3x6", "-o", f"{tmp_path}/{output}", *options]) == 0
    assert names(tmp_path) == wanted
    to = options[1] if options else "caffe2"
    in_python = tmp_path / "python"
    retorch.convert(retorch.load(LINEAR), SHAPE, to=to).save(f"{in_python}/{output}")  # type: ignore[arg-type]
    assert names(in_python) == wanted


#: Formats that retorch does not read itself, and the engine that does.
RUN_BY = {"pytorch": "pytorch"}


@pytest.mark.parametrize(
    "row",
    [pytest.param(r, marks=[pytest.mark.pytorch] if r.name in RUN_BY else []) for r in FORMATS],
    ids=lambda r: r.name,
)
def test_every_format_is_written_and_read_back(row: OutputFormat, tmp_path: Path) -> None:
    """A file read back gives Torch's numbers."""
    torch, written, again = Golden(Path(LINEAR)), tmp_path / "written", tmp_path / "again.onnx"
    assert main(["convert", LINEAR, "--input", "3x6", "-o", str(written), "--to", row.name, "--no-verify"]) == 0
    assert names(tmp_path)
    if row.name in RUN_BY:
        net = retorch.load(LINEAR)
        check(torch.flat("output"), ran(RUN_BY[row.name], written, net, torch.flat("input")))
        return
    assert main(["convert", str(written), "-o", str(again), "--no-verify"]) == 0
    check(torch.flat("output"), retorch.Network.load(again).run(*torch.flat("input")))


def ran(engine_name: str, written: Path, net: retorch.Module, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """What an engine makes of what was written; skipped where it is not installed."""
    made = retorch.convert(net, SHAPE)
    try:
        one = engine(engine_name, written, Case(net, made, made.input_nesting, []))
    except UsageError as error:
        assert "not installed" in str(error)
        pytest.skip(str(error))
    with closing(one):
        return one.run(inputs)


@pytest.mark.parametrize("name", ["linear.pb", "linear_init.pb"])
def test_a_pair_is_read_by_either_name(name: str, tmp_path: Path) -> None:
    net = retorch.load(LINEAR)
    retorch.convert(net, SHAPE).save(tmp_path / "linear.pb")
    x = np.ones(SHAPE, np.float32)
    np.testing.assert_allclose(retorch.Network.load(tmp_path / name).run(x)[0], net.forward(x), atol=1e-6)


REFUSED = {
    "model.pt": "safetensors",
    "model.pth": "safetensors",
    "model.mlmodel": "coremltools",
    "model.mlpackage": "coremltools",
    "model.tflite": "onnx2tf",
    "model.h5": "onnx2tf",
    "model.keras": "onnx2tf",
    "model.ncnn": "pnnx",
    "model.onxn": "files end in .pb, .onnx",
    "model.caffemodel": "files end in .pb, .onnx",
}


@pytest.mark.parametrize(("output", "way"), REFUSED.items())
def test_what_is_not_written_names_the_way_there(
    output: str, way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / output
    assert main(["convert", LINEAR, "--input", "3x6", "-o", str(target)]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {target}: ")
    assert way in hint
    with pytest.raises(UsageError):
        retorch.convert(retorch.load(LINEAR), SHAPE).save(target)
    assert list(tmp_path.iterdir()) == []


def test_a_suffix_and_a_format_that_contradict_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", LINEAR, "-o", str(tmp_path / "a.onnx"), "--to", "caffe2"]) == 2
    assert "caffe2 is asked for, and .onnx names an ONNX file" in capsys.readouterr().err


def test_a_folder_is_refused_where_its_name_means_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.onnx").mkdir()
    assert main(["convert", LINEAR, "--input", "3x6", "-o", f"{tmp_path}/model.onnx"]) == 2
    assert "it is a folder, where a file is meant" in capsys.readouterr().err
    assert names(tmp_path) == set()


def test_a_device_takes_the_one_file_that_is_asked_for() -> None:
    assert destination("/dev/null", "onnx").path == Path("/dev/null")
    with pytest.raises(UsageError, match="takes one file"):
        destination("/dev/null")


def test_a_record_that_says_nothing_about_the_file_is_passed_over(tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert main(["convert", LINEAR, "--input", "3x6", "-o", f"{tmp_path}/{name}.onnx"]) == 0
    (tmp_path / "one.onnx.json").write_bytes((tmp_path / "two.onnx.json").read_bytes())
    assert main(["run", f"{tmp_path}/one.onnx", "--input", "3x6", "--engine", "reference"]) == 2


def test_the_record_of_a_linked_file_is_found_by_both_names(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.onnx").symlink_to("real/file.onnx")
    assert main(["convert", LINEAR, "--input", "3x6", "-o", f"{tmp_path}/link.onnx"]) == 0
    for name in ("link.onnx", "real/file.onnx"):
        assert main(["run", f"{tmp_path}/{name}", "--input", "3x6", "--engine", "reference"]) == 0


def test_a_folder_of_python_source_is_told_from_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "twin").mkdir()
    (tmp_path / "twin" / "model.py").write_text("")
    assert main(["convert", str(tmp_path / "twin"), "-o", str(tmp_path / "out")]) == 3
    assert "hint: it holds Python source: Python runs it" in capsys.readouterr().err
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.t7").write_bytes(Path(LINEAR).read_bytes())
    assert main(["inspect", str(tmp_path / "models")]) == 3
    assert f"hint: name a file in it, as {tmp_path / 'models' / 'a.t7'}" in capsys.readouterr().err
