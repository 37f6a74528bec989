"""Trees of any depth on the terminal: a line for each twig, with guides in front of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment
    from rich.text import Text

#: Levels that are indented; what is deeper says how deep.
_INDENTED = 20
_WIDEST = 1 << 20
_TWO_WORDS = re.compile(r"^\S+\s+\S+")


class Tree:
    """A label, in rich's markup, and what hangs below it."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.twigs: list[Tree] = []

    def add(self, label: str) -> Tree:
        """A new twig, the last one."""
        self.twigs.append(Tree(label))
        return self.twigs[-1]

    def lines(self) -> Iterator[tuple[str, str]]:
        """The guides and the label of each line."""
        stack: list[tuple[Tree, str, str, int]] = [(self, "", "", 0)]
        while stack:
            tree, guides, below, level = stack.pop()
            yield guides, f"[dim](level {level})[/dim] {tree.label}" if level > _INDENTED else tree.label
            stack.extend(reversed(list(_below(tree.twigs, below, level + 1))))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Segment]:
        from rich.text import Text

        wide = options.update(width=_WIDEST, no_wrap=True, overflow="ignore")  # the terminal breaks lines, we do not
        for guides, label in self.lines():
            text = Text.from_markup(label, emoji=False)
            yield from console.render(Text.assemble(guides, _fitted(text, console.width - len(guides))), wide)


def _fitted(text: Text, width: int) -> Text:
    """As many of a label's words as there is room for, but at least what it is called and what it is."""
    if text.cell_len <= width:
        return text
    least = next((found.end() for found in _TWO_WORDS.finditer(text.plain)), len(text.plain))
    kept = text[: max(least, text.plain.rfind(" ", 0, max(width - 1, 0)))]
    kept.rstrip()
    return kept.append(" …", "dim") if len(kept) < len(text) else text


def _below(twigs: list[Tree], guides: str, level: int) -> Iterator[tuple[Tree, str, str, int]]:
    for i, twig in enumerate(twigs, 1):
        last = i == len(twigs)
        if level > _INDENTED:
            yield twig, guides, guides, level
        else:
            yield twig, f"{guides}{'└── ' if last else '├── '}", f"{guides}{'    ' if last else '│   '}", level
