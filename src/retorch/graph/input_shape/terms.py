"""Shapes that are not known yet: sizes and tensors that layers say something about, and what follows from it.

A :class:`Size` is a number, or between two numbers; a :class:`Term` is what Torch passes between modules: a tensor of
such sizes, a table of terms, or nothing known yet. Two of a kind can be made one (``same``), and then what is known of
either is known of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

LARGEST = 1 << 20


class Conflict(Exception):  # noqa: N818 - a finding, not an error
    """Two facts that cannot both hold."""


class Size:
    """One dimension. ``why`` names the layer, or whatever else, that said so."""

    __slots__ = ("_high", "_link", "_low", "_why")

    def __init__(self, value: int | None = None, why: str = "") -> None:
        self._link: Size | None = None
        self._low = 1 if value is None else value
        self._high = LARGEST if value is None else value
        self._why = why

    def end(self) -> Size:
        """The one that stands for all that were made one with this."""
        at = self
        while at._link is not None:
            at = at._link
        return at

    @property
    def value(self) -> int | None:
        """The number, where it is known."""
        at = self.end()
        return at._low if at._low == at._high else None

    @property
    def low(self) -> int:
        """The smallest it can be."""
        return self.end()._low

    @property
    def high(self) -> int:
        """The largest it can be."""
        return self.end()._high

    @property
    def why(self) -> str:
        """Who said what is known."""
        return self.end()._why


@dataclass(slots=True)
class Table:
    """The entries of a table; where it is ``open``, there may be more. ``each`` stands for all that are not listed."""

    items: list[Term] = field(default_factory=lambda: list[Term]())
    open: bool = True
    each: Term | None = None
    count: Size = field(default_factory=Size)


class Term:
    """A tensor, a table, or not known yet. ``limit`` is the largest index where a layer uses it as indices."""

    __slots__ = ("_limit", "_link", "_sizes", "_table")

    def __init__(self, sizes: Sequence[Size] | None = None, items: Sequence[Term] | None = None) -> None:
        self._link: Term | None = None
        self._sizes = None if sizes is None else list(sizes)
        self._table = None if items is None else Table(list(items), open=False)
        self._limit: int | None = None

    def end(self) -> Term:
        """The one that stands for all that were made one with this."""
        at = self
        while at._link is not None:
            at = at._link
        return at

    @property
    def sizes(self) -> list[Size] | None:
        """The dimensions, where it is a tensor and their number is known."""
        return self.end()._sizes

    @property
    def rank(self) -> int | None:
        """How many dimensions, where that is known."""
        return None if self.sizes is None else len(self.sizes)

    @property
    def table(self) -> Table | None:
        """The entries, where it is a table."""
        return self.end()._table

    @property
    def limit(self) -> int | None:
        """The largest index, for a tensor of indices."""
        return self.end()._limit

    @property
    def is_open(self) -> bool:
        """Whether neither tensor nor table is known."""
        return self.sizes is None and self.table is None


class Facts:
    """What can be said of sizes and terms; ``changes`` counts what was news."""

    def __init__(self) -> None:
        self.changes = 0
        #: what costs time and was said of sizes as they were
        self.said: set[tuple[int, ...]] = set()
        #: sizes that layers take for the number of samples
        self.samples: list[Size] = []

    # -- sizes
    def equal(self, a: Size, b: Size) -> None:
        """One size."""
        first, second = a.end(), b.end()
        if first is second:
            return
        self._between(first, second.low, second.high, second.why)
        second._link = first  # pyright: ignore[reportPrivateUsage]
        self.changes += 1

    def fix(self, size: Size, value: int, why: str = "") -> None:
        """A number."""
        self.between(size, value, value, why)

    def between(self, size: Size, low: int, high: int, why: str = "") -> None:
        """At least and at most."""
        self._between(size.end(), low, high, why)

    def _between(self, size: Size, low: int, high: int, why: str) -> None:
        low, high = max(low, size.low), min(high, size.high)
        if low > high:
            raise Conflict(why)
        if (low, high) != (size.low, size.high):
            size._low, size._high = low, high  # pyright: ignore[reportPrivateUsage]
            self.changes += 1
            if low == high and why and not size.why:
                size._why = why  # pyright: ignore[reportPrivateUsage]

    def product(self, sizes: Sequence[Size], total: int, why: str = "") -> bool:
        """Their product is known: the last unknown one follows. Whether nothing is left to say."""
        known, unknown = 1, dict[int, Size]()
        for size in sizes:
            if size.value is None:
                if id(size.end()) in unknown:
                    return False
                unknown[id(size.end())] = size
            else:
                known *= size.value
        if len(unknown) > 1:
            return False
        if not known or total % known or (not unknown and known != total):
            raise Conflict(why)
        for size in unknown.values():
            self.fix(size, total // known, why)
        return True

    def total(self, whole: Size, parts: Sequence[Size], why: str = "") -> bool:
        """One size is the sum of the others."""
        missing = [part for part in parts if part.value is None]
        known = sum(part.value or 0 for part in parts)
        if not missing:
            self.fix(whole, known, why)
            return True
        if whole.value is not None and len({id(part.end()) for part in missing}) == 1:
            share, rest = divmod(whole.value - known, len(missing))
            if share < 1 or rest:
                raise Conflict(why)
            self.fix(missing[0], share, why)
            return True
        return False

    # -- terms
    def shape(self, term: Term, sizes: Sequence[Size]) -> None:
        """A tensor of these sizes."""
        at = term.end()
        if at.table is not None or (at.sizes is not None and len(at.sizes) != len(sizes)):
            raise Conflict
        if at.sizes is None:
            at._sizes = list(sizes)  # pyright: ignore[reportPrivateUsage]
            self.changes += 1
            return
        for mine, given in zip(at.sizes, sizes, strict=True):
            self.equal(mine, given)

    def rank(self, term: Term, rank: int) -> list[Size]:
        """A tensor of so many dimensions; its sizes."""
        if term.sizes is None:
            self.shape(term, [Size() for _ in range(rank)])
        if term.rank != rank:
            raise Conflict
        return term.sizes or []

    def indices(self, term: Term, limit: int) -> None:
        """A tensor of indices, from 1."""
        at = term.end()
        if at.limit is None or limit < at.limit:
            at._limit = limit  # pyright: ignore[reportPrivateUsage]
            self.changes += 1

    def entries(self, term: Term, least: int = 0, *, exactly: bool = False) -> Table:
        """A table of at least, or exactly, so many entries."""
        at = term.end()
        if at.sizes is not None:
            raise Conflict
        if at.table is None:
            at._table = Table()  # pyright: ignore[reportPrivateUsage]
            self.changes += 1
        table = at.table or Table()
        if table.open:
            self.between(table.count, max(least, 1), least if exactly else LARGEST)
            while len(table.items) < least:
                table.items.append(table.each or Term())
                self.changes += 1
        if exactly or table.count.value == len(table.items):
            table.open = False
        if len(table.items) < least or (exactly and len(table.items) != least):
            raise Conflict
        return table

    def alike(self, term: Term) -> Term:
        """What every entry of a table is the same as: of a table whose entries are all of one shape."""
        table = self.entries(term)
        each = table.each = table.each or Term()
        for item in table.items:
            self.same(each, item)
        return each

    def same(self, a: Term, b: Term) -> None:
        """One term."""
        first, second = a.end(), b.end()
        if first is second:
            return
        if second.sizes is not None:
            self.shape(first, second.sizes)
        if second.table is not None:
            self._same_table(first, second.table)
        if second.limit is not None:
            self.indices(first, second.limit)
        second._link = first  # pyright: ignore[reportPrivateUsage]
        self.changes += 1

    def _same_table(self, term: Term, other: Table) -> None:
        table = self.entries(term, len(other.items), exactly=not other.open)
        if table.open:
            self.equal(table.count, other.count)
        if other.each is not None:
            self.same(self.alike(term), other.each)
        for mine, given in zip(table.items, other.items, strict=False):
            self.same(mine, given)
