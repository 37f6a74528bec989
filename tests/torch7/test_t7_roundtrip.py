"""``read(write(value)) == value`` for arbitrary values, in every dialect."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sameness import assert_same

from retorch.torch7 import Dialect, LuaFunction, LuaTable, TorchObject, encode, open_file, read

DIALECTS = [
    Dialect("binary", 8, "little"),
    Dialect("binary", 4, "little"),
    Dialect("binary", 8, "big"),
    Dialect("binary", 4, "big"),
    Dialect("ascii"),
]
KINDS = [
    ("Byte", "u1"),
    ("Char", "i1"),
    ("Short", "i2"),
    ("Int", "i4"),
    ("Long", "i8"),
    ("Float", "f4"),
    ("Double", "f8"),
]


def name(value: str) -> bytes:
    return struct.pack("<i", len(value)) + value.encode()


@st.composite
def tensor_bytes(draw: st.DrawFn, index: int) -> bytes:
    """A tensor of any kind, strides and offset on a storage with room around it, spelled out in bytes."""
    kind, code = draw(st.sampled_from([*KINDS, ("Half", "f2"), ("Cuda", "f4"), ("CudaLong", "i8")]))
    sizes = draw(st.lists(st.integers(1, 3), max_size=3))
    strides = [draw(st.integers(0, 4)) for _ in sizes]
    offset = draw(st.integers(1, 3))
    count = (
        offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True)) + draw(st.integers(0, 2))
    )
    limits = (0, 250) if code == "u1" else (-100, 100)
    values = np.array(draw(st.lists(st.integers(*limits), min_size=count, max_size=count)), dtype=f"<{code}")
    head = struct.pack("<ii", 4, index) + name("V 1") + name(f"torch.{kind}Tensor")
    longs = struct.pack(f"<i{2 * len(sizes) + 1}q", len(sizes), *sizes, *strides, offset)
    held = struct.pack("<ii", 4, index + 1) + name("V 1") + name(f"torch.{kind}Storage")
    return head + longs + held + struct.pack("<q", count) + values.tobytes()


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats().map(lambda value: int(value) if value.is_integer() and value != 0 else value),
    st.text(max_size=8),
    st.binary(max_size=8).map(lambda raw: read(struct.pack("<ii", 2, len(raw)) + raw)),
    st.just(-0.0),
).filter(lambda value: not (type(value) is float and value == 0 and str(value) == "0.0"))
NAMES = st.sampled_from(["nn.Linear", "nn.Sequential", "my.Class"])


@st.composite
def values(draw: st.DrawFn) -> Any:
    """A value with sharing and cycles: containers first, then what is in them, drawn from all there is."""
    kinds = draw(st.lists(st.integers(0, 5), max_size=6))
    containers: list[Any] = [LuaTable(), *(_container(kind, draw) for kind in kinds)]
    tensors = [read(draw(tensor_bytes(1))) for _ in range(draw(st.integers(0, 2)))]
    storages = [tensor.facts.storage for tensor in tensors]
    anything = st.one_of(SCALARS, st.sampled_from([*containers, *tensors, *storages]))
    keys = anything.filter(lambda key: key is not None and key == key if type(key) is float else key is not None)
    for container in containers:
        if isinstance(container, LuaFunction):
            container.upvalues = draw(anything)
        elif isinstance(container, TorchObject) and container.typename == "tds.Vec":
            container.fields.update(enumerate(draw(st.lists(anything, max_size=3)), start=1))
        else:
            for key in draw(st.lists(keys, max_size=4)):
                container[key] = draw(anything)
    return draw(st.sampled_from(containers))


def _container(kind: int, draw: st.DrawFn) -> Any:
    match kind:
        case 0 | 1:
            return LuaTable()
        case 2:
            return TorchObject(draw(NAMES), version=draw(st.sampled_from([None, 0, 1, 12])))
        case 3:
            return TorchObject("tds.Hash", version=0)
        case 4:
            return TorchObject("tds.Vec", version=0)
        case _:
            return LuaFunction(draw(st.binary(max_size=9)), tag=draw(st.sampled_from([7, 8])))


def written(value: Any, dialect: Dialect) -> bytes:
    file = io.BytesIO()
    encode(file, value, dialect)
    return file.getvalue()


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(value=values())
def test_what_is_written_is_read(dialect: Dialect, value: Any) -> None:
    raw = written(value, dialect)
    document = open_file(raw)
    assert_same(value, document.root)
    assert document.trailing == 0
    assert written(document.root, document.dialect) == raw


ROW_VALUES = {
    "number": st.floats(allow_nan=False).filter(lambda value: not value.is_integer()),
    "whole": st.integers(-(2**60), 2**60).map(lambda value: int(float(value))),
    "string": st.text(max_size=6),
    "boolean": st.booleans(),
    "bytes": st.sampled_from([b"\xff", b"\xfe\xfd"]),
}


@st.composite
def records(draw: st.DrawFn) -> LuaTable:
    """A long table of records that are alike for a while, the way that ``runs`` reads them."""
    rows: list[Any] = []
    for _ in range(draw(st.integers(1, 3))):
        shape = draw(
            st.dictionaries(st.text(max_size=4) | st.integers(1, 9), st.sampled_from([*ROW_VALUES]), max_size=4)
        )
        wrapped = draw(st.booleans())
        sample = [{key: draw(ROW_VALUES[kind]) for key, kind in shape.items()} for _ in range(5)]
        for row in range(draw(st.integers(30, 90))):
            fields = LuaTable(sample[row % 5])
            rows.append(TorchObject("my.Row", fields) if wrapped else fields)
    if draw(st.booleans()):
        rows[draw(st.integers(0, len(rows) - 1))] = rows[0]
    key = draw(st.sampled_from([lambda n: n, lambda n: n / 4, lambda n: f"row {n}"]))
    return LuaTable((key(number), row) for number, row in enumerate(rows, start=1))


@pytest.mark.parametrize("dialect", DIALECTS[:3], ids=str)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(value=records())
def test_long_tables_of_alike_records(dialect: Dialect, value: LuaTable) -> None:
    raw = written(value, dialect)
    assert_same(value, read(raw))
    assert_same(value, open_file(raw, offsets=True).root)  # reads one value after another


@st.composite
def long_tables(draw: st.DrawFn) -> LuaTable:
    """A long table of scalars, alike in stretches: a vocabulary, a list of numbers, a set."""
    pairs: list[tuple[Any, Any]] = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from([*ROW_VALUES]))
        samples = [draw(ROW_VALUES[kind]) for _ in range(5)]
        key = draw(st.sampled_from([lambda n: n, lambda n: n + 0.5, lambda n: "w" * (n % 7) + str(n)]))
        begin = len(pairs) + 1
        pairs += [(key(number), samples[number % 5]) for number in range(begin, begin + draw(st.integers(1, 200)))]
    if draw(st.booleans()):
        pairs.insert(
            draw(st.integers(0, len(pairs))), draw(st.sampled_from([(True, None), ("t", LuaTable()), (-7, None)]))
        )
    return LuaTable(pairs)


@pytest.mark.parametrize("dialect", DIALECTS[:3], ids=str)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(value=long_tables())
def test_long_tables_of_scalars(dialect: Dialect, value: LuaTable) -> None:
    assert_same(value, read(written(value, dialect)))
