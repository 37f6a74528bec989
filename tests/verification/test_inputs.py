"""What networks are tried on: pictures, adversarial values, other batches; and what they are spared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import retorch
from building import module, sequential, torch_object
from retorch.apply.pictures import picture_tensor
from retorch.apply.preprocessing import Preprocessing
from retorch.cli import main
from retorch.engines.caffe2_runtime import VERSIONS, Runtime
from retorch.errors import UsageError
from retorch.verification import verify
from retorch.verification.inputs import Trial, batches, scaled_trials

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "digits.t7"
Image = pytest.importorskip("PIL.Image")


def test_zeros_constants_and_large_values_spare_indices() -> None:
    noise, indices = np.array([0.5, -2.0], np.float32), np.array([1.0, 7.0], np.float32)
    zeros, constant, large = scaled_trials(Trial("", (noise, indices)))
    assert [t.tensors[0].tolist() for t in (zeros, constant, large)] == [[0, 0], [0.5, 0.5], [50, -200]]
    assert all(t.tensors[1].tolist() == [1, 7] for t in (zeros, constant, large))


def test_other_batches_keep_all_other_sizes() -> None:
    assert batches([(1, 3, 8), (1, 2)]) == [[(3, 3, 8), (3, 2)]]
    assert batches([(2, 5)]) == [[(1, 5)], [(3, 5)]]
    assert batches([(2, 5), (4, 5)]) == []
    assert batches([()]) == []


def out_of(net: retorch.Module, shape: tuple[int, ...], folder: Path) -> Path:
    retorch.convert(net, shape, fold=False).save(folder / "model.onnx", format="onnx")
    return folder / "model.onnx"


def test_unkind_trials_are_run_and_named(tmp_path: Path) -> None:
    net = sequential(torch_object("nn.Tanh"))
    report = verify(net, out_of(net, (2, 3), tmp_path), adversarial=True)
    assert [w.trial for w in report.witnesses] == [
        "random, seed 0",
        "zeros",
        "constant 0.5",
        "large (×100)",
        "batch of 1, seed 0",
        "batch of 3, seed 0",
    ]
    assert [w.outputs[0].shape for w in report.witnesses][-2:] == [(1, 3), (3, 3)]
    assert report.ok


def test_a_trial_that_float32_itself_cannot_bear_is_left_out_and_said_so(tmp_path: Path) -> None:
    net = sequential(torch_object("nn.Exp"))
    report = verify(net, out_of(net, (40, 3), tmp_path), adversarial=True)
    assert "large (×100)" not in [w.trial for w in report.witnesses]
    assert any(note.startswith("not tried on large (×100): the formulas themselves") for note in report.notes)


def test_nan_is_told_with_the_layer_that_made_it(tmp_path: Path) -> None:
    net = sequential(torch_object("nn.Tanh"), torch_object("nn.MulConstant", constant_scalar=2.0))
    wrong = sequential(torch_object("nn.Tanh"), torch_object("nn.Log"))
    report = verify(net, out_of(wrong, (2, 3), tmp_path), layers=True)
    assert not report.ok
    assert report.first_strange is not None
    assert report.first_strange.path == "modules[2]"
    assert "NaN or infinity first in modules[2] nn.Log" in report.verdict


def picture(folder: Path, colour: tuple[int, int, int]) -> Path:
    Image.new("RGB", (5, 7), colour).save(folder / "one.png")
    return folder / "one.png"


def test_tensors_that_are_missing_are_asked_for(tmp_path: Path) -> None:
    net = module("nn.CAddTable")
    retorch.convert(net, [(2, 3), (2, 3)], fold=False).save(tmp_path)
    with pytest.raises(UsageError, match="1 tensors are given, and the network takes more"):
        verify(net, tmp_path, inputs=[np.zeros((2, 3), np.float32)])


def test_a_picture_becomes_channels_in_order(tmp_path: Path) -> None:
    file = picture(tmp_path, (255, 102, 51))
    x = picture_tensor(file, (2, 3, 4, 6), Preprocessing(""))
    assert (x.shape, x.dtype) == ((2, 3, 4, 6), np.float32)
    np.testing.assert_allclose(x[1, :, 3, 5], [1.0, 0.4, 0.2], rtol=1e-6)


def test_blue_first_mean_and_std_are_per_channel_in_the_networks_order(tmp_path: Path) -> None:
    file = picture(tmp_path, (255, 102, 51))
    x = picture_tensor(file, (3, 2, 2), Preprocessing("", (104, 117, 123), (2.0,), bgr=True, top=255))
    np.testing.assert_allclose(x[:, 0, 0], [(51 - 104) / 2, (102 - 117) / 2, (255 - 123) / 2], rtol=1e-6)


def test_a_grey_network_gets_grey(tmp_path: Path) -> None:
    x = picture_tensor(picture(tmp_path, (80, 80, 80)), (1, 1, 2, 2), Preprocessing("", top=255))
    np.testing.assert_allclose(x, np.full((1, 1, 2, 2), 80), rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "mean", "std", "said"),
    [
        ((1, 10), (0,), (1,), "takes 1x10, which is no picture"),
        ((1, 8, 4, 4), (0,), (1,), "which is no picture"),
        ((1, 3, 4, 4), (1, 2), (1,), "--mean has 2 numbers; the network takes 3 channels"),
        ((1, 3, 4, 4), (0,), (0,), "--std cannot be 0"),
    ],
)
def test_what_does_not_fit_a_picture_is_refused(
    shape: tuple[int, ...], mean: tuple[float, ...], std: tuple[float, ...], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        picture_tensor(picture(tmp_path, (1, 2, 3)), shape, Preprocessing("", mean, std))


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no", encoding="ascii")
    with pytest.raises(UsageError, match="not a picture"):
        picture_tensor(tmp_path / "x.png", (1, 3, 2, 2), Preprocessing(""))


def test_the_command_takes_pictures_arrays_and_all_trials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["convert", str(DIGITS), "-o", str(out), "--no-verify"]) == 0
    capsys.readouterr()
    image = str(picture(tmp_path, (9, 80, 200)))
    assert main(["verify", str(out), "--image", image, "--mean", "0.5", "--trials", "all", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    trials = [w["trial"] for w in told["witnesses"]]
    assert trials[0] == "the given input"
    assert trials[-1] == "batch of 3, seed 0"
    np.save(tmp_path / "x.npy", np.zeros((2, 1, 32, 32), np.float32))
    assert main(["verify", str(out), "--inputs", str(tmp_path / "x.npy")]) == 0
    assert main(["verify", str(out), "--inputs", str(tmp_path / "x.npy"), "--image", image]) == 2
    assert main(["verify", str(out), "--bgr"]) == 2
    assert main(["verify", str(out), "--image", image, "--mean", "a,b"]) == 2
    assert main(["verify", str(out), "--trials", "some"]) == 2


@pytest.mark.caffe2
def test_every_installed_caffe2_testifies(tmp_path: Path) -> None:
    installed: list[str] = []
    for version in VERSIONS:
        runtime = Runtime.find(version)
        if runtime is not None:
            installed.append(version)
            runtime.close()
    if not installed:
        pytest.skip("no Caffe2 is installed (make caffe2)")
    net = sequential(torch_object("nn.Tanh"))
    retorch.convert(net, (2, 3), fold=False).save(tmp_path, format="caffe2")
    report = verify(net, tmp_path, engines=["caffe2-all"])
    assert [w.engine for w in report.witnesses] == [f"Caffe2 {version}" for version in installed]
    assert report.ok
