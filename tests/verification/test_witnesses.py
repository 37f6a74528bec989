"""Who testifies besides the written files: what Torch recorded, the formulas in float32, Torch7 itself."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

import retorch
from building import sequential, torch_object
from golden_cases import GOLDEN, Case
from retorch.cli import main
from retorch.engines import torch7
from retorch.errors import EngineError, UsageError
from retorch.module import bind
from retorch.torch7 import TorchObject
from retorch.verification import verify
from retorch.verification.recorded import recorded, recordings

KEPT = GOLDEN / "KeptState_1.t7"


def test_outputs_that_torch_recorded_are_a_witness() -> None:
    (witness,) = recorded(retorch.load(KEPT))
    assert [row.typename for row in witness.layers] == [
        "nn.SpatialMaxPooling",
        "nn.View",
        "nn.Linear",
        "nn.LogSoftMax",
    ]
    assert witness.agrees(1e-6)


def test_a_convolution_that_an_in_place_layer_wrote_over_says_nothing() -> None:
    (witness,) = recorded(retorch.load(KEPT))
    assert "modules[1]" not in [row.path for row in witness.layers]
    assert "modules[2]" not in [row.path for row in witness.layers]


@pytest.mark.parametrize(("number", "field"), [(3, "kW"), (6, "output")])
def test_the_recorded_witness_convicts(number: int, field: str) -> None:
    root = retorch.read(KEPT)
    assert isinstance(root, TorchObject)
    victim = root["modules"][number]
    value = victim[field]
    victim[field] = value + 1 if field == "kW" else np.asarray(value) + np.float32(0.5)
    found = recorded(bind(root))
    assert [row.path for row in found[0].layers if row.guilty(1e-4)] == [f"modules[{number}]"]


def test_recorded_outputs_of_another_size_are_counted_apart() -> None:
    root = retorch.read(KEPT)
    assert isinstance(root, TorchObject)
    root["modules"][3]["kH"] += 2
    (witness,) = recorded(bind(root))
    assert "modules[3]" not in [row.path for row in witness.layers]
    assert witness.trial.endswith("; 1 of another size than their input asks for")


def test_it_is_in_the_report_by_itself(tmp_path: Path) -> None:
    net = retorch.load(KEPT)
    retorch.convert(net, Case(KEPT).nested("input"), fold=False).save(tmp_path, format="caffe2")
    report = verify(net, tmp_path)
    assert [w.engine for w in report.witnesses][1:] == ["recorded (Torch's own last forward)"]
    assert "recorded (Torch's own last forward)" in report.verdict
    assert report.ok


def test_weights_that_were_trained_on_are_no_witness() -> None:
    def net(train: object) -> retorch.Module:
        x = np.array([[1.0, -2.0]], np.float32)
        linear = torch_object(
            "nn.Linear", weight=np.eye(2, dtype=np.float32), bias=np.zeros(2, np.float32), output=x + 3, train=train
        )
        tanh = torch_object("nn.Tanh", output=np.tanh(x + 3), train=train)
        return sequential(torch_object("nn.Identity", output=x, train=train), linear, tanh)

    for train in (True, False):  # who has called evaluate() since has not called forward()
        (witness,), notes = recordings(net(train))
        assert [row.typename for row in witness.layers] == ["nn.Tanh"]
        assert witness.trial.endswith("1 changed since")
        said = "modules[2] nn.Linear does not give what Torch recorded; its weights may have been changed since"
        assert notes == (said,)


def test_where_weights_were_changed_nobody_is_accused() -> None:
    root = retorch.read(KEPT)
    assert isinstance(root, TorchObject)
    for number, field in ((5, "bias"), (6, "output")):
        root["modules"][number][field] = np.asarray(root["modules"][number][field]) + np.float32(0.5)
    (witness,), notes = recordings(bind(root))
    assert witness.agrees(1e-4)
    assert "modules[5] nn.Linear" in notes[-1]


def test_dropout_in_training_is_no_witness() -> None:
    x = np.ones((2, 2), np.float32)

    def net(train: bool) -> retorch.Module:
        first = torch_object("nn.Tanh", output=x, train=train)
        return sequential(first, torch_object("nn.Dropout", p=0.5, v2=True, output=x * 2, train=train))

    assert recorded(net(train=True)) == []
    assert not recorded(net(train=False))[0].agrees(1e-4)


def test_published_files_agree_with_what_torch_recorded_in_them(real: Path) -> None:
    files = {
        "jonathantompson+jtorch/tests_jtorch__testmodel.torch@74a84eb.bin": 5,
        "soumith+torch-android/demos__facedetector_e-lab__assets__face.net.arm": 7,
        "socurites+tic-tac-toe-rl.torch/tictactoc-10-O.t7": 3,
        "clementfarabet+torch-ios/ios_examples__XOR_Example_LoadPretrained__XOR_Example__xor_lua__xor_model.net": 1,
    }
    for name, count in files.items():
        (witness,) = recorded(retorch.load(real / name))
        assert len(witness.layers) == count
        assert witness.agrees(1e-5)


def written(folder: Path) -> retorch.Module:
    net = sequential(torch_object("nn.MulConstant", constant_scalar=3.0), torch_object("nn.Tanh"))
    retorch.write(folder / "net.t7", net.layer.raw)
    retorch.convert(net, (2, 3), fold=False).save(folder / "out", format="caffe2")
    return net


def test_the_formulas_in_float32_are_a_witness_of_their_own(tmp_path: Path) -> None:
    report = verify(written(tmp_path), tmp_path / "out", engines=["reference"], layers=True)
    (witness,) = report.witnesses
    assert witness.engine.startswith("reference in float32")
    assert report.ok
    assert 0 < report.max_error < 1e-6
    assert [row.typename for row in witness.layers] == ["nn.MulConstant", "nn.Tanh"]


FAKE_TORCH = """#!{python}
import sys
sys.path[:0] = {path!r}
if sys.argv[1].endswith("probe.lua"):
    print("ready")
    raise SystemExit
import numpy as np
import retorch
assert sys.argv[1].endswith("forward.lua")
asked = retorch.read(sys.argv[3])
assert asked["path"].sequence() == []
net = retorch.read(sys.argv[2])
assert [m.typename for m in net["modules"].sequence()] == ["nn.MulConstant", "nn.Tanh"]
{answer}
"""


def fake_torch(folder: Path, answer: str) -> None:
    program = folder / "bin" / "th"
    program.parent.mkdir()
    program.write_text(FAKE_TORCH.format(python=sys.executable, path=sys.path, answer=answer), encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


ANSWER = "retorch.write(sys.argv[4], retorch.LuaTable.of(np.tanh({factor} * asked['input'])))"


@pytest.mark.parametrize(("factor", "same"), [("np.float32(3)", True), ("np.float32(2)", False)])
def test_torch7_itself_testifies_where_it_is_installed(
    factor: str, same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = written(tmp_path)
    fake_torch(tmp_path, ANSWER.format(factor=factor))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    report = verify(net, tmp_path / "out", engines=["lua"], source=tmp_path / "net.t7")
    assert report.witnesses[0].engine == "Torch7 (th)"
    assert report.ok is same


def test_what_torch7_complains_of_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = written(tmp_path)
    fake_torch(tmp_path, "sys.exit('module nn not found')")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    report = verify(net, tmp_path / "out", engines=["lua"], source=tmp_path / "net.t7")
    assert report.witnesses[0].failed == "Torch7 failed: module nn not found"
    with pytest.raises(EngineError, match="module nn not found"):
        torch7.forward(torch7.find(), tmp_path / "net.t7", "", np.zeros((1, 1), np.float32))


def test_without_torch7_the_way_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="Torch7 is not installed"):
        verify(written(tmp_path), tmp_path / "out", engines=["lua"], source=tmp_path / "net.t7")


def test_the_record_beside_folded_files_names_the_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = Path(__file__).parents[2] / "examples" / "digits" / "digits.t7"
    assert main(["convert", str(digits), "-o", str(tmp_path), "--no-verify"]) == 0

    def no_conversion(*arguments: object, **options: object) -> None:
        raise AssertionError("the record says it all")

    monkeypatch.setattr("retorch.conversion.convert", no_conversion)
    report = verify(retorch.load(digits), tmp_path, layers=True)
    assert [row.blob for row in report.witnesses[0].layers][:4] == ["conv1", "relu1", "pool1", "conv2"]
    assert report.ok


def test_the_command_tells_what_a_recording_contradicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = retorch.read(KEPT)
    assert isinstance(root, TorchObject)
    root["modules"][5]["bias"] = np.asarray(root["modules"][5]["bias"]) + np.float32(0.5)
    retorch.write(tmp_path / "changed.t7", root)
    assert main(["convert", str(tmp_path / "changed.t7"), "-o", str(tmp_path / "out"), "--json"]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    said = "modules[5] nn.Linear does not give what Torch recorded; its weights may have been changed since"
    assert notes.count(said) == 1
