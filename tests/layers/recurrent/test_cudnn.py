"""cuDNN's recurrent layers: gates with matrices of their own, packed here as cuDNN's manual says, and run as loops."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import retorch
from building import module
from layers.rnn_modules import sigmoid
from layers.rows import Row, named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]

#: Gates in the order of cuDNN's linear layer numbers.
GATES = {
    "CUDNN_RNN_RELU": ("a",),
    "CUDNN_RNN_TANH": ("a",),
    "CUDNN_LSTM": ("input", "forget", "new", "output"),
    "CUDNN_GRU": ("reset", "update", "new"),
}


@dataclass
class Gate:
    """One gate of one layer and direction: W·x + b and R·h + d."""

    w: np.ndarray | None
    r: np.ndarray
    b: np.ndarray
    d: np.ndarray

    def x(self, x: np.ndarray) -> np.ndarray:
        return (x if self.w is None else self.w.astype(float) @ x) + self.b

    def h(self, h: np.ndarray) -> np.ndarray:
        return self.r.astype(float) @ h + self.d


Gates = dict[str, Gate]

#: The classes that set a mode: with one direction, with two.
CLASSES = {
    "CUDNN_RNN_RELU": ("cudnn.RNNReLU", "cudnn.RNN"),
    "CUDNN_RNN_TANH": ("cudnn.RNNTanh", "cudnn.RNN"),
    "CUDNN_LSTM": ("cudnn.LSTM", "cudnn.BLSTM"),
    "CUDNN_GRU": ("cudnn.GRU", "cudnn.BGRU"),
}


def cell(mode: str, gates: Gates, x: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One step of one sample."""

    def both(name: str) -> np.ndarray:
        return gates[name].x(x) + gates[name].h(h)

    if mode == "CUDNN_LSTM":
        c = sigmoid(both("forget")) * c + sigmoid(both("input")) * np.tanh(both("new"))
        return sigmoid(both("output")) * np.tanh(c), c
    if mode == "CUDNN_GRU":
        new = np.tanh(gates["new"].x(x) + sigmoid(both("reset")) * gates["new"].h(h))
        update = sigmoid(both("update"))
        return (1 - update) * new + update * h, c
    return (np.tanh if mode.endswith("TANH") else lambda a: np.maximum(a, 0))(both("a")), c


@dataclass
class Net:
    """All gates, by layer and direction."""

    mode: str
    stack: list[list[Gates]]
    hidden: int

    def packed(self) -> np.ndarray:
        every = [gates for layer in self.stack for gates in layer]
        numbers: list[np.ndarray] = []
        for gates in every:
            numbers += [g.w.ravel() for g in gates.values() if g.w is not None]
            numbers += [g.r.ravel() for g in gates.values()]
        for gates in every:
            numbers += [g.b for g in gates.values()] + [g.d for g in gates.values()]
        return np.concatenate(numbers)

    def run(self, x: np.ndarray, h0: np.ndarray, c0: np.ndarray) -> np.ndarray:
        for at, layer in enumerate(self.stack):
            y = np.zeros((*x.shape[:2], len(layer) * self.hidden))
            for n, (way, gates) in itertools.product(range(x.shape[1]), enumerate(layer)):
                h, c = h0[at * len(layer) + way, n].astype(float), c0[at * len(layer) + way, n].astype(float)
                for t in range(len(x)) if way == 0 else reversed(range(len(x))):
                    h, c = cell(self.mode, gates, x[t, n], h, c)
                    y[t, n, way * self.hidden : (way + 1) * self.hidden] = h
            x = y
        return x


def make(rng: np.random.Generator, mode: str, ways: int, layers: int, d: int, h: int, skip: bool) -> Net:
    def gates(width: int | None) -> Gates:
        def one() -> Gate:
            w = None if width is None else noise(rng, h, width) * np.float32(0.6)
            return Gate(w, noise(rng, h, h) * np.float32(0.6), noise(rng, h), noise(rng, h))

        return {name: one() for name in GATES[mode]}

    widths = [None if skip else d] + [ways * h] * (layers - 1)
    return Net(mode, [[gates(width) for _ in range(ways)] for width in widths], h)


def networks(rng: np.random.Generator) -> Rows:
    for mode, ways, layers, skip, first in itertools.product(GATES, (1, 2), (1, 2, 3), (False, True), (False, True)):
        t, n, d, h = (int(v) for v in rng.integers(1, 5, 4))
        d = h if skip else d
        net = make(rng, mode, ways, layers, d, h, skip)
        kept = bool(rng.integers(2))
        states = noise(rng, 2, layers * ways, n, h) if kept else np.zeros((2, layers * ways, n, h), np.float32)
        x = noise(rng, t, n, d)
        fields = {"hiddenInput": states[0], "cellInput": states[1]} if kept else {}
        made = module(
            CLASSES[mode][ways - 1],
            weight=net.packed(),
            inputSize=d,
            hiddenSize=h,
            numLayers=layers,
            mode=mode,
            bidirectional="CUDNN_BIDIRECTIONAL" if ways == 2 else "CUDNN_UNIDIRECTIONAL",
            inputMode="CUDNN_SKIP_INPUT" if skip else "CUDNN_LINEAR_INPUT",
            batchFirst=first,
            dropout=0.5,
            **fields,
        )
        y = net.run(x, *states)
        label = f"{mode}-{ways}-{layers}"
        yield label, made, x.swapaxes(0, 1) if first else x, y.swapaxes(0, 1) if first else y


ROWS = named(networks)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


NET = make(np.random.default_rng(3), "CUDNN_LSTM", 1, 1, 2, 3, False)


def rnn(**fields: Any) -> Module:
    return module(
        "cudnn.LSTM", **{"weight": NET.packed(), "inputSize": 2, "hiddenSize": 3, "mode": "CUDNN_LSTM", **fields}
    )


def test_states_left_over_from_the_last_sequence_are_forgotten() -> None:
    x = noise(np.random.default_rng(4), 4, 1, 2)
    left = np.ones((1, 1, 3), np.float32)
    fresh = np.zeros((1, 1, 3), np.float32)
    got = rnn(rememberStates=True, hiddenInput=left, cellInput=left).forward(x.astype(np.float64))
    assert np.allclose(got, NET.run(x, fresh, fresh))


@pytest.mark.parametrize(
    ("net", "why"),
    [
        (rnn(weight=NET.packed()[:-1]), "holds 83 weights, its sizes ask for 84"),
        (rnn(weight=np.append(NET.packed(), 0)), "holds 85 weights, its sizes ask for 84"),
        (rnn(numLayers=2), "its sizes ask for 180"),
        (rnn(mode="CUDNN_NEW"), "has the unknown mode CUDNN_NEW"),
        (rnn(inputMode="CUDNN_SKIP_INPUT"), "has another size than they"),
    ],
)
def test_what_cannot_be_run_says_why(net: Module, why: str) -> None:
    assert why in str(net.problems[0])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="takes three dimensions, not 2"):
        rnn().forward(np.zeros((4, 2), np.float32))
    with pytest.raises(UnsupportedError, match="takes three dimensions, not 2"):
        Row("", rnn(), np.zeros((4, 2), np.float32), None).agrees_converted()
    with pytest.raises(UnsupportedError, match="holds an initial state of"):
        rnn(hiddenInput=np.ones((1, 2, 3), np.float32)).forward(np.zeros((4, 1, 2), np.float32))


@pytest.mark.parametrize("mode", GATES)
@pytest.mark.parametrize("first", [False, True])
def test_stepping_with_states_equals_the_whole(mode: str, first: bool) -> None:
    """Two layers, pieces of one and of three steps, batches of two; each layer has h and, an LSTM, c."""
    rng = np.random.default_rng(5)
    net = make(rng, mode, 1, 2, 3, 4, False)
    fields = {"weight": net.packed(), "inputSize": 3, "hiddenSize": 4, "numLayers": 2, "mode": mode}
    made = module(CLASSES[mode][0], **fields, batchFirst=first)
    network = retorch.convert(made, to="onnx", state=True)
    assert network.inputs[0].shape == (("N", "T", 3) if first else ("T", "N", 3))
    count = 4 if mode == "CUDNN_LSTM" else 2
    assert [port.shape for port in network.inputs[1:]] == [(1, "N", 4)] * count
    states = [np.zeros((1, 2, 4), np.float32)] * count
    x = noise(rng, 4, 2, 3)
    outputs: list[np.ndarray] = []
    for piece in (x[:1], x[1:]):
        y, *states = network.run(piece.swapaxes(0, 1).copy() if first else piece, *states)
        outputs.append(y.swapaxes(0, 1) if first else y)
    zeros = np.zeros((2, 2, 4))
    assert np.abs(np.concatenate(outputs) - net.run(x, zeros, zeros)).max() < 1e-5
