"""How a command ends: exit codes, and errors as a person should see them."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

from retorch.errors import RetorchError, UsageError
from retorch.files.visible import visible
from retorch.limits import memory, size

DONE = 0
DIFFERS = 1
UNUSABLE = 2
UNREADABLE = 3


@contextmanager
def about(subject: object) -> Generator[None]:
    """What goes wrong inside is about this file."""
    try:
        yield
    except (RetorchError, OSError) as error:
        if not hasattr(error, "subject"):
            error.subject = str(subject)  # type: ignore[union-attr]
        raise


def explain(error: Exception, *, debug: bool) -> int:
    """Print an error as ``error:`` and ``hint:``; returns the exit code.

    Raises:
        Exception: with ``debug`` everything.
    """
    if debug:
        raise error
    subject = getattr(error, "subject", None)
    message, hint = _worded(error)
    # what was looked at inside a folder names itself, with the folder
    named = subject is None or message.startswith(subject)
    print(visible(f"error: {message}" if named else f"error: {subject}: {message}"), file=sys.stderr)
    if hint:
        print(visible(f"hint: {hint}"), file=sys.stderr)
    return UNUSABLE if isinstance(error, UsageError) else UNREADABLE


def _worded(error: Exception) -> tuple[str, str | None]:
    """What went wrong, and what can be done about it."""
    if isinstance(error, RetorchError):
        return str(error), error.hint
    if isinstance(error, OSError):
        return _system(error), None
    if isinstance(error, MemoryError):
        return "there is not enough memory for this", f"{size(memory())} are allowed; --max-memory changes that"
    return f"something unforeseen: {type(error).__name__}: {error}", "a fault of retorch itself: --debug shows where"


def _system(error: OSError) -> str:
    what = (error.strerror or str(error)).lower()
    return f"{error.filename}: {what}" if error.filename else what
