"""Which input a network takes, where nobody says: worked out from its file alone.

The evidence, in this order: what Torch's last forward left in the file (``recorded``), what its author wrote beside the
network (``options``), what the layers say (``walk`` and ``rules``, which follow shapes through the network, both ways),
and what is usual (``draft``). What is likely is then tried by lowering the network (``search``), in bounded time.

Comes in: a network as it was read. Goes out: the shape of its input, and what told it. Open first: ``walk.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from retorch.errors import UsageError

if TYPE_CHECKING:
    from retorch.graph.input_shape.options import Settings
    from retorch.graph.input_shape.tensors import Nested
    from retorch.layers.base.layer import Layer


@dataclass(frozen=True, slots=True)
class Assumption:
    """An input, and what was assumed in finding it; ``fits`` where the network can be lowered with it."""

    input: Nested
    note: str
    fits: bool = True


def assume(root: Layer, stored: Settings) -> Assumption:
    """The input of a network; ``stored`` is what its author wrote beside it.

    Raises:
        UsageError: nothing says what it takes.
    """
    from retorch.graph.input_shape import words
    from retorch.graph.input_shape.search import search

    found = search(root, stored)
    if found is None:
        raise UsageError(
            "which input this network takes cannot be worked out: any tensor fits its layers",
            hint="say it with --input, for example --input 1x3x224x224",
        )
    return Assumption(found.draft.input, words.note(found), found.fits)


def first_guess(root: Layer, stored: Settings) -> str | None:
    """A line for those who only look: the likeliest input, not tried; None where nothing is known."""
    from retorch import limits
    from retorch.graph.input_shape.draft import Drafts
    from retorch.graph.input_shape.tensors import text
    from retorch.layers.base.layer import calls

    if calls(root) > limits.STEPS:  # one that would not be run
        return None
    drafts = Drafts(root, stored, use_record=True)
    return text(drafts.draft(drafts.sides[0]).input) if drafts.known else None
