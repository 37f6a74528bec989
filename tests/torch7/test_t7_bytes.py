"""Every tag and every kind of body, from bytes spelled out by hand."""

from __future__ import annotations

import io
import math
import struct
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import spelled as t7

from retorch.torch7 import Dialect, LuaFunction, TorchObject, TorchTensor, encode, open_file, read, write

ONES = t7.storage(2, "torch.FloatStorage", "f", 1.0, 2.0)

SCALARS: list[tuple[str, bytes, Any]] = [
    ("nil", t7.NIL, None),
    ("a whole number", t7.num(3.0), 3),
    ("a fraction", t7.num(0.5), 0.5),
    ("a whole number beyond 2^53", t7.num(1e300), int(1e300)),
    ("infinity", t7.num(-math.inf), -math.inf),
    ("a string", t7.text("héllo"), "héllo"),
    ("a string that is not UTF-8", t7.text(b"\xff\xfe"), b"\xff\xfe"),
    ("true", t7.TRUE, True),
    ("false", t7.FALSE, False),
    ("ASCII nil", b"0\n", None),
    ("ASCII true", b"5\n1\n", True),
    ("an ASCII number with spaces around", b" 1  \n 2.5 \n", 2.5),
    ("an ASCII number as Windows writes infinity", b"1\n-1.#INF\n", -math.inf),
    ("an ASCII string with Windows line ends", b"2\r\n3\r\nabc\r\n", "abc"),
    ("an ASCII string of newlines", b"2\n3\n\n\n\n\n", "\n\n\n"),
]


@pytest.mark.parametrize(("raw", "expected"), [row[1:] for row in SCALARS], ids=[row[0] for row in SCALARS])
def test_scalar(raw: bytes, expected: Any) -> None:
    value = read(raw)
    assert value == expected
    assert type(value) is type(expected)


def test_negative_zero_keeps_its_sign() -> None:
    value = read(t7.num(-0.0))
    assert math.copysign(1.0, value) == -1.0


def test_nan_keeps_its_bits() -> None:
    raw = struct.pack("<iQ", 1, 0xFFF8000000000123)
    assert struct.pack("<d", read(raw)) == raw[4:]


def test_a_table_keeps_the_stored_order() -> None:
    raw = t7.table(1, t7.text("z"), t7.num(1), t7.num(2), t7.NIL, t7.TRUE, t7.FALSE, t7.num(1), t7.text("one"))
    assert list(read(raw).items()) == [("z", 1), (2, None), (True, False), (1, "one")]


def test_a_reference_is_the_same_table() -> None:
    value = read(t7.table(1, t7.num(1), t7.table(2), t7.num(2), t7.again(3, 2), t7.num(3), t7.again(3, 1)))
    assert value[1] is value[2]
    assert value[3] is value


def test_a_table_as_its_own_key() -> None:
    value = read(t7.table(1, t7.again(3, 1), t7.table(2)))
    assert len(value[value]) == 0


def test_arrays_are_keys_by_identity() -> None:
    held = t7.tensor(2, "torch.FloatTensor", [2], [1], 1, t7.storage(3, "torch.FloatStorage", "f", 1, 2))
    other = t7.tensor(4, "torch.FloatTensor", [2], [1], 1, t7.again(4, 3))
    value = read(t7.table(1, held, t7.num(1), other, t7.num(2)))
    first, second = value
    assert (value[first], value[second]) == (1, 2)
    assert np.zeros(2) not in value


def test_an_object_without_version_is_of_the_oldest_files() -> None:
    value = read(t7.new(1, "nn.Linear", t7.table(2, t7.text("bias"), t7.num(1)), version=""))
    assert isinstance(value, TorchObject)
    assert (value.typename, value.version, dict(value)) == ("nn.Linear", None, {"bias": 1})


def test_an_object_holds_itself() -> None:
    value = read(t7.new(1, "nn.Module", t7.table(2, t7.text("self"), t7.again(4, 1)), version="V 12"))
    assert value["self"] is value
    assert value.version == 12


def test_the_fields_of_an_object_may_be_referred_to() -> None:
    value = read(t7.new(1, "A", t7.table(2, t7.text("fields"), t7.again(3, 2))))
    assert value["fields"] is value.fields


@pytest.mark.parametrize("tag", [6, 7, 8])
def test_function(tag: int) -> None:
    value = read(t7.function(tag, 1, b"\x1bLua\0", t7.table(2, t7.num(1), t7.text("up"))))
    assert isinstance(value, LuaFunction)
    assert (value.code, value.tag, value.upvalues.sequence()) == (b"\x1bLua\0", tag, ["up"])


def test_a_function_that_is_its_own_upvalue() -> None:
    value = read(t7.function(8, 1, b"code", t7.table(2, t7.num(1), t7.again(8, 1))))
    assert value.upvalues[1] is value


def test_tds_hash() -> None:
    body = t7.longs(2) + t7.num(1) + t7.text("one") + t7.text("two") + t7.table(2)
    value = read(t7.new(1, "tds.Hash", body, version="V 0"))
    assert value.typename == "tds.Hash"
    assert value[1] == "one"
    assert len(value["two"]) == 0


def test_tds_vec() -> None:
    value = read(t7.new(1, "tds.Vec", t7.longs(3) + t7.num(5) + t7.new(2, "tds.Vec", t7.longs(0)) + t7.TRUE))
    assert value.sequence()[0::2] == [5, True]
    assert value[2].sequence() == []


@pytest.mark.parametrize("typename", ["torch.Timer", "my.Thing"])
def test_an_object_without_a_body(typename: str) -> None:
    raw = t7.table(1, t7.text("it"), t7.new(2, typename, b""), t7.text("after"), t7.num(5), t7.text("on"), t7.TRUE)
    value = read(raw)
    assert (value["it"].typename, len(value["it"]), value["after"], value["on"]) == (typename, 0, 5, True)
    assert written(value) == raw


def test_a_timer_that_ends_the_file() -> None:
    raw = t7.new(1, "torch.Timer", b"")
    assert read(raw).bodyless
    assert written(read(raw)) == raw


def test_an_atomic_counter() -> None:
    raw = t7.table(1, t7.text("it"), t7.new(2, "tds.AtomicCounter", t7.longs(7), version="V 0"), t7.num(1), t7.TRUE)
    value = read(raw)
    assert (value["it"]["value"], value[1]) == (7, True)
    assert written(value) == raw


@pytest.mark.parametrize("long_size", [8, 4])
def test_a_generator(long_size: Literal[8, 4]) -> None:
    state = bytes(i % 251 for i in range(5048 if long_size == 8 else 2544))
    raw = t7.table(1, t7.text("it"), t7.new(2, "torch.Generator", state), t7.text("after"), t7.TRUE)
    value = read(raw)
    assert (value["it"]["state"].tobytes(), value["after"]) == (state, True)
    assert written(value, long_size) == raw


def written(value: object, long_size: Literal[8, 4] = 8) -> bytes:
    file = io.BytesIO()
    encode(file, value, Dialect("binary", long_size))
    return file.getvalue()


def test_a_data_parallel_table_begins_with_its_gpus() -> None:
    gpus = t7.table(2, t7.num(1), t7.num(7))
    fields = t7.table(3, t7.text("dimension"), t7.num(1), t7.text("gpuAssignments"), t7.again(3, 2))
    value = read(t7.new(1, "nn.DataParallelTable", gpus + fields, version="V 3"))
    assert value["dimension"] == 1
    assert value["gpuAssignments"].sequence() == [7]


def test_a_gpu_begins_with_its_type_and_device(tmp_path: Path) -> None:
    header = t7.table(2, t7.num(1), t7.text("torch.CudaTensor"), t7.num(2), t7.num(3))
    fields = t7.table(3, t7.text("_type"), t7.text("torch.CudaTensor"), t7.text("device"), t7.num(3))
    raw = t7.new(1, "nn.GPU", header + fields, version="V 1")
    value = read(raw)
    assert dict(value) == {"_type": "torch.CudaTensor", "device": 3}
    write(tmp_path / "gpu.t7", value)
    assert (tmp_path / "gpu.t7").read_bytes() == raw


def test_a_gpu_begins_with_its_device() -> None:
    header = t7.table(2, t7.num(1), t7.text("torch.FloatTensor"), t7.num(2), t7.num(1))
    fields = t7.table(3, t7.text("_type"), t7.text("torch.FloatTensor"), t7.text("device"), t7.num(1))
    raw = t7.new(1, "nn.GPU", header + fields)
    value = read(raw)
    assert dict(value) == {"_type": "torch.FloatTensor", "device": 1}
    file = io.BytesIO()
    encode(file, value, Dialect())
    assert file.getvalue() == raw


def test_an_old_data_parallel_table_is_as_any_object() -> None:
    value = read(t7.new(1, "nn.DataParallelTable", t7.table(2, t7.text("dimension"), t7.num(1))))
    assert dict(value) == {"dimension": 1}


@pytest.mark.parametrize(
    ("typename", "code", "dtype"),
    [
        ("torch.CudaTensor", "f", np.float32),
        ("torch.CudaByteTensor", "B", np.uint8),
        ("torch.CudaCharTensor", "b", np.int8),
        ("torch.CudaShortTensor", "h", np.int16),
        ("torch.CudaIntTensor", "i", np.int32),
        ("torch.CudaLongTensor", "q", np.int64),
        ("torch.CudaDoubleTensor", "d", np.float64),
        ("torch.CudaHalfTensor", "e", np.float16),
        ("torch.HalfTensor", "e", np.float16),
    ],
)
def test_tensors_of_the_gpu(typename: str, code: str, dtype: type) -> None:
    held = t7.storage(2, typename.replace("Tensor", "Storage"), code, 1, 2, 3)
    value = read(t7.tensor(1, typename, [2], [2], 1, held))
    assert value.dtype == dtype
    assert value.tolist() == [1, 3]
    assert value.facts.typename == typename


def test_a_tensor_without_dimensions_may_keep_a_storage() -> None:
    value = read(t7.tensor(1, "torch.FloatTensor", [], [], 1, ONES))
    assert value.shape == (0,)
    assert value.facts.storage.tolist() == [1, 2]


def test_an_array_is_a_view_of_the_bytes() -> None:
    raw = t7.tensor(1, "torch.FloatTensor", [2], [1], 1, ONES)
    assert np.shares_memory(read(raw), np.frombuffer(raw, np.uint8))


def test_what_is_computed_from_a_tensor_is_a_plain_array() -> None:
    value = read(t7.tensor(1, "torch.FloatTensor", [2], [1], 1, ONES))
    assert type(value + 1) is np.ndarray
    assert type(np.exp(value)) is np.ndarray
    assert type(value.sum()) is np.float32
    part = value[:1]
    assert isinstance(part, TorchTensor)
    assert part.facts is None


def test_bytes_after_the_value_are_counted() -> None:
    document = open_file(t7.num(1) + b"rest")
    assert (document.root, document.trailing) == (1, 4)


def test_offsets_of_objects() -> None:
    raw = t7.table(
        1, t7.num(1), t7.tensor(2, "torch.FloatTensor", [2], [1], 1, t7.storage(3, "torch.FloatStorage", "f", 1, 2))
    )
    document = open_file(raw, offsets=True)
    held = document.root[1].facts.storage
    assert document.offsets[id(document.root)] == 0
    assert document.offsets[id(document.root[1])] == 24
    assert raw[document.offsets[id(held)] :].startswith(t7.again(4, 3))


def test_a_hundred_thousand_tables_deep() -> None:
    depth = 100_000
    raw = b"".join(struct.pack("<iii", 3, index, 1) + t7.num(1) for index in range(1, depth + 1)) + t7.TRUE
    value = read(raw)
    for _ in range(depth):
        value = value[1]
    assert value is True


def test_twenty_thousand_objects_deep() -> None:
    depth = 20_000
    raw = b"".join(t7.new(2 * n, "A", struct.pack("<iii", 3, 2 * n + 1, 1)) + t7.num(1) for n in range(1, depth + 1))
    value: Any = read(raw + t7.TRUE)
    for _ in range(depth):
        value = value[1]
    assert value is True


def test_longs_of_four_bytes_reach_into_long_storages() -> None:
    head = struct.pack("<ii", 4, 1) + t7.name("V 1") + t7.name("torch.LongStorage")
    value = read(head + struct.pack("<i3i", 3, -1, 5, 2**31 - 1))
    assert value.dtype == np.int64
    assert value.tolist() == [-1, 5, 2**31 - 1]


def test_a_storage_of_zeros_with_longs_of_four_bytes() -> None:
    head = struct.pack("<ii", 4, 1) + t7.name("V 1") + t7.name("torch.ByteStorage")
    document = open_file(head + struct.pack("<i", 4) + bytes(4))
    assert document.dialect.long_size == 4
    assert document.root.tolist() == [0, 0, 0, 0]
