"""``retorch convert``: the options that say how Caffe2 files look, and which of them exclude each other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import retorch
from golden_cases import GOLDEN
from retorch.caffe2 import files
from retorch.cli import main
from retorch.engines.caffe2_runtime import Runtime

DIGITS = str(GOLDEN / "digits" / "digits.t7")
SIZES = ["--input", "1x1x32x32"]


def converted(folder: Path, *options: str) -> files.Caffe2Net:
    """What the options write, converted and verified."""
    assert main(["convert", DIGITS, "-o", str(folder), *SIZES, *options]) == 0
    return files.read(folder / "predict_net.pb")


def engines(net: files.Caffe2Net) -> list[str]:
    return [op.engine for op in net.predict.op if op.type == "Conv"]


def test_nnpack(tmp_path: Path) -> None:
    assert engines(converted(tmp_path, "--nnpack"))[0] == "NNPACK"
    assert set(engines(converted(tmp_path))) == {""}


def test_mkldnn(tmp_path: Path) -> None:
    copies = [op.type for op in converted(tmp_path, "--mkldnn", "--no-fold").predict.op if op.type.startswith("Copy")]
    assert copies == ["CopyCPUToIDEEP", "CopyIDEEPToCPU"]


def test_in_place(tmp_path: Path) -> None:
    def overwritten(net: files.Caffe2Net) -> int:
        return sum(op.input[0] == op.output[0] for op in net.predict.op)

    assert overwritten(converted(tmp_path)) == 0
    assert overwritten(converted(tmp_path, "--in-place")) > 0


@pytest.mark.parametrize("options", [["--in-place"], ["--in-place", "--no-fold", "--init", "minidb"]])
@pytest.mark.parametrize("recorded", [True, False])
def test_layers_that_were_written_over_are_not_blamed(options: list[str], recorded: bool, tmp_path: Path) -> None:
    converted(tmp_path, *options)
    if not recorded:
        (tmp_path / "retorch.json").unlink()
    report = retorch.verify(retorch.load(DIGITS), tmp_path, layers=True)
    assert report.ok
    rows = {row.path: row for row in report.witnesses[0].layers}
    assert all(not row.guilty(report.tolerance) and not row.diverges(report.tolerance) for row in rows.values())
    assert rows["modules[3]"].blob == ("bn1" if "--no-fold" in options else "conv1")


def test_the_record_says_which_layer_a_blob_that_is_used_again_holds(tmp_path: Path) -> None:
    converted(tmp_path, "--in-place")
    layers = json.loads((tmp_path / "retorch.json").read_text())["layers"]
    found = {layer["path"]: (layer["operators"], layer["blobs"]) for layer in layers}
    assert found["modules[2]"] == (["Conv"], [])
    assert found["modules[3]"] == (["Relu"], ["conv1"])


def test_unpacked_is_a_quarter_longer(tmp_path: Path) -> None:
    converted(tmp_path / "packed")
    converted(tmp_path / "unpacked", "--unpacked")
    sizes = [(tmp_path / name / "init_net.pb").stat().st_size for name in ("packed", "unpacked")]
    assert 1.2 < sizes[1] / sizes[0] < 1.26


def test_brew_writes_its_arguments_and_nothing_of_ours(tmp_path: Path) -> None:
    net = converted(tmp_path, "--brew")
    assert set(engines(net)) == {"CUDNN"}
    assert not net.predict.arg
    assert [arg.name for arg in net.predict.op[0].arg][:2] == ["kernel", "order"]


def test_the_record_says_which_input_brew_takes(tmp_path: Path) -> None:
    converted(tmp_path, "--brew")
    assert main(["verify", str(tmp_path), "--layers"]) == 0
    assert main(["verify", DIGITS, str(tmp_path), "--trials", "all"]) == 0
    (tmp_path / "retorch.json").unlink()
    assert main(["verify", DIGITS, str(tmp_path)]) == 2


def test_weights_in_a_minidb(tmp_path: Path) -> None:
    net = converted(tmp_path, "--init", "minidb")
    assert (tmp_path / "init_net.pb").stat().st_size < 1000
    np.testing.assert_array_equal(net.params["conv1_w"], converted(tmp_path / "other").params["conv1_w"])


@pytest.mark.parametrize("options", [["--format", "predictor"], ["--to", "predictor"], []])
def test_predictor_container(tmp_path: Path, options: list[str]) -> None:
    target = tmp_path / "digits.minidb"
    assert main(["convert", DIGITS, "-o", str(target), *SIZES, *options]) == 0
    assert retorch.Network.load(target).run(np.zeros((1, 1, 32, 32), np.float32))[0].shape == (1, 10)
    record = json.loads((tmp_path / "digits.minidb.json").read_text())
    assert record["layers"][0]["operators"] == ["Conv"]


def test_predictor_container_in_a_folder(tmp_path: Path) -> None:
    assert main(["convert", DIGITS, "-o", str(tmp_path), *SIZES, "--to", "predictor"]) == 0
    assert (tmp_path / "predictor.minidb").exists()


@pytest.mark.caffe2
@pytest.mark.parametrize(
    "options",
    [
        ["--nnpack"],
        ["--mkldnn"],
        ["--mkldnn", "--init", "minidb"],
        ["--in-place"],
        ["--brew"],
        ["--init", "minidb"],
        ["--unpacked", "--no-fold"],
    ],
)
def test_the_real_caffe2_agrees(options: list[str], caffe2: Runtime, tmp_path: Path) -> None:
    converted(tmp_path, *options)
    x = np.random.default_rng(8).standard_normal((1, 1, 32, 32)).astype(np.float32)
    wanted = retorch.load(DIGITS).forward(x.astype(np.float64))
    (found,) = caffe2.run(tmp_path, [x])
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "tensorflow"], "--to tensorflow: there are caffe2, onnx, pytorch and predictor"),
        (["--init", "lmdb"], "--init lmdb: there are pb and minidb"),
        (["--caffe2", "2.0"], "--caffe2 2.0: there are 1.0 and 1.10"),
        (["--to", "onnx", "--nnpack"], "an ONNX file takes none of the options"),
        (["--to", "predictor", "--init", "minidb"], "a predictor container has no init net"),
        (["--to", "predictor", "--unpacked"], "a predictor container has no init net"),
        (["--brew", "--nnpack"], "brew would not have picked NNPACK"),
        (["--brew", "--mkldnn"], "brew would not have picked MKL-DNN"),
    ],
)
def test_unusable(options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out"
    assert main(["convert", DIGITS, "-o", str(target), *options]) == 2
    assert message in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.parametrize("release", ["1.0", "1.0.0", "1.10", "1.10.2"])
def test_releases(release: str, tmp_path: Path) -> None:
    assert converted(tmp_path, "--caffe2", release).predict.op
