"""RecurrentNetwork, as the builders of Caffe2's ``rnn_cell`` write it, against the real Caffe2 and a plain loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from caffe2.nets import Array, add_operator
from retorch.caffe2 import files
from retorch.caffe2.files import Caffe2Net
from retorch.caffe2.parse.net import parse
from retorch.caffe2.proto.caffe2_pb2 import NetDef
from retorch.engines.caffe2_runtime import Runtime
from retorch.errors import UnsupportedError
from retorch.network import Network

SIZE = 3
LSTM = (
    "FC h_prev w b -> g | axis=2; Sum g x_t -> g; "
    "LSTMUnit h_prev c_prev g Lens timestep -> h c | forget_bias=0.5 drop_states={drop}"
)
GRU = "FC h_prev w b -> g | axis=2; Sum g x_t -> g; GRUUnit h_prev g Lens timestep -> h | drop_states={drop}"


def net_of(step: str, states: str, gates: int) -> Caffe2Net:
    """A net of one RecurrentNetwork over X: its states begin as H0, C0 and its outputs are all steps and the last."""
    random = np.random.default_rng(3)
    params = {
        "w": random.normal(size=(gates * SIZE, SIZE)).astype(np.float32),
        "b": random.normal(size=gates * SIZE).astype(np.float32),
    }
    inputs = ["X", "Lens", *(f"{state.upper()}0" for state in states)]
    predict = NetDef(name="recurrent", external_input=[*inputs, *params])
    parts = [(f"{state}{part}", offset) for state in states for part, offset in (("_all", 1), ("_last", -1))]
    op = predict.op.add(type="RecurrentNetwork", input=[*inputs, *params])
    op.output.extend([*(name for name, _ in parts), "step_workspaces"])
    links = [(f"{state}{side}", f"{state}_states", at) for state in states for side, at in (("_prev", 0), ("", 1))]
    links.append(("x_t", "X", 0))
    for name, values in (
        ("recurrent_states", [f"{state}_states" for state in states]),
        ("link_internal", [link[0] for link in links]),
        ("link_external", [link[1] for link in links]),
        ("alias_src", [f"{name[0]}_states" for name, _ in parts]),
        ("alias_dst", [name for name, _ in parts]),
    ):
        op.arg.add(name=name, strings=[value.encode() for value in values])
    op.arg.add(name="initial_recurrent_state_ids", ints=range(2, 2 + len(states)))
    op.arg.add(name="link_offset", ints=[link[2] for link in links])
    op.arg.add(name="alias_offset", ints=[offset for _, offset in parts])
    op.arg.add(name="timestep", s=b"timestep")
    inner = op.arg.add(name="step_net").n
    inner.name = "step"
    for line in step.split(";"):
        add_operator(inner, line)
    inner.external_input.extend(["x_t", "timestep", "Lens", "w", "b", *(f"{state}_prev" for state in states)])
    inner.external_output.extend(states)
    predict.external_output.extend([*(name for name, _ in parts), "step_workspaces"])
    return Caffe2Net(predict, params, tuple(inputs))


def feeds_of(net: Caffe2Net, steps: int, gates: int) -> dict[str, Array]:
    random = np.random.default_rng(steps)
    fed: dict[str, Array] = {
        "X": random.normal(size=(steps, 2, gates * SIZE)).astype(np.float32),
        "Lens": np.array([steps, steps - 1], np.int32),
    }
    return fed | {name: random.normal(size=(1, 2, SIZE)).astype(np.float32) for name in net.inputs[2:]}


CELLS = [
    (LSTM.format(drop=0), "hc", 4),
    (LSTM.format(drop=1), "hc", 4),
    (GRU.format(drop=0), "h", 3),
    ("FC h_prev w b -> g | axis=2; Mul g x_t -> g; Tanh g -> h", "h", 1),
]


@pytest.mark.caffe2
@pytest.mark.parametrize(("step", "states", "gates"), CELLS)
def test_runs_as_the_real_caffe2(step: str, states: str, gates: int, caffe2: Runtime, tmp_path: Path) -> None:
    net = net_of(step, states, gates)
    files.write(tmp_path, net)
    network = Network.load(tmp_path)
    for steps in (4, 2):
        feeds = feeds_of(net, steps, gates)
        names = [name for name in net.predict.external_output if name != "step_workspaces"]
        expected = caffe2.run((tmp_path / "predict_net.pb", tmp_path / "init_net.pb"), feeds, names)
        for mine, theirs in zip(network.run(feeds), expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)
    assert network.notes == ("output step_workspaces is left out: nothing makes it",)


def test_is_a_loop_over_time() -> None:
    net = net_of("FC h_prev w b -> g | axis=2; Sum g x_t -> g; Tanh g -> h", "h", 1)
    feeds = feeds_of(net, 5, 1)
    h, expected = feeds["H0"], list[Array]()
    for x in feeds["X"]:
        h = np.tanh(h @ net.params["w"].T + net.params["b"] + x)
        expected.append(h[0])
    every, last = Network(parse(net, {name: x.shape for name, x in feeds.items()})).run(feeds)
    np.testing.assert_allclose(every, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(last, every[-1:])


def test_is_valid_onnx_for_any_number_of_steps() -> None:
    net = net_of(LSTM.format(drop=0), "hc", 4)
    shapes = {"X": ["T", "N", 4 * SIZE], "Lens": ["N"], "H0": [1, "N", SIZE], "C0": [1, "N", SIZE]}
    onnx.checker.check_model(ir.to_proto(parse(net, shapes, {"Lens": ir.DataType.INT32})), full_check=True)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("Fancy h_prev -> h", "in its step h Fancy: not an operator"),
        ("Relu nothing -> h", "in its step h Relu: reads nothing, which nothing makes"),
        ("Dropout h_prev -> h", "in its step h Dropout: Dropout in training mode"),
    ],
)
def test_says_which_operator_of_its_step_cannot_be_read(step: str, reason: str) -> None:
    net = net_of(step, "h", 1)
    with pytest.raises(UnsupportedError) as caught:
        parse(net, {name: x.shape for name, x in feeds_of(net, 3, 1).items()})
    assert reason in caught.value.problems[0].reason
