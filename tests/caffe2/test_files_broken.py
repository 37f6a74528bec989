"""Caffe2 files that are cut off, damaged or something else: refused by name, with the place, never by a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retorch.caffe2 import files
from retorch.caffe2.files import Caffe2Net
from retorch.caffe2.proto.caffe2_pb2 import NetDef
from retorch.errors import FormatError, UsageError


def network(**params: np.ndarray) -> Caffe2Net:
    net = NetDef(name="net", external_input=["data", *params], external_output=["y"])
    net.op.add(type="Sum", input=["data", *params], output=["y"])
    return Caffe2Net(net, params, ("data",))


def valid(folder: Path) -> bytes:
    files.write(folder, network(w=np.float32([1, 2, 3]), i=np.int32([300, 400])))
    return (folder / "init_net.pb").read_bytes()


def test_every_truncation_of_an_init_net_is_named_or_leaves_whole_blobs(tmp_path: Path) -> None:
    whole = valid(tmp_path)
    for size in range(1, len(whole)):
        (tmp_path / "init_net.pb").write_bytes(whole[:size])
        try:
            params = files.read(tmp_path).params
        except FormatError:
            continue
        for name, expected in {"w": [1, 2, 3], "i": [300, 400]}.items():
            assert params.get(name, np.array(expected)).tolist() == expected


BROKEN_BYTES = [
    ("text", b"hello world, this is text\n", "not a protobuf field (number 13, kind 4) at byte 2"),
    ("an operator that is longer than the file", b"\x12\x05abc", "expected 5 bytes for field 2, found 3 at byte 2"),
    ("a length that never ends", b"\x12" + b"\xff" * 11, "expected an integer"),
    ("a length cut off", b"\x12\x80", "expected an integer, found the end of its message at byte 1"),
    ("field number zero", b"\x02\x00", "not a protobuf field (number 0, kind 2) at byte 0"),
    ("a name that is not text", b"\x12\x04\x22\x02\xff\xfe", "field 4 is not text at byte 4"),
    ("three bytes of floats", b"\x12\x07\x2a\x05\x2a\x03abc", "no multiple of four bytes at byte 6"),
    ("half a float", b"\x12\x05\x2a\x03\x2dab", "expected 5 bytes for a float, found 3 at byte 4"),
    ("packed integers cut off", b"\x12\x06\x2a\x04\x32\x02\x01\x80", "ends inside a number at byte 8"),
    ("an integer without a value", b"\x12\x03\x2a\x01\x30", "expected an integer"),
]
BROKEN_NETS = [
    (
        "too few values",
        'op { output: "w" type: "GivenTensorFill" arg { name: "shape" ints: 2 } arg { name: "values" floats: 1 } }',
        "blob w of shape [2] has 1 values",
    ),
    (
        "values of another kind",
        'op { output: "w" type: "GivenTensorFill" arg { name: "shape" ints: 1 } arg { name: "values" ints: 1 } }',
        "blob w of shape [1] has 0 values",
    ),
    (
        "a shape below zero",
        'op { output: "w" type: "GivenTensorFill" arg { name: "shape" ints: -1 } arg { name: "values" floats: 1 } }',
        "blob w of shape [-1] has 1 values",
    ),
    (
        "a constant of strings",
        'op { output: "w" type: "ConstantFill" arg { name: "shape" ints: 1 } arg { name: "dtype" i: 4 } }',
        "blob w: ConstantFill of type 4",
    ),
    (
        "a database without a path",
        'op { output: "w" type: "Load" arg { name: "db_type" s: "minidb" } }',
        "without the path",
    ),
    (
        "a path that no system has",
        'op { output: "w" type: "Load" arg { name: "db" s: "a\\000b" } arg { name: "db_type" s: "minidb" } }',
        "without the path",
    ),
    (
        "a database of another type",
        'op { output: "w" type: "Load" arg { name: "db" s: "a.lmdb" } arg { name: "db_type" s: "lmdb" } }',
        "a database of type lmdb",
    ),
]
BROKEN_TABLE = BROKEN_BYTES + [
    (what, text_format.Parse(net, NetDef()).SerializeToString(), says) for what, net, says in BROKEN_NETS
]


@pytest.mark.parametrize(("what", "data", "says"), BROKEN_TABLE, ids=[row[0] for row in BROKEN_TABLE])
def test_broken_init_nets_are_refused(tmp_path: Path, what: str, data: bytes, says: str) -> None:
    valid(tmp_path)
    (tmp_path / "init_net.pb").write_bytes(data)
    with pytest.raises(FormatError) as caught:
        files.read(tmp_path)
    assert says in str(caught.value), what
    assert str(tmp_path / "init_net.pb") in str(caught.value)


def test_broken_predict_nets_are_refused(tmp_path: Path) -> None:
    valid(tmp_path)
    no_text = b"\x12\x08" + b"\x0a\x01\xff" + b"\x22\x03Sum"
    for data in (b"", b"\x0a\x03net", b"name: 'net' op {", b"\x12\xff", no_text):
        (tmp_path / "predict_net.pb").write_bytes(data)
        with pytest.raises(FormatError, match=r"predict_net\.pb: not a Caffe2 net"):
            files.read(tmp_path)


SEEDS = [{}, {"packed": False}, {"init": "minidb"}]


@st.composite
def damage(draw: st.DrawFn, size: int = 200) -> list[tuple[int, bytes]]:
    """Positions (counted modulo the file's size) and what to put there."""
    bytes_that_matter = st.sampled_from([b"", b"\x00", b"\x7f", b"\x80", b"\xff"]) | st.binary(max_size=3)
    return draw(st.lists(st.tuples(st.integers(0, size), bytes_that_matter), min_size=1, max_size=3))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(how=st.sampled_from(SEEDS), victim=st.integers(0, 3), where=damage())
def test_damaged_files_are_read_or_refused_and_never_crash(
    tmp_path: Path, how: dict[str, Any], victim: int, where: list[tuple[int, bytes]]
) -> None:
    params = {"w": np.float32([[1, 2, 3]]), "i": np.int32([300, 400]), "u": np.uint8([7, 8])}
    written = files.write(tmp_path, network(**params), **how).files
    path = written[victim % len(written)]
    data = bytearray(path.read_bytes())
    for at, new in where:
        at %= len(data) + 1
        data[at : at + 1] = new
    path.write_bytes(data)
    try:
        net = files.read(tmp_path)
    except (FormatError, UsageError) as error:
        assert str(tmp_path) in str(error)
    else:
        assert all(isinstance(name, str) for name in (*net.inputs, *net.params, *net.predict.external_input))
        assert all(len(array.tobytes()) == array.nbytes for array in net.params.values())  # every element is there
