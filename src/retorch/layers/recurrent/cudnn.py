"""Recurrent layers of cuDNN: all layers and directions in one packed weight (``RNN.lua`` of cudnn.torch)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Refusal, layer
from retorch.layers.base.memory import memory, stateful
from retorch.layers.recurrent.cell import Cell, Scanned, operator, scan
from retorch.layers.recurrent.state import Remembers, check_batch, remembers, stored

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value

#: What cuDNN calls the cells, our name for them, and their gates in the order of its packed weights.
_MODES = {
    "CUDNN_LSTM": ("LSTM", "ifgo"),
    "CUDNN_GRU": ("GRU", "rzn"),
    "CUDNN_RNN_RELU": ("RELU", ""),
    "CUDNN_RNN_TANH": ("TANH", ""),
}


@dataclass(slots=True)
class _Packed:
    """A reader of the packed weight, front to back."""

    values: Array
    at: int = 0

    def take(self, *shape: int) -> Array:
        size = int(np.prod(shape))
        found = self.values[self.at : self.at + size]
        self.at += size
        return found.reshape(shape)


@layer(
    "cudnn.RNN",
    "cudnn.LSTM",
    "cudnn.BLSTM",
    "cudnn.GRU",
    "cudnn.BGRU",
    "cudnn.RNNReLU",
    "cudnn.RNNTanh",
    kind="rnn",
)
class RNN(Remembers):
    """``numLayers`` recurrent layers; each is fed the outputs of both directions of the one below

    RELU and TANH: h = act(W·x + b + R·h + d). LSTM: i, f, o = σ(…), g = tanh(…), c = f·c + i·g, h = o·tanh(c).
    GRU: r, z = σ(…), n = tanh(W·x + b + r·(R·h + d)), h = (1 - z)·n + z·h. x is (T, N, D), or (N, T, D) with
    ``batchFirst``; the output's last dimension is H, or 2H with both directions.

    The weight holds, for every layer and direction, the matrices W by gate and then R by gate, rows first; then, again
    for every layer and direction, the biases b and then d (cuDNN's ``cudnnGetRNNLinLayerMatrixParams``).
    """

    ignored = frozenset(
        """datatype seqLength miniBatch numDirections dropout seed sync reserve hiddenOutput cellOutput gradHiddenInput
        gradCellInput gradHiddenOutput gradCellOutput dropoutStates dropoutStatesSize workspace dropoutDesc rnnDesc
        wDesc xDescs yDescs hxDesc hyDesc cxDesc cyDesc""".split()
    )

    weight: Array
    inputSize: int
    hiddenSize: int
    numLayers: int = 1
    mode: str = "CUDNN_RNN_RELU"
    bidirectional: str = "CUDNN_UNIDIRECTIONAL"
    inputMode: str = "CUDNN_LINEAR_INPUT"
    batchFirst: bool = False
    rememberStates: bool = False
    hiddenInput: Array | None = None
    cellInput: Array | None = None

    def batch_axis(self) -> int:
        return 0 if self.batchFirst else 1

    def setup(self, bind: Binder) -> None:
        if self.mode not in _MODES:
            raise Refusal(f"has the unknown mode {self.mode}")
        if self.inputMode == "CUDNN_SKIP_INPUT" and self.inputSize != self.hiddenSize:
            raise Refusal("feeds its input to the gates as it is, but has another size than they")
        self.directions = 2 if self.bidirectional == "CUDNN_BIDIRECTIONAL" else 1
        self.stack = self._unpack()
        if self.rememberStates:
            bind.notes.append(remembers(self))
        # states left over from the last sequence are forgotten, those that the user set are not
        kept = (None, None) if self.rememberStates else (stored(self.hiddenInput), stored(self.cellInput))
        self.h0, self.c0 = kept

    def _widths(self) -> Iterator[int | None]:
        """For every layer the size of its input; none where the input is fed as it is."""
        for i in range(self.numLayers):
            first = None if self.inputMode == "CUDNN_SKIP_INPUT" else self.inputSize
            yield self.hiddenSize * self.directions if i else first

    def _unpack(self) -> list[list[Cell]]:
        kind, gates = _MODES[self.mode]
        rows, hidden = max(1, len(gates)) * self.hiddenSize, self.hiddenSize
        widths = [width for width in self._widths() for _ in range(self.directions)]
        expected = sum(rows * ((width or 0) + hidden + 2) for width in widths)
        if self.weight.size != expected:
            raise Refusal(f"holds {self.weight.size} weights, its sizes ask for {expected}")
        packed = _Packed(self.weight.reshape(-1))
        matrices = [
            (None if width is None else packed.take(rows, width), packed.take(rows, hidden)) for width in widths
        ]
        biases = [(packed.take(rows), packed.take(rows)) for _ in widths]
        cells = [
            Cell(kind, gates, w, r, b, recurrent_bias=d, reset_after=True)
            for (w, r), (b, d) in zip(matrices, biases, strict=True)
        ]
        return [cells[i : i + self.directions] for i in range(0, len(cells), self.directions)]

    def _state(self, given: Array | None, batch: int, at: int) -> Array | None:
        if given is None:
            return None
        check_batch(given, (self.numLayers * self.directions, batch, self.hiddenSize))
        return given[at * self.directions : (at + 1) * self.directions]

    def forward(self, x: Array) -> Array:
        before = cast("list[list[Array]] | None", memory().get(id(self))) if stateful() else None
        y, after = self.run(x, before)
        if stateful():
            memory()[id(self)] = after
        return y

    def run(self, x: Array, before: list[list[Array]] | None) -> tuple[Array, list[list[Array]]]:
        """What it gives, and the states that each layer ends in: h and, of an LSTM, c, (directions, N, H) each."""
        if x.ndim != 3:
            raise Refusal(f"takes three dimensions, not {x.ndim}")
        y = x.swapaxes(0, 1) if self.batchFirst else x
        zeros = np.zeros((self.directions, y.shape[1], self.hiddenSize), x.dtype)
        after: list[list[Array]] = []
        for at, cells in enumerate(self.stack):
            h = self._state(self.h0, y.shape[1], at)
            c = self._state(self.c0, y.shape[1], at)
            h, c = zeros if h is None else h, zeros if c is None else c
            if before is not None:
                h, c = before[at][0], before[at][-1]
            done = [scan(cell, y, h[d], c[d], reverse=d == 1) for d, cell in enumerate(cells)]
            y = np.concatenate([part.y for part in done], axis=2)
            after.append(_states(done, self.mode == "CUDNN_LSTM"))
        return y.swapaxes(0, 1) if self.batchFirst else y, after

    def lower(self, op: Builder, x: Value) -> Value:
        before = cast("list[list[Value]] | None", op.memory.get(id(self))) if op.stateful else None
        y, after = self.lower_run(op, x, before)
        if op.stateful:
            op.memory[id(self)] = after
        return y

    def lower_run(self, op: Builder, x: Value, before: list[list[Value]] | None) -> tuple[Value, list[list[Value]]]:
        """The same in ONNX operators."""
        if x.rank != 3:
            raise Refusal(f"takes three dimensions, not {x.rank}")
        y = op.Transpose(x, perm=[1, 0, 2]) if self.batchFirst else x
        batch = y.shape[1]
        after: list[list[Value]] = []
        for at, cells in enumerate(self.stack):
            kept = self._state(self.h0, batch, at), self._state(self.c0, batch, at)
            first = [None if s is None else op.weight(s, name) for s, name in zip(kept, ("h0", "c0"), strict=True)]
            h, c = first if before is None else (before[at][0], before[at][-1])
            y, *states = operator(op, cells, y, h, c)
            after.append(states)
            # (T, directions, N, H) to (T, N, directions · H)
            y = op.Transpose(y, perm=[0, 2, 1, 3]) if self.directions == 2 else y
            y = op.Reshape(y, [0, -1, self.directions * self.hiddenSize])
        return op.Transpose(y, perm=[1, 0, 2]) if self.batchFirst else y, after


def _states(done: list[Scanned], lstm: bool) -> list[Array]:
    """The last states of a layer's directions: (directions, N, H) each, h and, of an LSTM, c."""
    h = np.stack([part.h for part in done])
    c = [part.c for part in done if part.c is not None]
    return [h, np.stack(c)] if lstm else [h]
