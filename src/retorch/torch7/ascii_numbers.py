"""Numbers in decimal, as ASCII files hold them."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np

from retorch.errors import FormatError
from retorch.torch7.decimal_parser import EXTENDED, parse_decimals
from retorch.torch7.objects import Array

_TOKEN = re.compile(rb"\s*+(\S{1,64})(?=\s)")
_NEWLINE = re.compile(rb"\r?\n")
_SPECIAL_SIGN = re.compile(rb"[nN#]")
_CHUNK = 1 << 18  # characters at a time: the work on them stays in the processor's cache
# What the C libraries of Windows and glibc write for what has no digits.
_SPECIAL = {
    b"nan": "nan", b"-nan": "-nan", b"nan(ind)": "nan", b"-nan(ind)": "-nan", b"1.#qnan": "nan", b"-1.#qnan": "-nan",
    b"1.#snan": "nan", b"-1.#snan": "-nan", b"1.#ind": "nan", b"-1.#ind": "-nan", b"1.#inf": "inf", b"-1.#inf": "-inf",
    b"inf": "inf", b"-inf": "-inf", b"infinity": "inf", b"-infinity": "-inf",
}  # fmt: skip


def parse_number(token: bytes) -> float:
    """The double that ``token`` says; raises ValueError."""
    if b"_" in token:
        raise ValueError(token)
    return float(_SPECIAL.get(token.lower(), token))


def parse_numbers(buffer: Any, start: int, dtype: np.dtype[Any], count: int) -> tuple[Array, int]:
    """``count`` numbers of ``buffer`` from ``start``, and where they end (a newline after them belongs to them).

    Raises FormatError where something is not a number, does not fit, or is not followed by white space.
    """
    if not count:
        return np.empty(0, dtype), start
    stop = buffer.find(b"\n", start)
    if stop >= 0:
        if dtype.kind == "i":
            values = _parse_integers(buffer[start:stop], dtype)
        else:
            values = _parse_floats(buffer, start, stop, dtype, count)
        if values is not None and len(values) == count:
            return values, stop + 1
    return _parse_each(buffer, start, dtype, count)


def _parse_floats(buffer: Any, start: int, stop: int, dtype: np.dtype[Any], count: int) -> Array | None:
    """A line of numbers, some at a time; None where it does not hold ``count`` numbers separated by single spaces."""
    if dtype == np.float64 and not EXTENDED:
        return None
    values, filled = np.empty(count, dtype), 0
    while start < stop:
        cut = buffer.find(b" ", start + _CHUNK, stop)
        cut = stop if cut < 0 else cut
        text = buffer[start:cut]
        part = _parse_text(text, dtype)
        if part is None or filled + len(part) > count:
            return None
        values[filled : filled + len(part)] = part
        filled += len(part)
        start = cut + 1
    return values if filled == count else None


def _parse_text(text: bytes, dtype: np.dtype[Any]) -> Array | None:
    values, good, begins, ends = parse_decimals(text, dtype)
    odd = np.flatnonzero(~good)
    if 4 * len(odd) > len(good) and not _SPECIAL_SIGN.search(text):
        return _parse_plain(text, dtype)
    for index in odd.tolist():
        try:
            values[index] = _parse_one(text[begins[index] : ends[index]], dtype)
        except ValueError:
            return None
    return values


def _parse_plain(text: bytes, dtype: np.dtype[Any]) -> Array | None:
    """NumPy's own way, which drops the sign of a NaN and knows no Windows."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            return np.fromstring(text, dtype, sep=" ")
        except (DeprecationWarning, ValueError):
            return None


def _parse_integers(text: bytes, dtype: np.dtype[Any]) -> Array | None:
    values = _parse_plain(text, np.dtype("i8"))
    if values is None:
        return None
    limits = np.iinfo(dtype)
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    # NumPy turns what is too large for it into the largest there is, so that one has to be looked at again.
    if low < limits.min or high > limits.max or low == np.iinfo("i8").min or high == np.iinfo("i8").max:
        return None
    return values.astype(dtype, copy=False)


def _parse_one(token: bytes, dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "i":
        return int(token) if b"_" not in token else parse_number(token)
    with np.errstate(over="ignore"):
        return np.float64(parse_number(token)).astype(dtype)


def _parse_each(buffer: Any, start: int, dtype: np.dtype[Any], count: int) -> tuple[Array, int]:
    values = np.empty(count, dtype)
    pos = start
    for index in range(count):
        match = _TOKEN.match(buffer, pos)
        if match is None:
            raise FormatError(f"the file is cut off: expected {count} numbers, found {index}", offset=pos)
        try:
            values[index] = _parse_one(match[1], dtype)
        except (ValueError, OverflowError):
            found = match[1].decode("ascii", "backslashreplace")
            raise FormatError(f"expected a number, found {found!r}", offset=match.start(1)) from None
        pos = match.end()
    newline = _NEWLINE.match(buffer, pos)
    return values, newline.end() if newline else pos
