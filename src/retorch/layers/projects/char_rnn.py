"""Language models of forks of torch-rnn and of rnn: recurrences over time and depth, windows of earlier steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, layer
from retorch.layers.base.memory import memory
from retorch.layers.convolution.spatial import check_rank, stable_copy
from retorch.layers.recurrent.cell import sigmoid
from retorch.layers.recurrent.recursor import Step
from retorch.layers.recurrent.sequence import BUFFERS
from retorch.layers.recurrent.state import Remembers, check_batch, remembers, stored, zeros_for
from retorch.torch7 import LuaTable

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


@dataclass(frozen=True, slots=True, eq=False)
class GridWeights:
    """The weights of a grid GRU: what time reads of the input and the state, and depth of both.

    Attributes:
        time: (D, (2 + G)·H), of the input: gates u and r, then G candidates.
        gates: (G·H, 2·H), of the state.
        candidates: (G·H, G·H), of the state that r has reset.
        depth: (D, 3·D), of the input: gates u and r, then the candidate.
        state: (G·H, 3·D), of the new state.
    """

    time: Array
    gates: Array
    candidates: Array
    depth: Array
    state: Array


class GridGRU(Remembers):
    """What they share: (N, T, D), or {h0, x}, to (N, T, D), by G·H numbers of state

    u, r = σ(W·{x, h} + b), n = tanh(W·{x, r·h} + b), h = (1 − u)·h + u·n over time; over depth the same with x as the
    state and h as the input. ``zoneout_prob`` and ``zoneout_probd`` scale u by 1 − p.
    """

    weight: Array
    bias: Array
    input_dim: int
    hidden_dim: int
    zoneout_prob: float = 0.0
    zoneout_probd: float = 0.0
    remember_states: bool = False
    ignored = BUFFERS | frozenset(
        """gatesd buffer1d buffer2d buffer3d grad_a_bufferd bottleneck grad_bottleneck swap swapped hidden_rank
        hidden_per_gate""".split()
    )
    #: How many candidates share one pair of gates.
    shared = 1

    def setup(self, bind: Binder) -> None:
        if self.remember_states:
            bind.notes.append(remembers(self))
        self.parts = self.cut()

    def cut(self) -> GridWeights:
        """The stored weight, taken apart."""
        raise NotImplementedError

    def rows(self) -> GridWeights:
        """The parts of a weight whose first D rows read the input, and the others the state."""
        d, h, g = self.input_dim, self.hidden_dim, self.shared
        if self.weight.shape != (d + g * h, (g + 2) * h + 3 * d):
            raise Refusal(f"holds a weight of {self.weight.shape}")
        x, s = self.weight[:d], self.weight[d:]
        wide = (g + 2) * h
        return GridWeights(x[:, :wide], s[:, : 2 * h], s[:, 2 * h : wide], x[:, wide:], s[:, wide:])

    def taken(self, given: Nested | Values) -> tuple[object, object]:
        """The state, if there is one, and the sequence."""
        items = cast("list[object]", given if isinstance(given, list) else [given])
        if len(items) not in (1, 2):
            raise Refusal(f"takes a sequence, or a state and a sequence, not {len(items)} tensors")
        return (None if len(items) == 1 else items[0]), items[-1]

    def check(self, x: Array | Value) -> None:
        check_rank(x, 3)
        if x.shape[2] != self.input_dim:
            raise Refusal(f"takes {self.input_dim} features, not {x.shape[2]}")

    @property
    def sizes(self) -> tuple[int, int, int]:
        """D, the size of a gate over time, and of the state."""
        return self.input_dim, self.hidden_dim, self.shared * self.hidden_dim

    def forward(self, x: Nested) -> Array:
        start, sequence = cast("tuple[Array | None, Array]", self.taken(x))
        self.check(sequence)
        d, size, state = self.sizes
        last = cast("Array | None", memory().get(id(self))) if self.remember_states else None
        h = next((s for s in (start, last) if s is not None), np.zeros((len(sequence), state), sequence.dtype))
        check_batch(h, (len(sequence), state))
        wide = (self.shared + 2) * size
        fed, below = sequence @ self.parts.time + self.bias[:wide], self.bias[wide:]
        steps: list[Array] = []
        for t in range(sequence.shape[1]):
            u, r = np.split(sigmoid(fed[:, t, : 2 * size] + h @ self.parts.gates), 2, axis=1)
            u, r = np.tile(u, self.shared) * (1 - self.zoneout_prob), np.tile(r, self.shared)
            n = np.tanh(fed[:, t, 2 * size :] + (r * h) @ self.parts.candidates)
            h = (1 - u) * h + u * n
            steps.append(h)
        memory()[id(self)] = h
        sums = np.stack(steps, axis=1) @ self.parts.state + below
        u, r = np.split(sigmoid(sums[:, :, : 2 * d] + sequence @ self.parts.depth[:, : 2 * d]), 2, axis=2)
        u = u * (1 - self.zoneout_probd)
        n = np.tanh(sums[:, :, 2 * d :] + (r * sequence) @ self.parts.depth[:, 2 * d :])
        return (1 - u) * sequence + u * n

    def lower(self, op: Builder, x: Values) -> Value:
        start, sequence = cast("tuple[Value | None, Value]", self.taken(x))
        self.check(sequence)
        states = self.lower_time(op, start, sequence)
        return self.lower_depth(op, states, sequence)

    def lower_time(self, op: Builder, start: Value | None, x: Value) -> Value:
        """All states, (N, T, G·H)."""
        _, size, state = self.sizes
        last = cast("Value | None", op.memory.get(id(self))) if self.remember_states else None
        h = next((s for s in (start, last) if s is not None), None) or zeros_for(op, x, [state])
        wide = (self.shared + 2) * size
        weights = [op.weight(stable_copy(w), "w") for w in (self.parts.time, self.parts.gates, self.parts.candidates)]
        bias = op.weight(stable_copy(self.bias[:wide]), "b")
        steps: list[Value] = []
        for t in range(x.shape[1]):
            step = op.Squeeze(op.Slice(x, [t], [t + 1], [1]), [1])
            fed = op.Gemm(step, weights[0], bias)
            gates = op.Sigmoid(op.Add(op.Slice(fed, [0], [2 * size], [1]), op.MatMul(h, weights[1])))
            u, r = op.many("Split", 2, gates, axis=1, num_outputs=2)
            if self.shared > 1:
                u, r = op.Concat(*[u] * self.shared, axis=1), op.Concat(*[r] * self.shared, axis=1)
            reset = op.MatMul(op.Mul(r, h), weights[2])
            n = op.Tanh(op.Add(op.Slice(fed, [2 * size], [wide], [1]), reset))
            h = _mixed(op, u, self.zoneout_prob, h, n)
            steps.append(h)
        op.memory[id(self)] = h
        return op.Concat(*[op.Unsqueeze(s, [1]) for s in steps], axis=1)

    def lower_depth(self, op: Builder, states: Value, x: Value) -> Value:
        d = self.input_dim
        below = stable_copy(self.bias[-3 * d :])
        weights = (self.parts.state, self.parts.depth[:, : 2 * d], self.parts.depth[:, 2 * d :])
        state, gate, candidate = (op.weight(stable_copy(w), "w") for w in weights)
        sums = op.Add(op.MatMul(states, state), op.weight(below, "b"))
        gates = op.Sigmoid(op.Add(op.Slice(sums, [0], [2 * d], [2]), op.MatMul(x, gate)))
        u, r = op.many("Split", 2, gates, axis=2, num_outputs=2)
        n = op.Tanh(op.Add(op.Slice(sums, [2 * d], [3 * d], [2]), op.MatMul(op.Mul(r, x), candidate)))
        return _mixed(op, u, self.zoneout_probd, x, n)


def _mixed(op: Builder, u: Value, zoneout: float, old: Value, new: Value) -> Value:
    """(1 − u)·old + u·new"""
    u = op.Mul(u, 1 - zoneout) if zoneout else u
    return op.Add(old, op.Mul(u, op.Sub(new, old)))


@layer("nn.GRIDGRU", kind="gru")
class GRIDGRU(GridGRU):
    """A GRU over time, and one over depth of which x is the state: (N, T, D) to (N, T, D)"""

    def cut(self) -> GridWeights:
        return self.rows()


@layer("nn.GRIDGRUM", kind="gru")
class GRIDGRUM(GridGRU):
    """A GRIDGRU of whose gates over time each governs ``hidden_per_gate`` numbers of the state"""

    hidden_per_gate: int

    def cut(self) -> GridWeights:
        self.shared = self.hidden_per_gate
        return self.rows()


@layer("nn.GRIDGRULR", kind="gru")
class GRIDGRULR(GridGRU):
    """A GRIDGRU whose gates over time read the state through ``hidden_rank`` numbers"""

    hidden_rank: int

    def cut(self) -> GridWeights:
        d, h, rank = self.input_dim, self.hidden_dim, self.hidden_rank
        shapes = [(d, 3 * h), (h, rank), (rank, 2 * h), (h, h), (d, 3 * d), (h, 3 * d)]
        if self.weight.size != sum(a * b for a, b in shapes):
            raise Refusal(f"holds {self.weight.size} weights")
        ends = np.cumsum([a * b for a, b in shapes])[:-1]
        parts = np.split(self.weight.reshape(-1), ends)
        time, into, out, candidates, depth, state = (p.reshape(s) for p, s in zip(parts, shapes, strict=True))
        return GridWeights(time, into @ out, candidates, depth, state)


@layer("nn.History", kind="history")
class History(Layer):
    """Each step with the ``history_depth`` steps before it, the latest first, zeros before the sequence

    x is (N, T, D), the result (N, T, (history_depth + 1)·D).
    """

    history_depth: int
    ignored = frozenset({"prevInputs"})

    def forward(self, x: Array) -> Array:
        check_rank(x, 3)
        padded = np.pad(x, ((0, 0), (self.history_depth, 0), (0, 0)))
        starts = range(self.history_depth, -1, -1)
        return np.concatenate([padded[:, s : s + x.shape[1]] for s in starts], axis=2)

    def lower(self, op: Builder, x: Value) -> Value:
        check_rank(x, 3)
        if not self.history_depth:
            return op.Identity(x)
        padded = op.Pad(x, [0, self.history_depth, 0, 0, 0, 0], 0.0)
        starts = range(self.history_depth, -1, -1)
        return op.Concat(*[op.Slice(padded, [s], [s + x.shape[1]], [1]) for s in starts], axis=2)


@layer("nn.StatefulConvolution", kind="conv")
class StatefulConvolution(Layer):
    """y[t] = bias + Σ_k x[t − k · dilat] · weight[k], zeros before the sequence; x is (N, T, I), weight (K, I, O)"""

    weight: Array
    bias: Array
    dilat: int = 1
    ignored = frozenset({"input_dim", "output_dim", "kernel_size", "gradBiasBuffer", "input_prev", "input_prev_back"})

    def check(self, x: Array | Value) -> None:
        check_rank(x, 3)
        if x.shape[2] != self.weight.shape[1]:
            raise Refusal(f"takes {self.weight.shape[1]} features, not {x.shape[2]}")

    def forward(self, x: Array) -> Array:
        self.check(x)
        y = np.zeros((*x.shape[:2], self.bias.size), x.dtype) + self.bias
        for k, weight in enumerate(self.weight):
            back = k * self.dilat
            if back < x.shape[1]:
                y[:, back:] += x[:, : x.shape[1] - back] @ weight
        return y

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        before = (len(self.weight) - 1) * self.dilat
        rows = op.Transpose(x, perm=[0, 2, 1])
        padded = op.Pad(rows, [0, 0, before, 0, 0, 0], 0.0) if before else rows
        kernel = stable_copy(self.weight[::-1].transpose(2, 1, 0))
        y = op.Conv(
            padded,
            op.weight(kernel, "w"),
            op.weight(self.bias, "b"),
            kernel_shape=[len(self.weight)],
            dilations=[self.dilat],
        )
        return op.Transpose(y, perm=[0, 2, 1])


@layer("nn.Grid2DLSTM", kind="lstm")
class Grid2DLSTM(Step):
    """{c1, h1, c2, h2, …, y} = inner{zeros, x, c1, h1, …}; gives y; ``nb_layers`` pairs of states, zeros at first"""

    outputSize: int
    nb_layers: int
    ignored = Step.ignored | {"should_tie_weights", "dropout", "inputSize", "rnn_inputs", "nb_layers"}

    def starts(self) -> list[Array] | None:
        """The states that the user set, if the file holds them."""
        cells = self.raw.get("cells")
        first = cells.get(0) if isinstance(cells, LuaTable) else None
        given = [stored(s) for s in first.sequence()] if isinstance(first, LuaTable) else []
        if len(given) != 2 * self.nb_layers or not any(s is not None and np.any(s) for s in given):
            return None
        return [cast("Array", s) for s in given]

    def forward(self, x: Array) -> Array:
        zeros = np.zeros((len(x), self.outputSize), np.float32 if x.dtype.kind in "iu" else x.dtype)
        first = self.starts() or [zeros] * (2 * self.nb_layers)
        states = cast("list[Array]", memory().get(id(self)) or first)
        for state in states:
            check_batch(state, zeros.shape)
        *states, y = cast("list[Array]", self.inner([zeros, x, *states]))
        memory()[id(self)] = states
        return y

    def lower(self, op: Builder, x: Value) -> Value:
        zeros = zeros_for(op, x, [self.outputSize])
        given = self.starts()
        first = [zeros] * (2 * self.nb_layers) if given is None else [op.weight(s, "h0") for s in given]
        states = cast("list[Value]", op.memory.get(id(self)) or first)
        *states, y = cast("list[Value]", op.call(self.inner, [zeros, x, *states]))
        op.memory[id(self)] = states
        return y
