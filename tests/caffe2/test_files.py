"""Caffe2's files, written and read: what every Caffe2 can load, and what anyone's exporter writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from retorch.caffe2 import files
from retorch.caffe2.files import Caffe2Net
from retorch.caffe2.proto.caffe2_pb2 import NetDef
from retorch.errors import ConversionError, MissingFileError, UsageError

SET = ("init_net.pb", "predict_net.pb", "predict_net.pbtxt")


def predict_net(params: Mapping[str, object], inputs: tuple[str, ...] = ("data",)) -> NetDef:
    """A net of one operator that reads all the blobs."""
    net = NetDef(name="net", external_input=[*inputs, *params], external_output=["y"])
    operator = net.op.add(type="Sum", input=[*inputs, *params])
    operator.output.append("y")
    return net


def network(**params: np.ndarray) -> Caffe2Net:
    return Caffe2Net(predict_net(params), params, ("data",))


def wrote(folder: Path, net: Caffe2Net, *, packed: bool = True) -> NetDef:
    """What protobuf itself finds in the init net that was written."""
    files.write(folder, net, packed=packed)
    return NetDef.FromString((folder / "init_net.pb").read_bytes())


EVERY_TYPE = {
    "w": np.float32([[0.5, -1.25, 3e38], [np.inf, -np.inf, 1e-45]]),
    "d": np.float64([0.5, 2.0**100]),
    "i": np.int32([-(2**31), -1, 0, 127, 128, 2**31 - 1]),
    "l": np.int64([-(2**63), -1, 0, 16383, 16384, 2**63 - 1]),
    "s": np.int16([-32768, 32767]),
    "t": np.array([True, False, True]),
    "u": np.arange(256, dtype=np.uint8).reshape(16, 16),
}
FILLS = {
    "w": "GivenTensorFill",
    "d": "GivenTensorDoubleFill",
    "i": "GivenTensorIntFill",
    "l": "GivenTensorInt64Fill",
    "s": "GivenTensorInt16Fill",
    "t": "GivenTensorBoolFill",
    "u": "GivenTensorByteStringToUInt8Fill",
    "data": "GivenTensorFill",
}


@pytest.mark.parametrize("packed", [True, False])
def test_protobuf_finds_one_fill_per_blob(tmp_path: Path, packed: bool) -> None:
    init = wrote(tmp_path / "out", network(**EVERY_TYPE), packed=packed)
    assert {op.output[0]: op.type for op in init.op} == FILLS
    for op in init.op:
        assert [argument.name for argument in op.arg] == ["shape", "values"]
    by_name = {op.output[0]: op for op in init.op}
    assert list(by_name["w"].arg[0].ints) == [2, 3]
    assert list(by_name["w"].arg[1].floats) == EVERY_TYPE["w"].ravel().tolist()
    assert list(by_name["i"].arg[1].ints) == EVERY_TYPE["i"].tolist()
    assert list(by_name["l"].arg[1].ints) == EVERY_TYPE["l"].tolist()
    assert list(by_name["t"].arg[1].ints) == [1, 0, 1]
    assert list(by_name["u"].arg[1].strings) == [bytes(range(256))]


def test_data_blob_is_filled_with_a_one_by_one_zero_at_the_end(tmp_path: Path) -> None:
    fill = wrote(tmp_path / "out", network(**EVERY_TYPE)).op[-1]
    assert (fill.output[0], list(fill.arg[0].ints), list(fill.arg[1].floats)) == ("data", [1, 1], [0.0])


def test_unpacked_has_the_bytes_that_protobuf_serialises(tmp_path: Path) -> None:
    init = wrote(tmp_path / "out", network(**EVERY_TYPE), packed=False)
    assert (tmp_path / "out" / "init_net.pb").read_bytes() == init.SerializeToString(deterministic=True)


def test_packed_takes_four_bytes_a_number(tmp_path: Path) -> None:
    wrote(tmp_path / "packed", network(w=np.zeros(100_000, np.float32)))
    wrote(tmp_path / "unpacked", network(w=np.zeros(100_000, np.float32)), packed=False)
    assert 0 < (tmp_path / "packed" / "init_net.pb").stat().st_size - 400_000 < 200
    assert 0 < (tmp_path / "unpacked" / "init_net.pb").stat().st_size - 500_000 < 200


@pytest.mark.parametrize("packed", [True, False])
def test_read_gives_back_what_was_written(tmp_path: Path, packed: bool) -> None:
    net = network(**EVERY_TYPE)
    files.write(tmp_path / "out", net, packed=packed)
    back = files.read(tmp_path / "out")
    assert back.predict == net.predict
    assert back.inputs == ("data",)
    assert list(back.params) == list(EVERY_TYPE)
    for name, array in EVERY_TYPE.items():
        assert back.params[name].dtype == array.dtype
        np.testing.assert_array_equal(back.params[name], array)


@given(
    array=arrays.arrays(
        st.sampled_from([np.float32, np.int32, np.int64, np.uint8, np.bool_]),
        arrays.array_shapes(min_dims=0, min_side=0),
    ),
    packed=st.booleans(),
)
def test_any_array_comes_back(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, packed: bool) -> None:
    folder = tmp_path_factory.mktemp("any")
    files.write(folder, network(w=array), packed=packed)
    back = files.read(folder).params["w"]
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tobytes() == array.tobytes()


def test_packed_weights_are_views_of_the_file(tmp_path: Path) -> None:
    files.write(tmp_path / "out", network(w=np.ones((3, 4), np.float32)))
    back = files.read(tmp_path / "out").params["w"]
    assert not back.flags.owndata
    assert not back.flags.writeable


@pytest.mark.parametrize("packed", [True, False])
def test_strided_weights_are_written_in_their_order(tmp_path: Path, packed: bool) -> None:
    base = np.arange(300_000 * 2, dtype=np.float32).reshape(2, 300, 1000)
    view = base.transpose(2, 0, 1)[::2]  # more than one piece, no two elements side by side
    files.write(tmp_path / "out", network(w=view), packed=packed)
    back = files.read(tmp_path / "out").params["w"]
    assert back[7, 1, 299] == base[1, 299, 14]
    np.testing.assert_array_equal(back, view)


def test_big_endian_weights_are_written_little_endian(tmp_path: Path) -> None:
    init = wrote(tmp_path / "out", network(w=np.array([1.5, -2.0], ">f4"), i=np.array([258], ">i4")))
    assert list(init.op[0].arg[1].floats) == [1.5, -2.0]
    assert list(init.op[1].arg[1].ints) == [258]


def test_text_form_says_the_same_net(tmp_path: Path) -> None:
    net = network(w=np.ones(2, np.float32))
    files.write(tmp_path / "out", net)
    assert text_format.Parse((tmp_path / "out" / "predict_net.pbtxt").read_text(), NetDef()) == net.predict
    (tmp_path / "out" / "predict_net.pb").unlink()
    assert files.read(tmp_path / "out").predict == net.predict


def test_same_net_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        files.write(tmp_path / folder, network(**EVERY_TYPE))
    for name in SET:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_two_gibibytes_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    large = np.broadcast_to(np.float32(0), (2**29,))
    with pytest.raises(ConversionError, match=r"2,147,483,\d+ bytes") as caught:
        files.write(tmp_path / "out", network(w=large))
    assert "minidb" in (caught.value.hint or "")
    assert not (tmp_path / "out").exists()


def test_double_that_float32_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="blob third"):
        files.write(tmp_path / "out", network(third=np.float64([1 / 3])))


def test_type_without_a_fill_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="blob half: Caffe2 has no fill for float16"):
        files.write(tmp_path / "out", network(half=np.zeros(2, np.float16)))


def test_large_files_carry_a_warning(tmp_path: Path) -> None:
    assert files.write(tmp_path / "out", network(w=np.zeros(2, np.float32))).warnings == ()
    written = files.write(tmp_path / "out", network(w=np.broadcast_to(np.float32(0), (2**24,))))
    assert len(written.warnings) == 1
    assert "64 MiB" in written.warnings[0]


FOREIGN = """
op { output: "data" type: "ConstantFill" arg { name: "shape" ints: 1 } }
op { output: "b" type: "ConstantFill" arg { name: "shape" ints: 2 ints: 3 } arg { name: "value" f: 1.5 } }
op { output: "n" type: "ConstantFill" arg { name: "shape" ints: 2 }
     arg { name: "value" i: 7 } arg { name: "dtype" i: 10 } }
op { output: "s" type: "GivenTensorFill" arg { name: "values" floats: 4.0 } }
op { output: "w" type: "GivenTensorFill"
     arg { name: "values" floats: 1 floats: 2 } arg { name: "shape" ints: 2 ints: 1 } }
"""


def test_fills_of_other_exporters(tmp_path: Path) -> None:
    (tmp_path / "init_net.pb").write_bytes(text_format.Parse(FOREIGN, NetDef()).SerializeToString())
    (tmp_path / "predict_net.pb").write_bytes(predict_net(dict.fromkeys("bnsw")).SerializeToString())
    net = files.read(tmp_path)
    assert net.inputs == ("data",)
    np.testing.assert_array_equal(net.params["b"], np.full((2, 3), 1.5, np.float32))
    np.testing.assert_array_equal(net.params["n"], np.int64([7, 7]))
    np.testing.assert_array_equal(net.params["s"], np.float32(4))
    np.testing.assert_array_equal(net.params["w"], np.float32([[1], [2]]))


# What the external inputs are filled with, by kind of fill, and which of them are data.
INPUTS = [
    ({"x": None, "w": (2, 2)}, ("x",)),  # nobody fills the data
    ({"x": (1, 1), "w": (2, 2)}, ("x",)),
    ({"w": (2, 2), "x": (1, 1)}, ("x",)),  # data behind the weights
    ({"x": (1, 1), "z": (1, 1), "w": (2, 2)}, ("x", "z")),
    ({"x": (1, 1), "w": (2, 2), "zero": (1, 1)}, ("x",)),  # a weight that happens to be a single zero
    ({"w": (2, 2), "x": None, "v": (2,), "z": None}, ("x", "z")),
]


@pytest.mark.parametrize(("shapes", "expected"), INPUTS)
def test_data_blobs_are_told_from_weights(
    tmp_path: Path, shapes: dict[str, tuple[int, ...] | None], expected: tuple[str, ...]
) -> None:
    init = NetDef()
    for name, shape in shapes.items():
        if shape is not None:
            op = init.op.add(type="GivenTensorFill", output=[name])
            op.arg.add(name="shape", ints=shape)
            op.arg.add(name="values", floats=[0.0] if shape == (1, 1) else [1.0] * int(np.prod(shape)))
    (tmp_path / "x_init_net.pb").write_bytes(init.SerializeToString())
    (tmp_path / "x_predict_net.pb").write_bytes(predict_net(shapes, ()).SerializeToString())
    net = files.read(tmp_path)
    assert net.inputs == expected
    assert set(net.params) == {name for name, shape in shapes.items() if shape is not None} - set(expected)


@pytest.mark.parametrize(
    ("predict", "init"),
    [
        ("predict_net.pb", "init_net.pb"),
        ("squeeze_predict_net.pb", "squeeze_init_net.pb"),
        ("predict_net.pbtxt", "init_net.pb"),
        ("predict_net.pbtxt", "init_net.pbtxt"),
        ("caffenet.pb", "caffenet_init.pb"),
    ],
)
def test_pairs_are_found_by_either_name_and_by_folder(tmp_path: Path, predict: str, init: str) -> None:
    (tmp_path / "readme.txt").write_text("not a net")
    message = text_format.Parse(FOREIGN, NetDef())
    for name, net in ((predict, predict_net(dict.fromkeys("bnsw"))), (init, message)):
        text = name.endswith(".pbtxt")
        data = text_format.MessageToString(net).encode() if text else net.SerializeToString()
        (tmp_path / name).write_bytes(data)
    for path in (tmp_path, tmp_path / predict, tmp_path / init):
        assert sorted(files.read(path).params) == ["b", "n", "s", "w"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such file"):
        files.read(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="holds no Caffe2 network"):
        files.read(tmp_path)
    files.write(tmp_path, network(w=np.float32([1])))
    (tmp_path / "init_net.pb").unlink()
    with pytest.raises(UsageError, match="the other half"):
        files.read(tmp_path / "predict_net.pb")
    for name in ("a", "b"):
        (tmp_path / f"{name}_init.pb").write_bytes(b"x")
        (tmp_path / f"{name}.pb").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"several networks: a\.pb, b\.pb"):
        files.read(tmp_path)


def test_other_files_in_the_folder_stay(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "sub" / "deep").mkdir(parents=True)
    (out / "sub" / "deep" / "note.txt").write_text("deep")
    (out / "labels.txt").write_text("cat")
    (out / "link").symlink_to("labels.txt")
    out.chmod(0o750)
    for value in (1, 2):
        files.write(out, network(w=np.float32([value])))
    assert (out / "sub" / "deep" / "note.txt").read_text() == "deep"
    assert (out / "link").read_text() == "cat"
    assert (out / "link").is_symlink()
    assert out.stat().st_mode & 0o777 == 0o750
    assert files.read(out).params["w"].tolist() == [2]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_working_directory_is_written_without_moving_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = tmp_path.stat().st_ino
    for value in (1, 2):
        files.write(".", network(w=np.float32([value])))
    assert tmp_path.stat().st_ino == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(SET)
    assert files.read(tmp_path).params["w"].tolist() == [2]


def test_folder_behind_a_link_keeps_its_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    files.write(tmp_path / "out", network(w=np.float32([1])))
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "real" / "init_net.pb").exists()


def test_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for target in (tmp_path / "file", tmp_path / "file" / "out", Path("/proc/out")):
        with pytest.raises(UsageError, match=f"{target}: cannot be written: "):
            files.write(target, network(w=np.float32([1])))
    assert (tmp_path / "file").read_text() == "in the way"


def test_failure_in_the_middle_leaves_the_old_files(tmp_path: Path) -> None:
    files.write(tmp_path / "out", network(w=np.float32([1])))
    with pytest.raises(ConversionError):
        files.write(tmp_path / "out", network(w=np.float32([2]), bad=np.zeros(1, np.complex64)))
    assert files.read(tmp_path / "out").params["w"].tolist() == [1]
