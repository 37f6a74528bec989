"""Recurrent networks of rnnlib and fairseq, whose states come and go in a table beside the sequence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, layer
from retorch.layers.base.memory import clone
from retorch.layers.recurrent.cudnn import RNN

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values

T = TypeVar("T")


class WithStates(Layer):
    """{states, {x1, x2, …}}: the sequence through ``modules``, whose cuDNN layers begin with the states given."""

    modules: list[Layer]

    def recurrent(self) -> list[RNN]:
        """The cuDNN layers, in their order."""
        return [module for module in self.modules if isinstance(module, RNN)]

    def children(self) -> Iterable[Layer]:
        return self.modules

    def states(self, given: list[T]) -> list[list[T]]:
        """For each cuDNN layer its states, h and, of an LSTM, c; a file's table has c first."""
        if len(given) != len(self.recurrent()):
            raise Refusal(f"takes states for {len(self.recurrent())} layers, not {len(given)}")
        found: list[list[T]] = []
        for module, held in zip(self.recurrent(), given, strict=True):
            lstm = module.mode == "CUDNN_LSTM"
            if isinstance(held, list) != lstm:
                raise Refusal("takes a table of two states for an LSTM, one tensor for other layers")
            found.append(cast("list[T]", held)[1::-1] if lstm else [held])
        return found

    def run(self, x: list[Nested]) -> tuple[list[Nested], Nested]:
        """The states at the end, and what the last module gives."""
        given, y = x
        ended: list[Nested] = []
        begins = iter(self.states(cast("list[Nested]", given)))
        for module in self.modules:
            if not isinstance(module, RNN):
                y = module(y)
                continue
            held = cast("list[Array]", next(begins))
            size = module.directions
            before = [[state[i : i + size] for state in held] for i in range(0, module.numLayers * size, size)]
            y, after = module.run(cast("Array", y), before)
            last = [np.concatenate(parts) for parts in zip(*after, strict=True)]
            ended.append(cast("list[Nested]", last[::-1]) if len(last) == 2 else last[0])
        return ended, y

    def lower_run(self, op: Builder, x: list[Values]) -> tuple[list[Values], Values]:
        """The same in ONNX operators."""
        given, y = x
        ended: list[Values] = []
        begins = iter(self.states(cast("list[Values]", given)))
        for module in self.modules:
            if not isinstance(module, RNN):
                y = op.call(module, y)
                continue
            held = cast("list[Value]", next(begins))
            size = module.directions
            starts = range(0, module.numLayers * size, size)
            before = [[op.Slice(state, [i], [i + size], [0]) for state in held] for i in starts]
            y, after = module.lower_run(op, cast("Value", y), before)
            last = [op.Concat(*parts, axis=0) for parts in zip(*after, strict=True)]
            ended.append(cast("list[Values]", last[::-1]) if len(last) == 2 else last[0])
        return ended, y


@layer("nn.CudnnRnnTable", kind="rnntable")
class CudnnRnnTable(WithStates):
    """{state, {x1, x2, …}} ↦ {state, {y1, y2, …}}: a cuDNN layer between modules; an LSTM's state is {c, h}"""

    modules: list[Layer]
    container: ClassVar[bool] = True
    ignored = frozenset({"rnn", "hidoutput", "hidgradinput"})

    def forward(self, x: list[Nested]) -> list[Nested]:
        ended, y = self.run([[x[0]], x[1]])
        return [ended[0], y]

    def lower(self, op: Builder, x: list[Values]) -> list[Values]:
        ended, y = self.lower_run(op, [[x[0]], x[1]])
        return [ended[0], y]


@layer("nn.WrappedCudnnRnn", kind="rnntable")
class WrappedCudnnRnn(WithStates):
    """{{state, …}, {x1, x2, …}} ↦ {{state, …}, {{y1, y2, …}}}, each cuDNN layer with its state; an LSTM's is {c, h}"""

    modules: list[Layer]
    container: ClassVar[bool] = True
    ignored = frozenset({"rnns", "nmodules", "saveHidden", "hiddenbuffer", "hidoutput"})

    def forward(self, x: list[Nested]) -> list[Nested]:
        ended, y = self.run(x)
        return [ended, [y]]

    def lower(self, op: Builder, x: list[Values]) -> list[Values]:
        ended, y = self.lower_run(op, x)
        return [ended, [y]]


@layer("nn.SequenceTable", "nn.RecurrentTable", kind="sequencetable")
class SequenceTable(Layer):
    """{a, {x1, x2, …}} ↦ {{a1, a2, …}, {y1, y2, …}}: {at, yt} = modules[t]{a at t − 1, xt}; the sequence is at ``dim``

    nn.RecurrentTable has one module for all steps, and takes a tensor as a sequence of one.
    """

    modules: list[Layer]
    dim: int
    initfun: object = None
    container: ClassVar[bool] = True
    ignored = frozenset({"inputs", "sharedfields"})

    def setup(self, bind: Binder) -> None:
        if self.initfun is not None:
            raise Refusal("begins with what a Lua function stored in the file gives")
        self._shared = self.typename.endswith("RecurrentTable")
        if self._shared and not self.modules:
            raise Refusal("holds no module")

    def children(self) -> Iterable[Layer]:
        return self.modules[:1] if self._shared else self.modules

    def steps(self, x: list[T]) -> list[T]:
        """The sequence."""
        if not 1 <= self.dim <= len(x):
            raise Refusal(f"goes along entry {self.dim} of a table of {len(x)}")
        sequence = x[self.dim - 1]
        found = cast("list[T]", sequence) if isinstance(sequence, list) else [sequence]
        if not found or (not self._shared and (not isinstance(sequence, list) or len(found) > len(self.modules))):
            raise Refusal(f"takes a table of 1 to {len(self.modules)} steps, not {len(found)}")
        return found

    def handed(self, state: list[T], item: T) -> list[T]:
        """What a step's module takes."""
        return [*state[: self.dim - 1], item, *state[self.dim :]]

    @staticmethod
    def by_entry(made: list[T]) -> list[list[T]]:
        """Every step's table as a table of each entry's steps; and no step may give another kind of table."""
        if not all(isinstance(y, list) for y in made) or len({len(cast("list[T]", y)) for y in made}) != 1:
            raise Refusal("has a module that gives no table, or tables of different lengths")
        return [list(entry) for entry in zip(*cast("list[list[T]]", made), strict=True)]

    def forward(self, x: list[Nested]) -> list[Nested]:
        state, made = list(x), cast("list[Nested]", [])
        for t, item in enumerate(self.steps(x)):
            with clone((id(self), t)):
                y = self.modules[0 if self._shared else t](self.handed(state, item))
            made.append(list(y) if isinstance(y, list) else y)
            state = list(y)
        return cast("list[Nested]", self.by_entry(made))

    def lower(self, op: Builder, x: list[Values]) -> list[Values]:
        state, made = list(x), cast("list[Values]", [])
        for t, item in enumerate(self.steps(x)):
            with op.clone((id(self), t)):
                y = op.call(self.modules[0 if self._shared else t], self.handed(state, item))
            made.append(list(y) if isinstance(y, list) else y)
            state = list(y) if isinstance(y, list) else state
        return cast("list[Values]", self.by_entry(made))
