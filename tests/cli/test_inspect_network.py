"""Caffe2 networks and ONNX models on the command line: looked at, and said in another form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from golden_cases import GOLDEN
from retorch.cli import main
from retorch.network import Network

PREDICT = """
name: "theirs"
op { input: "data" input: "w" input: "b" output: "y" type: "FC" }
op { input: "y" output: "y" type: "Relu" }
external_input: "data" external_input: "w" external_input: "b" external_output: "y"
"""
INIT = """
name: "theirs_init"
op { output: "w" type: "GivenTensorFill" arg { name: "shape" ints: 2 ints: 3 }
     arg { name: "values" floats: 1 floats: -2 floats: 3 floats: 4 floats: 5 floats: -6 } }
op { output: "b" type: "GivenTensorFill" arg { name: "shape" ints: 2 } arg { name: "values" floats: 0.5 floats: -1 } }
"""
WEIGHTS = np.array([[1, -2, 3], [4, 5, -6]], np.float32)
BIAS = np.array([0.5, -1], np.float32)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A Caffe2 network that retorch did not write, as text."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "predict_net.pbtxt").write_text(PREDICT)
    (folder / "init_net.pbtxt").write_text(INIT)
    return folder


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    folder = tmp_path / "ours"
    network = str(GOLDEN / "Double_1.t7")
    assert main(["convert", network, "-o", str(folder), "--input", "3x4", "--no-verify"]) == 0
    return folder


def test_inspect_shows_the_operators_of_a_caffe2_network(ours: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["inspect", str(ours), "--json"]) == 0
    network = json.loads(capsys.readouterr().out)["network"]
    assert [(op["type"], op["outputs"]) for op in network["operators"]] == [("FC", ["fc1"]), ("Tanh", ["tanh1"])]
    assert network["operators"][0]["parameters"] == {"fc1_w": [3, 4], "fc1_b": [3]}
    assert network["parameters"] == 15
    assert network["weight_bytes"] == 60
    assert main(["inspect", str(ours / "predict_net.pb")]) == 0
    text = capsys.readouterr().out
    assert "fc1_w 3x4" in text
    assert "2 operators, 15 parameters, 60 B of weights" in text


def test_inspect_lists_every_operator_that_cannot_run(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strange = PREDICT.replace('"Relu"', '"Frobnicate"') + 'op { input: "y" output: "z" type: "Defenestrate" }'
    (theirs / "predict_net.pbtxt").write_text(strange)
    assert main(["inspect", str(theirs)]) == 0
    text = capsys.readouterr().out
    assert "2 operators that retorch cannot run" in text
    assert "Frobnicate" in text
    assert "Defenestrate" in text
    assert main(["convert", str(theirs), "-o", str(theirs / "m.onnx"), "--input", "2x3"]) == 3
    assert not (theirs / "m.onnx").exists()


def test_any_caffe2_network_becomes_onnx(theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "theirs.onnx"
    assert main(["convert", str(theirs), "-o", str(target), "--input", "2x3"]) == 0
    assert "Same: embedded" in capsys.readouterr().out
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    (got,) = onnxruntime.InferenceSession(str(target)).run(None, {"data": x})
    np.testing.assert_allclose(got, np.maximum(x @ WEIGHTS.T + BIAS, 0), rtol=1e-6, atol=1e-6)
    assert main(["inspect", str(target)]) == 0
    assert "Gemm" in capsys.readouterr().out


def test_a_network_of_unknown_sizes_is_written_unverified(
    theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(theirs), "-o", str(tmp_path / "x.onnx"), "--no-verify"]) == 0
    assert "not verified" not in capsys.readouterr().out
    strange = PREDICT.replace('type: "FC"', 'type: "FC" arg { name: "axis_w" i: 1 }').replace(
        'input: "data" input: "w" input: "b" output: "y" type: "FC"', 'input: "data" output: "y" type: "Sigmoid"'
    )
    (theirs / "predict_net.pbtxt").write_text(strange)
    assert main(["convert", str(theirs), "-o", str(tmp_path / "y.onnx")]) == 0
    assert "not verified" in capsys.readouterr().out


@pytest.mark.parametrize("style", [["--init", "minidb"], ["--to", "predictor"], ["--to", "onnx"], ["--in-place"]])
def test_what_was_written_is_said_otherwise(ours: Path, tmp_path: Path, style: list[str]) -> None:
    target = tmp_path / "other"
    assert main(["convert", str(ours), "-o", str(target), *style]) == 0
    with np.load(GOLDEN / "Double_1.npz") as stored:
        x, wanted = stored["input_0"], stored["output_0"]
    np.testing.assert_allclose(Network.load(target).run(x)[0], wanted, atol=1e-5)
    back = tmp_path / "back"
    assert main(["convert", str(target), "-o", str(back)]) == 0
    np.testing.assert_allclose(Network.load(back).run(x)[0], wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["convert", "{ours}", "-o", "{ours}", "--at", "model"], "are for Torch7 files"),
        (["convert", "{ours}", "-o", "{ours}"], "is the network that is read"),
        (["convert", "{ours}", "-o", "{ours}.onnx", "--input", "2x2", "--input", "2x3"], "got 2 shapes"),
        (["inspect", "{ours}", "--stats"], "are for Torch7 files"),
        (["inspect", "{half}"], "the other half of the network is missing"),
    ],
)
def test_refusals(
    ours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    half = tmp_path / "predict_net.pb"
    half.write_bytes(b"")
    assert main([part.format(ours=ours, half=half) for part in arguments]) == 2
    assert message in capsys.readouterr().err


def test_several_onnx_files_in_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(b"")
    assert main(["inspect", str(tmp_path)]) == 2
    assert "a.onnx, b.onnx" in capsys.readouterr().err


def test_the_weights_of_a_caffe2_network_are_exported(theirs: Path, tmp_path: Path) -> None:
    assert main(["export", str(theirs), "-o", str(tmp_path / "w.npz")]) == 0
    with np.load(tmp_path / "w.npz") as stored:
        assert sorted(stored) == ["b", "w"]
        np.testing.assert_array_equal(stored["w"], WEIGHTS)
        np.testing.assert_array_equal(stored["b"], BIAS)


def test_a_caffe2_network_is_no_source_of_pytorch(
    theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(theirs), "-o", str(tmp_path / "model.py")]) == 2
    assert "not written as PyTorch source" in capsys.readouterr().err
    assert not (tmp_path / "model.py").exists()


def test_a_type_that_caffe2_is_not_written_in_is_told(
    theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (theirs / "predict_net.pbtxt").write_text(
        PREDICT.replace('"FC" }', '"FC" }\nop { input: "y" output: "z" type: "ArgMax" }').replace(
            'external_output: "y"', 'external_output: "z"'
        )
    )
    assert main(["convert", str(theirs), "-o", str(tmp_path / "out"), "--input", "2x3"]) == 0
    assert "output z is int32 as Caffe2 is written, and was int64" in " ".join(capsys.readouterr().out.split())


@pytest.mark.caffe2
def test_what_random_numbers_do_not_run_is_written_unverified(
    theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (theirs / "predict_net.pbtxt").write_text("""
op { input: "x" input: "lengths" output: "y" type: "LengthsSum" }
external_input: "x" external_input: "lengths" external_output: "y" """)
    (theirs / "init_net.pbtxt").write_text("")
    target = tmp_path / "sums.onnx"
    assert main(["convert", str(theirs), "-o", str(target), "--input", "5x2", "--input", "7"]) == 0
    assert "not verified" in capsys.readouterr().out
    (got,) = Network.load(target).run(np.ones((5, 2), np.float32), np.array([2, 3, 0, 0, 0, 0, 0], np.int32))
    np.testing.assert_array_equal(got[:3], [[2, 2], [3, 3], [0, 0]])
