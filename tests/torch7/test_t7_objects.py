"""Tables and objects behave as in Lua."""

from __future__ import annotations

import numpy as np
import pytest

from retorch.torch7 import LuaFunction, LuaTable, TorchObject


def test_a_boolean_is_not_a_number() -> None:
    table = LuaTable([(1, "one"), (True, "yes"), (0, "zero"), (False, "no")])
    assert [table[1], table[True], table[0], table[False]] == ["one", "yes", "zero", "no"]
    assert list(table) == [1, True, 0, False]
    assert [type(key) for key in table] == [int, bool, int, bool]
    assert list(table.items())[1] == (True, "yes")
    del table[True]
    assert True not in table
    assert 1 in table


def test_a_whole_float_is_the_same_key_as_an_int() -> None:
    table = LuaTable({2.0: "a"})
    assert table[2] == "a"
    assert [type(key) for key in table] == [int]


def test_tables_are_equal_by_identity() -> None:
    first, second = LuaTable.of(1), LuaTable.of(1)
    assert first == first
    assert first != second
    assert LuaTable({first: "a", second: "b"})[second] == "b"


def test_an_array_is_a_key_by_identity() -> None:
    first, second = np.zeros(2), np.zeros(2)
    table = LuaTable([(first, 1), (second, 2)])
    assert (table[first], table[second]) == (1, 2)
    table[first] = 3
    assert list(table.values()) == [3, 2]
    del table[first]
    assert first not in table
    assert next(iter(table)) is second
    with pytest.raises(KeyError):
        table[np.zeros(2)]


def test_the_sequence_ends_at_the_first_hole() -> None:
    assert LuaTable({1: "a", 2: "b", 4: "d", "n": 4}).sequence() == ["a", "b"]
    assert LuaTable().sequence() == []


@pytest.mark.parametrize("key", [None, float("nan")])
def test_keys_that_lua_has_not(key: object) -> None:
    with pytest.raises(ValueError, match="is a key"):
        LuaTable([(key, 1)])


def test_a_missing_key_raises() -> None:
    with pytest.raises(KeyError):
        LuaTable()["x"]
    assert LuaTable().get("x") is None


def test_an_object_is_a_mapping_of_its_fields() -> None:
    value = TorchObject("nn.Linear", {"weight": 1})
    value["bias"] = 2
    del value["weight"]
    assert dict(value) == {"bias": 2}
    assert len(value) == 1
    assert "bias" in value
    assert value.version == 1


def test_an_empty_object_is_true_and_an_empty_table_false() -> None:
    assert TorchObject("nn.Identity")
    assert not LuaTable()


def test_objects_and_functions_are_equal_by_identity() -> None:
    assert TorchObject("A") != TorchObject("A")
    assert LuaFunction(b"") != LuaFunction(b"")
    assert len({TorchObject("A"), TorchObject("A"), LuaFunction(b""), LuaFunction(b"")}) == 4


def test_representations_are_short() -> None:
    table = LuaTable.of(1)
    table["self"] = table
    assert repr(table) == "<LuaTable of 2>"
    assert repr(TorchObject("nn.Linear")) == "<nn.Linear of 0 fields>"
    assert repr(LuaFunction(b"abc")) == "<Lua function of 3 bytes>"
