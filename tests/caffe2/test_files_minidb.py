"""Weights in a minidb: records as Caffe2 reads them, of any number and size."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from retorch.caffe2 import files, minidb
from retorch.caffe2.files import Caffe2Net
from retorch.caffe2.proto.caffe2_pb2 import BlobProto, NetDef, TensorProto
from retorch.errors import ConversionError, FormatError, UsageError


def network(**params: np.ndarray) -> Caffe2Net:
    net = NetDef(name="net", external_input=["data", *params], external_output=["y"])
    net.op.add(type="Sum", input=["data", *params], output=["y"])
    return Caffe2Net(net, params, ("data",))


def store(path: Path, *records: tuple[bytes, bytes]) -> None:
    """Writes records as db.cc does."""
    path.write_bytes(b"".join(struct.pack("<ii", len(key), len(value)) + key + value for key, value in records))


def record(data: bytes, at: int = 0) -> tuple[str, BlobProto, int]:
    key, value = struct.unpack_from("<ii", data, at)
    start = at + 8 + key
    return data[at + 8 : start].decode(), BlobProto.FromString(data[start : start + value]), start + value


TENSORS = [
    (np.float32([[1.5, -2], [0, np.inf]]), TensorProto.FLOAT, "float_data", [1.5, -2.0, 0.0, np.inf]),
    (np.float64([1 / 3]), TensorProto.DOUBLE, "double_data", [1 / 3]),
    (np.int32([-1, 2**31 - 1]), TensorProto.INT32, "int32_data", [-1, 2**31 - 1]),
    (np.int64([-(2**63), 5]), TensorProto.INT64, "int64_data", [-(2**63), 5]),
    (np.uint8([0, 255]), TensorProto.UINT8, "int32_data", [0, 255]),
    (np.array([True, False]), TensorProto.BOOL, "int32_data", [1, 0]),
]


@pytest.mark.parametrize(("array", "code", "field", "values"), TENSORS, ids=lambda value: str(value)[:12])
def test_protobuf_finds_the_tensor(array: np.ndarray, code: int, field: str, values: list[float]) -> None:
    key, blob, end = record(data := b"".join(minidb.encode("w", array)))
    assert end == len(data)
    assert (key, blob.name, blob.type, blob.tensor.name) == ("w#%0", "w", "Tensor", "w")
    assert (list(blob.tensor.dims), blob.tensor.data_type) == (list(array.shape), code)
    assert list(getattr(blob.tensor, field)) == values
    assert (blob.tensor.segment.begin, blob.tensor.segment.end) == (0, array.size)


def test_large_tensors_are_cut_into_numbered_chunks() -> None:
    array = np.arange(10, dtype=np.float32).reshape(2, 5).T  # no two elements side by side
    data = b"".join(minidb.encode("w", array, limit=4))
    at, found = 0, []
    while at < len(data):
        key, blob, at = record(data, at)
        segment = blob.tensor.segment
        found.append((key, segment.begin, segment.end, list(blob.tensor.float_data)))
        assert list(blob.tensor.dims) == [5, 2]
    assert found == [("w#%0", 0, 4, [0, 5, 1, 6]), ("w#%1", 4, 8, [2, 7, 3, 8]), ("w#%2", 8, 10, [4, 9])]


@given(
    array=arrays.arrays(
        st.sampled_from([np.float32, np.float64, np.int16, np.int32, np.int64, np.uint8, np.bool_]),
        arrays.array_shapes(min_dims=0, min_side=0),
    ),
    limit=st.integers(1, 9),
)
def test_any_array_comes_back(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, limit: int) -> None:
    path = tmp_path_factory.mktemp("any") / "db"
    path.write_bytes(b"".join(minidb.encode("w", array.T, limit)))
    back = minidb.read(path)["w"]
    assert (back.dtype, back.shape) == (array.dtype, array.T.shape)
    assert back.tobytes() == array.T.tobytes()


def test_chunks_may_come_in_any_order(tmp_path: Path) -> None:
    data = b"".join(minidb.encode("w", np.float32([1, 2, 3]), limit=2))
    end = record(data)[2]
    (tmp_path / "db").write_bytes(data[end:] + data[:end])
    assert minidb.read(tmp_path / "db")["w"].tolist() == [1, 2, 3]


HALF = TensorProto(dims=[2], data_type=TensorProto.FLOAT16, int32_data=[0x3C00, 0xC000])
HALF_BYTES = TensorProto(dims=[2], data_type=TensorProto.FLOAT16, byte_data=b"\x00\x3c\x00\xc0")


@pytest.mark.parametrize("tensor", [HALF, HALF_BYTES], ids=["int32_data", "byte_data"])
def test_half_floats_are_read_from_either_field(tmp_path: Path, tensor: TensorProto) -> None:
    store(tmp_path / "db", (b"h#%0", BlobProto(name="h", type="Tensor", tensor=tensor).SerializeToString()))
    assert minidb.read(tmp_path / "db")["h"].tolist() == [1.0, -2.0]


def test_network_with_a_minidb_is_read_back(tmp_path: Path) -> None:
    params = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "third": np.float64([1 / 3])}
    written = files.write(tmp_path / "out", network(**params), init="minidb")
    assert [path.name for path in written.files] == [
        "init_net.pb",
        "init_net.minidb",
        "predict_net.pb",
        "predict_net.pbtxt",
    ]
    load = NetDef.FromString((tmp_path / "out" / "init_net.pb").read_bytes()).op[0]
    assert (load.type, list(load.output)) == ("Load", ["w", "third"])
    assert {arg.name: arg.s or arg.i for arg in load.arg} == {
        "absolute_path": 1,
        "db": bytes(tmp_path / "out" / "init_net.minidb"),
        "db_type": b"minidb",
    }
    (tmp_path / "out").rename(tmp_path / "moved")
    back = files.read(tmp_path / "moved")
    assert back.inputs == ("data",)
    assert list(back.params) == ["w", "third"]
    assert back.params["w"].tolist() == params["w"].tolist()
    assert back.params["third"].tolist() == [1 / 3]
    assert not back.params["w"].flags.owndata


def test_weights_in_the_init_net_take_the_place_of_a_minidb(tmp_path: Path) -> None:
    files.write(tmp_path, network(w=np.float32([1])), init="minidb")
    files.write(tmp_path, network(w=np.float32([2])))
    assert not (tmp_path / "init_net.minidb").exists()
    assert files.read(tmp_path).params["w"].tolist() == [2]


def test_network_without_weights_loads_none(tmp_path: Path) -> None:
    files.write(tmp_path, network(), init="minidb")
    assert dict(files.read(tmp_path).params) == {}


def test_complex_numbers_are_refused_by_name() -> None:
    with pytest.raises(ConversionError, match="blob z: Caffe2 stores no complex64"):
        list(minidb.encode("z", np.zeros(1, np.complex64)))


BROKEN = [
    ("text", b"hello world, text", "not a minidb"),
    ("a length cut off", b"\x01\x00\x00", "expected 8 bytes of a record, found 3 at byte 0"),
    ("a record that is longer than the file", struct.pack("<ii", 1, 9) + b"w12", "record of 1 + 9 bytes, found 3"),
    ("a negative length", struct.pack("<ii", -1, 1) + b"w1", "not a minidb"),
    ("a value that is no message", struct.pack("<ii", 1, 2) + b"w\x0a\x05", "expected 5 bytes for field 1, found 0"),
]
TENSORS_BROKEN = [
    ("too few values", TensorProto(dims=[3], float_data=[1, 2]), "blob w of shape [3] has 2 values"),
    ("a type that holds no numbers", TensorProto(dims=[1], data_type=TensorProto.STRING), "a tensor of type 4"),
]
BROKEN += [
    (what, struct.pack("<ii", 1, len(value)) + b"w" + value, says)
    for what, tensor, says in TENSORS_BROKEN
    for value in [BlobProto(name="w", tensor=tensor).SerializeToString()]
]


@pytest.mark.parametrize(("what", "data", "says"), BROKEN, ids=[row[0] for row in BROKEN])
def test_broken_files_are_refused(tmp_path: Path, what: str, data: bytes, says: str) -> None:
    (tmp_path / "db").write_bytes(data)
    with pytest.raises(FormatError) as caught:
        minidb.read(tmp_path / "db")
    assert says in str(caught.value), what
    assert str(caught.value).startswith(f"{tmp_path / 'db'}: ")


def test_init_net_whose_minidb_is_gone_is_refused(tmp_path: Path) -> None:
    files.write(tmp_path, network(w=np.float32([1])), init="minidb")
    (tmp_path / "init_net.minidb").unlink()
    with pytest.raises(UsageError, match=r"init_net\.pb: its weights are in .*init_net\.minidb, which is not there"):
        files.read(tmp_path)


def test_blob_that_the_minidb_lacks_is_named(tmp_path: Path) -> None:
    files.write(tmp_path, network(w=np.float32([1]), v=np.float32([1])), init="minidb")
    (tmp_path / "init_net.minidb").write_bytes(b"".join(minidb.encode("w", np.float32([1]))))
    with pytest.raises(FormatError, match=r"init_net\.minidb has no blobs v"):
        files.read(tmp_path)


def test_floats_of_16_bits_are_the_upper_halves_of_those_of_32(tmp_path: Path) -> None:
    """As the Caffe2 of torch 1.10 loads them; 0x3EAA0000 is 0.33203125."""
    tensor = TensorProto(dims=[3], data_type=TensorProto.FLOAT, data_format=1, raw_data=b"\xc0\x3f\x10\xc0\xaa\x3e")
    store(tmp_path / "a", (b"w", BlobProto(name="w", type="Tensor", tensor=tensor).SerializeToString()))
    read = minidb.read(tmp_path / "a")["w"]
    assert read.dtype == np.float32
    assert read.tolist() == [1.5, -2.25, 0.33203125]


ELSEWHERE = [
    (TensorProto(dims=[1], storage_type=TensorProto.EXTERNAL), "numbers that lie in another file"),
    (TensorProto(dims=[1], external_data={"record_id": "r"}), "numbers that lie in another file"),
    (TensorProto(dims=[1], storage_type=TensorProto.NO_CONTENT), "no numbers"),
]


@pytest.mark.parametrize(("tensor", "says"), ELSEWHERE)
def test_tensors_whose_numbers_are_not_there_are_refused(tensor: TensorProto, says: str, tmp_path: Path) -> None:
    store(tmp_path / "a", (b"w", BlobProto(name="w", type="Tensor", tensor=tensor).SerializeToString()))
    with pytest.raises(FormatError, match=f"a tensor of {says}"):
        minidb.read(tmp_path / "a")


def test_tensors_of_few_bits_are_refused_by_name(tmp_path: Path) -> None:
    few = {"dims": [1], "precision": 4, "scale": 1.0, "bias": 0.0, "is_signed": False, "data": [1]}
    store(tmp_path / "a", (b"w", BlobProto(name="w", type="QTensor", qtensor=few).SerializeToString()))
    with pytest.raises(FormatError, match="blob w is a QTensor"):
        minidb.read(tmp_path / "a")
