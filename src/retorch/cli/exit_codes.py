"""How a command ends: exit codes, and errors as a person should see them."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from retorch.cli.fetched import as_typed
from retorch.errors import RetorchError, UsageError
from retorch.files import json_text
from retorch.files.visible import visible
from retorch.limits import memory, size

DONE = 0
DIFFERS = 1
UNUSABLE = 2
UNREADABLE = 3
#: What a shell says of a program that Ctrl-C ended.
INTERRUPTED = 130


@contextmanager
def about(subject: object) -> Generator[None]:
    """What goes wrong inside is about this file."""
    try:
        yield
    except (RetorchError, OSError) as error:
        if not hasattr(error, "subject"):
            error.subject = str(subject)  # type: ignore[union-attr]
        raise


def explain(error: Exception, *, debug: bool, as_json: bool = False) -> int:
    """Print an error as ``error:`` and ``hint:``, and as JSON where that is asked for; returns the exit code.

    Raises:
        Exception: with ``debug`` everything.
    """
    if debug:
        raise error
    subject = getattr(error, "subject", None)
    message, hint = _worded(error)
    # what was looked at inside a folder names itself, with the folder
    named = subject is None or message.startswith(subject)
    whole = as_typed(message if named else f"{subject}: {message}")
    code = UNUSABLE if isinstance(error, UsageError) else UNREADABLE
    print(_coloured("error:", 31), visible(whole), file=sys.stderr)
    if hint:
        print(_coloured("hint:", 36), visible(hint), file=sys.stderr)
    if as_json:
        print(json_text.dumps({"error": whole, "hint": hint, "exit_code": code}, indent=2))
    return code


def _coloured(word: str, colour: int) -> str:
    """The word in colour where a person reads it."""
    plain = not sys.stderr.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return word if plain else f"\x1b[1;{colour}m{word}\x1b[0m"


def worded_by_parser(error: Exception) -> Exception:
    """What the parser of arguments says, in the form of ours; other errors as they are."""
    said: Any = getattr(error, "format_message", None)
    if said is None:
        return error
    message = str(said())
    command = getattr(getattr(error, "ctx", None), "command_path", "retorch")
    return UsageError(message[:1].lower() + message[1:].rstrip("."), hint=f"{command} --help")


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
