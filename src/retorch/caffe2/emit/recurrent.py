"""Recurrent networks over a known number of steps, step by step in plain operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from retorch.caffe2.emit.arithmetic import binary
from retorch.caffe2.emit.convolution import Floats
from retorch.caffe2.emit.op import Blob, Op, RefusalError, Result, Rule, size
from retorch.caffe2.emit.primitives import concat, cut, expand_dims, squeeze, transpose

_FUNCTIONS = ("Sigmoid", "Tanh", "Relu")


@dataclass(frozen=True, slots=True)
class _Weights:
    """One direction: rows by gate for the input and for the state, a bias for each."""

    rows: Floats
    state_rows: Floats
    bias: Floats
    state_bias: Floats
    functions: tuple[str, ...]
    suffix: str

    @property
    def hidden(self) -> int:
        return self.state_rows.shape[1]

    def gate(self, array: Floats, index: int) -> Floats:
        return array[index * self.hidden : (index + 1) * self.hidden]


@dataclass(frozen=True, slots=True)
class _State:
    """The hidden state and the memory of a cell (an LSTM's only); None where they are zero."""

    h: Blob | None = None
    c: Blob | None = None


_Step: TypeAlias = Callable[[Blob, _State], tuple[Blob, Blob]]
_Cell: TypeAlias = Callable[[Op, _Weights], tuple[Floats, _Step]]


def recurrent(cell: _Cell, gates: int, functions: Sequence[str]) -> Rule:
    """The rule for a cell of so many gates; ``functions`` are its default activations."""

    def rule(op: Op) -> Result:
        _refuse_rare(op)
        x = transpose(op, op.blob(0), [1, 0, 2]) if op.int("layout", 0) else op.blob(0)
        directions = {"forward": [1], "reverse": [-1], "bidirectional": [1, -1]}[op.string("direction", "forward")]
        weights = [_weights(op, index, gates, functions) for index in range(len(directions))]
        runs = [_run(op, cell, x, step, weights[index], index) for index, step in enumerate(directions)]
        return _outputs(op, runs)

    return rule


def _refuse_rare(op: Op) -> None:
    if op.has(4):
        raise RefusalError("sequences of different lengths")
    if op.has(7):
        raise RefusalError("peepholes")
    if op.float("clip", 0.0) or op.int("input_forget", 0):
        raise RefusalError("clip or input_forget")


def _weights(op: Op, index: int, gates: int, defaults: Sequence[str]) -> _Weights:
    rows, state_rows = op.floats(1, "the weights")[index], op.floats(2, "the recurrent weights")[index]
    hidden = op.int("hidden_size", state_rows.shape[1])
    both = op.floats(3, "the biases")[index] if op.has(3) else np.zeros(2 * gates * hidden, np.float32)
    names = op.strings("activations", ()) or tuple(defaults) * (index + 1)
    if unknown := set(names) - set(_FUNCTIONS):
        raise RefusalError(f"the activations {', '.join(sorted(unknown))}")
    functions = tuple(names[index * len(defaults) : (index + 1) * len(defaults)])
    suffix = "_back" if index else ""
    return _Weights(rows, state_rows, both[: gates * hidden], both[gates * hidden :], functions, suffix)


def _run(op: Op, cell: _Cell, x: Blob, step: int, weights: _Weights, index: int) -> tuple[list[Blob], Blob, Blob]:
    """All hidden states in order of time, the last hidden state and the last memory."""
    count, batch, width = size(x.dims[0]), x.dims[1], weights.rows.shape[0]
    bias, advance = cell(op, weights)
    inputs = [x, op.param(weights.rows, f"w{weights.suffix}"), op.param(bias, f"b{weights.suffix}")]
    given = op.make("FC", inputs, (count, batch, width), axis=2)
    slices = op.many("Split", [given], [(batch, width)] * count, axis=0, add_axis=1)
    state = _State(_initial(op, 5, index), _initial(op, 6, index))
    hidden: list[Blob] = []
    h = c = given
    for gates in slices[::step]:
        h, c = advance(gates, state)
        state = _State(h, c)
        hidden.append(h)
    return hidden[::step], h, c


def _initial(op: Op, index: int, direction: int) -> Blob | None:
    """The initial state of a direction, (batch, hidden); None where it is zero."""
    if not op.has(index):
        return None
    known = op.constant(index)
    if known is not None and not known.any():
        return None
    states = transpose(op, op.blob(index), [1, 0, 2]) if op.int("layout", 0) else op.blob(index)
    return squeeze(op, cut(op, states, 0, direction, direction + 1), [0])


def _outputs(op: Op, runs: Sequence[tuple[list[Blob], Blob, Blob]]) -> list[Blob]:
    """Y (steps, directions, batch, hidden), Y_h and Y_c (directions, batch, hidden); batch first by layout."""
    steps = zip(*(hidden for hidden, _, _ in runs), strict=True)
    every = concat(op, [concat(op, [expand_dims(op, each, [0, 1]) for each in step], 1) for step in steps], 0)
    ends = [[h for _, h, _ in runs], [c for _, _, c in runs]][: len(op.node.outputs) - 1]
    lasts = [concat(op, [expand_dims(op, each, [0]) for each in end], 0) for end in ends]
    if op.int("layout", 0):
        return [transpose(op, every, [2, 0, 1, 3]), *(transpose(op, last, [1, 0, 2]) for last in lasts)]
    return [every, *lasts]


def _gates(op: Op, given: Blob, count: int, hidden: int) -> list[Blob]:
    return op.many("Split", [given], [(given.dims[0], hidden)] * count, axis=1, split=[hidden] * count)


def _fed(op: Op, given: Blob, state: Blob | None, rows: Blob) -> Blob:
    """given + state @ rows.T"""
    if state is None:
        return given
    return binary(op, "Add", given, op.make("MatMul", [state, rows], given.dims, trans_b=1))


def _lstm(op: Op, weights: _Weights) -> tuple[Floats, _Step]:
    """ONNX keeps the gates in the order input, output, forget, cell."""
    rows = op.param(weights.state_rows, f"r{weights.suffix}")
    first, squash, last = weights.functions

    def step(given: Blob, state: _State) -> tuple[Blob, Blob]:
        i, o, f, g = _gates(op, _fed(op, given, state.h, rows), 4, weights.hidden)
        memory = binary(op, "Mul", op.map(first, i), op.map(squash, g))
        if state.c is not None:
            memory = binary(op, "Add", binary(op, "Mul", op.map(first, f), state.c), memory)
        return binary(op, "Mul", op.map(first, o), op.map(last, memory)), memory

    return weights.bias + weights.state_bias, step


def _gru(op: Op, weights: _Weights) -> tuple[Floats, _Step]:
    """ONNX keeps the gates in the order update, reset, new; h' = new + z (h - new).

    The reset gate acts on the state, or with linear_before_reset on what the state contributes, its bias with it.
    """
    first, squash = weights.functions
    apart = op.int("linear_before_reset", 0)
    rows = [op.param(weights.gate(weights.state_rows, at), f"r{at + 1}{weights.suffix}") for at in range(3)]
    bias = weights.bias + weights.state_bias
    inner: Blob | None = None
    if apart:
        bias[2 * weights.hidden :] = weights.gate(weights.bias, 2)
        inner = op.param(weights.gate(weights.state_bias, 2), f"rb{weights.suffix}")

    def new(given: Blob, reset: Blob, h: Blob | None) -> Blob:
        if inner is None:
            return op.map(squash, _fed(op, given, None if h is None else binary(op, "Mul", reset, h), rows[2]))
        if h is None:
            return op.map(squash, binary(op, "Add", given, binary(op, "Mul", reset, inner)))
        product = binary(op, "Add", op.make("MatMul", [h, rows[2]], given.dims, trans_b=1), inner)
        return op.map(squash, binary(op, "Add", given, binary(op, "Mul", reset, product)))

    def step(given: Blob, state: _State) -> tuple[Blob, Blob]:
        update, reset, rest = _gates(op, given, 3, weights.hidden)
        z, r = (op.map(first, _fed(op, each, state.h, rows[at])) for at, each in enumerate((update, reset)))
        fresh = new(rest, r, state.h)
        old = op.map("Negative", fresh) if state.h is None else binary(op, "Sub", state.h, fresh)
        h = binary(op, "Add", fresh, binary(op, "Mul", z, old))
        return h, h

    return bias, step


def _rnn(op: Op, weights: _Weights) -> tuple[Floats, _Step]:
    rows = op.param(weights.state_rows, f"r{weights.suffix}")

    def step(given: Blob, state: _State) -> tuple[Blob, Blob]:
        h = op.map(weights.functions[0], _fed(op, given, state.h, rows))
        return h, h

    return weights.bias + weights.state_bias, step


RULES: Mapping[str, Rule] = {
    "GRU": recurrent(_gru, 3, ("Sigmoid", "Tanh")),
    "LSTM": recurrent(_lstm, 4, ("Sigmoid", "Tanh", "Tanh")),
    "RNN": recurrent(_rnn, 1, ("Tanh",)),
}
