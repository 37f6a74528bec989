"""JSON that every program reads: Python's own has NaN and Infinity, which JSON does not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, cast

from retorch.files.visible import json_escaped


def dumps(value: Any, *, indent: int | None = 1) -> str:
    """The text of ``value``, with ``null`` for numbers that JSON does not have; paths and the like as text.

    Control characters and the like are escaped, so that it can be shown on a terminal.
    """
    text = json.dumps(finite(value), indent=indent, ensure_ascii=False, default=_plain, allow_nan=False)
    return json_escaped(text)


def finite(value: Any) -> Any:
    """The value with None for numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {_key(key): finite(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in cast("list[Any]", value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _key(key: Any) -> str:
    return key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else str(key)


def _plain(value: Any) -> Any:
    """What JSON has no form for: bytes as text, NumPy's numbers and arrays as numbers and lists."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if hasattr(value, "tolist"):
        return finite(value.tolist())
    return str(value)
