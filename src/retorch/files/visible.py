"""Text from files as it may be shown: what would steer a terminal, or turn the reading order round, as an escape."""

from __future__ import annotations

import re

#: Control characters but tab and newline; C1; marks, overrides and isolates of direction; line separators; surrogates.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with ``\\x1b`` for an escape, ``\\u202e`` for an override, and so on."""
    return _STEERING.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def json_escaped(text: str) -> str:
    """A JSON text with the same characters as JSON says them; they stand inside of its strings only."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
