"""Everything that retorch raises on purpose.

    RetorchError
    ├── FormatError        a file is not what it should be: truncated, hostile, of another kind
    │   └── MissingFileError   it is not there
    ├── UsageError         an argument that cannot be used: a path that names nothing, an input of the wrong shape
    ├── ConversionError    a network that cannot be said in the target
    │   └── UnsupportedError   layers that retorch does not know or cannot follow, all of them at once
    └── EngineError        an engine (onnxruntime, the real Caffe2) failed on a network

    Refusal                a rule's bare fact, which the walk turns into an UnsupportedError with the layer's path
    MissingFieldError      the same of a stored module's field

Each carries a ``hint`` where there is something that the user can do. Format errors carry the byte offset, model errors
the Torch path (``modules[3].modules[1]``, counted from 1 as Lua counts).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def counted(count: int, what: str) -> str:
    """``1 layer``, ``2 layers``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


class RetorchError(Exception):
    """The root: ``str(error)`` is one line for a person, ``error.hint`` what to do about it."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class FormatError(RetorchError):
    """A file that cannot be read.

    ``offset`` is the byte at which it went wrong, ``path`` what was being read there (``modules[3].weight``),
    ``detail`` the message without either.
    """

    def __init__(
        self, message: str, *, offset: int | None = None, path: str | None = None, hint: str | None = None
    ) -> None:
        where = "" if offset is None else f" at byte {offset}"
        inside = "" if path is None else f", in {path}"
        super().__init__(message + where + inside, hint=hint)
        self.detail = message
        self.offset = offset
        self.path = path


class MissingFileError(FormatError):
    """A file or folder that is not there."""

    def __init__(self, path: object, *, hint: str | None = None) -> None:
        super().__init__(f"{path}: no such file or folder", hint=hint)


class UsageError(RetorchError):
    """An argument that cannot be used."""


class ConversionError(RetorchError):
    """A network that the target cannot express."""


class EngineError(RetorchError):
    """An engine that refused or crashed on a network."""


class Refusal(Exception):  # noqa: N818 - a rule's bare fact, not yet an error with a place
    """A rule cannot say this layer; the walk adds where it stands."""

    def __init__(self, reason: str, *, hint: str | None = None) -> None:
        super().__init__(reason)
        self.hint = hint


class MissingFieldError(Exception):
    """A field that the layer cannot do without is not in the file."""


#: What NumPy and Python say of fields, sizes and indices that do not fit each other.
MAKES_NO_SENSE = (
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
)


def said(error: Exception) -> str:
    """Such an error in a line: in its own words, with its kind where they alone say too little."""
    text = str(error).partition("\n")[0]
    return text if isinstance(error, (ValueError, IndexError)) and text else f"{type(error).__name__}: {text}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One layer that cannot be converted: where it is, what it is, why not."""

    path: str
    typename: str
    reason: str
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.path or '(root)'} {self.typename}: {self.reason}"


class UnsupportedError(ConversionError):
    """Layers that cannot be converted, or run (``what``): ``problems`` lists every one of them."""

    def __init__(self, problems: Sequence[Problem], *, what: str = "converted", hint: str | None = None) -> None:
        head = f"{counted(len(problems), 'layer')} cannot be {what}"
        hints = dict.fromkeys(problem.hint for problem in problems if problem.hint)
        super().__init__("\n  ".join([head, *map(str, problems)]), hint=hint or "; ".join(hints) or None)
        self.problems = tuple(problems)
