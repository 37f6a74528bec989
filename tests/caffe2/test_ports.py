"""What is said of a net's inputs and outputs before any input is seen: never more than its operators say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from caffe2.nets import Row, row
from retorch.caffe2.proto.caffe2_pb2 import NetDef
from retorch.cli import main
from retorch.network import Network


def stored(folder: Path, case: Row) -> Path:
    """The row's net, with nothing filled."""
    (folder / "predict_net.pb").write_bytes(case.net().predict.SerializeToString())
    (folder / "init_net.pb").write_bytes(NetDef(name="init").SerializeToString())
    return folder


X = np.float32([[1.0]])
STATED = [
    ("ArgMax X -> Y | axis=1", ["X type not stated …"], ["Y int64 …"]),
    ("TopK X -> V I | k=1", ["X type not stated …"], ["V type not stated …", "I int64 …"]),
    ("Gather X I -> Y", ["X type not stated …", "I int32 or int64 …"], ["Y type not stated …"]),
    ("EQ X Y -> Z", ["X type not stated …", "Y type not stated …"], ["Z bool …"]),
    ("BitwiseAnd A B -> C", ["A int32 or int64 …", "B int32 or int64 …"], ["C int32 or int64 …"]),
    ("Slice X S E -> Y", ["X type not stated …", "S int32 or int64 …", "E int32 or int64 …"], ["Y type not stated …"]),
    ("AddPadding X L -> Y Z", ["X type not stated …", "L int32 or int64 …"], ["Y type not stated …", "Z int32 …"]),
    ("Relu X -> Y", ["X float32 …"], ["Y float32 …"]),
    ("Copy X -> Y", ["X type not stated …"], ["Y type not stated …"]),
    ("ConstantFill X -> Y | value=3.0", ["X type not stated …"], ["Y float32 …"]),
    ("Sqr X -> X", ["X float32 …"], ["X float32 …"]),
]


@pytest.mark.parametrize(("text", "inputs", "outputs"), STATED, ids=[case[0] for case in STATED])
def test_types_are_those_that_the_operators_state(
    text: str, inputs: list[str], outputs: list[str], tmp_path: Path
) -> None:
    names = [said.split()[0] for said in inputs]
    case = row(text, *(said.split()[0] for said in outputs), **dict.fromkeys(names, X))
    network = Network.load(stored(tmp_path, case))
    assert [str(port) for port in network.inputs] == inputs
    assert [str(port) for port in network.outputs] == outputs


def test_every_part_of_a_split_blob_says_the_type_of_the_whole(tmp_path: Path) -> None:
    case = row("Scale X -> A; Split A -> B C | axis=1; LeakyRelu C -> Y", "Y", X=(2, 4))
    assert [str(port) for port in Network.load(stored(tmp_path, case)).inputs] == ["X float32 …"]


@pytest.mark.parametrize(("weight", "said"), [(np.int64([5]), "int64"), (np.float32([5]), "float32")])
def test_a_weight_says_the_type_of_what_is_added_to_it(weight: np.ndarray, said: str, tmp_path: Path) -> None:
    fill = "GivenTensorInt64Fill" if weight.dtype == np.int64 else "GivenTensorFill"
    init = NetDef()
    operator = init.op.add(type=fill, output=["w"])
    operator.arg.add(name="shape", ints=[1])
    argument = operator.arg.add(name="values")
    (argument.ints if weight.dtype == np.int64 else argument.floats).extend(weight.tolist())
    folder = stored(tmp_path, row("Add X w -> Y", X=(1,), w=(1,)))
    (folder / "init_net.pb").write_bytes(init.SerializeToString())
    network = Network.load(folder)
    assert [str(port).split()[1] for port in network.inputs] == [said]
    assert network.run(np.array([2]).astype(said))[0].tolist() == [7]


RECURRENT = """
name: "rnn" external_input: "X" external_input: "lens" external_input: "start" external_output: "all"
external_output: "workspaces"
op { type: "RecurrentNetwork" input: "X" input: "start" input: "lens" output: "all" output: "workspaces"
     arg { name: "recurrent_states" strings: "states" } arg { name: "initial_recurrent_state_ids" ints: 1 }
     arg { name: "link_internal" strings: "x_t" strings: "before" strings: "after" }
     arg { name: "link_external" strings: "X" strings: "states" strings: "states" }
     arg { name: "link_offset" ints: 0 ints: 0 ints: 1 }
     arg { name: "alias_src" strings: "states" } arg { name: "alias_dst" strings: "all" }
     arg { name: "alias_offset" ints: 1 } arg { name: "timestep" s: "t" }
     arg { name: "step_net" n { op { type: "Sum" input: "x_t" input: "before" output: "after" } } } }
"""


def test_workspaces_are_no_outputs(tmp_path: Path) -> None:
    folder = stored(tmp_path, row("Relu X -> Y", X=(1,)))
    (folder / "predict_net.pb").write_bytes(text_format.Parse(RECURRENT, NetDef()).SerializeToString())
    network = Network.load(folder)
    assert [port.name for port in network.outputs] == ["all"]
    results = network.run({
        "X": np.float32([[[1]], [[2]], [[3]]]), "start": np.float32([[[10]]]), "lens": np.int32([3]),
    })  # fmt: skip
    assert [y.ravel().tolist() for y in results] == [[11, 13, 16]]


def test_inspect_says_that_a_type_is_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(stored(tmp_path, row("Gather X I -> Y", X=X, I=X)))]) == 0
    said = capsys.readouterr().out
    assert "input  X type not stated …" in said
    assert "input  I int32 or int64 …" in said
    assert "output  Y type not stated …" in said
