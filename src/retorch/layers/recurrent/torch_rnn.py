"""Whole sequences of torch-rnn, and the names that it shares with the package rnn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, layer
from retorch.layers.recurrent.cell import Cell
from retorch.layers.recurrent.recursor import FastLSTM, RecGRU
from retorch.layers.recurrent.sequence import BUFFERS, Sequence, States
from retorch.layers.recurrent.state import remembers

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


class TorchRnnSequence(Sequence):
    """What the layers of torch-rnn share: (N, T, D) to (N, T, H)."""

    ignored = BUFFERS | {"input_dim", "hidden_dim"}

    remember_states: bool = False

    def settings(self) -> dict[str, object]:
        cell: Cell | None = getattr(self, "cell", None)
        if cell is None or cell.inputs is None:
            return super().settings()
        return {"input": cell.inputs.shape[1], "hidden": cell.output, **super().settings()}

    def check(self, bind: Binder) -> None:
        """What a person should know."""
        if self.remember_states:
            bind.notes.append(remembers(self))

    def forward(self, x: Nested) -> Array:
        return np.ascontiguousarray(self.run(x, True, self.remember_states, False))

    def lower(self, op: Builder, x: Values) -> Value:
        return self.record(op, x, True, self.remember_states, False)


@layer("nn.VanillaRNN", kind="rnn")
class VanillaRNN(TorchRnnSequence):
    """h = tanh(W·{x, h} + b); x is (N, T, D), the output (N, T, H)"""

    def setup(self, bind: Binder) -> None:
        self.check(bind)
        self.make("TANH", "")


_OF_STEPS = frozenset({"outputSize", "outputsize", "hiddensize"})


class TwoMeanings(TorchRnnSequence):
    """A name that both packages use: rnn for a single step around an inner module, torch-rnn for a whole sequence."""

    modules: list[Layer] | None = None
    recurrentModule: Layer | None = None

    def settings(self) -> dict[str, object]:
        shown = super().settings()
        # fields of the package rnn's class, which torch-rnn's has not
        whole = getattr(self, "whole", False)
        return {name: value for name, value in shown.items() if not whole or name not in _OF_STEPS}

    def choose(self, kind: str, gates: str, bind: Binder) -> None:
        """Tell by the fields which one it is."""
        self.check(bind)
        self.whole = self.weight is not None and self.recurrentModule is None
        if self.whole:
            self.make(kind, gates)
        elif self.recurrentModule is None and not self.modules:
            raise Refusal("is neither the class of the package rnn nor that of torch-rnn")


def _keeping(cell: Cell) -> Cell:
    """A GRU whose gate z says how much is written as one where it says how much is kept: 1 - σ(a) is σ(-a)."""
    sign = np.ones((len(cell.bias), 1), cell.bias.dtype)
    cell.gate("z", sign)[:] = -1
    inputs = None if cell.inputs is None else cell.inputs * sign
    return replace(cell, inputs=inputs, recurrent=cell.recurrent * sign, bias=cell.bias * sign[:, 0])


@layer("nn.LSTM", kind="lstm")
class LSTM(TwoMeanings, FastLSTM):
    """In rnn, {h, c} = inner{x, h, c}, giving h; in torch-rnn, the formula of SeqLSTM from (N, T, D) to (N, T, H)"""

    modules: list[Layer] | None = None  # type: ignore[assignment]

    def setup(self, bind: Binder) -> None:
        self.choose("LSTM", "ifog", bind)

    def children(self) -> list[Layer]:
        return [] if self.whole else [self.inner]

    def states(self) -> States:
        return [(None, self.cell.output), (None, self.cell.hidden)]

    def forward(self, x: Nested) -> Array:
        return TwoMeanings.forward(self, x) if self.whole else FastLSTM.forward(self, cast("Array", x))

    def lower(self, op: Builder, x: Values) -> Value:
        return TwoMeanings.lower(self, op, x) if self.whole else FastLSTM.lower(self, op, cast("Value", x))


@layer("nn.GRU", kind="gru")
class GRU(TwoMeanings, RecGRU):
    """In rnn, h = inner{x, h}; in torch-rnn, u, r = σ(W·{x, h} + b), n = tanh(W·{x, r·h} + b), h = (1 - u)·h + u·n

    torch-rnn's takes (N, T, D) and gives (N, T, H); its u says how much is written, SeqGRU's z how much is kept.
    """

    modules: list[Layer] | None = None  # type: ignore[assignment]

    def setup(self, bind: Binder) -> None:
        self.choose("GRU", "zrn", bind)
        if self.whole:
            self.cell = _keeping(self.cell)

    def children(self) -> list[Layer]:
        return [] if self.whole else [self.inner]

    def forward(self, x: Nested) -> Array:
        return TwoMeanings.forward(self, x) if self.whole else RecGRU.forward(self, cast("Array", x))

    def lower(self, op: Builder, x: Values) -> Value:
        return TwoMeanings.lower(self, op, x) if self.whole else RecGRU.lower(self, op, cast("Value", x))
