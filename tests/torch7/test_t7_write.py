"""What the writer takes, what it refuses, and that it never leaves half a file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spelled as t7

from retorch.errors import UsageError
from retorch.torch7 import Dialect, LuaTable, TorchObject, encode, read, write

FLOATS = t7.storage(2, "torch.FloatStorage", "f", 1, 2, 3, 4)


def binary(value: Any) -> bytes:
    file = io.BytesIO()
    encode(file, value, Dialect())
    return file.getvalue()


PLAIN: list[tuple[str, Any, bytes]] = [
    ("None", None, t7.NIL),
    ("a bool", True, t7.TRUE),
    ("a NumPy bool", np.False_, t7.FALSE),
    ("an int", 3, t7.num(3)),
    ("a NumPy int", np.int16(3), t7.num(3)),
    ("a NumPy float", np.float32(0.5), t7.num(0.5)),
    ("text", "é", t7.text("é")),
    ("bytes", b"\xff", t7.text(b"\xff")),
    ("a list", [1, "a"], t7.table(1, t7.num(1), t7.num(1), t7.num(2), t7.text("a"))),
    ("a tuple", (True,), t7.table(1, t7.num(1), t7.TRUE)),
    ("a dict", {"a": {}}, t7.table(1, t7.text("a"), t7.table(2))),
    (
        "an array",
        np.array([[1, 2], [3, 4]], np.float32),
        t7.tensor(1, "torch.FloatTensor", [2, 2], [2, 1], 1, FLOATS),
    ),
    (
        "an array of the other byte order, transposed",
        np.array([[1, 3], [2, 4]], ">f4").T,
        t7.tensor(1, "torch.FloatTensor", [2, 2], [2, 1], 1, FLOATS),
    ),
    (
        "an array of booleans",
        np.array([True, False]),
        t7.tensor(1, "torch.ByteTensor", [2], [1], 1, t7.storage(2, "torch.ByteStorage", "B", 1, 0)),
    ),
    (
        "an array of no dimensions",
        np.array(7, np.int64),
        t7.tensor(1, "torch.LongTensor", [1], [1], 1, t7.storage(2, "torch.LongStorage", "q", 7)),
    ),
    ("an array of nothing", np.zeros((0, 3)), t7.tensor(1, "torch.DoubleTensor", [], [], 1, t7.NIL)),
    (
        "an object",
        TorchObject("nn.Linear", {"bias": 1}),
        t7.new(1, "nn.Linear", t7.table(2, t7.text("bias"), t7.num(1))),
    ),
]


@pytest.mark.parametrize(("value", "expected"), [row[1:] for row in PLAIN], ids=[row[0] for row in PLAIN])
def test_plain_values(value: Any, expected: bytes) -> None:
    assert binary(value) == expected


def test_one_value_in_two_places_is_written_once() -> None:
    shared = {"a": 1}
    array = np.ones(3)
    value = read(binary([shared, shared, array, array]))
    assert value[1] is value[2]
    assert value[3] is value[4]


def test_a_list_in_itself() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    value = read(binary(cycle))
    assert value[1] is value


def test_a_slice_of_a_tensor_takes_only_what_it_shows() -> None:
    tensor = read(t7.tensor(1, "torch.FloatTensor", [4], [1], 1, FLOATS))
    value = read(binary(tensor[1:3]))
    assert value.tolist() == [2, 3]
    assert len(value.facts.storage) == 2


def test_a_large_strided_array_goes_out_in_parts() -> None:
    array = np.arange(3_000_000, dtype=np.int32).reshape(1000, 1500, 2)[:, ::-1, :1]
    np.testing.assert_array_equal(read(binary(array)), array)


REFUSED: list[tuple[str, Any, str]] = [
    ("a set", {"a": {1, 2}}, "a: a set has no place"),
    ("a class", [[object()]], r"[1][1]: a object has no place"),
    ("an unsigned array", {"x": [np.zeros(2, np.uint16)]}, "x[1]: an array of uint16 has no Torch class"),
    ("a complex array", np.zeros(2, complex), "the value: an array of complex128"),
    ("an int that a double cannot hold", [2**53 + 1], "[1]: 9007199254740993 is not exact"),
    ("an int beyond doubles", 10**400, "a number of 401 digits"),
    ("half a surrogate pair", "\ud800", "is not Unicode text"),
    ("None as a key", {None: 1}, "None cannot be the key"),
    ("NaN as a key", {float("nan"): 1}, "nan cannot be the key"),
    ("a tds.Vec with a hole", TorchObject("tds.Vec", {2: 1}), "whose keys are not 1, 2, 3"),
]


@pytest.mark.parametrize(("value", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused_by_name_and_nothing_left_behind(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        write(tmp_path / "out.t7", value)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_longs_that_a_dialect_cannot_hold() -> None:
    with pytest.raises(UsageError, match="does not fit the 4-byte long"):
        encode(io.BytesIO(), np.array([2**31]), Dialect("binary", 4, "little"))


def test_a_format_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'json' is not a format"):
        write(tmp_path / "out.t7", 1, format="json")  # pyright: ignore[reportArgumentType]


def test_an_existing_file_stays_whole_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "model.t7"
    write(path, "before")
    with pytest.raises(UsageError):
        write(path, ["x" * 100_000, object()])
    assert read(path) == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_may_be_written_over_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.t7"
    write(path, np.arange(5))
    value = read(path)
    write(path, LuaTable.of(value, "more"))
    assert read(path)[1].tolist() == [0, 1, 2, 3, 4]
    assert value.tolist() == [0, 1, 2, 3, 4]


def test_permissions_are_those_of_the_file_or_of_any_new_one(tmp_path: Path) -> None:
    path, plain = tmp_path / "model.t7", tmp_path / "plain"
    plain.touch()
    write(path, 1)
    assert path.stat().st_mode == plain.stat().st_mode
    path.chmod(0o600)
    write(path, 2)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("model.t7", 1, format="ascii")
    assert Path("model.t7").read_bytes() == b"1\n1\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "model.t7"]


ASCII: list[tuple[str, Any, bytes]] = [
    ("a fraction", 0.1, b"1\n0.10000000000000001\n"),
    ("negative zero", -0.0, b"1\n-0\n"),
    ("infinity", float("-inf"), b"1\n-inf\n"),
    ("a small number", 1e-5, b"1\n1.0000000000000001e-05\n"),
    ("an empty string", "", b"2\n0\n"),
    ("a string", "a\nb", b"2\n3\na\nb\n"),
    ("an empty table", {}, b"3\n1\n0\n"),
    (
        "a tensor",
        np.array([0.1, -2], np.float32),
        b"4\n1\n3\nV 1\n17\ntorch.FloatTensor\n1\n2\n1\n1\n4\n2\n3\nV 1\n18\ntorch.FloatStorage\n2\n0.100000001 -2\n",
    ),
    ("an empty tensor", np.zeros(0), b"4\n1\n3\nV 1\n18\ntorch.DoubleTensor\n0\n1\n0\n"),
]


@pytest.mark.parametrize(("value", "expected"), [row[1:] for row in ASCII], ids=[row[0] for row in ASCII])
def test_ascii(tmp_path: Path, value: Any, expected: bytes) -> None:
    write(tmp_path / "out.t7", value, format="ascii")
    assert (tmp_path / "out.t7").read_bytes() == expected
