"""A network whose recurrent states are inputs and outputs: {x, h0…} → {y, hn…}.

Fed its last states with the next piece of a sequence, it computes what the network computes on the whole sequence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from retorch.layers.base.layer import Array, Layer, Nested, Refusal, Sizes
from retorch.layers.base.memory import current_run, forward_pass
from retorch.layers.recurrent.cudnn import RNN
from retorch.layers.recurrent.recursor import Recurrent
from retorch.layers.recurrent.sequencer import BiSequencer
from retorch.layers.recurrent.state import Remembers

if TYPE_CHECKING:
    from retorch.graph.builder import Builder
    from retorch.graph.builder import Nested as Values

T = TypeVar("T")
#: How the tensors of a layer's states are nested: None is a tensor.
Tree = list["Tree"] | None


#: The sizes of a tensor, or of those in a table.
SizesOf = Sizes | list["SizesOf"]


class Stateful(Layer):
    """{inner(x), the states after it}; takes the table {x, the states before it}

    Args:
        inner: the network.
        sizes: those of its input, a tuple for a tensor and a list for a table; it is run on ones of these sizes once,
            to find which states its layers keep.

    Raises:
        Refusal: the network keeps no states, or they cannot be handed on.
    """

    container = True
    path = ""
    typename = "retorch.Stateful"

    def __init__(self, inner: Layer, sizes: SizesOf) -> None:
        self.inner = inner
        self.raw = inner.raw
        self._check()
        with forward_pass() as run:
            run.stateful = True
            inner(_ones(sizes))
            after = run.memory
        self._keepers = [made for made in inner.every() if isinstance(made, Remembers) and id(made) in after]
        if not self._keepers:
            raise Refusal("keeps no states from one step to the next")
        self._trees = [_tree(after[id(made)]) for made in self._keepers]
        leaves = [leaf for made in self._keepers for leaf in _leaves(after[id(made)])]
        # in the order of the layers
        self.state_sizes = tuple(cast("Array", leaf).shape for leaf in leaves)

    def _check(self) -> None:
        for made in self.inner.every():
            if isinstance(made, BiSequencer) or (isinstance(made, RNN) and made.directions == 2):
                raise Refusal(f"{made.path} {made.typename} reads its sequence from its end too, and keeps no states")
            if isinstance(made, Recurrent):
                raise Refusal(f"{made.path} {made.typename} computes its first step with a module of its own")

    def children(self) -> Iterable[Layer]:
        return [self.inner]

    def batch_axis(self) -> int:
        return self.inner.batch_axis()

    def forward(self, x: list[Nested]) -> Nested:
        run = current_run.get()
        if run is None:
            raise Refusal("runs in a forward pass only")
        run.stateful = True
        self._recall(run.memory, x[1:])
        y = self.inner(x[0])
        return [y, *self._states(run.memory)]

    def lower(self, op: Builder, x: list[Values]) -> Values:
        op.stateful = True
        self._recall(op.memory, x[1:])
        y = op.call(self.inner, x[0])
        return [y, *self._states(op.memory)]

    def _recall(self, memory: dict[int, Any], states: list[Any]) -> None:
        if len(states) != len(self.state_sizes):
            raise Refusal(f"takes a table of its input and {len(self.state_sizes)} states, not {len(states)}")
        given = iter(states)
        for made, tree in zip(self._keepers, self._trees, strict=True):
            memory[id(made)] = _filled(tree, given)

    def _states(self, memory: dict[int, Any]) -> list[Any]:
        return [leaf for made in self._keepers for leaf in _leaves(memory[id(made)])]


def hands_on_states(net: Layer, sizes: SizesOf) -> bool:
    """Whether a network is one step whose states are inputs and outputs already, as graphs of nngraph write it.

    It takes a table, keeps nothing itself, and gives tensors of the sizes of all its inputs but one or two: what it
    reads, and what a decoder looks at.
    """
    if not isinstance(sizes, list) or any(isinstance(made, Remembers) for made in net.every()):
        return False
    given = [size for size in sizes if isinstance(size, tuple)]
    with forward_pass():
        made = [cast("Array", leaf).shape for leaf in _leaves(net(_ones(sizes)))]
    states = sum((Counter(given) & Counter(made)).values())
    return len(given) == len(sizes) and 0 < states >= len(given) - 2


def sizes_of(x: object) -> SizesOf:
    """The sizes in an example, which is made of tuples, arrays and lists, or in JSON, where tuples became lists."""
    if isinstance(x, np.ndarray):
        return cast("Array", x).shape
    items = cast("Sequence[object]", x)
    if all(isinstance(item, int) for item in items):
        return tuple(cast("Sequence[int]", items))
    return [sizes_of(item) for item in items]


def zero_states(net: Stateful, dtype: np.dtype[Any]) -> list[Array]:
    """The states of a sequence's beginning, for the batch that the network was made for."""
    return [np.zeros(sizes, dtype) for sizes in net.state_sizes]


def _ones(sizes: SizesOf) -> Nested:
    """What every layer takes: where a number is an index, 1 is the first."""
    return [_ones(item) for item in sizes] if isinstance(sizes, list) else np.ones(sizes, np.float32)


def _tree(state: object) -> Tree:
    return [_tree(item) for item in cast("list[object]", state)] if isinstance(state, list) else None


def _leaves(state: object) -> Iterable[object]:
    if isinstance(state, list):
        for item in cast("list[object]", state):
            yield from _leaves(item)
    else:
        yield state


def _filled(tree: Tree, leaves: Iterable[T]) -> Any:
    return next(iter(leaves)) if tree is None else [_filled(item, leaves) for item in tree]
