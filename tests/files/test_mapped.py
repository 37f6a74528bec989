"""Reading arrays that are part of a mapped file, and letting them go."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from retorch.files import mapped
from retorch.report.histogram import histogram

COUNT = 3 * mapped.STEP // 4 + 1234


@pytest.fixture
def stored(tmp_path: Path) -> np.ndarray:
    """An array that begins at an odd byte of a mapped file."""
    numbers = np.arange(COUNT, dtype=np.float32)
    (tmp_path / "x").write_bytes(b"abc" + numbers.tobytes())
    with (tmp_path / "x").open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(content, np.float32, offset=3)


def test_rows_are_the_array_in_parts(stored: np.ndarray) -> None:
    matrix = stored[: COUNT // 1000 * 1000].reshape(-1, 1000)
    parts = [part.copy() for part in mapped.rows(matrix)]
    assert len(parts) > 2
    assert max(part.nbytes for part in parts) <= mapped.STEP
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(matrix.size, dtype=np.float32).reshape(-1, 1000))


def test_pieces_are_the_bytes(stored: np.ndarray) -> None:
    assert b"".join(mapped.pieces(stored.data)) == np.arange(COUNT, dtype=np.float32).tobytes()


def test_what_was_let_go_is_still_there(stored: np.ndarray) -> None:
    first, second = ([float(part.sum(dtype=np.float64)) for part in mapped.rows(stored)] for _ in range(2))
    assert first == second
    assert sum(first) == np.arange(COUNT, dtype=np.float32).sum(dtype=np.float64)


def test_what_was_written_into_a_private_map_stays(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(2 * mapped.STEP))
    with (tmp_path / "x").open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    numbers = np.frombuffer(content, np.uint8)
    numbers[:] = 7
    assert all((part == 7).all() for _ in range(2) for part in mapped.rows(numbers))


def test_the_histogram_of_a_large_array_is_that_of_every_so_many_th_element(stored: np.ndarray) -> None:
    found = histogram("weight", stored)
    seen = np.arange(0, COUNT, found.step)
    assert found.step > 1
    assert (found.low, found.high, sum(found.counts)) == (0, np.float32(seen[-1]), len(seen))
    assert found.mean == pytest.approx(seen.mean())
