"""The package rnn: modules that are called once per time step.

At evaluation rnn runs every step on one and the same inner module, and sequencers copy each step's output, as here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, Sizes, layer
from retorch.layers.base.memory import memory
from retorch.layers.recurrent.state import Remembers, check_batch, first_tensor, keep, keep_value, stored, zeros_for
from retorch.torch7 import LuaTable

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values

T = TypeVar("T")

#: Fields of rnn's classes that hold the traces of earlier calls, clones for training, or how the module was built.
TRACES = frozenset(
    """outputs gradInputs gradOutputs gradCells cells cell rho seqlen step sharedClones nSharedClone rmInSharedClones
    zeroTensor userGradPrevOutput userGradPrevCell userNextGradCell gradPrevOutput updateGradInputStep mono p i2g o2g
    accGradParametersStep fastBackward copyInputs copyGradOutputs inputs scales gradParametersAccumulated cellLayer
    inputGate forgetGate outputGate hiddenLayer cell2gate initialfile momentum affine eps bn rememberCell prev_h0
    prev_c0 zeroOutput zeroCell typeTensor module outputsize inputsize hiddensize _input ops num_ops operations
    usenngraph beta loss _normsum nbhidden maxBPTTstep""".split()
)


class Step(Remembers):
    """What the step modules share: an inner module, and what it gave at the step before."""

    container = True
    ignored = TRACES

    modules: list[Layer]
    recurrentModule: Layer | None = None

    @property
    def inner(self) -> Layer:
        """The module of one step."""
        if self.recurrentModule is not None:
            return self.recurrentModule
        if not self.modules:
            raise Refusal("has no module inside")
        return self.modules[0]

    def children(self) -> Iterable[Layer]:
        return [self.inner]


@layer("nn.Recursor", kind="recursor")
class Recursor(Step):
    """module(x); states are kept by the recurrent modules inside"""

    def forward(self, x: Nested) -> Nested:
        return self.inner(x)

    def lower(self, op: Builder, x: Values) -> Values:
        return op.call(self.inner, x)


#: For each part of a state what is stored of it, and its size.
Start = list[tuple[Array | None, int]]


class HiddenStep(Step):
    """A step module of which state and output are one or two (N, H) tensors: {y, …} = inner{x, state…}"""

    outputSize: int = 0
    outputsize: int = 0
    userPrevOutput: Array | None = None

    @property
    def size(self) -> int:
        """How many numbers the output of one sample has."""
        return self.outputSize or self.outputsize

    def start(self) -> Start:
        """The state at first."""
        raise Refusal("does not say its first state")

    def step(self, x: Array, start: Start) -> Array:
        """One step in NumPy."""
        state = memory().get(id(self)) or _firsts(start, lambda given, size: _first(x, given, size))
        y = self.inner([x, *state])
        memory()[id(self)] = y if isinstance(y, list) else [y]
        return cast("list[Array]", y)[0] if isinstance(y, list) else y

    def lower_step(self, op: Builder, x: Value, start: Start) -> Value:
        """One step in ONNX."""
        state = op.memory.get(id(self)) or _firsts(start, lambda given, size: _first_value(op, x, given, size))
        y = op.call(self.inner, [x, *state])
        op.memory[id(self)] = y if isinstance(y, list) else [y]
        return cast("list[Value]", y)[0] if isinstance(y, list) else y


def _firsts(start: Start, make: Callable[[Array | None, int], T]) -> list[T]:
    """The parts of a state at first; those that are zeros are one tensor, rnn's ``zeroTensor``."""
    zeros = {size: make(None, size) for given, size in start if given is None}
    return [zeros[size] if given is None else make(given, size) for given, size in start]


def _first(x: Array, given: Array | None, size: int) -> Array:
    sizes = (*x.shape[:-1], size)
    if given is not None:
        check_batch(given, sizes)
        return given.astype(np.result_type(given, x))
    return np.zeros(sizes, x.dtype)


def _first_value(op: Builder, x: Value, given: Array | None, size: int) -> Value:
    if given is not None:
        check_batch(given, (*x.shape[:-1], size))
        return op.weight(given, "h0")
    return op.constant(np.zeros(size, np.float32)) if x.rank == 1 else zeros_for(op, x, [size])


@layer("nn.FastLSTM", "nn.RecLSTM", "nn.BNFastLSTM", kind="lstm")
class FastLSTM(HiddenStep):
    """{h, c} = inner{x, h, c}; gives h; (N, D) or (D); h and c start at zero"""

    hiddensize: int = 0
    userPrevCell: Array | None = None
    startState: object = None

    def start(self) -> Start:
        h, c = self.userPrevOutput, self.userPrevCell
        if isinstance(self.startState, LuaTable):
            h, c = cast("list[Array]", self.startState.sequence())
        return [(stored(h), self.size), (stored(c), self.hiddensize or self.size)]

    def forward(self, x: Array) -> Array:
        return self.step(x, self.start())

    def lower(self, op: Builder, x: Value) -> Value:
        return self.lower_step(op, x, self.start())


@layer("nn.RecGRU", "nn.MuFuRu", "nn.GRUST", kind="gru")
class RecGRU(HiddenStep):
    """h = inner{x, h}; gives h; (N, D) or (D); h starts at zero"""

    startState: Array | None = None

    def start(self) -> Start:
        return [(stored(self.startState if self.userPrevOutput is None else self.userPrevOutput), self.size)]

    def forward(self, x: Array) -> Array:
        return self.step(x, self.start())

    def lower(self, op: Builder, x: Value) -> Value:
        return self.lower_step(op, x, self.start())


#: The sizes of a state: a tensor's, without the batch, or those of a table of states.
StateSizes = Sizes | list["StateSizes"]


def _state_sizes(value: object) -> StateSizes:
    if isinstance(value, np.ndarray):
        return tuple(int(v) for v in cast("Array", value))
    if isinstance(value, LuaTable):
        entries = cast("list[object]", value.sequence())
        if all(isinstance(v, int) for v in entries):
            return tuple(cast("list[int]", entries))
        return [_state_sizes(v) for v in entries]
    if isinstance(value, int):
        return (value,)
    raise Refusal("does not say the size of its output")


@layer("nn.Recurrence", "nn.LinearRNN", "nn.LookupRNN", kind="recurrence")
class Recurrence(Step):
    """y = module{x, y}; gives y, a tensor or a table; y starts at zeros of ``outputSize``"""

    outputSize: object
    nInputDim: int
    userPrevOutput: object = None
    startState: object = None

    def setup(self, bind: Binder) -> None:
        self.sizes = _state_sizes(self.outputSize)
        self.given = _given(self.startState if self.userPrevOutput is None else self.userPrevOutput)
        # until 2016 the module is given its own output to read while it writes it; since then, a copy
        self.copies = self.recurrentModule is None

    def _batch(self, rank: int) -> bool:
        if rank not in (self.nInputDim, self.nInputDim + 1):
            raise Refusal(f"takes inputs of {self.nInputDim} dimensions, or {self.nInputDim + 1} with a batch")
        return rank > self.nInputDim

    def forward(self, x: Nested) -> Nested:
        y = memory().get(id(self))
        if y is None:
            first = cast("Array", first_tensor(x))
            batch = first.shape[:1] if self._batch(first.ndim) else ()
            dtype = np.result_type(first, np.float32)
            y = _begun(self.sizes, batch, self.given, lambda s: np.zeros((*batch, *s), dtype), lambda h: h)
        y = memory()[id(self)] = self.inner([x, keep({}, 0, y) if self.copies else y])
        return y

    def lower(self, op: Builder, x: Values) -> Values:
        y = op.memory.get(id(self))
        if y is None:
            first = cast("Value", first_tensor(x))
            like = first if self._batch(first.rank) else None
            batch = () if like is None else like.shape[:1]
            y = _begun(self.sizes, batch, self.given, lambda s: _zeros(op, s, like), lambda h: op.weight(h, "h0"))
        y = op.memory[id(self)] = op.call(self.inner, [x, keep_value({}, 0, y) if self.copies else y])
        return y


def _given(state: object) -> Nested | None:
    """An initial state as stored: a tensor, or a table of such."""
    if isinstance(state, LuaTable):
        entries = [_given(item) for item in state.sequence()]
        return [item for item in entries if item is not None]
    return stored(cast("Array", state)) if isinstance(state, np.ndarray) else None


def _begun(
    sizes: StateSizes, batch: Sizes, given: Nested | None, zeros: Callable[[Sizes], T], keep: Callable[[Array], T]
) -> Any:
    """A state at first, nested as its sizes are: what is given of it, or else zeros."""
    if isinstance(sizes, list) != isinstance(given, list) and given is not None:
        raise Refusal("holds an initial state that is nested in another way than its output")
    if isinstance(sizes, list):
        parts = [None] * len(sizes) if given is None else cast("list[Nested]", given)
        return [_begun(size, batch, part, zeros, keep) for size, part in zip(sizes, parts, strict=True)]
    if given is None:
        return zeros(sizes)
    check_batch(cast("Array", given), (*batch, *sizes))
    return keep(cast("Array", given))


def _zeros(op: Builder, sizes: Sizes, like: Value | None) -> Value:
    return op.constant(np.zeros(sizes, np.float32)) if like is None else zeros_for(op, like, sizes)


@layer("nn.Recurrent", kind="recurrent")
class Recurrent(Remembers):
    """y = transfer(start(input(x))) at the first step, then y = transfer(merge{input(x), feedback(y)})"""

    container = True
    ignored = TRACES | {"modules", "startModule", "inputModule", "feedbackModule", "transferModule", "mergeModule"}

    initialModule: Layer
    recurrentModule: Layer

    def children(self) -> Iterable[Layer]:
        return [self.initialModule, self.recurrentModule]

    def forward(self, x: Nested) -> Nested:
        before = memory().get(id(self))
        y = self.initialModule(x) if before is None else self.recurrentModule([x, before])
        memory()[id(self)] = y
        return y

    def lower(self, op: Builder, x: Values) -> Values:
        before = op.memory.get(id(self))
        y = op.call(self.initialModule, x) if before is None else op.call(self.recurrentModule, [x, before])
        op.memory[id(self)] = y
        return y


@layer("nn.NormStabilizer", "nn.CopyGrad", kind="identity")
class CopyGrad(Layer):
    """x: these only change gradients"""

    ignored = TRACES | {"recurrentModule", "modules"}

    def forward(self, x: Nested) -> Nested:
        return x

    def lower(self, op: Builder, x: Values) -> Values:
        return x
