"""From what is known of an input to shapes that can be tried: what is left open is given the likeliest size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retorch.graph.input_shape.options import Said, Settings, image_sizes, lengths
from retorch.graph.input_shape.recorded import RECORDED, Recorded
from retorch.graph.input_shape.rules.images import MOST
from retorch.graph.input_shape.tensors import Nested, Role, Tensor, roles
from retorch.graph.input_shape.terms import Conflict, Size, Term
from retorch.graph.input_shape.walk import Walk
from retorch.layers.base.layer import Layer

#: Heights and widths that networks were trained at, the likeliest first.
LIKELY = (224, 256, 299, 227, 231, 128, 96, 64, 48, 32, 28, 84, 112, 200, 512)
#: The sides of a volume, the sides of a video, and its frames.
_VOLUME = (32, 64, 30, 28, 48, 24, 16, 96, 128)
_VIDEO = (112, 224, 64, 128)
_FRAMES = (16, 8, 32, 10, 64)
#: How many channels an image has of which nothing is known.
_COLOURS = 3
#: How many steps a sequence has, or samples a vector of indices, of which nothing is known.
STEPS = 3
#: A longer table is hardly one of positions.
_MOST_POSITIONS = 512


@dataclass(frozen=True, slots=True)
class Draft:
    """An input to try, how many samples it holds, and why it is what it is.

    ``side`` is that of its images where it was chosen between ``low`` and ``high``, which is what the layers leave.
    """

    input: Nested
    batch: int
    reasons: tuple[str, ...]
    side: Side | None = None
    low: int = 1
    high: int = MOST


@dataclass(frozen=True, slots=True)
class Side:
    """The size of an image's sides, and who says so."""

    size: int
    who: str = ""


class Drafts:
    """All that one way of looking at a network leaves to try."""

    def __init__(self, root: Layer, stored: Settings, *, use_record: bool) -> None:
        self._root = root
        self._stored = stored
        self._use_record = use_record
        recorded = Recorded()
        self._first = Walk(recorded if use_record else None)
        self._term = self._first.input_of(root)
        self._untouched = True
        #: how many layers the file records the outputs of
        self.recorded = recorded.count
        #: what weights say of the first tensor, and which layer's
        self.told = [
            (size.value, size.why) for size in next(iter(_sizes(self._term)), list[Size]()) if not _is_free(size)
        ]
        #: what stands above a side that was chosen, and below
        self.low, self.high = 1, MOST
        self.sides = self._sides()

    @property
    def known(self) -> bool:
        """Whether anything is known at all."""
        return not self._term.is_open

    def _sides(self) -> tuple[Side, ...]:
        """Sides of the first images to try, the likeliest first; a single none where there is nothing to choose."""
        images = next((sizes for sizes in _sizes(self._term) if len(sizes) in (4, 5)), list[Size]())
        left = [size for size in images[2:] if size.value is None]
        if not left:
            return (Side(0),)
        low, high = left[0].low, left[0].high
        self.low, self.high = low, high
        likely = LIKELY if len(images) == 4 else _VOLUME if images[1].value == 1 else _VIDEO
        named = [Side(said.sizes[0], said.name) for said in image_sizes(self._stored)]
        ranked = [*named, *(Side(size) for size in (*likely, *_round(low), low, high))]
        found = {side.size: side for side in reversed(ranked) if low <= side.size <= high}
        return tuple(dict.fromkeys(found[side.size] for side in ranked if side.size in found))

    def draft(self, side: Side, samples: int = 1) -> Draft:
        """The input with images of this side; what follows for other tensors is worked out from it."""
        walk, term = self._first, self._term
        if not self._untouched:
            walk = Walk(Recorded() if self._use_record else None)
            term = walk.input_of(self._root)
        self._untouched = False
        return _Filling(walk, self._stored, side, samples).draft(term, self.low, self.high)


def _sizes(term: Term) -> list[list[Size]]:
    if term.table is not None:
        return [sizes for item in term.table.items for sizes in _sizes(item)]
    return [] if term.sizes is None else [term.sizes]


class _Filling:
    """One draft in the making."""

    def __init__(self, walk: Walk, stored: Settings, side: Side, samples: int) -> None:
        self.walk = walk
        self.facts = walk.facts
        self.side = side
        self.pair = next((said.sizes for said in image_sizes(stored) if said.name == side.who), (side.size,) * 2)
        self.lengths = lengths(stored)
        self.samples = samples
        self.reasons: list[str] = []
        self.batch: Size | None = None
        self.limits: dict[int, set[int]] = {}

    def draft(self, term: Term, low: int, high: int) -> Draft:
        leaves = self._leaves(term)
        self.batch = self._find_batch(leaves)
        for leaf in leaves:
            for size in leaf.sizes or ():
                if leaf.limit is not None:
                    self.limits.setdefault(id(size.end()), set()).add(leaf.limit)
        samples = self._samples(leaves)
        # images first: the sizes of the others may follow from theirs
        for leaf in sorted(leaves, key=lambda leaf: -(leaf.rank or 0)):
            self._fill(leaf)
        made = self._nested(term, samples)
        side = self.side if self.side.size else None
        return Draft(made, samples if self.batch is not None else 1, tuple(self.reasons), side, low, high)

    def _leaves(self, term: Term) -> list[Term]:
        """The tensors; tables of unknown length are given some entries."""
        if term.table is None:
            if term.sizes is None:
                # nobody reads it
                self.facts.rank(term, 2)
            return [term]
        if term.table.open:
            table = term.table
            count = max(len(table.items), min(max(STEPS, table.count.low), table.count.high))
            if table.items and table.each is None:
                # entries that were asked for by number
                count = len(table.items)
            if count > len(term.table.items):
                self._guess(count)
            self.facts.entries(term, count, exactly=True)
            self.walk.settle()
        return [leaf for item in term.table.items for leaf in self._leaves(item)]

    def _guess(self, count: int) -> None:
        said = f"{count} steps, since nothing in the file says how many"
        if said not in self.reasons:
            self.reasons.append(said)

    # -- samples
    def _find_batch(self, leaves: Sequence[Term]) -> Size | None:
        """What layers take for the number of samples; else the first size of the first tensor, where it is free."""
        there = {id(size.end()) for leaf in leaves for size in leaf.sizes or () if _is_free(size)}
        firsts = [leaf.sizes[0] for leaf in leaves if leaf.sizes and len(leaf.sizes) > 1]
        return next((size for size in (*self.facts.samples, *firsts) if id(size.end()) in there), None)

    def _batch_axis(self, leaf: Term) -> int | None:
        """Where the samples of a tensor are; None where it is one sample."""
        return next((axis for axis, size in enumerate(leaf.sizes or ()) if self._is_batch(size, axis)), None)

    def _is_batch(self, size: Size, axis: int) -> bool:
        if self.batch is None or not _is_free(size):
            return False
        # of two records of one number the first may count the same
        return size.end() is self.batch.end() or (
            axis == 0 and size.value is not None and size.value == self.batch.value
        )

    def _samples(self, leaves: Sequence[Term]) -> int:
        """One sample; several where there is a vector as long, which may as well be the steps of a sequence.

        A number of samples that a record has behind a sequence's steps stays: to tell them apart.
        """
        first = leaves[0].sizes or []
        behind = self.batch is not None and first and first[0].end() is not self.batch.end() and len(first) > 1
        vector = behind or any(
            leaf.sizes and len(leaf.sizes) == 1 and self._is_batch(leaf.sizes[0], 0) for leaf in leaves
        )
        if vector and self.batch is not None:
            return self.batch.value or (self.samples if behind else STEPS)
        return self.samples

    # -- what is left open
    def _fill(self, leaf: Term) -> None:
        sizes = leaf.sizes or []
        batch = self._batch_axis(leaf)
        for axis, (size, role) in enumerate(zip(sizes, roles(len(sizes), 0 if batch is None else batch), strict=True)):
            if size.value is not None or axis == batch:
                continue
            if role is Role.BATCH and len(sizes) > 1:
                self._fix(size, self.samples)
            elif role in (Role.HEIGHT, Role.WIDTH):
                self._between(size, self.pair[role is Role.WIDTH], self.side.who)
            elif role is Role.DEPTH:
                likely = (self.side.size,) if sizes[1].value == 1 else _FRAMES
                self._between(size, next((n for n in likely if size.low <= n <= size.high), size.low))
            elif role is Role.CHANNELS:
                self._between(size, _COLOURS)
            else:
                self._fill_steps(size)

    def _fill_steps(self, size: Size) -> None:
        """A sequence's length: as many as there are positions, as the author said, or some."""
        limits = self.limits.get(id(size.end()), set())
        positions = min(limits) if len(limits) > 1 else 0
        named: Said | None = next((s for s in self.lengths if size.low <= s.sizes[0] <= size.high), None)
        if size.low <= positions <= min(size.high, _MOST_POSITIONS):
            self.reasons.append(f"{positions} steps, for which there are positions")
            self._fix(size, positions)
        elif named is not None:
            self.reasons.append(f"{named.sizes[0]} steps from {named.name}")
            self._fix(size, named.sizes[0])
        elif size.low > STEPS:
            self.reasons.append(f"{size.low} steps, the fewest that its layers take")
            self._fix(size, size.low)
        else:
            self._guess(min(STEPS, size.high))
            self._fix(size, min(STEPS, size.high))

    def _between(self, size: Size, wanted: int, who: str = "") -> None:
        near = (wanted, *_round(size.low), min(max(wanted, size.low), size.high))
        self._fix(size, next(n for n in near if size.low <= n <= size.high), who)

    def _fix(self, size: Size, value: int, why: str = "") -> None:
        try:
            self.facts.fix(size, value, why)
        except Conflict:
            return
        self.walk.settle()

    # -- the result
    def _nested(self, term: Term, samples: int) -> Nested:
        if term.table is not None:
            return [self._nested(item, samples) for item in term.table.items]
        sizes = term.sizes or []
        batch = self._batch_axis(term)
        shape = tuple(samples if axis == batch else size.value or samples for axis, size in enumerate(sizes))
        counted = roles(len(sizes), batch)
        if batch is None and len(sizes) == 3 and term.limit is None:
            # one image, or a sequence
            counted = (Role.CHANNELS, Role.HEIGHT, Role.WIDTH)
        return Tensor(shape, counted, term.limit)


def _round(low: int) -> list[int]:
    """The next multiples of what sides of images are multiples of."""
    return [-(-low // step) * step for step in (32, 16, 8)]


def _is_free(size: Size) -> bool:
    """Whether no weight says how large it is."""
    return size.value is None or size.why in ("", RECORDED)
