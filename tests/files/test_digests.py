"""Digests that are worked out while files are read and written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from retorch.files import digests
from retorch.files.regular import content

LARGE = np.random.default_rng(0).bytes(9 << 20)


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 9 << 20])
def test_what_is_written_has_the_digest_of_its_bytes(size: int, tmp_path: Path) -> None:
    data = LARGE[:size]
    digests.write(tmp_path / "x", (data[at : at + 999_999] for at in range(0, size, 999_999)))
    assert (tmp_path / "x").read_bytes() == data
    assert digests.digest(tmp_path / "x") == hashlib.sha256(data).hexdigest()


def test_short_pieces_between_long_ones_stay_in_order(tmp_path: Path) -> None:
    numbers = np.arange(40_000, dtype=np.float32)
    pieces = [b"a", numbers.data, b"", b"bc", numbers[:3].data, LARGE[:70_000], b"d" * 65_536, b"e", b"f" * 65_536]
    digests.write(tmp_path / "x", pieces)
    expected = b"".join(pieces)
    assert (tmp_path / "x").read_bytes() == expected
    assert digests.digest(tmp_path / "x") == hashlib.sha256(expected).hexdigest()


def test_a_part_of_a_mapped_file_is_written_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(LARGE)
    part = np.frombuffer(content(tmp_path / "source"), np.uint8)[5:-7]
    digests.write(tmp_path / "x", [b"head", part.data])
    assert (tmp_path / "x").read_bytes() == b"head" + LARGE[5:-7]
    assert digests.digest(tmp_path / "x") == hashlib.sha256(b"head" + LARGE[5:-7]).hexdigest()


def test_a_file_that_changes_once_written_has_another_digest(tmp_path: Path) -> None:
    digests.write(tmp_path / "x", [LARGE])
    with (tmp_path / "x").open("ab") as file:
        file.write(b"more")
    assert digests.digest(tmp_path / "x") == hashlib.sha256(LARGE + b"more").hexdigest()


def test_a_digest_that_was_begun_is_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(LARGE)
    digests.begin(tmp_path / "x")
    digests.begin(tmp_path / "missing")
    assert digests.digest(tmp_path / "x") == hashlib.sha256(LARGE).hexdigest()


def test_a_digest_that_was_begun_is_not_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_bytes(LARGE)
    digests.begin(tmp_path / "x")
    monkeypatch.setattr(digests, "_of_file", lambda path: pytest.fail(f"{path} is hashed twice"))
    digests.begin(tmp_path / "x")
    assert digests.digest(tmp_path / "x") == hashlib.sha256(LARGE).hexdigest()


def test_writing_that_stops_leaves_no_thread_waiting(tmp_path: Path) -> None:
    def stopping():
        yield LARGE
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        digests.write(tmp_path / "x", stopping())


def test_a_large_file_that_was_hashed_as_it_was_written_is_not_hashed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests.write(tmp_path / "x", [LARGE])
    expected = hashlib.sha256(LARGE).hexdigest()
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert [digests.digest(tmp_path / "x") for _ in range(3)] == [expected] * 3
