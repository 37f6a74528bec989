"""Numbers in decimal, as ASCII files hold them."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np

from retorch.errors import FormatError
from retorch.torch7.objects import Array

_TOKEN = re.compile(rb"\s*+(\S{1,64})(?:(?=\s)|\Z)")
# What the C libraries of Windows and glibc write for what has no digits.
_SPECIAL = {
    b"nan": "nan", b"-nan": "-nan", b"nan(ind)": "nan", b"-nan(ind)": "-nan", b"1.#qnan": "nan", b"-1.#qnan": "-nan",
    b"1.#snan": "nan", b"-1.#snan": "-nan", b"1.#ind": "nan", b"-1.#ind": "-nan", b"1.#inf": "inf", b"-1.#inf": "-inf",
    b"inf": "inf", b"-inf": "-inf", b"infinity": "inf", b"-infinity": "-inf",
}  # fmt: skip


def parse_numbers(buffer: Any, start: int, dtype: np.dtype[Any], count: int, base: int = 0) -> tuple[Array, int]:
    """``count`` numbers of ``buffer`` from ``start``, and where they end (a newline after them belongs to them).

    ``base`` is added to the offsets of errors. Raises FormatError where something is not a number or does not fit.
    """
    if not count:
        return np.empty(0, dtype), start
    stop = buffer.find(b"\n", start)
    stop = len(buffer) if stop < 0 else stop
    line = buffer[start:stop]
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            values = np.fromstring(line, dtype, sep=" ")
        except (DeprecationWarning, ValueError):
            values = None
    if values is not None and len(values) == count:
        return values, min(stop + 1, len(buffer))
    return _parse_each(buffer, start, dtype, count, base)


def _parse_each(buffer: Any, start: int, dtype: np.dtype[Any], count: int, base: int) -> tuple[Array, int]:
    values = np.empty(count, dtype)
    pos = start
    for index in range(count):
        match = _TOKEN.match(buffer, pos)
        if match is None:
            raise FormatError(f"the file is cut off: expected {count} numbers, found {index}", offset=base + pos)
        try:
            values[index] = _one(match[1], dtype)
        except (ValueError, OverflowError):
            found = match[1].decode("ascii", "backslashreplace")
            raise FormatError(f"expected a number, found {found!r}", offset=base + match.start(1)) from None
        pos = match.end()
    return values, pos + (buffer[pos : pos + 1] == b"\n")


def _one(token: bytes, dtype: np.dtype[Any]) -> float:
    if b"_" in token:
        raise ValueError
    if dtype.kind == "i":
        return int(token)
    return float(_SPECIAL.get(token.lower(), token))
