"""Where text goes: a rich console that is plain when piped, and helpers for tables."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from retorch.files import json_text
from retorch.files.visible import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


#: Columns where nobody says how many there are; a table with less loses its words before its numbers.
_WIDTH = 140


def console(*, error: bool = False) -> Console:
    """The terminal; rich honours NO_COLOR and falls back to plain text when piped.

    No control character of a file's gets there, wherever its text stands.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Careful(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else visible(text), style, control)

    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() else _WIDTH
    return Careful(stderr=error, highlight=False, width=width, soft_wrap=False)


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


def print_table(screen: Console, rows: Table) -> None:
    """Print a table with every word in it: the lines of a narrow terminal wrap."""
    natural = screen.measure(rows, options=screen.options.update(width=_WIDTH)).maximum
    before = screen.width
    # a width that is only asked of print() would be cut to that of the terminal
    screen.width = max(before, natural)
    screen.print(rows)
    screen.width = before


def size(count: float) -> str:
    """Bytes for people: ``553.4 MB``."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"
