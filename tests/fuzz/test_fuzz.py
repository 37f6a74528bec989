"""A bounded slice of the fuzzer; ``fuzz.py`` runs it at length."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from mutations import mutant, seeds

import fuzz
from retorch.errors import FormatError
from retorch.torch7 import LuaTable, read

SECONDS = 15
FEWEST = 200


def test_broken_files_are_refused_or_read_but_never_more() -> None:
    originals, until, number = seeds(), time.monotonic() + SECONDS, 0
    tracemalloc.start()
    try:
        while number < FEWEST or time.monotonic() < until:
            assert fuzz.check(mutant(number, 0, originals)) is None, f"seed 0 number {number}"
            number += 1
    finally:
        tracemalloc.stop()


def _foreign(raw: bytes) -> Any:
    return LuaTable.of(read(TENSOR + raw))


def _slow(raw: bytes) -> Any:
    deadline = time.process_time() + 1.1
    while time.process_time() < deadline:
        pass
    return read(raw)


def _greedy(raw: bytes) -> Any:
    bytearray(2**21)
    return read(raw)


def _broken(raw: bytes) -> Any:
    return {}[raw]


def _without_offset(raw: bytes) -> Any:
    raise FormatError("somewhere")


TENSOR = b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1\x11\0\0\0torch.ByteStorage" + (3).to_bytes(8, "little") + b"abc"


@pytest.mark.parametrize(
    ("reader", "fault"),
    [
        (read, None),
        (_foreign, "an array outside the file"),
        (_slow, " s"),
        (_greedy, "bytes for a file of"),
        (_broken, "KeyError"),
        (_without_offset, "an error at byte None"),
    ],
)
def test_the_check_has_teeth(
    monkeypatch: pytest.MonkeyPatch, reader: Callable[[bytes], Any], fault: str | None
) -> None:
    monkeypatch.setattr(fuzz, "read", reader)
    tracemalloc.start()
    try:
        found = fuzz.check(bytes(bytearray(TENSOR)))
    finally:
        tracemalloc.stop()
    assert found is None if fault is None else fault in str(found)


ALWAYS_MAPPED = 2**26
"""Bytes of a block that malloc never serves from memory freed before: twice the largest threshold it may choose."""


def _huge(raw: bytes) -> Any:
    bytes(ALWAYS_MAPPED)
    return read(raw)


@pytest.mark.parametrize(("reader", "fault"), [(read, None), (_huge, "MemoryError")])
def test_the_fast_check_has_teeth(
    monkeypatch: pytest.MonkeyPatch, reader: Callable[[bytes], Any], fault: str | None
) -> None:
    monkeypatch.setattr(fuzz, "read", reader)
    found = fuzz.check_fast(bytes(bytearray(TENSOR)))
    assert found is None if fault is None else fault in str(found)
