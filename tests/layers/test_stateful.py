"""Fed its states with each next step, a recurrent network computes what Torch computed on the whole sequence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import retorch
from building import module
from golden_cases import GOLDEN, Case, flatten
from retorch.cli import main
from retorch.engines.caffe2_runtime import Runtime
from retorch.layers.base.layer import Refusal
from retorch.layers.recurrent.stateful import Stateful, sizes_of, zero_states

#: Golden cases and the dimension of their input that is time; None for a table of steps.
CASES = {
    "SeqGRU_1": 0,
    "SeqLSTM_1": 0,
    "SeqLSTM_batchfirst": 1,
    "Sequencer_FastLSTM": None,
    "Sequencer_GRU": None,
    "Sequencer_LSTM": None,
}


def steps(x: Any, axis: int | None) -> Iterator[Any]:
    """The sequence one step at a time, each in the form of the whole."""
    if axis is None:
        yield from ([step] for step in x)
    else:
        yield from (np.take(x, [t], axis) for t in range(x.shape[axis]))


def whole(outputs: list[Any], axis: int | None) -> list[np.ndarray]:
    """The outputs of all steps as Torch gave them for the sequence."""
    return [step for y in outputs for step in flatten(y)] if axis is None else [np.concatenate(outputs, axis)]


def stepping(name: str) -> tuple[Any, Case, list[Any], list[np.ndarray]]:
    case = Case(GOLDEN / f"{name}.t7")
    net = retorch.load(case.path)
    pieces = list(steps(case.nested("input"), CASES[name]))
    stateful = Stateful(net.layer, sizes_of(pieces[0]))
    return replace(net, layer=stateful), case, pieces, zero_states(stateful, np.dtype(np.float32))


def agrees(case: Case, outputs: list[Any], axis: int | None) -> None:
    for want, got in zip(case.flat("output"), whole(outputs, axis), strict=True):
        assert np.abs(want - got).max() <= 1e-5 * max(1, np.abs(want).max())


@pytest.mark.parametrize("name", CASES)
def test_the_formulas_go_on_where_they_stopped(name: str) -> None:
    net, case, pieces, states = stepping(name)
    outputs: list[Any] = []
    for piece in pieces:
        y, *states = net.forward([piece, *states])
        outputs.append(y)
    agrees(case, outputs, CASES[name])


def fed(piece: Any) -> Any:
    return list(piece) if isinstance(piece, list) else piece


@pytest.mark.parametrize("name", CASES)
def test_onnx_goes_on_where_it_stopped(name: str) -> None:
    net, case, pieces, states = stepping(name)
    network = retorch.convert(net, [pieces[0], *states])
    outputs: list[Any] = []
    for piece in pieces:
        y, *states = network.run(fed(piece), *states)
        outputs.append([y] if CASES[name] is None else y)
    agrees(case, outputs, CASES[name])


@pytest.mark.caffe2
@pytest.mark.parametrize("name", CASES)
def test_caffe2_goes_on_where_it_stopped(name: str, caffe2: Runtime, tmp_path: Path) -> None:
    net, case, pieces, states = stepping(name)
    network = retorch.convert(net, [pieces[0], *states])
    network.save(tmp_path / "net")
    names = [port.name for port in network.inputs]
    outputs: list[Any] = []
    for piece in pieces:
        feeds = dict(zip(names, [*flatten(fed(piece)), *states], strict=True))
        y, *states = caffe2.run(tmp_path / "net", feeds)
        outputs.append([y] if CASES[name] is None else y)
    agrees(case, outputs, CASES[name])


def test_a_network_without_states_says_so() -> None:
    with pytest.raises(Refusal, match="keeps no states"):
        Stateful(module("nn.Tanh").layer, (1, 2))


@pytest.mark.parametrize("name", ["BiSequencer_1", "SeqBRNN_1"])
def test_a_sequence_read_from_its_end_has_no_states(name: str) -> None:
    case = Case(GOLDEN / f"{name}.t7")
    with pytest.raises(Refusal, match="from its end"):
        Stateful(retorch.load(case.path).layer, sizes_of(case.nested("input")))


@pytest.mark.parametrize("target", ["out", "out.onnx"])
def test_the_command_converts_and_verifies_states(target: str, tmp_path: Path) -> None:
    source = str(GOLDEN / "SeqLSTM_1.t7")
    assert main(["convert", source, "-o", str(tmp_path / target), "--input", "1x2x4", "--state"]) == 0
    network = retorch.Network.load(tmp_path / target)
    assert [port.shape and port.shape[-1] for port in network.inputs] == [4, 3, 3]
    assert len(network.outputs) == 3
    assert main(["verify", source, str(tmp_path / target), "--layers"]) == 0


def test_the_command_says_that_there_are_no_states(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(GOLDEN / "Linear_1.t7")
    assert main(["convert", source, "-o", str(tmp_path / "out"), "--state"]) == 2
    assert "no states to hand on" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
