"""What layers say about the shapes of what they take and give: one rule for a family of layers.

A rule is asked again and again, as more becomes known, until it has said all that it can. Where nothing more follows,
rules may ``assume`` what is usual, one at a time: that images come with a batch. The surest come first, and of these
those in the order in which the network runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from retorch.graph.input_shape.rules.probe import as_it_was, keeps_sizes
from retorch.graph.input_shape.terms import Facts, Size, Term
from retorch.layers.base.layer import Layer

#: (facts, layer, what it takes, what it gives) to whether all is said; as an assumption, to whether one was made.
Rule: TypeAlias = Callable[[Facts, Any, Term, Term], bool]

_rules: dict[type, Rule] = {}
_assumptions: dict[type, tuple[int, Rule]] = {}

#: How sure an assumption is: what weights bear out, what is the rule, what is a guess.
SURE, USUAL, GUESS = range(3)


def rule(*classes: type[Layer]) -> Callable[[Rule], Rule]:
    """Register what follows for layers of these classes and theirs."""

    def register(said: Rule) -> Rule:
        _rules.update(dict.fromkeys(classes, said))
        return said

    return register


def assumption(*classes: type[Layer], sure: int = GUESS) -> Callable[[Rule], Rule]:
    """Register what is usual for layers of these classes and theirs."""

    def register(said: Rule) -> Rule:
        _assumptions.update(dict.fromkeys(classes, (sure, said)))
        return said

    return register


def rule_of(layer: Layer) -> Rule | None:
    """The rule for a layer; for one without, what a trial shows."""
    found = next((_rules[cls] for cls in type(layer).__mro__ if cls in _rules), None)
    return as_it_was if found is None and keeps_sizes(layer) else found


def assumption_of(layer: Layer) -> tuple[int, Rule] | None:
    """The assumption for a layer, and how sure it is."""
    return next((_assumptions[cls] for cls in type(layer).__mro__ if cls in _assumptions), None)


def named(layer: Layer) -> str:
    """How a layer is named in words."""
    return f"{layer.path or '(root)'} {layer.typename}"


def tensors(facts: Facts, x: Term, count: int = 0) -> Iterator[Term]:
    """The entries of a table; of exactly so many, where that is said."""
    yield from facts.entries(x, count, exactly=count > 0).items


def all_but(facts: Facts, x: Term, y: Term, *axes: int) -> tuple[list[Size], list[Size]] | None:
    """Two tensors of one rank whose sizes are the same but at ``axes``; their sizes, once the rank is known."""
    rank = x.rank if x.rank is not None else y.rank
    if rank is None:
        return None
    mine, given = facts.rank(x, rank), facts.rank(y, rank)
    differ = {axis % rank for axis in axes}
    for i, (a, b) in enumerate(zip(mine, given, strict=True)):
        if i not in differ:
            facts.equal(a, b)
    return mine, given
