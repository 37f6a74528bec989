"""What a file is, found out from its first bytes."""

from __future__ import annotations

import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from retorch.archive.row import Row
from retorch.torch7.sniff import may_be_torch7, recognise

HEAD: Final = 4096
_ARCHIVES: Final = {"a tar archive", "a zip archive"}
_PACKED: Final = {"a bzip2 archive", "an xz archive"}
_ANNEX: Final = "a git-annex pointer"
_ANNEX_PATH: Final = "/annex/objects/"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is: something to convert, something to unpack, or neither.

    Attributes:
        what: in words; empty for what may be a Torch7 file.
        outcome: what becomes of it where nothing is to be done with it.
        hint: what a person can do.
        is_archive: whether there are files in it.
    """

    what: str = ""
    outcome: str = ""
    hint: str = ""
    is_archive: bool = False

    def row(self, path: str, size: int | None) -> Row:
        """The row of such a file."""
        return Row(path=path, outcome=self.outcome, kind=self.what, bytes=size, hint=self.hint)


def classify(path: Path) -> Kind:
    """What is in a file.

    Raises:
        OSError: it cannot be read.
    """
    if path.is_symlink() and not path.exists() and _ANNEX_PATH in path.readlink().as_posix():
        return Kind(_ANNEX, "pointer", "`git annex get` fetches what it stands for")
    if not path.is_file():
        path.stat()
        return Kind("a pipe or a device", "foreign")
    with path.open("rb") as file:
        kind = classify_head(file.read(HEAD))
    if kind.what in _PACKED and tarfile.is_tarfile(path):
        return Kind("a tar archive", is_archive=True)
    return kind


def classify_head(head: bytes) -> Kind:
    """What a file is that begins so."""
    if not head:
        return Kind("an empty file", "foreign")
    if head.startswith(b"\x1f\x8b"):
        return _unpacked(head)
    if head.startswith(_ANNEX_PATH.encode()):
        return Kind(_ANNEX, "pointer", "`git annex get` fetches what it stands for")
    if may_be_torch7(head):
        return Kind()
    what, hint = recognise(head) or ("data of an unknown kind", "")
    if what.startswith("a Git LFS pointer"):
        return Kind("a Git LFS pointer", "pointer", hint)
    if what in _ARCHIVES:
        return Kind(what, is_archive=True)
    return Kind(what, "foreign", hint)


def _unpacked(head: bytes) -> Kind:
    """What is inside a gzip file."""
    try:
        inside = zlib.decompressobj(wbits=31).decompress(head, HEAD)
    except zlib.error:
        return Kind("a damaged gzip archive", "foreign")
    kind = classify_head(inside)
    if kind.outcome == "foreign":
        return Kind(f"{kind.what}, packed by gzip", "foreign", kind.hint)
    return kind if kind.what != "a zip archive" else Kind("a zip archive, packed by gzip", "foreign")
