"""Which module of a network is which module of a reference: by their shapes and their order, and never by a guess.

Modules of equal shapes are told apart by their order alone. Where a reference is in the order that ``state_dict()``
has, both sides are laid beside each other so that as much as possible fits; what that leaves open is not paired. Where
the order is lost, as in a ``.safetensors`` file, names are a tree: numbers order what is called alike, and everything
else may stand in any order that makes the whole fit. If it fits in two ways, nobody can tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from retorch.layers.module_order import BESIDE

#: How well module i of the network and module j of the reference fit; 0 where they do not.
Score: TypeAlias = Callable[[int, int], int]
Pairs: TypeAlias = list[tuple[int, int]]
#: The reference's modules in an order.
_Order: TypeAlias = tuple[int, ...]
_MOST_STATES = 20_000
_DEEPEST = 100


@dataclass(frozen=True, slots=True)
class Alignment:
    """Pairs of modules, and those modules of either side that have several partners to choose from."""

    pairs: Pairs
    open_ours: tuple[int, ...] = ()
    open_theirs: tuple[int, ...] = ()


def in_order(rows: int, columns: int, score: Score) -> Alignment:
    """The pairs that stand in order on both sides in every alignment with the best sum of scores.

    What fits nothing in any of them is paired with what it alone fits.
    """
    took = np.array([[score(i, j) for j in range(columns)] for i in range(rows)], np.int64).reshape(rows, columns)
    after = _best(took)
    before = _best(took[::-1, ::-1])[::-1, ::-1]
    whole = after[0, 0]
    possible = (took > 0) & (before[:-1, :-1] + took + after[1:, 1:] == whole)
    # module i is left out of some best alignment, if one cut between the columns makes up the best sum without it
    may_lack = (before[:-1] + after[1:] == whole).any(axis=1)
    certain = possible & ~may_lack[:, None] & (possible.sum(axis=1) == 1)[:, None]
    pairs = [(int(i), int(j)) for i, j in np.argwhere(certain)]
    open_ours = tuple(map(int, np.flatnonzero(possible.any(axis=1) & ~certain.any(axis=1))))
    open_theirs = tuple(map(int, np.flatnonzero(possible.any(axis=0) & ~certain.any(axis=0))))
    ours = [i for i in range(rows) if not possible[i].any()]
    theirs = [j for j in range(columns) if not possible[:, j].any()]
    fits = [(i, j) for i in ours for j in theirs if took[i, j]]
    alone = [p for p in fits if sum(p[0] == i for i, _ in fits) == 1 == sum(p[1] == j for _, j in fits)]
    return Alignment(sorted(pairs + alone), open_ours, open_theirs)


def _best(took: NDArray[np.int64]) -> NDArray[np.int64]:
    """The best sum of scores from each row and column on."""
    rows, columns = took.shape
    best = np.zeros((rows + 1, columns + 1), np.int64)
    for i in range(rows - 1, -1, -1):
        with_i = np.append(best[i + 1, 1:] + np.where(took[i] > 0, took[i], -1), 0)
        best[i] = np.maximum.accumulate(np.maximum(with_i, best[i + 1])[::-1])[::-1]
    return best


def by_names(paths: Sequence[str], names: Sequence[str], score: Score) -> Alignment:
    """The same where the order of the names says nothing: the one order by which everything fits.

    ``paths`` are the network's modules, dotted as the names are. What fits nothing on the other side is left out of it.
    """
    columns = range(len(names))
    ours = [i for i in range(len(paths)) if any(score(i, j) for j in columns)]
    theirs = [j for j in columns if any(score(i, j) for i in ours)]
    root = _tree({j: names[j] for j in theirs})
    found: list[_Order] = []
    if len(ours) == len(theirs) and root is not None:
        nests = _nests([paths[i] for i in ours])
        found = _orders(root, ours, nests, score, beside_last=True)
        found = found or _orders(root, ours, nests, score, beside_last=False)
    if not found:
        return _by_shapes(ours, theirs, names, score)
    unsure = {k for k in range(len(ours)) if found[0][k] != found[-1][k]}
    pairs = [(i, found[0][k]) for k, i in enumerate(ours) if k not in unsure]
    return Alignment(pairs, tuple(ours[k] for k in unsure), tuple(found[0][k] for k in unsure))


def _nests(paths: Sequence[str]) -> set[tuple[int, int]]:
    """From where to where the modules stand in one container, for each container."""
    spans: dict[str, tuple[int, int]] = {}
    for k, path in enumerate(paths):
        words = path.split(".")
        for depth in range(1, len(words)):
            nest = ".".join(words[:depth])
            spans[nest] = (spans.get(nest, (k, k))[0], k + 1)
    return set(spans.values())


@dataclass(slots=True)
class _Node:
    """A module of the reference and those inside of it, called alike by their numbers."""

    leaf: int | None = None
    children: dict[str, _Node] = field(default_factory=dict["str", "_Node"])

    def chains(self) -> list[tuple[bool, list[_Node]]]:
        """The children that are called alike, by their numbers; and whether they are branches beside the others."""
        chains: dict[str, list[str]] = {}
        for word in self.children:
            chains.setdefault(_stem(word), []).append(word)
        return [
            (stem in BESIDE, [self.children[w] for w in sorted(words, key=_numbers)]) for stem, words in chains.items()
        ]

    def count(self) -> int:
        return (self.leaf is not None) + sum(child.count() for child in self.children.values())


def _tree(names: Mapping[int, str]) -> _Node | None:
    """The modules as their names nest; None where they nest deeper than any network."""
    root = _Node()
    for j, name in names.items():
        node = root
        words = name.split(".") if name else []
        if len(words) > _DEEPEST:
            return None
        for word in words:
            node = node.children.setdefault(word, _Node())
        node.leaf = j
    return root


def _orders(
    root: _Node, ours: Sequence[int], nests: Collection[tuple[int, int]], score: Score, *, beside_last: bool
) -> list[_Order]:
    """Up to two orders of a tree's modules in which each fits the network's module in its place.

    Of several, those in which the fewest modules of the tree are partly in one container of the network, partly not.
    """
    known: dict[tuple[int, int], _Best] = {}

    def orders(node: _Node, start: int) -> _Best:
        key = (id(node), start)
        if key not in known:
            known[key] = found(node, start)
        return known[key]

    def found(node: _Node, start: int) -> _Best:
        begun: _Order = () if node.leaf is None else (node.leaf,)
        if start + len(begun) > len(ours) or (begun and not score(ours[start], begun[0])):
            return _Best()
        chains = node.chains()
        states = {(0,) * len(chains): _Best(0, (begun,))}
        for _ in node.children:
            states = _extended(states, chains, start, orders, beside_last=beside_last)
            if len(states) > _MOST_STATES:
                return _Best()
        whole = next(iter(states.values()), _Best())
        if not whole.orders:
            return whole
        end = start + len(whole.orders[0])
        crossed = sum(c < start < d < end or start < c < end < d for c, d in nests)
        return _Best(whole.crossed + crossed, whole.orders)

    return list(orders(root, 0).orders)


@dataclass(frozen=True, slots=True)
class _Best:
    """Up to two orders that cross equally many of the network's containers."""

    crossed: int = 0
    orders: tuple[_Order, ...] = ()

    def __or__(self, other: _Best) -> _Best:
        if not (self.orders and other.orders) or self.crossed != other.crossed:
            return min((best for best in (self, other) if best.orders), key=lambda best: best.crossed, default=self)
        return _Best(self.crossed, tuple(dict.fromkeys(self.orders + other.orders))[:2])

    def __add__(self, other: _Best) -> _Best:
        both = [begun + part for begun in self.orders for part in other.orders]
        return _Best(self.crossed + other.crossed, tuple(dict.fromkeys(both))[:2])


def _extended(
    states: Mapping[tuple[int, ...], _Best],
    chains: Sequence[tuple[bool, Sequence[_Node]]],
    start: int,
    orders: Callable[[_Node, int], _Best],
    *,
    beside_last: bool,
) -> dict[tuple[int, ...], _Best]:
    """Each state, of how much of each chain is placed, with one more child placed."""
    further: dict[tuple[int, ...], _Best] = {}
    for state, reached in states.items():
        left = [beside for taken, (beside, chain) in zip(state, chains, strict=True) if taken < len(chain)]
        for c, (beside, chain) in enumerate(chains):
            if state[c] == len(chain) or (beside_last and beside and not all(left)):
                continue
            new = reached + orders(chain[state[c]], start + len(reached.orders[0]))
            if new.orders:
                to = (*state[:c], state[c] + 1, *state[c + 1 :])
                further[to] = further.get(to, _Best()) | new
    return further


def _by_shapes(ours: Sequence[int], theirs: Sequence[int], names: Sequence[str], score: Score) -> Alignment:
    """Pairs of modules that fit nothing but each other, or as many others whose names are in a told order."""
    pairs: Pairs = []
    unsure_ours: list[int] = []
    unsure_theirs: list[int] = []
    for some, others in _components(ours, theirs, score):
        ordered = sorted(others, key=lambda j: [_numbers(word) for word in names[j].split(".")])
        told = all(_is_told(names[a], names[b]) for k, a in enumerate(ordered) for b in ordered[k + 1 :])
        all_fit = all(score(i, j) for i in some for j in others)
        if len(some) == len(others) and told and all_fit:
            pairs += zip(some, ordered, strict=True)
        else:
            unsure_ours += some
            unsure_theirs += others
    return Alignment(sorted(pairs), tuple(unsure_ours), tuple(unsure_theirs))


def _components(ours: Sequence[int], theirs: Sequence[int], score: Score) -> Iterator[tuple[list[int], list[int]]]:
    """The modules of both sides that fit one another, directly or through others."""
    waiting = list(ours)
    while waiting:
        some, others = [waiting[0]], list[int]()
        size = 0
        while len(some) + len(others) > size:
            size = len(some) + len(others)
            others = [j for j in theirs if any(score(i, j) for i in some)]
            some = [i for i in waiting if i in some or any(score(i, j) for j in others)]
        waiting = [i for i in waiting if i not in some]
        yield some, others


def _is_told(a: str, b: str) -> bool:
    """Whether two names first differ in numbers only, which tell their order."""
    pairs = zip(a.split("."), b.split("."), strict=False)
    first = next(((one, other) for one, other in pairs if one != other), None)
    return first is not None and _stem(first[0]) == _stem(first[1])


def _stem(word: str) -> str:
    return re.sub(r"\d+", "#", word)


def _numbers(word: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", word)))
