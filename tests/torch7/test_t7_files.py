"""Where a file may come from."""

from __future__ import annotations

import gc
import gzip
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import spelled as t7

from retorch.errors import FormatError, UsageError
from retorch.torch7 import files, open_file, read

RAW = t7.tensor(1, "torch.FloatTensor", [2], [1], 1, t7.storage(2, "torch.FloatStorage", "f", 1, 2))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.t7"
    path.write_bytes(RAW)
    return path


def test_a_large_file_is_mapped_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_SMALL", 0)
    value = read(path)
    assert value.tolist() == [1, 2]
    with path.open("r+b") as file:
        file.seek(len(RAW) - 4)
        file.write(np.float32(5).tobytes())
    assert value.tolist() == [1, 5]


def test_a_small_file_is_read_and_may_be_cut_short(path: Path) -> None:
    value = read(path)
    path.write_bytes(b"")
    assert value.tolist() == [1, 2]


def test_a_path_as_text(path: Path) -> None:
    document = open_file(str(path))
    assert document.root.tolist() == [1, 2]
    assert document.name == str(path)
    assert document.size == len(RAW)


def test_an_open_file(path: Path) -> None:
    with path.open("rb") as file:
        value = read(file)
    assert value.tolist() == [1, 2]


def test_an_open_file_from_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "two.t7"
    path.write_bytes(b"header" + RAW)
    with path.open("rb") as file:
        file.seek(6)
        assert read(file).tolist() == [1, 2]


def test_a_file_in_memory() -> None:
    assert read(io.BytesIO(RAW)).tolist() == [1, 2]


def test_an_empty_open_file(tmp_path: Path) -> None:
    (tmp_path / "empty.t7").touch()
    with (tmp_path / "empty.t7").open("rb") as file, pytest.raises(FormatError, match="empty"):
        read(file)


def test_a_file_open_as_text(path: Path) -> None:
    with path.open() as file, pytest.raises(UsageError, match="open as text") as caught:
        read(file)  # pyright: ignore[reportArgumentType]
    assert caught.value.hint == 'open it with mode "rb"'


def test_gzip_is_known_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "model.t7"
    path.write_bytes(gzip.compress(RAW))
    document = open_file(path)
    assert document.root.tolist() == [1, 2]
    assert document.size == len(RAW)


def test_a_url_without_fsspec_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UsageError) as caught:
        read("s3://bucket/model.t7")
    assert caught.value.hint == "pip install 'retorch[remote]'"


def test_a_url_with_fsspec() -> None:
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").pipe_file("/model.t7", RAW)
    assert read("memory://model.t7").tolist() == [1, 2]
    with pytest.raises(FormatError, match="no such file or folder"):
        read("memory://missing.t7")


def test_the_garbage_collector_runs_on_afterwards() -> None:
    assert gc.isenabled()
    read(RAW)
    assert gc.isenabled()
    with pytest.raises(FormatError):
        read(RAW[:-1])
    assert gc.isenabled()
