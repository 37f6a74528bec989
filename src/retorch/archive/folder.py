"""The output folder of a batch: what is where in it, and who may write to it.

::

    OUT/index.parquet/part-….parquet   the rows
    OUT/0123456789abcdef/              one content, by the first digits of its SHA-256: row.json and what was written
    OUT/index.html  OUT/refused.md     pages made from the rows
    OUT/.batch/                        the lock, what was asked for, and what is under way

A folder of a content appears whole, by one rename, with its row in it: whoever dies before has done nothing, and
whatever dies after, the row is there. The table is filled from these rows.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from retorch.archive.row import Row
from retorch.errors import UsageError
from retorch.files import json_text
from retorch.files.atomic import replacing

_ROW: Final = "row.json"
#: Hexadecimal digits of the SHA-256 that name a folder.
_DIGITS: Final = 16
#: How often a content may take its worker with it.
MOST_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class OutputFolder:
    """Paths below the output folder, and what is done there by several machines at a time."""

    path: Path

    @property
    def index(self) -> Path:
        """The table: a folder of Parquet files."""
        return self.path / "index.parquet"

    @property
    def _inside(self) -> Path:
        return self.path / ".batch"

    @property
    def incoming(self) -> Path:
        """For files that were fetched, or taken out of archives."""
        return self._inside / "incoming"

    def contents(self, sha256: str) -> Path:
        """The folder of a content."""
        return self.path / sha256[:_DIGITS]

    def row(self, sha256: str) -> Row | None:
        """The row of a content that is done."""
        try:
            stored = json.loads((self.contents(sha256) / _ROW).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return Row.from_dict(stored)

    def staging(self, sha256: str, task: str) -> Path:
        """A new empty folder for a content, in which a task works."""
        made = self._inside / "work" / f"{sha256[:_DIGITS]}-{task}"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        return made

    def commit(self, staging: Path, row: Row) -> Row:
        """Put a staging folder in place with its row; the row that counts: another task may have put its own there."""
        (staging / _ROW).write_text(json_text.dumps(row.as_dict()), encoding="utf-8")
        try:
            staging.rename(self.contents(row.sha256))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            shutil.rmtree(staging)
        return (self.row(row.sha256) or row).for_file(row.path)

    def claim(self, sha256: str, run: str, task: str, name: str) -> int:
        """Say that a task does a content: how often it has begun that; 0 where another task of this run does it."""
        path = self._inside / "claims" / sha256
        mine = {"run": run, "task": task, "attempts": 1, "path": name}
        try:
            with path.open("x", encoding="utf-8") as file:
                json.dump(mine, file)
        except FileExistsError:
            other = _read_claim(path)
            if other["run"] == run:
                if other["task"] != task:
                    return 0
                mine["attempts"] = other["attempts"] + 1
            with replacing(path) as part:
                part.write_text(json.dumps(mine), encoding="utf-8")
        return int(mine["attempts"])

    def release(self, sha256: str) -> None:
        """Let another task do a content."""
        (self._inside / "claims" / sha256).unlink(missing_ok=True)

    def under_way(self) -> list[tuple[str, float]]:
        """What is being done: the file and for how many seconds, the longest first."""
        found: list[tuple[str, float]] = []
        try:
            begun = list((self._inside / "work").iterdir())
        except FileNotFoundError:  # the batch is over
            return []
        for staging in begun:
            claims = list((self._inside / "claims").glob(f"{staging.name[:_DIGITS]}*"))
            with contextlib.suppress(OSError):  # it is done by now
                age = time.time() - staging.stat().st_mtime
                found += [(str(_read_claim(path).get("path", "")), age) for path in claims]
        return sorted(found, key=lambda item: -item[1])

    def begin(self, asked: str, *, resume: bool) -> None:
        """Make the folder, or go on in it.

        Args:
            asked: the options, as text.
            resume: whether it may hold rows already.

        Raises:
            UsageError: it holds a batch, or one that was asked something else.
        """
        options = self._inside / "options.json"
        if options.exists():
            if not resume:
                raise UsageError(f"{self.path}: holds a batch already", hint="--resume goes on with it")
            if options.read_text(encoding="utf-8") != asked:
                raise UsageError(
                    f"{self.path}: was begun with other options than these",
                    hint="name the same --to, --reports, --input-map, --plugin and so on, or another folder",
                )
        for name in ("work", "incoming", "claims"):
            shutil.rmtree(self._inside / name, ignore_errors=True)
            (self._inside / name).mkdir(parents=True)
        with replacing(options) as part:
            part.write_text(asked, encoding="utf-8")

    def end(self) -> None:
        """Remove what is needed only while a batch is under way."""
        for name in ("work", "incoming", "claims"):
            shutil.rmtree(self._inside / name, ignore_errors=True)

    @contextmanager
    def locked(self) -> Generator[None]:
        """Nobody else may write here meanwhile.

        Raises:
            UsageError: another batch does, or the folder cannot be made.
        """
        import fcntl

        try:
            self._inside.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._inside / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise UsageError(
                f"{self.path}: another batch writes here", hint="wait for it, or name another folder"
            ) from None
        try:
            yield
        finally:
            os.close(descriptor)


def _read_claim(path: Path) -> dict[str, Any]:
    """Whoever died while writing it has claimed nothing."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {"run": "", "task": "", "attempts": 0}
