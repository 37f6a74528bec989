"""One table of every type, as Torch7 wrote it in each dialect: the same values come out of all of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retorch.torch7 import Dialect, LuaFunction, LuaTable, TorchStorage, TorchTensor, open_file, read

DATA = Path(__file__).parents[1] / "golden" / "data"
DIALECTS = {
    "types_binary": Dialect("binary", 8, "little"),
    "types_ascii": Dialect("ascii"),
    "types_long32": Dialect("binary", 4, "little"),
    "types_bigendian": Dialect("binary", 8, "big"),
}
ONE_TO_SIX = [[1, 2, 3], [4, 5, 6]]
TENSORS: dict[str, tuple[type, Any]] = {
    "Byte": (np.uint8, ONE_TO_SIX),
    "Char": (np.int8, ONE_TO_SIX),
    "Short": (np.int16, ONE_TO_SIX),
    "Int": (np.int32, ONE_TO_SIX),
    "Long": (np.int64, ONE_TO_SIX),
    "Float": (np.float32, ONE_TO_SIX),
    "Double": (np.float64, ONE_TO_SIX),
    "empty": (np.float32, []),
    "scalar": (np.float32, [3.25]),
    "narrowed": (np.float64, [[2, 3, 4], [8, 9, 10], [14, 15, 16], [20, 21, 22]]),
    "transposed": (np.float64, [[1, 4], [2, 5], [3, 6]]),
    "expanded": (np.float32, [[1, 1, 1], [2, 2, 2]]),
    "storage": (np.int64, [4, 5, 6]),
    "shared1": (np.float32, [9, 8]),
    "shared2": (np.float32, [9, 8]),
    "view1": (np.float32, [1, 2]),
    "view2": (np.float32, [3, 4]),
}


@pytest.fixture(params=DIALECTS)
def types(request: pytest.FixtureRequest) -> LuaTable:
    return read(DATA / f"{request.param}.t7")


@pytest.mark.parametrize("name", DIALECTS)
def test_the_dialect_is_found_from_the_bytes(name: str) -> None:
    document = open_file((DATA / f"{name}.t7").read_bytes())
    assert document.dialect == DIALECTS[name]
    assert document.trailing == 0
    assert document.size == (DATA / f"{name}.t7").stat().st_size


def test_every_array(types: LuaTable) -> None:
    for name, (dtype, expected) in TENSORS.items():
        assert types[name].dtype == dtype, name
        assert types[name].tolist() == expected, name


def test_half() -> None:
    for dialect in ("types_binary", "types_ascii"):
        half = read(DATA / f"{dialect}.t7")["Half"]
        assert half.dtype == np.float16
        assert half.tolist() == ONE_TO_SIX


def test_every_scalar(types: LuaTable) -> None:
    assert types["number"] == -2.5
    assert types["int"] == 7
    assert type(types["int"]) is int
    assert types["huge"] == math.inf
    assert math.isnan(types["nan"])
    assert types["string"] == "café\0x"
    assert types["empty_string"] == ""
    assert types["bool"].sequence() == [True, False]


def test_keys_of_other_kinds(types: LuaTable) -> None:
    assert types[True] == "bool key"
    assert types[1.5] == "float key"
    assert 1 not in types


def test_tables(types: LuaTable) -> None:
    assert types["list"].sequence() == [10, 20, 30]
    assert dict(types["sparse"]) == {2: "b", 5: "e"}
    assert types["sparse"].sequence() == []
    assert types["nested"]["a"]["b"]["c"] == 1
    assert types["self"] is types


def test_one_tensor_under_two_names_is_one_array(types: LuaTable) -> None:
    assert types["shared1"] is types["shared2"]


def test_halves_of_a_storage_share_its_memory(types: LuaTable) -> None:
    first, second = types["view1"], types["view2"]
    assert isinstance(first, TorchTensor)
    assert first.facts is not None
    assert second.facts is not None
    assert first.facts.storage is second.facts.storage
    assert first.facts.storage.tolist() == [1, 2, 3, 4]
    assert np.shares_memory(first.facts.storage, second)
    assert second.facts.offset == 3


def test_what_torch_knew_is_kept(types: LuaTable) -> None:
    facts = types["expanded"].facts
    assert (facts.typename, facts.version) == ("torch.FloatTensor", 1)
    assert (facts.sizes, facts.strides, facts.offset) == ((2, 3), (1, 0), 1)
    assert types["empty"].facts.storage is None
    assert isinstance(types["storage"], TorchStorage)
    assert types["storage"].facts.typename == "torch.LongStorage"


@pytest.mark.parametrize("name", ["types_binary", "types_ascii"])
def test_a_function_is_bytes_and_upvalues(name: str) -> None:
    closure = read(DATA / f"{name}.t7")["closure"]
    assert isinstance(closure, LuaFunction)
    assert closure.tag == 8
    assert closure.code.startswith(b"\x1bLJ")
    assert len(closure.code) == 52
    assert (closure.upvalues[1]["name"], closure.upvalues[1]["value"]) == ("up", 3)


def test_arrays_are_read_only(types: LuaTable) -> None:
    for name in TENSORS:
        assert not types[name].flags.writeable, name


@pytest.mark.parametrize(
    ("name", "expected"), [("plain_boolean", True), ("plain_number", 3.5), ("plain_string", "hello")]
)
def test_a_file_of_one_scalar(name: str, expected: Any) -> None:
    value = read(DATA / f"{name}.t7")
    assert value == expected
    assert type(value) is type(expected)


def test_a_file_of_one_tensor() -> None:
    assert read(DATA / "plain_tensor.t7").tolist() == ONE_TO_SIX


def test_tables_150_deep() -> None:
    value, depth = read(DATA / "deep_150.t7"), 0
    while "next" in value:
        value, depth = value["next"], depth + 1
    assert depth == 150
