"""What a user types in Python works the first time; what does not is answered in our words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import retorch
from golden_cases import GOLDEN
from retorch.cli import main
from retorch.errors import MissingFileError, UsageError
from retorch.files.record import Record

DIGITS = GOLDEN / "digits" / "digits.t7"
SHAPE = (1, 1, 32, 32)


@pytest.fixture(scope="module")
def net() -> retorch.Module:
    return retorch.load(DIGITS)


def test_a_network_is_called(net: retorch.Module) -> None:
    x = np.ones(SHAPE, np.float32)
    np.testing.assert_array_equal(net(x), net.forward(x))


def test_converting_folds_as_the_command_does(net: retorch.Module) -> None:
    def kinds(**options: Any) -> list[str]:
        return [node.op_type for node in retorch.convert(net, SHAPE, **options).model.graph]

    assert "BatchNormalization" not in kinds()
    assert "BatchNormalization" in kinds(fold=False)


def test_the_shape_is_worked_out_and_said(net: retorch.Module) -> None:
    made = retorch.convert(net)
    assert made.inputs[0].shape is not None
    assert made.inputs[0].shape[1:] == SHAPE[1:]
    assert any("assumed the input 1x1x32x32" in note for note in made.notes)


def test_verify_takes_files_folders_and_networks(net: retorch.Module, tmp_path: Path) -> None:
    network = retorch.convert(net, SHAPE)
    network.save(tmp_path / "out")
    for what in (net, DIGITS, str(DIGITS)):
        assert retorch.verify(what, tmp_path / "out").ok
    assert retorch.verify(net, str(tmp_path / "out")).ok
    assert retorch.verify(net, network).ok
    assert retorch.verify(net, retorch.convert(net, SHAPE, to="onnx")).ok


def test_a_verdict_is_kept_as_a_page(net: retorch.Module, tmp_path: Path) -> None:
    report = retorch.verify(net, retorch.convert(net, SHAPE), layers=True)
    assert repr(report).startswith("<Proof: Same: embedded")
    assert "Same: embedded" in report._repr_html_()
    for name in ("r.html", "r.md", "r.json"):
        assert report.save(tmp_path / name) == tmp_path / name
        assert "modules[1]" in (tmp_path / name).read_text()
    with pytest.raises(UsageError, match=r"a report is \.html"):
        report.save(tmp_path / "r.pdf")


def test_what_things_look_like(net: retorch.Module) -> None:
    lines = repr(net).splitlines()
    assert lines[0] == "nn.Sequential"
    assert lines[1].startswith("  modules[1]  nn.SpatialConvolution kW=")
    assert repr(retorch.convert(net, SHAPE)).splitlines()[:2] == ["Network", "  input   data float32 N×1×32×32"]
    assert {"load", "convert", "verify", "read", "__version__"} <= set(dir(retorch))
    assert "retorch.convert(net)" in (retorch.__doc__ or "")


def test_state_dict_has_pytorch_s_names_and_layouts(net: retorch.Module) -> None:
    state = net.state_dict()
    assert list(state)[:6] == ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"]
    stored = retorch.read(DIGITS)
    np.testing.assert_array_equal(state["1.running_var"], stored.modules[2].running_var)
    conv = retorch.read(GOLDEN / "TemporalConvolution_1.t7")
    made = retorch.load(GOLDEN / "TemporalConvolution_1.t7").state_dict()["weight"]
    # Torch keeps (O, kW · I), tap by tap; PyTorch (O, I, kW)
    assert made.shape == (conv.outputFrameSize, conv.inputFrameSize, conv.kW)
    assert made[1, 2, 0] == conv.weight[1, 2]
    assert made[1, 2, 1] == conv.weight[1, conv.inputFrameSize + 2]


def test_old_statistics_become_variances() -> None:
    stored = retorch.read(GOLDEN / "BatchNormalization_legacy_std.t7")
    state = retorch.load(GOLDEN / "BatchNormalization_legacy_std.t7").state_dict()
    np.testing.assert_allclose(state["running_var"], stored.running_std**-2.0 - stored.eps, rtol=1e-5)
    assert "running_std" not in state


LAID_OUT = """
    TemporalConvolution_1 SpatialDepthWiseConvolution_1 SpatialConvolutionMap_1 SpatialFullConvolution_1
    BatchNormalization_legacy_std SharedWeights_1 net_siamese WeightNorm_1 SeqLSTM_1 Sequencer_LSTM nngraph_lstm
    net_resnet net_crnn_like LookupTable_1
""".split()


@pytest.mark.parametrize("name", LAID_OUT)
def test_weights_go_back_into_torch_s_layouts(name: str, tmp_path: Path) -> None:
    """Weights by PyTorch's names, written into what was read and from there into a file, come out as they went in."""
    obj = retorch.read(GOLDEN / f"{name}.t7", writable=True)
    net = retorch.load(obj)
    changed = {
        key: (array * 1.25).astype(array.dtype)
        for key, array in net.state_dict().items()
        if key.rpartition(".")[2] in {"weight", "bias", "g", "running_mean", "running_var"}
    }
    assert changed
    net.load_state_dict({**net.state_dict(), **changed})
    retorch.write(tmp_path / "new.t7", obj)
    state = retorch.load(tmp_path / "new.t7").state_dict()
    for key, array in changed.items():
        np.testing.assert_allclose(state[key], array, rtol=1e-5, atol=1e-6, err_msg=key)


def test_weights_that_do_not_fit_are_refused(net: retorch.Module) -> None:
    state = net.state_dict()
    with pytest.raises(UsageError, match="the weights are read-only"):
        net.load_state_dict(state)
    fresh = retorch.load(retorch.read(DIGITS, writable=True))
    with pytest.raises(UsageError, match=r"0\.bias is missing among the weights"):
        fresh.load_state_dict({"0.weight": state["0.weight"]})
    with pytest.raises(UsageError, match=r"0\.weight is .* and not 3"):
        fresh.load_state_dict({**state, "0.weight": np.zeros(3, np.float32)})


MISUSE = [
    (lambda n: retorch.convert(cast("Any", "model.t7")), "convert takes a network, not a string"),
    (lambda n: retorch.convert(n, cast("Any", [1, 1, 32, 32])), r"a list is a table of inputs"),
    (lambda n: retorch.convert(n, cast("Any", (None, 1, 32, 32))), "every size is a whole number"),
    (lambda n: retorch.convert(n, cast("Any", ((1, 1), (32, 32)))), "a table of inputs is a list"),
    (lambda n: retorch.convert(n, cast("Any", "1x1x32x32")), "a shape is a tuple of whole numbers"),
    (lambda n: retorch.convert(n, (0, 1, 32, 32)), "sizes are whole numbers from 1"),
    (lambda n: retorch.convert(n, cast("Any", (1.5, 1, 32, 32))), "sizes are whole numbers from 1"),
    (lambda n: retorch.convert(cast("Any", retorch.convert(n, SHAPE))), "this network is converted already"),
    (lambda n: n(cast("Any", "cat.png")), "a network takes arrays of numbers, not str"),
    (lambda n: n(cast("Any", [1.0, 2.0])), "a list is a table of tensors"),
    (lambda n: retorch.load(cast("Any", 7)), "load takes a path, bytes"),
    (lambda n: retorch.verify(cast("Any", retorch.convert(n, SHAPE)), "out"), "takes the Torch network first"),
]


@pytest.mark.parametrize(("call", "message"), MISUSE, ids=[message[:30] for _, message in MISUSE])
def test_misuse_is_answered_in_our_words(call: Any, message: str, net: retorch.Module) -> None:
    with pytest.raises(UsageError, match=message):
        call(net)


@pytest.mark.parametrize(
    "call",
    [
        lambda p: retorch.read(p),
        lambda p: retorch.load(p),
        lambda p: retorch.verify(p, "out"),
        lambda p: retorch.verify(DIGITS, p),
        lambda p: retorch.Network.load(p),
    ],
)
def test_a_file_that_is_not_there_is_named(call: Any, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"nowhere\.t7: no such file or folder"):
        call(tmp_path / "nowhere.t7")


USER = """
from pathlib import Path

import numpy as np

import retorch

obj = retorch.read("model.t7", writable=True)
weight = obj.modules[1].weight
net: retorch.Module = retorch.load("model.t7", at="model")
x = np.zeros((1, 1, 32, 32), np.float32)
y = net(x)
network = retorch.convert(net, (1, 1, 32, 32), to="onnx", fold=False)
files: tuple[Path, ...] = network.save("model.onnx")
outputs: list[np.ndarray] = network.run(x)
report = retorch.verify("model.t7", network, engines=["embedded"], inputs=x)
ok: bool = report.ok
page: Path = report.save("report.html")
state: dict[str, np.ndarray] = net.state_dict()
"""


@pytest.mark.slow
def test_a_user_s_script_is_clean_for_type_checkers(tmp_path: Path) -> None:
    script = tmp_path / "user.py"
    script.write_text(USER)
    source = Path(retorch.__file__).parents[1]
    assert (source / "retorch" / "py.typed").is_file()
    (tmp_path / "pyrightconfig.json").write_text(f'{{"extraPaths": ["{source}"]}}')
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(script)],
        env={**os.environ, "MYPYPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not [line for line in done.stdout.splitlines() if line.startswith(str(script))], done.stdout


@pytest.mark.parametrize("name", ["out", "model.onnx", "pair/model.pb", "model.minidb", "model.py"])
def test_what_is_saved_in_python_has_the_record_that_the_command_writes(tmp_path: Path, name: str) -> None:
    python, command = tmp_path / "python" / name, tmp_path / "command" / name
    retorch.convert(retorch.load(DIGITS), to="pytorch" if name.endswith(".py") else "caffe2").save(python)
    assert main(["convert", str(DIGITS), "-o", str(command), "--no-verify"]) == 0
    record = Record.read(python)
    assert record is not None
    assert record == Record.read(command)


@pytest.mark.parametrize("name", ["out", "model.onnx", "pair/model.pb", "model.minidb", "model.py"])
def test_nets_and_record_of_python_appear_together(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = retorch.convert(retorch.load(DIGITS), to="pytorch" if name.endswith(".py") else "caffe2")
    files = made.save(tmp_path / name)
    assert all(file.is_file() for file in files)
    before = {path: path.stat().st_ino for path in tmp_path.rglob("*") if path.is_file()}

    def stopped(record: Record, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Record, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        made.save(tmp_path / name)
    assert {path: path.stat().st_ino for path in tmp_path.rglob("*") if path.is_file()} == before
