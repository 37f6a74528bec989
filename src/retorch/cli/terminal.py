"""Where text goes: a rich console that is plain when piped, and helpers for tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import retorch
from retorch.files import json_text
from retorch.files.visible import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


#: Columns where nobody watches: nothing is broken there.
_WIDTH = 10_000


_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


@contextmanager
def reporting(*, quiet: bool, verbose: bool) -> Generator[None]:
    """How much is said inside: ``quiet`` nothing but errors, ``verbose`` also by what it was done and in what time."""
    before, began = _quiet.set(quiet), time.monotonic()
    if verbose:
        import platform
        from importlib.metadata import version  # reads how packages are installed: costs more than the help itself

        named = ", ".join(f"{name} {version(name)}" for name in ("numpy", "onnx", "onnxruntime"))
        print(f"retorch {retorch.__version__} (Python {platform.python_version()}, {named})", file=sys.stderr)
    try:
        yield
    finally:
        _quiet.reset(before)
        if verbose:
            print(f"took {time.monotonic() - began:.2f} s", file=sys.stderr)


def console(*, error: bool = False) -> Console:
    """The terminal; rich honours NO_COLOR and falls back to plain text when piped.

    No control character of a file's gets there, wherever its text stands.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class EscapingConsole(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else visible(text), style, control)

    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() else _WIDTH
    return EscapingConsole(stderr=error, highlight=False, emoji=False, width=width, quiet=_quiet.get())


def plain(text: str) -> str:
    """Text from a file: its brackets as they are, which rich would take for colours, and nothing that steers."""
    from rich.markup import escape

    return escape(visible(text))


def print_json(value: Any) -> None:
    """Machine-readable output."""
    print(json_text.dumps(value, indent=2))


def table(*columns: str, title: str | None = None) -> Table:
    """A table with headings; columns whose heading starts with ``>`` hold numbers."""
    from rich.table import Table

    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = column.startswith(">")
        made.add_column(column.removeprefix(">"), justify="right" if right else "left", no_wrap=right)
    return made


def print_table(screen: Console, rows: Table, *, spare: Sequence[str] = ()) -> None:
    """Print a table with every word in it whole.

    Where it is wider than the terminal, the ``spare`` columns are left out, from the first on, until it fits. What is
    then still too wide is broken by the terminal.
    """
    left_out: list[str] = []
    before = screen.width
    for name in spare:
        if _width(screen, rows) <= before:
            break
        rows = _without(rows, name)
        left_out.append(name)
    # a width that is only asked of print() would be cut to that of the terminal
    screen.width = max(before, _width(screen, rows))
    screen.print(rows)
    screen.width = before
    if left_out:
        screen.print(f"[dim]left out: {', '.join(left_out)} (a wider terminal, or --json)[/dim]")


def _width(screen: Console, rows: Table) -> int:
    return screen.measure(rows, options=screen.options.update(width=_WIDTH)).maximum


def _without(rows: Table, name: str) -> Table:
    """The table without a column."""
    kept = [column for column in rows.columns if column.header != name]
    made = table(title=str(rows.title) if rows.title else None)
    for column in kept:
        made.add_column(column.header, justify=column.justify, no_wrap=column.no_wrap)
    for cells in zip(*(list(column.cells) for column in kept), strict=True):
        made.add_row(*cells)
    return made


def size(count: float) -> str:
    """Bytes for people: ``553.4 MB``."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"
