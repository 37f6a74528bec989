"""A file appears whole or not at all, and what is no file stays what it is."""

from __future__ import annotations

import os
import socket
import stat
import sys
import threading
from pathlib import Path

import pytest

from retorch.errors import UsageError
from retorch.files import atomic

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes, links and modes are those of Unix")


def write(target: Path, text: str = "new") -> None:
    with atomic.replacing(target) as part:
        part.write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    write(tmp_path / "x" / "ours")
    (tmp_path / "any").write_text("")
    assert (tmp_path / "x" / "ours").stat().st_mode == (tmp_path / "any").stat().st_mode
    assert names(tmp_path) == ["any", "x"]


def test_a_replaced_file_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    (tmp_path / "f").chmod(0o640)
    write(tmp_path / "f")
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640
    assert (tmp_path / "f").read_text() == "new"


def test_links_are_followed_to_their_file(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "f").write_text("old")
    (tmp_path / "one").symlink_to("elsewhere/f")
    (tmp_path / "two").symlink_to("one")
    write(tmp_path / "two")
    assert (tmp_path / "two").is_symlink()
    assert (tmp_path / "elsewhere" / "f").read_text() == "new"


def test_a_link_to_nothing_yet_makes_its_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("later")
    write(tmp_path / "link")
    assert (tmp_path / "later").read_text() == "new"
    assert (tmp_path / "link").is_symlink()


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text()))
    reader.start()
    while True:
        try:
            write(pipe, "new" * 100_000)
            break
        except UsageError as error:  # the reader has not opened it yet
            assert "nobody reads from this pipe" in str(error)
    reader.join()
    assert heard == ["new" * 100_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_terminal_is_written_into() -> None:
    import pty

    ours, theirs = pty.openpty()
    name = os.ttyname(theirs)
    write(Path(name))
    assert os.read(ours, 3) == b"new"
    assert stat.S_ISCHR(Path(name).stat().st_mode)
    os.close(ours)
    os.close(theirs)


def test_a_pipe_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="nobody reads from this pipe"):
        write(tmp_path / "pipe")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_folders_and_sockets_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="it is a folder"):
        write(tmp_path / "folder")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket"))
        with pytest.raises(UsageError, match="socket"):
            write(tmp_path / "socket")


def test_a_circle_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(UsageError, match="cannot be written"):
        write(tmp_path / "a")


def test_a_name_of_255_bytes_can_be_written(tmp_path: Path) -> None:
    write(tmp_path / ("n" * 255))
    assert names(tmp_path) == ["n" * 255]


def test_a_planted_link_of_the_hidden_kind_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "f").write_text("kept")
    (tmp_path / f"{atomic.PREFIX}x").symlink_to("precious")
    write(tmp_path / "f")
    assert (tmp_path / "precious" / "f").read_text() == "kept"


def test_hidden_folders_are_nobody_elses(tmp_path: Path) -> None:
    with atomic.replacing(tmp_path / "f") as part:
        part.write_text("new")
        assert stat.S_IMODE(part.parent.stat().st_mode) == 0o700
        assert atomic.destination(part) == tmp_path / "f"


def test_inside_a_hidden_folder_a_file_is_written_at_once_with_the_mode_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "any").write_text("")
    with atomic.staging(tmp_path) as hidden:
        with atomic.replacing(hidden / "x" / "f") as part:
            part.write_text("new")
            part.chmod(0o600)  # as libraries make files for their owner alone
            assert names(hidden / "x") == ["f"]
        assert (hidden / "x" / "f").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_threads_that_write_one_file_leave_one_of_theirs_whole_and_its_mode_right(tmp_path: Path) -> None:
    target = tmp_path / "f"
    texts = [str(number) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=write, args=(target, text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_text() in texts
    assert names(tmp_path) == ["f"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask
