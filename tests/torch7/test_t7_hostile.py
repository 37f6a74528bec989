"""Files that lie: each is refused by name, at the right byte, without reading or allocating what it promises."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
import spelled as t7

from retorch.errors import FormatError
from retorch.torch7 import read

FLOATS = t7.storage(2, "torch.FloatStorage", "f", 1, 2, 3, 4)


def float_tensor(sizes: list[int], strides: list[int], offset: int, held: bytes = FLOATS) -> bytes:
    return t7.tensor(1, "torch.FloatTensor", sizes, strides, offset, held)


def owner_of(body: bytes) -> bytes:
    return t7.table(1, t7.text("it"), t7.new(2, "my.Thing", body))


HOSTILE: list[tuple[str, bytes, str, int]] = [
    ("a tag that does not exist", t7.table(1, t7.num(1), struct.pack("<i", 9)), "type tag (0 to 8), found 9", 24),
    ("a negative tag", t7.table(1, t7.num(1), struct.pack("<i", -1)), "type tag (0 to 8), found -1", 24),
    ("half a tag", b"\x03\x00", "expected 4 bytes for a type tag, found 2", 0),
    ("half a number", t7.num(1)[:7], "expected 8 bytes for a number, found 3", 4),
    ("a boolean of 7", struct.pack("<ii", 5, 7), "expected a boolean (0 or 1), found 7", 4),
    ("a string that is longer than the file", struct.pack("<ii", 2, 2**31 - 1) + b"abc", "for a string, found 3", 8),
    ("a string of negative length", struct.pack("<ii", 2, -5), "a string of -5 bytes", 8),
    (
        "a table of two billion pairs",
        struct.pack("<iii", 3, 1, 2**31 - 1),
        "number of pairs of a table: 2147483647",
        12,
    ),
    ("a table of a negative number of pairs", struct.pack("<iii", 3, 1, -1), "number of pairs of a table: -1", 12),
    ("nil as a key", t7.table(1, t7.NIL, t7.TRUE), "nil is a key", 24),
    ("NaN as a key", t7.table(1, t7.num(float("nan")), t7.TRUE), "NaN is a key", 32),
    ("a table that is an object", t7.table(1, t7.num(1), t7.again(4, 1)), "index 1 stands for an object", 24),
    ("an object that is a table", t7.new(1, "A", t7.table(2, t7.num(1), t7.again(3, 1))), "stands for a table", 44),
    ("a table that is a function", t7.table(1, t7.num(1), t7.again(8, 1)), "stands for a function", 24),
    ("a function of negative length", struct.pack("<iii", 8, 1, -1), "a function of -1 bytes", 12),
    ("a function longer than the file", struct.pack("<iii", 7, 1, 99), "expected 99 bytes for a function", 12),
    ("a class name of no letters", t7.new(1, "", b""), "expected a class name", 15),
    ("a class name of binary", t7.new(1, "\1\2", b""), "expected a class name", 15),
    ("a class name that never ends", struct.pack("<iii", 4, 1, 2**30), "expected a class name or version", 8),
    ("a class with a body of its own", t7.new(1, "my.Thing", t7.num(1)), "my.Thing has a body of its own", 27),
    ("a field with a body of its own", owner_of(t7.text("state")), "my.Thing has a body of its own", 49),
    ("a Generator that is cut off", t7.new(1, "torch.Generator", bytes(5047)), "5048 bytes", 34),
    ("a tds.Hash of 2^60", t7.new(1, "tds.Hash", t7.longs(2**60)), "the size of a tds.Hash", 35),
    ("a tds.Vec of -1", t7.new(1, "tds.Vec", t7.longs(-1)), "the size of a tds.Vec", 34),
    ("a storage of 2^62", t7.new(1, "torch.ByteStorage", t7.longs(2**62)), "elements of a storage, found 0", 44),
    ("a storage of -1", t7.new(1, "torch.ByteStorage", t7.longs(-1)), "a storage of -1 elements", 44),
    ("99 dimensions", t7.new(1, "torch.FloatTensor", struct.pack("<i", 99)), "of 99 dimensions", 40),
    ("-1 dimensions", t7.new(1, "torch.FloatTensor", struct.pack("<i", -1)), "of -1 dimensions", 40),
    ("a tensor past the end of its storage", float_tensor([2, 2], [3, 1], 1), "outside its storage of 4 elements", 0),
    ("a tensor that begins before its storage", float_tensor([2], [1], 0), "outside its storage", 0),
    ("a tensor with an offset past the end", float_tensor([1], [1], 5), "outside its storage", 0),
    ("a tensor with a huge stride", float_tensor([2], [2**62], 1), "outside its storage", 0),
    ("a tensor whose end wraps around", float_tensor([2**62], [4], 1), "outside its storage", 0),
    ("a tensor of negative size", float_tensor([-2], [1], 1), "sizes (-2,)", 0),
    ("a tensor of negative stride", float_tensor([2], [-1], 2), "strides (-1,)", 0),
    ("a tensor of nothing that has a size", float_tensor([2], [1], 1, t7.NIL), "without a storage", 0),
    ("no elements, but too many to count", float_tensor([0, 2**62, 2**62], [1, 1, 1], 1), "too large", 0),
    ("more elements than can be counted", float_tensor([2**62, 2**62], [0, 0], 1), "too large", 0),
    ("a tensor on a number", float_tensor([2], [1], 1, t7.num(1)), "is not its storage", 64),
    ("a tensor on itself", float_tensor([2], [1], 1, t7.again(4, 1)), "is not its storage", 64),
    (
        "a tensor on a storage of another type",
        float_tensor([2], [1], 1, t7.storage(2, "torch.DoubleStorage", "d", 1, 2)),
        "is not its storage",
        64,
    ),
    ("a tensor on an object", float_tensor([2], [1], 1, t7.new(2, "A", t7.table(3))), "is not its storage", 64),
    ("ASCII: a tag that is a word", b"3\n1\n1\nx\n", "expected a type tag, found 'x'", 6),
    ("ASCII: a number that is a word", b"1\nseven\n", "expected a number, found 'seven'", 2),
    ("ASCII: a number with an underscore", b"1\n1_0\n", "expected a number", 2),
    ("ASCII: a boolean of 2", b"5\n2\n", "expected a boolean", 2),
    ("ASCII: a huge count", b"3\n1\n999999999\n", "the number of pairs of a table: 999999999", 14),
    ("ASCII: a string that is too long", b"2\n9\nabc\n", "expected 9 bytes for a string, found 4", 4),
    ("ASCII: a token without end", b"1\n" + b"9" * 5000 + b"\n", "expected a number", 2),
    ("ASCII: a storage of more than there is", b"4\n1\n3\nV 1\n18\ntorch.FloatStorage\n99\n1 2\n", "cut off", 35),
    ("ASCII: a storage with a word in it", b"4\n1\n3\nV 1\n18\ntorch.FloatStorage\n3\n1 x 2\n", "found 'x'", 36),
    ("ASCII: too few numbers on a line", b"4\n1\n3\nV 1\n18\ntorch.FloatStorage\n3\n1 2\n\n\n", "found 2", 37),
    (
        "ASCII: a whole number that overflows",
        b"4\n1\n3\nV 1\n16\ntorch.IntStorage\n1\n9999999999\n",
        "expected a number",
        32,
    ),
]


@pytest.mark.parametrize(("raw", "message", "offset"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_refused(raw: bytes, message: str, offset: int) -> None:
    with pytest.raises(FormatError) as caught:
        read(raw)
    assert message in str(caught.value)
    assert caught.value.offset == offset


@pytest.mark.parametrize("raw", [row[1] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_refused_without_allocating(raw: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            read(raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(raw) + 2**20


def test_the_path_to_what_is_wrong() -> None:
    inner = t7.table(4, t7.num(1), t7.new(5, "nn.Linear", t7.table(6, t7.text("weight"), struct.pack("<i", 77))))
    raw = t7.new(1, "nn.Sequential", t7.table(2, t7.text("modules"), inner))
    with pytest.raises(FormatError, match=r"in modules\[1\]\.weight \(the last class was nn\.Linear\)") as caught:
        read(raw)
    assert caught.value.offset == len(raw) - 4


def test_the_path_through_keys_that_are_no_names() -> None:
    raw = t7.table(1, t7.text("a b"), t7.table(2, t7.TRUE, t7.table(3, t7.num(1.5), struct.pack("<i", 77))))
    with pytest.raises(FormatError) as caught:
        read(raw)
    assert caught.value.path == '["a b"][true][1.5]'


def test_an_unknown_body_has_a_hint() -> None:
    with pytest.raises(FormatError) as caught:
        read(t7.new(1, "my.Thing", t7.num(1)))
    assert caught.value.hint is not None


def test_an_error_in_a_file_of_four_byte_longs_speaks_of_that_file() -> None:
    head = struct.pack("<ii", 4, 1) + t7.name("V 1") + t7.name("torch.FloatTensor") + struct.pack("<i4i", 1, 4, 1, 1, 4)
    held = struct.pack("<i", 2) + t7.name("V 1") + t7.name("torch.FloatStorage") + struct.pack("<iff", 4, 1, 2)
    with pytest.raises(FormatError, match="expected 16 bytes for the 4 elements of a storage, found 8"):
        read(head + held)


def test_alike_records_that_stop_being_alike() -> None:
    rows = [t7.num(n) + t7.table(n + 1, t7.text("x"), t7.num(n / 2)) for n in range(1, 200)]
    rows[150] = t7.num(151) + t7.table(152, t7.text("x"), struct.pack("<i", 99))
    raw = struct.pack("<iii", 3, 1, 199) + b"".join(rows)
    with pytest.raises(FormatError) as caught:
        read(raw)
    assert caught.value.path == "[151].x"
