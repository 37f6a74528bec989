"""How a command ends: exit codes, and errors as a person should see them."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

from retorch.errors import RetorchError, UsageError

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
    """Print an error of ours as ``error:`` and ``hint:``; returns the exit code.

    Raises:
        Exception: what is not ours, which is a bug and deserves its traceback; with ``debug`` everything.
    """
    if debug or not isinstance(error, (RetorchError, OSError)):
        raise error
    subject = getattr(error, "subject", None)
    message = _system(error) if isinstance(error, OSError) else str(error)
    # what was looked at inside a folder names itself, with the folder
    named = subject is None or message.startswith(subject)
    print(f"error: {message}" if named else f"error: {subject}: {message}", file=sys.stderr)
    hint = getattr(error, "hint", None)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    return UNUSABLE if isinstance(error, UsageError) else UNREADABLE


def _system(error: OSError) -> str:
    what = (error.strerror or str(error)).lower()
    return f"{error.filename}: {what}" if error.filename else what
