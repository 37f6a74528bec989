"""The benchmarks' networks are what they say, and their scripts run; what they measure is not looked at here."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from benchmarks import charrnn, enet, measuring, nets, networks

import retorch

FOLDER = Path(measuring.__file__).parent
# Scripts for other interpreters, which import what those have.
FOREIGN = {"__init__", "caffe2_load", "recipe", "timing"}
# The parameters: SpyNet's and torchvision's own counts; the paper's 0.37 million; by hand, an LSTM of 5 on 9 letters.
SMALL: dict[str, tuple[Callable[[], retorch.TorchObject], tuple[tuple[int, ...], ...], int, int]] = {
    "a level of SpyNet": (networks.level, ((1, 8, 16, 24),), 240_050, 0),
    "ResNet-50": (networks.resnet50, ((1, 3, 224, 224),), 25_557_032, 0),
    "ENet": (enet.enet, ((1, 3, 32, 64),), 370_000, 10_000),
    "a step of char-rnn": (lambda: charrnn.step(9, 5, 2), ((2,), *((2, 5),) * 4), 574, 0),
}


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in FOREIGN))
def test_every_script_can_be_imported(name: str) -> None:
    assert importlib.import_module(f"benchmarks.{name}").__doc__


@pytest.mark.parametrize("name", list(SMALL))
def test_a_network_has_its_parameters_and_runs(name: str, tmp_path: Path) -> None:
    make, shapes, parameters, within = SMALL[name]
    case = nets.Case(name, make, shapes)
    retorch.write(tmp_path / "model.t7", case.make())
    net = retorch.load(tmp_path / "model.t7")
    weights = [tensor.size for key, tensor in net.state_dict().items() if "running" not in key]
    assert abs(sum(weights) - parameters) <= within
    arrays = case.inputs()
    given = arrays[0] if len(arrays) == 1 else arrays
    for got, want in zip(retorch.convert(net, given).run(*arrays), nets.formulas(net, arrays), strict=True):
        assert nets.difference(got, want) < 1e-4


def test_an_engine_is_timed_and_its_outputs_are_compared(tmp_path: Path) -> None:
    case = nets.Case("step", lambda: charrnn.step(9, 5, 2), ((1,), *((1, 5),) * 4))
    retorch.write(tmp_path / "model.t7", case.make())
    net = retorch.load(tmp_path / "model.t7")
    arrays = case.inputs()
    np.savez(tmp_path / "x.npz", **{f"x{i}": array for i, array in enumerate(arrays)})
    retorch.convert(net, arrays).save(tmp_path / "net")
    exact = nets.formulas(net, arrays)
    engine = nets.Engine("embedded", sys.executable, tmp_path / "net")
    time = nets.run(engine, tmp_path / "x.npz", 1, 0.01, exact)
    assert time.problem == ""
    assert 0 < time.steady <= time.first
    assert time.error < 1e-5
    other = nets.run(engine, tmp_path / "x.npz", 1, 0.01, [2 * array for array in exact])
    assert other.error == pytest.approx(0.5, abs=1e-4)


def test_why_an_engine_does_not_run_is_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x0=np.zeros((1, 3), np.float32))
    engine = nets.Engine("embedded", sys.executable, tmp_path / "nothing")
    assert "nothing" in nets.run(engine, tmp_path / "x.npz", 1, 0.01, []).problem
    assert nets.run(nets.Engine("opencv", None, tmp_path), tmp_path / "x.npz", 1, 0.01, []).problem == "is not there"
