"""What the reader's stack holds: a table, an object or a function whose values are not all read yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: How often looking for a run of alike entries may fail.
PATIENCE = 3


class Frame:
    """Something whose values are being read: ``close`` takes them when there are ``need``."""

    __slots__ = ("close", "items", "name", "need", "pairs", "patience")

    def __init__(
        self,
        need: int,
        close: Callable[[list[Any]], None],
        pairs: bool = False,
        name: str = "",
        items: list[Any] | None = None,
    ) -> None:
        self.items: list[Any] = [] if items is None else items
        self.need = need
        self.close = close
        self.pairs = pairs
        self.name = name
        self.patience = PATIENCE  # how often looking for a run of alike entries may fail

    def key(self, *, inner: bool) -> Any:
        """The key of the value that is being read; ``inner`` where that value has a frame of its own."""
        count = len(self.items)
        if not self.pairs:
            return count + (not inner) if self.name == "tds.Vec" else self.name or None
        if count % 2:
            return "(a key)" if inner else self.items[-1]
        return self.items[-2] if inner else None
