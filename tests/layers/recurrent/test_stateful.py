"""Fed its states with each next step, a recurrent network computes what Torch computed on the whole sequence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples.charnn.network import checkpoint

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


@pytest.mark.parametrize("name", ["SeqGRU_1", "SeqLSTM_1", "SeqLSTM_batchfirst"])
def test_onnx_takes_pieces_of_any_length(name: str) -> None:
    """One network for one step, for two, and for all of Torch's sequence."""
    case, axis = Case(GOLDEN / f"{name}.t7"), CASES[name]
    assert axis is not None
    network = retorch.convert(retorch.load(case.path), to="onnx", state=True)
    shape = network.inputs[0].shape
    assert shape is not None
    assert (shape[axis], shape[1 - axis]) == ("T", "N")
    assert all(port.shape is not None and port.shape[0] == "N" for port in network.inputs[1:])
    x = case.nested("input")
    for cuts in ([1], [2], [1, 2], []):
        outputs: list[Any] = []
        states = [
            np.zeros((x.shape[1 - axis], port.shape[-1]), np.float32) for port in network.inputs[1:] if port.shape
        ]
        for piece in np.split(x, [cut for cut in cuts if cut < x.shape[axis]], axis):
            y, *states = network.run(piece, *states)
            outputs.append(y)
        agrees(case, outputs, axis)


def test_a_net_of_caffe2_is_made_for_one_step() -> None:
    network = retorch.convert(retorch.load(GOLDEN / "SeqLSTM_1.t7"), state=True)
    shape = network.inputs[0].shape
    assert shape is not None
    assert shape[0] == 1
    assert any("one step" in note for note in network.notes)


@pytest.mark.parametrize(("cell", "states"), [("lstm", 2), ("gru", 1), ("rnn", 1)])
def test_a_graph_that_is_a_step_hands_on_its_states_already(cell: str, states: int, tmp_path: Path) -> None:
    retorch.write(tmp_path / "lm.t7", checkpoint(b"abcd", cell, 5))
    call = ["convert", str(tmp_path / "lm.t7"), "-o", str(tmp_path / "out.onnx"), "--state"]
    assert main([*call, "--input", "{2," + ",".join(["2x5"] * states) + "}"]) == 0
    network = retorch.Network.load(tmp_path / "out.onnx")
    assert (len(network.inputs), len(network.outputs)) == (1 + states, 1 + states)
    assert main(["verify", str(tmp_path / "lm.t7"), str(tmp_path / "out.onnx")]) == 0


STEPS = (
    "charrnn_GRU neuraltalk2_LSTM neuraltalk2_LSTM2 onmt_GRU2 onmt_LSTM2 onmt_LSTM3 seq2seqattn_dec "
    "seq2seqattn_enc_chars vqa_LSTM lstmcharcnn_chars lstmcharcnn_words"
)


@pytest.mark.real
@pytest.mark.parametrize("name", STEPS.split())
def test_published_steps_give_what_torch_gave(name: str, real: Path, tmp_path: Path) -> None:
    case = Case(real.parent / "golden" / "zoo" / f"{name}.t7")
    network = retorch.convert(retorch.load(case.path), case.nested("input"), state=True)
    assert any("states are among its inputs and outputs" in note for note in network.notes)
    network.save(tmp_path / "net", format="caffe2")
    for one in (network, retorch.Network.load(tmp_path / "net")):
        for want, got in zip(case.flat("output"), one.run(*case.flat("input")), strict=True):
            assert np.abs(want - got).max() <= 1e-5 * max(1, np.abs(want).max())
