"""Whole sequences through one recurrent cell: the formulas in NumPy, and the cells as ONNX's own operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One direction of one layer.

    Attributes:
        kind: ``LSTM``, ``GRU``, ``TANH`` or ``RELU``.
        gates: the order of the gates along the first dimension of the weights: letters of ``ifog`` (g: what is written)
            or ``rzn`` (n: the candidate); empty for plain cells.
        inputs: (gates·H, D), or None where the input itself is what each gate gets.
        recurrent: (gates·H, R), R being the size of the output.
        bias: (gates·H).
        recurrent_bias: (gates·H): added to the recurrent product; a GRU of cuDNN resets it too.
        reset_after: whether a GRU resets the recurrent product (cuDNN) or the state before it (Torch).
        projection: (H, R), from the hidden state to the output.
    """

    kind: str
    gates: str
    inputs: Array | None
    recurrent: Array
    bias: Array
    recurrent_bias: Array | None = None
    reset_after: bool = False
    projection: Array | None = None

    @property
    def hidden(self) -> int:
        """H, the size of a gate."""
        return self.recurrent.shape[0] // max(1, len(self.gates))

    @property
    def output(self) -> int:
        """R, the size of the output."""
        return self.recurrent.shape[1]

    def gate(self, name: str, array: Array) -> Array:
        """The rows of one gate."""
        at = self.gates.index(name) * self.hidden
        return array[at : at + self.hidden]


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


def scan(cell: Cell, x: Array, h: Array, c: Array | None, reverse: bool = False, mask: Array | None = None) -> Scanned:
    """A sequence through a cell.

    Args:
        cell: the cell.
        x: (T, N, D).
        h: (N, R), the state at first.
        c: (N, H), the memory of an LSTM.
        reverse: from the last step to the first.
        mask: (T, N), true where the output and the states of a step are to be zero.

    Returns:
        The outputs (T, N, R) and the last states.
    """
    step = {"LSTM": lstm_step, "GRU": gru_step}.get(cell.kind, _plain)
    outputs: dict[int, Array] = {}
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        fed = np.tile(x[t], max(1, len(cell.gates))) if cell.inputs is None else x[t] @ cell.inputs.T
        h, c = step(cell, fed + cell.bias, h, c)
        if mask is not None:
            h = np.where(mask[t][:, None], 0, h).astype(h.dtype)
            c = None if c is None else np.where(mask[t][:, None], 0, c).astype(c.dtype)
        outputs[t] = h
    return Scanned(np.stack([outputs[t] for t in range(len(x))]), h, c)


@dataclass(frozen=True, slots=True, eq=False)
class Scanned:
    """What a sequence gave: all outputs, and the states after it."""

    y: Array
    h: Array
    c: Array | None


def lstm_step(cell: Cell, fed: Array, h: Array, c: Array | None) -> tuple[Array, Array | None]:
    """One step; ``fed`` is the input's part of the gates, bias included."""
    a = fed + h @ cell.recurrent.T
    if cell.recurrent_bias is not None:
        a = a + cell.recurrent_bias
    i, f, o = (sigmoid(cell.gate(n, a.T).T) for n in "ifo")
    c = i * np.tanh(cell.gate("g", a.T).T) + (0 if c is None else f * c)
    h = o * np.tanh(c)
    return (h if cell.projection is None else h @ cell.projection), c


def gru_step(cell: Cell, fed: Array, h: Array, c: Array | None) -> tuple[Array, Array | None]:
    """One step; ``fed`` is the input's part of the gates, bias included."""

    def part(name: str, state: Array) -> Array:
        y = state @ cell.gate(name, cell.recurrent).T
        return y if cell.recurrent_bias is None else y + cell.gate(name, cell.recurrent_bias)

    r, z = (sigmoid(cell.gate(n, fed.T).T + part(n, h)) for n in "rz")
    n = np.tanh(cell.gate("n", fed.T).T + (r * part("n", h) if cell.reset_after else part("n", r * h)))
    return (1 - z) * n + z * h, c


def _plain(cell: Cell, fed: Array, h: Array, c: Array | None) -> tuple[Array, Array | None]:
    a = fed + h @ cell.recurrent.T
    if cell.recurrent_bias is not None:
        a = a + cell.recurrent_bias
    return (np.maximum(a, 0) if cell.kind == "RELU" else np.tanh(a)), c


#: ONNX's order of gates, in our letters.
_ORDER = {"LSTM": "iofg", "GRU": "zrn"}


def operator(op: Builder, cells: list[Cell], x: Value, h: Value | None, c: Value | None) -> list[Value]:
    """One layer as ONNX's operator; two cells are its two directions.

    Args:
        op: the builder.
        cells: the cell, or the forward and the backward cell; without projection.
        x: (T, N, D).
        h: (directions, N, H), or None for zeros.
        c: the same for the memory.

    Returns:
        The outputs (T, directions, N, H), and the last states, (directions, N, H) each.
    """
    first = cells[0]
    order = _ORDER.get(first.kind, "")

    def ordered(cell: Cell, array: Array) -> Array:
        return np.concatenate([cell.gate(n, array) for n in order]) if order else array

    def joined(get: Callable[[Cell], Array]) -> Array:
        return np.stack([ordered(cell, get(cell)) for cell in cells])

    w, r = joined(_input_weights), joined(lambda cell: cell.recurrent)
    b = np.concatenate([joined(lambda cell: cell.bias), joined(_recurrent_bias)], axis=1)
    attributes: dict[str, object] = {"hidden_size": first.hidden}
    attributes["direction"] = "forward" if len(cells) == 1 else "bidirectional"
    operands = [x, op.weight(w, "w"), op.weight(r, "r"), op.weight(b, "b"), None, h]
    if first.kind == "LSTM":
        return op.many("LSTM", 3, *operands, c, **attributes)
    if first.kind == "GRU":
        return op.many("GRU", 2, *operands, linear_before_reset=int(first.reset_after), **attributes)
    names = ["Relu" if first.kind == "RELU" else "Tanh"] * len(cells)
    return op.many("RNN", 2, *operands, activations=names, **attributes)


def _recurrent_bias(cell: Cell) -> Array:
    return np.zeros_like(cell.bias) if cell.recurrent_bias is None else cell.recurrent_bias


def unrolled(
    op: Builder, cell: Cell, x: Value, h: Value, c: Value | None, mask: Value | None = None
) -> tuple[list[Value], Value, Value | None]:
    """The same in plain operators, for what ONNX's cells cannot say: projections, and steps that are masked.

    Args:
        op: the builder.
        cell: an LSTM or a GRU of Torch.
        x: (T, N, D).
        h: (N, R).
        c: (N, H) for an LSTM.
        mask: (T, N, 1), true where output and states are to be zero.

    Returns:
        The outputs, (N, R) each, and the last states.
    """
    w, r, b = op.weight(_input_weights(cell), "w"), op.weight(cell.recurrent, "r"), op.weight(cell.bias, "b")
    steps: list[Value] = []
    for t in range(x.shape[0]):
        fed = op.Gemm(_at(op, x, t), w, b, transB=1)
        if cell.kind == "LSTM" and c is not None:
            h, c = lower_lstm(op, cell, op.Add(fed, op.Gemm(h, r, None, transB=1)), c)
        else:
            h = lower_gru(op, cell, fed, h)
        if mask is not None:
            blank = _at(op, mask, t)
            h = op.Where(blank, 0.0, h)
            c = None if c is None else op.Where(blank, 0.0, c)
        steps.append(h)
    return steps, h, c


def _input_weights(cell: Cell) -> Array:
    if cell.inputs is not None:
        return cell.inputs
    # an input that is fed as it is: the same as through identity matrices
    return np.tile(np.eye(cell.hidden, dtype=np.float32), (max(1, len(cell.gates)), 1))


def _at(op: Builder, x: Value, t: int) -> Value:
    return op.Squeeze(op.Slice(x, [t], [t + 1], [0]), [0])


def _split(op: Builder, cell: Cell, a: Value) -> dict[str, Value]:
    parts = op.many("Split", len(cell.gates), a, axis=1, num_outputs=len(cell.gates))
    return dict(zip(cell.gates, parts, strict=True))


def lower_lstm(op: Builder, cell: Cell, a: Value, c: Value) -> tuple[Value, Value]:
    """One step from the sums of all gates (N, 4H)."""
    gate = _split(op, cell, a)
    written = op.Mul(op.Sigmoid(gate["i"]), op.Tanh(gate["g"]))
    c = op.Add(op.Mul(op.Sigmoid(gate["f"]), c), written)
    h = op.Mul(op.Sigmoid(gate["o"]), op.Tanh(c))
    return (h if cell.projection is None else op.MatMul(h, op.weight(cell.projection, "p"))), c


def lower_gru(op: Builder, cell: Cell, fed: Value, h: Value) -> Value:
    """One step from the input's part of the gates (N, 3H)."""
    gate = _split(op, cell, fed)

    def part(name: str, state: Value) -> Value:
        return op.Gemm(state, op.weight(cell.gate(name, cell.recurrent), f"r{name}"), None, transB=1)

    r, z = (op.Sigmoid(op.Add(gate[n], part(n, h))) for n in "rz")
    n = op.Tanh(op.Add(gate["n"], part("n", op.Mul(r, h))))
    # n + z (h - n) is (1 - z) n + z h
    return op.Add(n, op.Mul(z, op.Sub(h, n)))
