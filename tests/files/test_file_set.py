"""Files that take each other's place as a set."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from retorch.files import file_set

NAMES = ("a", "b", "c")


def fill(folder: Path, **contents: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_text(content)
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {entry.name: entry.read_text() for entry in sorted(folder.iterdir())}


@pytest.fixture(params=["exchange", "one by one"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either way in which a folder that exists can get its files."""
    if request.param == "one by one":
        monkeypatch.setattr(file_set, "_exchange", lambda one, other: False)
    return request.param


def test_set_takes_the_place_of_the_set_and_of_nothing_else(way: str, tmp_path: Path) -> None:
    out = fill(tmp_path / "out", a="old", b="old", other="kept")
    with file_set.replacing(out, NAMES, last=("a",)) as staging:
        fill(staging, a="new", c="new")
        assert contents(out) == {"a": "old", "b": "old", "other": "kept"}
    assert contents(out) == {"a": "new", "c": "new", "other": "kept"}
    assert list(tmp_path.iterdir()) == [out]


def test_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    with file_set.replacing(tmp_path / "x" / "y" / "out", NAMES) as staging:
        fill(staging, a="new")
    assert contents(tmp_path / "x" / "y" / "out") == {"a": "new"}
    ordinary = tmp_path / "ordinary"
    ordinary.mkdir()
    assert (tmp_path / "x" / "y" / "out").stat().st_mode == ordinary.stat().st_mode


def test_a_folder_that_another_writer_makes_meanwhile_is_replaced(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def late(source: Path, target: Path) -> None:
        fill(tmp_path / "out", a="first", b="first")
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    with file_set.replacing(tmp_path / "out", NAMES) as staging:
        fill(staging, a="second")
    assert contents(tmp_path / "out") == {"a": "second"}
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_exception_leaves_everything_as_it_was(way: str, tmp_path: Path) -> None:
    out = fill(tmp_path / "out", a="old")
    with pytest.raises(ZeroDivisionError), file_set.replacing(out, NAMES) as staging:
        fill(staging, a="new")
        raise ZeroDivisionError
    assert contents(out) == {"a": "old"}
    assert list(tmp_path.iterdir()) == [out]


def test_exception_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), file_set.replacing(tmp_path / "out", NAMES):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_file_that_came_meanwhile_stays(way: str, tmp_path: Path) -> None:
    out = fill(tmp_path / "out", a="old")
    with file_set.replacing(out, NAMES) as staging:
        fill(staging, a="new")
        fill(out, late="kept")
    assert contents(out) == {"a": "new", "late": "kept"}


def test_folder_that_came_meanwhile_stays(tmp_path: Path) -> None:
    with file_set.replacing(tmp_path / "out", NAMES) as staging:
        fill(staging, a="new")
        fill(tmp_path / "out", other="kept")
    assert contents(tmp_path / "out") == {"a": "new", "other": "kept"}


def test_other_files_keep_their_inode(way: str, tmp_path: Path) -> None:
    out = fill(tmp_path / "out", other="kept")
    before = (out / "other").stat().st_ino
    with file_set.replacing(out, NAMES) as staging:
        fill(staging, a="new")
    assert (out / "other").stat().st_ino == before
    assert (out / "other").stat().st_nlink == 1


def test_writers_side_by_side_leave_each_other_alone(way: str, tmp_path: Path) -> None:
    out = fill(tmp_path / "out", a="old")
    with file_set.replacing(out, NAMES) as first:
        fill(first, a="first", b="first")
        with file_set.replacing(out, NAMES) as second:
            fill(second, a="second", c="second")
        assert contents(out) == {"a": "second", "c": "second"}
        assert contents(first) == {"a": "first", "b": "first"}
    assert contents(out) == {"a": "first", "b": "first"}
    assert list(tmp_path.iterdir()) == [out]


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    fill(tmp_path / ".retorch-abc", a="half")
    fill(tmp_path / ".retorch.other", a="somebody else's")
    with file_set.replacing(tmp_path / "out", NAMES) as staging:
        fill(staging, a="new")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".retorch.other", "out"]
