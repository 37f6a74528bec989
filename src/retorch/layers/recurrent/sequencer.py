"""The package rnn: modules that call another one for every step of a sequence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, layer
from retorch.layers.base.memory import memory, stateful
from retorch.layers.recurrent.recursor import TRACES
from retorch.layers.recurrent.state import forget, keep, keep_value, remembers

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


class Sequencing(Layer):
    """What the modules share that call a module for every step: the module, and their own copies of its outputs."""

    container = True

    modules: list[Layer]
    module: Layer | None = None

    def batch_axis(self) -> int:
        return 1

    @property
    def inner(self) -> Layer:
        """The module that is called for every step."""
        return self.modules[0] if self.module is None else self.module

    def children(self) -> Iterable[Layer]:
        return [self.inner]


@layer("nn.Sequencer", kind="sequencer")
class Sequencer(Sequencing):
    """{module(x[1]), …, module(x[T])} from forgotten states; x is a table, or a tensor with the steps first"""

    ignored = TRACES | {"tableoutput", "tablegradInput", "tablegradinput", "isRecurrent"} - {"module"}

    _remember: str = "neither"

    def setup(self, bind: Binder) -> None:
        if self._remember in ("eval", "both"):
            bind.notes.append(remembers(self))

    def _forget(self, states: dict[int, object], goes_on: bool) -> None:
        if not goes_on and self._remember not in ("eval", "both"):
            forget(states, self.inner)

    def forward(self, x: Nested) -> Nested:
        self._forget(memory(), stateful())
        own = memory().setdefault(id(self), {})
        steps = [keep(own, i, self.inner(step)) for i, step in enumerate(x)]
        if isinstance(x, list):
            return steps
        return keep(own, len(steps), np.stack(cast("list[Array]", steps)))

    def lower(self, op: Builder, x: Values) -> Values:
        self._forget(op.memory, op.stateful)
        own = op.memory.setdefault(id(self), {})
        given = x if isinstance(x, list) else [op.select(x, 0, i) for i in range(x.shape[0])]
        steps = [keep_value(own, i, op.call(self.inner, step)) for i, step in enumerate(given)]
        if isinstance(x, list):
            return steps
        if any(isinstance(step, list) for step in steps):
            raise Refusal("is given a tensor, but its module gives tables")
        joined = op.Concat(*[op.Unsqueeze(cast("Value", step), [0]) for step in steps], axis=0)
        return keep_value(own, len(steps), joined)


@layer("nn.Repeater", kind="repeater")
class Repeater(Sequencing):
    """{module(x), module(x), …}, ``rho`` times (``nStep`` before it, ``seqlen`` after it), from forgotten states"""

    ignored = TRACES - {"rho", "seqlen", "module"} | {"rnn"}

    rho: int | None = None
    seqlen: int | None = None
    nStep: int | None = None

    def setup(self, bind: Binder) -> None:
        self.count = next((n for n in (self.rho, self.seqlen, self.nStep) if n is not None), 0)
        if self.count < 1:
            raise Refusal("does not say how often it calls its module")

    def forward(self, x: Nested) -> Nested:
        forget(memory(), self.inner)
        own = memory().setdefault(id(self), {})
        return [keep(own, i, self.inner(x)) for i in range(self.count)]

    def lower(self, op: Builder, x: Values) -> Values:
        forget(op.memory, self.inner)
        own = op.memory.setdefault(id(self), {})
        return [keep_value(own, i, op.call(self.inner, x)) for i in range(self.count)]


@layer(
    "nn.BiSequencer",
    "nn.SeqBRNN",
    "nn.SeqBLSTM",
    "nn.SeqBGRU",
    "nn.ReverseUnreverse",
    "nn.BRNN",
    kind="bisequencer",
)
class BiSequencer(Sequencing):
    """merge{forward over x, backward over reversed x, reversed}, as the network of containers inside says"""

    ignored = TRACES | frozenset(
        """forwardModule backwardModule mergeModule fwdSeq bwdSeq mergeSeq merge dim _remember _zeroMask
        _range""".split()
    )

    def forward(self, x: Nested) -> Nested:
        return self.inner(x)

    def lower(self, op: Builder, x: Values) -> Values:
        return op.call(self.inner, x)


@layer("nn.BiSequencerLM", kind="bisequencer")
class BiSequencerLM(Layer):
    """merge{{0, f[1], …, f[T-1]}, {b[2], …, b[T], 0}} of f = modules[1](x[1…T-1]) and b = modules[2](x[2…T])"""

    container = True
    ignored = TRACES | frozenset(
        """forwardModule backwardModule mergeModule fwdSeq bwdSeq mergeSeq _fwd _bwd _merge _fwdOutput _bwdOutput
        _firstStep _lastStep _mergeInput _mergeGradInput _fwdGradInput _bwdGradInput _remember""".split()
    )

    modules: list[Layer]

    def children(self) -> Iterable[Layer]:
        return self.modules

    def setup(self, bind: Binder) -> None:
        if len(self.modules) != 3:
            raise Refusal("should hold three modules: forward, backward, merge")

    def forward(self, x: list[Nested]) -> Nested:
        ahead, back, merge = self.modules
        f, b = cast("list[Nested]", ahead(x[:-1])), cast("list[Nested]", back(x[1:]))
        return merge([[_zeros_like(f[0]), *f], [*b, _zeros_like(b[0])]])

    def lower(self, op: Builder, x: list[Values]) -> Values:
        if len(x) < 2:
            raise Refusal("takes at least two steps")
        ahead, back, merge = self.modules
        f, b = cast("list[Values]", op.call(ahead, x[:-1])), cast("list[Values]", op.call(back, x[1:]))
        return op.call(merge, [[_zero_value_like(op, f[0]), *f], [*b, _zero_value_like(op, b[0])]])


def _zeros_like(x: Nested) -> Nested:
    return [_zeros_like(item) for item in x] if isinstance(x, list) else np.zeros_like(x)


def _zero_value_like(op: Builder, x: Values) -> Values:
    return [_zero_value_like(op, item) for item in x] if isinstance(x, list) else op.Clip(x, 0.0, 0.0)
