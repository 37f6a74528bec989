"""One step over a sequence, its states nested as they like, as recurrent.torch published it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, layer
from retorch.layers.base.memory import clone, memory
from retorch.layers.recurrent.state import Remembers, remembers, zeros_for
from retorch.layers.table.arithmetic import entries
from retorch.torch7 import LuaTable

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values

T = TypeVar("T")


def output_and_state(made: T | list[T]) -> list[T]:
    """What a step gives, and its state; or Refusal."""
    pair = cast("list[T]", made if isinstance(made, list) else [])
    if len(pair) != 2:
        raise Refusal("has a module that does not give an output and a state")
    return pair


def zero_state(stored: object, make: Callable[[tuple[int, ...]], T]) -> T | list[T]:
    """Zeros nested as a stored state, each made from its sizes without the batch; Refusal where none was set."""
    if isinstance(stored, LuaTable):
        return [cast("T", zero_state(part, make)) for part in stored.sequence()]
    state = cast("Array | None", stored if isinstance(stored, np.ndarray) else None)
    if state is None or state.size == 0:
        raise Refusal("was given no state to start from")
    return make(state.shape[1:])


@layer("nn.RecurrentContainer", kind="rnn")
class RecurrentContainer(Remembers):
    """{y, state} = modules[1]{x, state}, of which y is given; the first state is zero

    In sequence mode for each step along ``timeDimension``, or for each entry of a table; else x is one step.
    """

    container = True
    modules: list[Layer]
    state: object
    seqMode: bool = False
    stateful: bool = True
    timeDimension: int = 2
    ignored = frozenset({"gradState", "initState", "currentIteration", "batchSize", "splitInput", "joinOutput"})

    def setup(self, bind: Binder) -> None:
        if not self.modules:
            raise Refusal("has no module inside")
        self.inner = self.modules[0]
        if self.stateful:
            bind.notes.append(remembers(self))

    def children(self) -> Iterable[Layer]:
        # the others are its clones
        return [self.inner]

    def axis(self, rank: int) -> int:
        """The dimension of time, from 0, or Refusal."""
        if not 1 <= self.timeDimension <= rank:
            raise Refusal(f"takes steps along dimension {self.timeDimension} of {rank}")
        return self.timeDimension - 1

    def forward(self, x: Nested) -> Nested:
        if not self.stateful:
            memory().pop(id(self), None)
        if not self.seqMode:
            return self.step(cast("Array", x))
        whole = x if isinstance(x, list) else list(np.moveaxis(x, self.axis(x.ndim), 0))
        made: list[Nested] = [self.step(cast("Array", whole[0]))]
        for t, given in enumerate(whole[1:], 1):
            made.append(self.step(cast("Array", given), t))
        return made if isinstance(x, list) else np.stack(cast("list[Array]", made), self.timeDimension - 1)

    def step(self, x: Array, t: int = 0) -> Nested:
        """Step ``t`` of a sequence, each but the first by a clone."""
        states = memory()
        before = cast("Nested | None", states.get(id(self)))
        if before is None:
            dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float32)
            before = cast("Nested", zero_state(self.state, lambda sizes: np.zeros((len(x), *sizes), dtype)))
        if t == 0:
            y, states[id(self)] = output_and_state(self.inner([x, before]))
            return y
        with clone((id(self), t)):
            y, states[id(self)] = output_and_state(self.inner([x, before]))
        return y

    def lower(self, op: Builder, x: Values) -> Values:
        if not self.stateful:
            op.memory.pop(id(self), None)
        if not self.seqMode:
            return self.lower_step(op, cast("Value", x))
        whole = x if isinstance(x, list) else entries(op, x, self.axis(x.rank))
        made = [self.lower_step(op, cast("Value", whole[0]))]
        for t, given in enumerate(whole[1:], 1):
            made.append(self.lower_step(op, cast("Value", given), t))
        if isinstance(x, list):
            return made
        at = self.timeDimension - 1
        steps = [op.Unsqueeze(y, [at]) for y in cast("list[Value]", made)]
        return op.Concat(*steps, axis=at) if len(steps) > 1 else steps[0]

    def lower_step(self, op: Builder, x: Value, t: int = 0) -> Values:
        """The same in ONNX."""
        states = op.memory
        before = cast("Values | None", states.get(id(self)))
        if before is None:
            before = cast("Values", zero_state(self.state, lambda sizes: zeros_for(op, x, sizes)))
        if t == 0:
            y, states[id(self)] = output_and_state(op.call(self.inner, [x, before]))
            return y
        with op.clone((id(self), t)):
            y, states[id(self)] = output_and_state(op.call(self.inner, [x, before]))
        return y
