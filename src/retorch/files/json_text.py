"""JSON that every program reads: Python's own has NaN and Infinity, which JSON does not."""

from __future__ import annotations

import json
import math
from typing import Any, cast


def dumps(value: Any, *, indent: int | None = 1) -> str:
    """The text of ``value``, with ``null`` for numbers that JSON does not have; paths and the like as text."""
    return json.dumps(finite(value), indent=indent, ensure_ascii=False, default=str, allow_nan=False)


def finite(value: Any) -> Any:
    """The value with None for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in cast("list[Any]", value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value
