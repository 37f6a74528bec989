"""Layers of the package rnn that take a whole sequence as one tensor, and what torch-rnn's share with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Nested, Refusal, layer
from retorch.layers.base.memory import memory, stateful
from retorch.layers.recurrent.cell import Cell, operator, scan, unrolled
from retorch.layers.recurrent.recursor import TRACES
from retorch.layers.recurrent.state import Remembers, check_batch, remembers, stored, zeros_for

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values

#: Buffers of the sequence layers.
BUFFERS = TRACES | frozenset(
    """buffer1 buffer2 buffer3 grad_a_buffer gates h0 c0 grad_c0 grad_h0 grad_x _grad_x _hidden grad_hidden next_h
    grad_next_h _return_grad_c0 _return_grad_h0 recompute_backward seqLength miniBatch zeroMask _zeroMask _maskbyte
    _maskindices forceLua input_gate forget_gate output_gate input_transform Wx Wh grad_input_gate grad_forget_gate
    grad_output_gate grad_input_transform grad_Wx grad_Wh gradWeightO gradG gradV scale hTmp buffer4 buffer5
    buffer6 buffer7 buffer8 buffer grad_hT grad_cT dpnn_gradParameters hidden normO scaleO bufferO1 bufferO2 gradGO
    gradVO""".split()
)

#: For h, and for c if there is one: what is stored of the initial state, and its size.
States = list[tuple[Array | None, int]]


class Sequence(Remembers):
    """What they share: one (D + R, gates·H) weight with the input's rows first, and how the sequence is laid out."""

    weight: Array | None = None
    bias: Array | None = None

    def states(self) -> States:
        """For h, and for c if there is one: what is stored of the initial state, and its size."""
        return [(None, self.cell.output)]

    def make(self, kind: str, gates: str, projection: Array | None = None) -> None:
        """Cut the weight into the input's part and the state's."""
        if self.weight is None or self.bias is None:
            raise Refusal("lacks its field 'weight' or 'bias'")
        if self.weight.ndim != 2:
            raise Refusal(f"holds a weight of {self.weight.ndim} dimensions, not of two")
        hidden = self.weight.shape[1] // max(1, len(gates))
        rows = self.weight.shape[0] - (hidden if projection is None else projection.shape[1])
        if rows <= 0:
            raise Refusal(f"holds a weight of {self.weight.shape}, without rows for the input")
        inputs, recurrent = self.normalized(self.weight, rows)
        self.cell = Cell(kind, gates, inputs, recurrent, self.bias, projection=projection)

    def normalized(self, weight: Array, rows: int) -> tuple[Array, Array]:
        """The input's part (gates·H, D) and the state's (gates·H, R)."""
        return weight[:rows].T, weight[rows:].T

    def run(self, given: Nested, batch_first: bool, remember: bool, masked: bool) -> Array:
        """The whole sequence in NumPy."""
        states, x = _parts(given, len(self.states()))
        x = x.swapaxes(0, 1) if batch_first else x
        if x.ndim != 3:
            raise Refusal(f"takes three dimensions, not {x.ndim}")
        last = cast("list[Array] | None", memory().get(id(self))) if remember or stateful() else None
        h, c = self._start(x, states, last)
        mask = ~np.any(x, axis=2) if masked else None
        done = scan(self.cell, x, h, c, mask=mask)
        memory()[id(self)] = [done.h] if done.c is None else [done.h, done.c]
        return done.y.swapaxes(0, 1) if batch_first else done.y

    def _start(self, x: Array, states: list[Array | None], last: list[Array] | None) -> tuple[Array, Array | None]:
        found: list[Array] = []
        for at, (kept, size) in enumerate(self.states()):
            before = None if last is None else last[at]
            kept = None if stateful() and before is not None else kept
            state = next((s for s in (states[at], stored(kept), before) if s is not None), None)
            if state is not None:
                check_batch(state, (x.shape[1], size))
            found.append(np.zeros((x.shape[1], size), x.dtype) if state is None else state)
        return found[0], found[1] if len(found) > 1 else None

    def record(self, op: Builder, given: Values, batch_first: bool, remember: bool, masked: bool) -> Value:
        """The whole sequence in ONNX."""
        states, x = _value_parts(given, len(self.states()))
        if x.rank != 3:
            raise Refusal(f"takes three dimensions, not {x.rank}")
        x = op.Transpose(x, perm=[1, 0, 2]) if batch_first else x
        last = op.memory.get(id(self)) if remember or op.stateful else None
        start: list[Value | None] = []
        for at, (kept, size) in enumerate(self.states()):
            before = None if last is None else last[at]
            array = None if op.stateful and before is not None else stored(kept)
            if array is not None:
                check_batch(array, (x.shape[1], size))
            fixed = None if array is None else op.weight(array, "h0")
            start.append(next((s for s in (states[at], fixed, before) if s is not None), None))
        if masked or self.cell.projection is not None:
            y, *after = self._unrolled(op, x, start, masked)
        else:
            y, *after = self._operator(op, x, start)
        op.memory[id(self)] = after
        return op.Transpose(y, perm=[1, 0, 2]) if batch_first else y

    def _operator(self, op: Builder, x: Value, start: list[Value | None]) -> list[Value]:
        wide = [None if s is None else op.Unsqueeze(s, [0]) for s in start]
        y, *after = operator(op, [self.cell], x, wide[0], wide[1] if len(wide) > 1 else None)
        return [op.Reshape(y, [0, -1, self.cell.output]), *(op.Squeeze(s, [0]) for s in after)]

    def _unrolled(self, op: Builder, x: Value, start: list[Value | None], masked: bool) -> list[Value]:
        first = op.Squeeze(op.Slice(x, [0], [1], [0]), [0])
        full = [
            zeros_for(op, first, [size]) if given is None else given
            for given, (_, size) in zip(start, self.states(), strict=True)
        ]
        mask = op.LessOrEqual(op.ReduceSum(op.Abs(x), [2], keepdims=1), 0.0) if masked else None
        steps, h, c = unrolled(op, self.cell, x, full[0], full[1] if len(full) > 1 else None, mask)
        y = op.Concat(*[op.Unsqueeze(s, [0]) for s in steps], axis=0)
        return [y, h] if c is None else [y, h, c]


def _parts(given: Nested, count: int) -> tuple[list[Array | None], Array]:
    """The states (h first) and the sequence: Torch takes x, {h0, x}, or {c0, h0, x}."""
    items = cast("list[Array]", given if isinstance(given, list) else [given])
    states: list[Array | None] = [*items[-2::-1]]
    if len(states) > count:
        raise Refusal(f"takes a sequence and up to {count} states, not a table of {len(items)}")
    return states + [None] * (count - len(states)), items[-1]


def _value_parts(given: Values, count: int) -> tuple[list[Value | None], Value]:
    items = cast("list[Value]", given if isinstance(given, list) else [given])
    states: list[Value | None] = [*items[-2::-1]]
    if len(states) > count:
        raise Refusal(f"takes a sequence and up to {count} states, not a table of {len(items)}")
    return states + [None] * (count - len(states)), items[-1]


class RnnWeights(Sequence):
    """What the layers of the package rnn with weights of their own share."""

    ignored = BUFFERS

    batchfirst: bool | None = None
    remember_states: bool | None = None
    maskzero: bool = False
    v2: bool = False
    zeroMask: object = None
    _remember: str = "neither"
    userPrevOutput: Array | None = None
    userPrevCell: Array | None = None

    g: Array | None = None
    v: Array | None = None

    def batch_axis(self) -> int:
        return 0 if self.layout[0] else 1

    def normalized(self, weight: Array, rows: int) -> tuple[Array, Array]:
        if self.g is None or self.v is None:
            return super().normalized(weight, rows)
        # weight normalization: columns of v at length g, the input's part and the state's apart
        return at_length(self.v[:rows], self.g[0]).T, at_length(self.v[rows:], self.g[1]).T

    def check(self, bind: Binder) -> None:
        """What stands in the way, and what a person should know."""
        if self.layout[1]:
            bind.notes.append(remembers(self))
        # later versions are told by the program which steps are empty
        if self.maskzero and self.v2 and self.zeroMask is not False:
            raise Refusal("takes the mask of its empty steps from outside the network")

    @property
    def layout(self) -> tuple[bool, bool, bool]:
        """Whether the batch comes first, whether states are remembered, whether empty steps are masked."""
        masked = self.maskzero and self.zeroMask is not False
        # the first SeqLSTM was torch-rnn's LSTM as it stood: batch first, with a flag for its memory
        first = self.remember_states is not None if self.batchfirst is None else self.batchfirst
        return first, bool(self.remember_states) or self._remember in ("eval", "both"), masked


def at_length(columns: Array, length: Array) -> Array:
    """Columns scaled to a length each, as weight normalization does."""
    now = np.maximum(np.sqrt(np.sum(np.square(columns), axis=0)), 1e-16)
    return columns * (length / now)


class RnnSequence(RnnWeights):
    """Their whole sequences."""

    def forward(self, x: Nested) -> Array:
        return self.run(x, *self.layout)

    def lower(self, op: Builder, x: Values) -> Value:
        return self.record(op, x, *self.layout)


@layer("nn.SeqLSTM", "nn.SeqLSTMP", "nn.SeqLSTM_WN", "nn.SeqLSTMP_WN", kind="lstm")
class SeqLSTM(RnnSequence):
    """i, f, o = σ(W·{x, h} + b), g = tanh(W·{x, h} + b), c = f·c + i·g, h = o·tanh(c) (· weightO); x is (T, N, D)

    ``batchfirst``: x is (N, T, D). ``maskzero``: a step whose input is all zeros gives zeros and resets the states.
    """

    weightO: Array | None = None
    gO: Array | None = None
    vO: Array | None = None

    def setup(self, bind: Binder) -> None:
        self.check(bind)
        projection = self.weightO if self.vO is None or self.gO is None else at_length(self.vO, self.gO)
        self.make("LSTM", "ifog", projection)

    def states(self) -> States:
        return [(self.userPrevOutput, self.cell.output), (self.userPrevCell, self.cell.hidden)]


@layer("nn.SeqGRU", "nn.SeqGRU_WN", kind="gru")
class SeqGRU(RnnSequence):
    """r, z = σ(W·{x, h} + b), n = tanh(W·{x, r·h} + b), h = (1 - z)·n + z·h; x is (T, N, D), or as SeqLSTM"""

    def setup(self, bind: Binder) -> None:
        self.check(bind)
        self.make("GRU", "rzn")

    def states(self) -> States:
        return [(self.userPrevOutput, self.cell.output)]
