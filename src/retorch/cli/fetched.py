"""What was fetched lies in a folder of its own for a while; a person is told what he typed."""

from __future__ import annotations

from pathlib import Path

_typed: dict[str, str] = {}


def fetched(file: Path, text: str) -> None:
    """A file holds what ``text`` named."""
    _typed[str(file)] = text


def as_typed(text: str) -> str:
    """A text with the names of such files as they were typed."""
    for file, typed in _typed.items():
        text = text.replace(file, typed)
    return text
