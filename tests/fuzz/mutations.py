"""Broken ``.t7`` files without end: golden ones with bits flipped, ends cut, lengths, tags and counts exchanged."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "golden"
LARGEST = 4096

_INTERESTING = [0, 1, -1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 32, 33, 255, 2**16, 2**20, 2**31 - 1, -(2**31)]
_INTERESTING_LONGS = [*_INTERESTING, 2**31, 2**32, 2**40, 2**61, 2**62, 2**63 - 1, -(2**63)]


def seeds() -> list[bytes]:
    """The golden files of at most ``LARGEST`` bytes, in every dialect, always in the same order."""
    paths = sorted(GOLDEN.rglob("*.t7"), key=lambda path: path.relative_to(GOLDEN).as_posix())
    return [path.read_bytes() for path in paths if path.stat().st_size <= LARGEST] + [_alike_records(), _vocabulary()]


def _alike_records() -> bytes:
    """A table of a hundred records of the same keys, which are read in another way than single values."""
    rows = b"".join(
        struct.pack("<id", 1, number)
        + struct.pack("<iii", 3, number + 1, 3)
        + struct.pack("<ii1s", 2, 1, b"a")
        + struct.pack("<id", 1, number / 2)
        + struct.pack("<ii1s", 2, 1, b"b")
        + struct.pack(f"<ii{number % 3}s", 2, number % 3, b"xyz"[: number % 3])
        + struct.pack("<ii1s", 2, 1, b"c")
        + struct.pack("<ii", 5, number % 2)
        for number in range(1, 101)
    )
    return struct.pack("<iii", 3, 1, 100) + rows


def _vocabulary() -> bytes:
    """A table of two hundred words and numbers, which is read in yet another way."""
    words = (struct.pack(f"<ii{number % 5}s", 2, number % 5, b"words"[: number % 5]) for number in range(200))
    rows = b"".join(word + struct.pack("<id", 1, number) for number, word in enumerate(words))
    return struct.pack("<iii", 3, 1, 200) + rows


def _flip_bits(rng: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    broken = bytearray(raw)
    for _ in range(rng.choice([1, 1, 1, 2, 5, 20])):
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
    return bytes(broken)


def _truncate(rng: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    return raw[: rng.randrange(len(raw))]


def _splice_int(rng: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + struct.pack(rng.choice("<>") + "i", rng.choice(_INTERESTING)) + raw[at + 4 :]


def _splice_long(rng: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + struct.pack(rng.choice("<>") + "q", rng.choice(_INTERESTING_LONGS)) + raw[at + 8 :]


def _swap_small_int(rng: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    """Exchange what may be a tag, an index or a count: a small integer, or a number on a line of its own."""
    places = [match.span() for match in re.finditer(rb"[\0-\x20]\0\0\0|\0\0\0[\1-\x20]|(?<=\n)\d{1,3}(?=\n)", raw)]
    if not places:
        return _flip_bits(rng, raw, [])
    start, stop = rng.choice(places)
    value = rng.choice(_INTERESTING)
    if raw[start : start + 1].isdigit() and stop - start < 4:
        return raw[:start] + b"%d" % value + raw[stop:]
    order = "<" if raw[start] else ">"
    return raw[:start] + struct.pack(order + "i", value) + raw[stop:]


def _delete(rng: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    start = rng.randrange(len(raw))
    return raw[:start] + raw[start + rng.choice([1, 4, 8, 12, 40]) :]


def _repeat(rng: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    start = rng.randrange(len(raw))
    part = raw[start : start + rng.choice([1, 4, 8, 12, 40, 200])]
    return raw[:start] + part * rng.choice([2, 2, 3, 50]) + raw[start + len(part) :]


def _transplant(rng: random.Random, raw: bytes, others: list[bytes]) -> bytes:
    other = rng.choice(others)
    start, at = rng.randrange(len(other)), rng.randrange(len(raw))
    return raw[:at] + other[start : start + rng.choice([4, 8, 32, 200])] + raw[at + rng.choice([0, 4, 8]) :]


MUTATIONS: list[Callable[[random.Random, bytes, list[bytes]], bytes]] = [
    _flip_bits,
    _truncate,
    _splice_int,
    _splice_long,
    _swap_small_int,
    _swap_small_int,
    _delete,
    _repeat,
    _transplant,
]


def mutant(number: int, seed: int, originals: list[bytes]) -> bytes:
    """The ``number``-th broken file of ``seed``; the same for the same arguments."""
    rng = random.Random(f"{seed}/{number}")
    raw = rng.choice(originals)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        raw = rng.choice(MUTATIONS)(rng, raw, originals) or b"\0"
    return raw
