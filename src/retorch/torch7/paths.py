"""Where something stands inside a file: ``protos.rnn``, ``modules[3].weight``, counted from 1 as Lua counts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_NAME = re.compile(r"[^\W\d]\w*")


def step(key: Any) -> str:
    """One key as it stands in a path: ``.name``, ``[3]``, ``["any text"]``."""
    match key:
        case bool():
            return f"[{str(key).lower()}]"
        case int() | float():
            return f"[{key}]"
        case str() if _NAME.fullmatch(key):
            return f".{key}"
        case str() | bytes():
            text = key if isinstance(key, str) else key.decode("latin-1")
            shown = text if len(text) <= 60 else text[:57] + "..."
            return '["' + shown.encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"]'
        case _:
            return f"[{type(key).__name__}]"


def join(keys: Iterable[Any]) -> str:
    """The path of ``keys``, outermost first; empty for the root."""
    return "".join(map(step, keys)).removeprefix(".")
