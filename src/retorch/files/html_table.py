"""Networks as small HTML tables, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

#: A notebook shows a table of this many rows whole; of a longer one the first and the last.
ROWS = 60


def html_table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; heads that start with ``>`` stand over numbers. All content is text, not markup."""
    lines = [tuple(map(str, row)) for row in rows]
    left_out = len(lines) - ROWS
    if left_out > 0:
        half = ROWS // 2
        lines[half:-half] = [(f"… {left_out} more", *[""] * (len(heads) - 1))]
    head = "".join(_cell("th", head, text) for head, text in zip(heads, heads, strict=True))
    body = "".join(
        "<tr>" + "".join(_cell("td", head, text) for head, text in zip(heads, line, strict=True)) + "</tr>"
        for line in lines
    )
    return (
        f'<table><caption style="text-align:left">{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _cell(tag: str, head: str, text: str) -> str:
    side = "right" if head.startswith(">") else "left"
    return f'<{tag} style="text-align:{side}">{escape(text.removeprefix(">") if tag == "th" else text)}</{tag}>'
