"""Networks as other programs write them: which blobs are fed, which outputs there are, what files are called."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from caffe2.nets import Array, Row, row
from retorch.caffe2 import files
from retorch.caffe2.proto.caffe2_pb2 import MetaNetDef, NetDef
from retorch.cli import main
from retorch.engines.caffe2_runtime import Runtime
from retorch.errors import FormatError, UnsupportedError, UsageError
from retorch.network import Network

ZEROS = "op {{ output: '{0}' type: 'ConstantFill' arg {{ name: 'shape' {1} }} }}"
PLACEHOLDER = """
op { output: 'X' type: 'GivenTensorFill' arg { name: 'shape' ints: 1 ints: 1 } arg { name: 'values' floats: 0 } }
"""


def zeros(name: str, *sizes: int) -> str:
    return ZEROS.format(name, " ".join(f"ints: {size}" for size in sizes))


def stored(folder: Path, case: Row, init: str, predict: str = "predict_net.pb", filled: str = "init_net.pb") -> Path:
    """The row's net with an init net of these operators."""
    folder.mkdir(exist_ok=True)
    (folder / predict).write_bytes(case.net().predict.SerializeToString())
    (folder / filled).write_bytes(text_format.Parse(init, NetDef(name="init")).SerializeToString())
    return folder


FC = row("FC X w b -> Y", X=(2, 3), w=(4, 3), b=(4,))


@pytest.mark.parametrize(
    ("init", "inputs"),
    [
        (zeros("w", 4, 3) + zeros("b", 4), ["X"]),
        (zeros("w", 4, 3) + zeros("b", 4) + PLACEHOLDER, ["X"]),
        (PLACEHOLDER + zeros("w", 4, 3) + zeros("b", 4), ["X"]),
        (zeros("X", 2, 3) + zeros("w", 4, 3) + zeros("b", 4), ["X"]),
        (zeros("w", 4, 3), ["X", "b"]),
        ("", ["X", "w", "b"]),
    ],
)
def test_weights_may_be_zero(init: str, inputs: list[str], tmp_path: Path) -> None:
    assert [port.name for port in Network.load(stored(tmp_path, FC, init)).inputs] == inputs


def test_blobs_that_nobody_declares_are_fed_and_those_that_nobody_reads_are_not(tmp_path: Path) -> None:
    net = row("Sqr X -> Y", X=(2, 3)).net()
    net.predict.external_input[:] = ["Other"]
    (tmp_path / "predict_net.pb").write_bytes(net.predict.SerializeToString())
    (tmp_path / "init_net.pb").write_bytes(NetDef(name="init").SerializeToString())
    assert [port.name for port in Network.load(tmp_path).inputs] == ["X"]


ADDED = row("Add X w -> Y", X=(3,), w=(3,))


def _all_filled(folder: Path) -> Path:
    """A net whose input is filled with numbers too, as an exporter does that keeps its example."""
    return stored(folder, ADDED, "".join(
        f"op {{ output: '{name}' type: 'GivenTensorFill' arg {{ name: 'shape' ints: 3 }}"
        f" arg {{ name: 'values' floats: 1 floats: 2 floats: {last} }} }}"
        for name, last in (("X", 5), ("w", 7))
    ))  # fmt: skip


def test_what_the_init_net_fills_may_still_be_fed(tmp_path: Path) -> None:
    network, x = Network.load(_all_filled(tmp_path)), np.array([10, 20, 30], np.float32)
    assert network.inputs == ()
    np.testing.assert_array_equal(network.run()[0], [2, 4, 12])
    np.testing.assert_array_equal(network.run(x)[0], [11, 22, 37])
    np.testing.assert_array_equal(network.run(x, x)[0], [20, 40, 60])
    np.testing.assert_array_equal(network.run({"w": x})[0], [11, 22, 35])
    with pytest.raises(UsageError, match="got inputs Z"):
        network.run({"Z": x})


@pytest.mark.caffe2
def test_the_real_predictor_takes_arrays_in_the_order_of_external_input(caffe2: Runtime, tmp_path: Path) -> None:
    folder, x = _all_filled(tmp_path), np.array([10, 20, 30], np.float32)
    for given in ([x], [x, 2 * x]):
        np.testing.assert_array_equal(Network.load(folder).run(*given)[0], caffe2.run(folder, given, predictor=True)[0])


@pytest.mark.caffe2
def test_inputs_that_nobody_reads_may_be_fed(caffe2: Runtime, tmp_path: Path) -> None:
    net, x = row("Sqr X -> Y", Label=(2,), X=(2, 3)).net(), np.array([[1, 2, 3]], np.float32)
    (tmp_path / "predict_net.pb").write_bytes(net.predict.SerializeToString())
    (tmp_path / "init_net.pb").write_bytes(NetDef(name="init").SerializeToString())
    expected = caffe2.run(tmp_path, [x[0], x], predictor=True)[0]
    for given in ([x[0], x], [x], [{"Label": x[0], "X": x}]):
        np.testing.assert_array_equal(Network.load(tmp_path).run(*given)[0], expected)


def test_outputs_that_nothing_makes_are_left_out_with_a_note(tmp_path: Path) -> None:
    case = row("Dropout X -> Y M | is_test=1 ratio=0.5; Relu Y -> Z", "M", "Z", "Gone", X=(3,))
    network = Network.load(stored(tmp_path, case, ""))
    assert [port.name for port in network.outputs] == ["Z"]
    assert network.notes == (
        "output M is left out: nothing makes it",
        "output Gone is left out: nothing makes it",
    )


@pytest.mark.parametrize(
    ("predict", "init"),
    [
        ("predict_net.pb", "exec_net.pb"),
        ("mobilenet_pred_net.pb", "mobilenet_init_net.pb"),
        ("mobilenetPredict.pb", "mobilenetInit.pb"),
        ("predict_net.prototxt", "init_net.prototxt"),
    ],
)
def test_pairs_are_known_by_their_names(predict: str, init: str, tmp_path: Path) -> None:
    net = NetDef(name="init")
    text_format.Parse(zeros("w", 4, 3) + zeros("b", 4), net)
    for name, message in ((predict, FC.net().predict), (init, net)):
        text = name.endswith("txt")
        data = text_format.MessageToString(message).encode() if text else message.SerializeToString()
        (tmp_path / name).write_bytes(data)
    for path in (tmp_path, tmp_path / predict, tmp_path / init):
        assert [port.name for port in Network.load(path).inputs] == ["X"]


def test_the_half_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "squeeze_predict_net.pb").write_bytes(FC.net().predict.SerializeToString())
    with pytest.raises(UsageError, match=r"holds squeeze_predict_net\.pb but not its other half") as caught:
        Network.load(tmp_path)
    assert caught.value.hint == "expected squeeze_init_net.pb"


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:9bbcbf73561f\nsize 123\n"


@pytest.mark.parametrize("name", ["predict_net.pb", "init_net.pb"])
def test_a_pointer_of_git_lfs_is_called_one(name: str, tmp_path: Path) -> None:
    folder = stored(tmp_path, FC, "")
    (folder / name).write_bytes(POINTER)
    with pytest.raises(FormatError, match="a Git LFS pointer") as caught:
        Network.load(folder)
    assert caught.value.hint == "run `git lfs pull`"


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.float32, np.float64, np.uint8, np.bool_])
def test_types_stay_what_they_are(kind: type, tmp_path: Path) -> None:
    network = Network.load(stored(tmp_path, row("AliasWithName X -> Y | name=other", X=(2,)), ""))
    x: Array = np.array([16777217, 3]).astype(kind)
    y = network.run(x)[0]
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y, x)


def test_an_init_net_may_compute(tmp_path: Path) -> None:
    init = (
        zeros("v", 3)
        + """
    op { input: 'v' output: 'w' type: 'ConstantFill' arg { name: 'value' f: 2.5 } }
    op { output: 'unread' type: 'GivenTensorFill' arg { name: 'dtype' i: 2 } arg { name: 'shape' ints: 1 }
         arg { name: 'values' ints: 7 } }
    """
    )
    network = Network.load(stored(tmp_path, ADDED, init))
    np.testing.assert_array_equal(network.run(np.array([1, 2, 3], np.float32))[0], [3.5, 4.5, 5.5])


def test_statistics_that_an_exporter_left_out_are_missed(tmp_path: Path) -> None:
    case = row("SpatialBN X s b m v -> Y | is_test=1", X=(1, 3, 2, 2), s=(3,), b=(3,), m=(3,), v=(3,))
    with pytest.raises(UnsupportedError, match="m and v have no value: Caffe2's mobile_exporter left it out"):
        Network.load(stored(tmp_path, case, zeros("s", 3) + zeros("b", 3) + PLACEHOLDER))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Adam P M V G L I -> P M V", "a training operator"),
        ("ReluGradient Y G -> X", "a training operator"),
        ("APMeter P L -> A", "its result depends on more than its inputs"),
        ("Fancy X -> Y", "not an operator that retorch knows"),
    ],
)
def test_what_no_network_for_evaluation_has_is_refused_by_its_reason(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=reason):
        Network.load(stored(tmp_path, row(text, X=(3,)), ""))


DECLARED = [
    ('{"X": [1, [2, 3]]}', ["X float32 2×3"], "X is float32 2×3"),
    ('{"X": [1, [2, 3]], "w": [1, [3]]}', [], ""),  # an exporter that lists the weights too says nothing of inputs
    ('{"Other": [1, [2, 3]]}', [], ""),
    ('{"X": [99, [2, 3]], "w": "no"}', [], ""),
    ("not JSON", [], ""),
    ("[1, 2]", [], ""),
]


@pytest.mark.parametrize(("text", "inputs", "note"), DECLARED)
def test_value_info_beside_the_files_says_what_is_fed(
    text: str, inputs: list[str], note: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _all_filled(tmp_path)
    (folder / "value_info.json").write_text(text)
    network = Network.load(folder)
    assert list(map(str, network.inputs)) == inputs
    assert main(["inspect", str(folder), "--json"]) == 0
    notes = json.loads(capsys.readouterr().out)["network"]["notes"]
    assert [line for line in notes if "value_info.json" in line] == ([f"value_info.json: {note}"] if note else [])
    if note:
        assert [list(port.shape or ()) for port in network.inputs] == json.loads(
            network.model.metadata_props["retorch.example_shapes"]
        )


def test_value_info_gives_the_sizes_that_the_operators_leave_open(tmp_path: Path) -> None:
    case = row("Reshape X -> A O | shape=-1,2,; FC A w b -> Y", X=(2, 3, 2), w=(4, 2), b=(4,))
    files.write(tmp_path, case.net())
    (tmp_path / "value_info.json").write_text('{"X": [1, [2, 3, 2]]}')
    network = Network.load(tmp_path)
    assert str(network.inputs[0]) == "X float32 2×3×2"
    other = np.ones((5, 2, 2), np.float32)
    assert network.run(other)[0].shape == (10, 4)  # an example, not a law


def test_value_info_leaves_open_what_the_operators_leave_open(tmp_path: Path) -> None:
    files.write(tmp_path, row("Conv X w -> Y | kernel=3", X=(1, 2, 8, 8), w=(4, 2, 3, 3)).net())
    (tmp_path / "value_info.json").write_text('{"X": [1, [1, 2, 8, 8]]}')
    assert str(Network.load(tmp_path).inputs[0]) == "X float32 N×2×H×W"


@pytest.mark.parametrize(("number", "kind"), [(1, "float32"), (7, "int64"), (6, "int32"), (11, "float64")])
def test_value_info_gives_a_type_where_the_operators_take_several(number: int, kind: str, tmp_path: Path) -> None:
    files.write(tmp_path, row("Copy X -> Y", X=(4,)).net())
    (tmp_path / "value_info.json").write_text(json.dumps({"X": [number, [4]]}))
    assert str(Network.load(tmp_path).inputs[0]) == f"X {kind} 4"


def test_value_info_that_does_not_fit_the_operators_is_passed_over(tmp_path: Path) -> None:
    files.write(tmp_path, row("Add X w -> Y", X=(3,), w=(3,)).net())
    (tmp_path / "value_info.json").write_text('{"X": [7, [3]]}')
    assert str(Network.load(tmp_path).inputs[0]) == "X float32 …"


WEIGHTS = """
op { output: 'w' type: 'GivenTensorFill' arg { name: 'shape' ints: 4 ints: 3 }
     arg { name: 'values' floats: 1 floats: 2 floats: 3 floats: 4 floats: 5 floats: 6
           floats: 7 floats: 8 floats: 9 floats: 1 floats: 2 floats: 3 } }
op { output: 'b' type: 'GivenTensorFill' arg { name: 'shape' ints: 4 }
     arg { name: 'values' floats: 1 floats: 2 floats: 3 floats: 4 } }
"""


@pytest.mark.parametrize(("half", "other"), [("predict_net.pb", "init_net.pb"), ("init_net.pb", "predict_net.pb")])
def test_a_half_alone_names_the_other_one(half: str, other: str, tmp_path: Path) -> None:
    folder = stored(tmp_path, FC, WEIGHTS)
    (folder / other).unlink()
    with pytest.raises(UsageError, match="the other half of the network is missing") as caught:
        Network.load(folder / half)
    assert caught.value.hint == f"expected {other}"


def test_halves_that_are_exchanged_are_told(tmp_path: Path) -> None:
    stored(tmp_path, FC, WEIGHTS, predict="init_net.pb", filled="predict_net.pb")
    with pytest.raises(FormatError, match=r"init_net\.pb: not an init net: it reads X, w, b, which") as caught:
        Network.load(tmp_path)
    assert caught.value.hint == "predict_net.pb and init_net.pb are exchanged"


@pytest.mark.parametrize(
    ("copied", "over", "says"),
    [
        ("predict_net.pb", "init_net.pb", r"init_net\.pb: not an init net: it reads X, w, b"),
        ("init_net.pb", "predict_net.pb", r"predict_net\.pb: not a predict net: it is the same file as init_net\.pb"),
    ],
)
def test_a_half_that_was_copied_over_the_other_is_told(copied: str, over: str, says: str, tmp_path: Path) -> None:
    stored(tmp_path, FC, WEIGHTS)
    (tmp_path / over).write_bytes((tmp_path / copied).read_bytes())
    with pytest.raises(FormatError, match=says):
        Network.load(tmp_path)


def test_a_container_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    net = files.read(stored(tmp_path / "pair", FC, WEIGHTS))
    files.write_container(tmp_path / "alone" / "model.mdb", net)
    for path in (tmp_path / "alone", tmp_path / "alone" / "model.mdb"):
        assert Network.load(path).run(np.float32([[1, 1, 1]]))[0].tolist() == [[7, 17, 27, 10]]


def test_the_table_of_a_container_alone_is_told(tmp_path: Path) -> None:
    table = MetaNetDef()
    table.nets.add(key="PREDICT_NET_TYPE", value=FC.net().predict)
    (tmp_path / "model.pb").write_bytes(table.SerializeToString())
    with pytest.raises(FormatError, match="the table of a predictor container"):
        Network.load(tmp_path / "model.pb")


def test_run_takes_the_sizes_that_the_operators_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(stored(tmp_path, FC, WEIGHTS)), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outputs"]["output_0"]["shape"] == [1, 4]


def test_a_command_for_torch7_files_says_what_takes_a_caffe2_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stored(tmp_path / "net", FC, WEIGHTS)
    assert main(["verify", str(folder), str(folder)]) == 3
    assert "it holds a Caffe2 network" in " ".join(capsys.readouterr().err.split())


TWICE = "external_input: 'X' external_input: 'X' external_input: 'w' external_input: 'w'"
ORDERS = [
    ("op { type: 'Relu' input: 'X' output: 'X' } external_input: 'X' external_output: 'X'", ["X"], [[1, 0, 3]]),
    (
        "op { type: 'Sqr' input: 'X' output: 'Y' } external_input: 'X' external_output: 'X' external_output: 'Y'",
        ["X"],
        [[1, -2, 3], [1, 4, 9]],
    ),
    (
        "op { type: 'Sqr' input: 'X' output: 'Y' } external_input: 'X' external_output: 'Y' external_output: 'Y'",
        ["X"],
        [[1, 4, 9], [1, 4, 9]],
    ),
    (f"op {{ type: 'Add' input: 'X' input: 'w' output: 'Y' }} {TWICE} external_output: 'Y'", ["X"], [[6, 4, 10]]),
    (
        "op { type: 'Add' input: 'X' input: 'w' output: 'w' } external_input: 'X' external_input: 'w'"
        " external_output: 'w'",
        ["X"],
        [[6, 4, 10]],
    ),
    (
        "op { type: 'Sqr' input: 'X' output: 'Y' } external_input: 'X' external_input: 'w'"
        " external_output: 'Y' external_output: 'w'",
        ["X"],
        [[1, 4, 9], [5, 6, 7]],
    ),
]
COMPUTED = """
op { output: 'i' type: 'GivenTensorIntFill' arg { name: 'shape' ints: 3 }
     arg { name: 'values' ints: 5 ints: 6 ints: 7 } }
op { input: 'i' output: 'v' type: 'Cast' arg { name: 'to' i: 1 } } op { input: 'v' output: 'w' type: 'Copy' }
op { output: 'X' type: 'GivenTensorFill' arg { name: 'shape' ints: 1 ints: 1 } arg { name: 'values' floats: 0 } }
"""


@pytest.mark.parametrize(("text", "inputs", "expected"), ORDERS, ids=lambda value: str(value)[:60])
def test_blobs_that_are_several_things_at_once(
    text: str, inputs: list[str], expected: list[list[float]], tmp_path: Path
) -> None:
    stored(tmp_path, FC, COMPUTED)
    (tmp_path / "predict_net.pb").write_bytes(text_format.Parse(f"name: 'n' {text}", NetDef()).SerializeToString())
    network = Network.load(tmp_path)
    assert [port.name for port in network.inputs] == inputs
    assert [port.name for port in network.outputs] == list(files.read(tmp_path).predict.external_output)
    assert [y.tolist() for y in network.run(np.float32([1, -2, 3]))] == expected


@pytest.mark.caffe2
@pytest.mark.parametrize(("text", "inputs", "expected"), ORDERS, ids=lambda value: str(value)[:60])
def test_the_real_predictor_takes_them_so(
    text: str, inputs: list[str], expected: list[list[float]], caffe2: Runtime, tmp_path: Path
) -> None:
    stored(tmp_path, FC, COMPUTED)
    (tmp_path / "predict_net.pb").write_bytes(text_format.Parse(f"name: 'n' {text}", NetDef()).SerializeToString())
    results = caffe2.run(tmp_path, {inputs[0]: np.float32([1, -2, 3])}, predictor=True)
    assert [y.tolist() for y in results] == expected
