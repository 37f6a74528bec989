"""Whether a file is still what it was: large ones are mapped, and read while results are written already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from retorch.errors import FormatError


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A file as it was when it was opened: its place on the disk, size and time of the last change."""

    path: Path
    facts: tuple[int, int, int, int] | None

    @classmethod
    def since_now(cls, path: Path) -> Self:
        """The file as it is at this moment."""
        return cls(path, _facts(path))

    def check(self) -> None:
        """Refuse what was made of a file that something else has written to meanwhile.

        Raises:
            FormatError: it was changed.
        """
        if _facts(self.path) != self.facts:
            raise FormatError(
                f"{self.path}: was changed while it was read", hint="run this again when nothing writes to it"
            )


def _facts(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
