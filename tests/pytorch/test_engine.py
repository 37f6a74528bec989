"""PyTorch as an engine: what was written is compared with the network, and what was changed in it is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.pytorch.conftest import interpreter

import retorch
from golden_cases import GOLDEN
from retorch.cli import main

pytestmark = pytest.mark.pytorch


@pytest.fixture
def resnet(tmp_path: Path) -> tuple[retorch.Module, Path]:
    if interpreter("2") is None:
        pytest.skip("PyTorch is not installed (make pytorch)")
    net = retorch.load(GOLDEN / "net_resnet.t7")
    retorch.convert(net, (2, 3, 64, 64), to="pytorch").save(tmp_path / "out")
    return net, tmp_path / "out"


def test_a_twin_agrees_layer_by_layer(resnet: tuple[retorch.Module, Path]) -> None:
    net, out = resnet
    report = retorch.verify(net, out, engines=["pytorch"], layers=True)
    assert report.ok
    rows = {row.path: row for row in report.witnesses[0].layers}
    assert rows["modules[1].modules[1]"].whole is not None
    assert not list(out.glob("__pycache__"))


def test_a_changed_weight_is_found(resnet: tuple[retorch.Module, Path]) -> None:
    from safetensors.numpy import load_file, save_file

    net, out = resnet
    weights = load_file(out / "model.safetensors")
    weights["3.0.0.1.weight"] = weights["3.0.0.1.weight"] + 0.1
    save_file(weights, out / "model.safetensors")
    report = retorch.verify(net, out, engines=["pytorch"], layers=True)
    assert not report.ok
    assert report.first_divergence is not None
    assert report.first_divergence.path == "modules[4].modules[1].modules[1].modules[2]"
    assert "modules[4].modules[1].modules[1].modules[2] nn.SpatialConvolution" in report.verdict


def test_a_changed_argument_is_found(resnet: tuple[retorch.Module, Path]) -> None:
    net, out = resnet
    source = (out / "model.py").read_text(encoding="utf-8")
    changed = source.replace("nn.MaxPool2d(3, stride=2, padding=1)", "nn.AvgPool2d(3, stride=2, padding=1)")
    assert changed != source
    (out / "model.py").write_text(changed, encoding="utf-8")
    report = retorch.verify(net, out, engines=["pytorch"], layers=True)
    assert report.first_divergence is not None
    assert report.first_divergence.path == "modules[2]"


def test_the_command_writes_and_verifies(resnet: tuple[retorch.Module, Path], tmp_path: Path) -> None:
    source = str(GOLDEN / "net_resnet.t7")
    assert main(["convert", source, "-o", str(tmp_path / "net.py"), "--input", "2x3x64x64"]) == 0
    assert sorted(path.name for path in tmp_path.glob("net*")) == ["net.py", "net.py.json", "net.safetensors"]
    assert main(["verify", str(tmp_path / "net.py")]) == 0
