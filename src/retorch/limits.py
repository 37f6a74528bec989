"""What retorch allows itself: memory, and steps.

A file of a few kilobytes can ask for more than any machine has: a tensor whose elements are all the same one, a window
of a billion, a module that stands in itself twice, and that forty times over. What a file asks for is compared with
these limits before it is made.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterable

from retorch.errors import ConversionError, UsageError

#: Layers that one pass through a network may run.
STEPS = 1_000_000
#: Bytes that a weight may seem to have whose elements stand in the file once.
REPEATED = 1 << 30
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_allowed: list[int] = []


def memory() -> int:
    """The bytes that may be in use: those that :func:`limit_memory` gave, else half of what the machine has."""
    if not _allowed:
        _allowed.append(_half_the_machine())
    return _allowed[0]


def _half_the_machine() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):  # Windows says it in another way
        return 4 << 30


def limit_memory(count: int) -> None:
    """Allow so many bytes, in this process. Linux then keeps to it, whoever asks for memory."""
    _allowed[:] = [count]
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def bytes_of(text: str) -> int:
    """``500M``, ``4G`` or ``4GB`` as bytes.

    Raises:
        UsageError: anything else, or less than retorch itself needs.
    """
    found = re.fullmatch(r"(\d{1,15})\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    count = int(found[1]) * _UNITS[found[2]] if found else 0
    if count < 256 << 20:
        raise UsageError(f"--max-memory {text}: at least 256M", hint="for example --max-memory 4G")
    return count


def needed(shape: Iterable[int], itemsize: float = 4) -> float:
    """The bytes of an array."""
    return math.prod(shape) * itemsize


def size(count: float) -> str:
    """Bytes for people: ``11.2 GB``."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def too_large(count: float) -> str | None:
    """Why so many bytes are not made; None where they may be."""
    if count <= memory():
        return None
    shown = size(count) if count < 10**18 else "more than any machine has"
    return f"would need {shown} of memory, and {size(memory())} are allowed (--max-memory)"


def check_steps(count: int, what: str) -> None:
    """Refuse what would run more layers than are allowed.

    Raises:
        ConversionError: it would.
    """
    if count > STEPS:
        shown = f"{count:,}" if count < 10**18 else "more than 10^18"
        raise ConversionError(f"{what} would run {shown} layers, and {STEPS:,} are allowed")
