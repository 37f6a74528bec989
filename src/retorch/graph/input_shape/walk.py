"""A walk through a network that follows shapes alone: which tensors it takes, and what its layers say of them.

What flows is a :class:`Term`, of which nothing is known at first: that it is a table of two follows where an
nn.ParallelTable of two takes it, that it has three channels where a convolution does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from retorch.errors import Refusal
from retorch.graph.input_shape.recorded import Recorded
from retorch.graph.input_shape.rules import rule_of
from retorch.graph.input_shape.rules.registry import GUESS, SURE, USUAL, Rule, assumption_of
from retorch.graph.input_shape.structure import structure_of
from retorch.graph.input_shape.terms import Conflict, Facts, Term
from retorch.layers.base.depth import deeper
from retorch.layers.base.layer import Layer

#: Passes over all that layers say, of which each brings something new.
_MOST_PASSES = 200


@dataclass(slots=True)
class _Pending:
    """What a layer may still say."""

    layer: Layer
    x: Term
    y: Term
    done: bool = False

    def saying(self, facts: Facts, rule: Rule) -> Callable[[], bool]:
        """What a rule says of it."""
        return lambda: rule(facts, self.layer, self.x, self.y)


class Walk:
    """One walk; ``conflicts`` names the layers whose word did not go with what others had said."""

    def __init__(self, recorded: Recorded | None = None) -> None:
        self.facts = Facts()
        self.conflicts: list[Layer] = []
        self._recorded = recorded
        self._pending: list[_Pending] = []
        self._runs: Counter[int] = Counter()

    def input_of(self, root: Layer) -> Term:
        """What a network takes."""
        x = Term()
        self.call(root, x)
        self.settle()
        while self._assume():
            self.settle()
        return x

    # -- the walk
    def call(self, layer: Layer, x: Term) -> Term:
        """What a layer gives."""
        return deeper(self._call, layer, x)

    def _call(self, layer: Layer, x: Term) -> Term:
        self._runs[id(layer)] += 1
        first = len(self._pending)
        y = self._structure(layer, x)
        if y is None:
            y = self.later(layer, x)
        if self._recorded is not None and self._runs[id(layer)] == 1:
            self._attempt(layer, lambda recorded=self._recorded: recorded.tell(self.facts, layer, x, y))
        self._settle_some(self._pending[first:])
        return y

    def later(self, layer: Layer, x: Term) -> Term:
        """What a layer gives, of which its rule will say more."""
        y = Term()
        self._pending.append(_Pending(layer, x, y))
        return y

    def _structure(self, layer: Layer, x: Term) -> Term | None:
        found = structure_of(layer)
        made: list[Term] = []
        if found is not None:
            self._attempt(layer, lambda: made.append(found(self, layer, x)))
            return made[0] if made else Term()
        inside = list(layer.children())
        if layer.container and len(inside) == 1 and rule_of(layer) is None:
            return self.call(inside[0], x)
        return None

    def _attempt(self, layer: Layer, say: Callable[[], object]) -> bool:
        try:
            return bool(say())
        except (Conflict, Refusal, IndexError, ValueError):
            self.conflicts.append(layer)
            return True

    # -- what follows
    def settle(self) -> None:
        """Everything that follows from what is known."""
        for _ in range(_MOST_PASSES):
            before = self.facts.changes
            self._settle_some(self._pending)
            self._pending = [entry for entry in self._pending if not entry.done]
            if self.facts.changes == before:
                return

    def _settle_some(self, entries: Sequence[_Pending]) -> None:
        for entry in entries:
            rule = None if entry.done else rule_of(entry.layer)
            if rule is not None:
                entry.done = self._attempt(entry.layer, entry.saying(self.facts, rule))

    def _assume(self) -> bool:
        """One step of what is usual, the surest first."""
        for wanted in (SURE, USUAL, GUESS):
            for entry in self._pending:
                usual = assumption_of(entry.layer)
                if usual is not None and usual[0] == wanted:
                    before, failed = self.facts.changes, len(self.conflicts)
                    self._attempt(entry.layer, entry.saying(self.facts, usual[1]))
                    entry.done = entry.done or len(self.conflicts) > failed
                    if self.facts.changes != before:
                        return True
        return False
