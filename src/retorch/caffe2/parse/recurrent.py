"""Cells of recurrent networks, and whole stacks of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.graph import RefusalError, size
from retorch.caffe2.parse.lengths import integers


def lstm_unit(call: Call) -> Results:
    """One step of an LSTM from its gates, stored i, f, o, g: the new hidden state and the new cell.

    Inputs: hidden state and cell (1, N, D), gates (1, N, 4D), with ``sequence_lengths`` N lengths, and the time step;
    a sequence that is over keeps its state, or with ``drop_states`` loses it.
    """
    g = call.graph
    hidden, cell, gates = (call.input(index) for index in range(3))
    enter, keep, leave, new = g.ops("Split", [gates], 4, axis=2, num_outputs=4)
    bias = call.float("forget_bias", 0.0)
    if bias:
        keep = g.op("Add", keep, g.scalar(bias, gates))
    kept = g.op("Mul", cell, g.op("Sigmoid", keep))
    state = g.op("Add", kept, g.op("Mul", g.op("Sigmoid", enter), g.op("Tanh", new)))
    shown = g.op("Mul", g.op("Sigmoid", leave), g.op("Tanh", state))
    if not call.int("sequence_lengths", 1):
        return (shown, state)
    return (_going(call, shown, hidden), _going(call, state, cell))


def _going(call: Call, new: ir.Value, old: ir.Value) -> ir.Value:
    """The new state where the time step, the last input, is within the length of its sequence, the input before."""
    g = call.graph
    step, lengths = integers(call, -1), integers(call, -2)
    going = g.reshape(g.op("Less", g.reshape(step, ()), lengths), (1, -1, 1))
    return g.op("Where", going, new, g.scalar(0.0, new) if call.int("drop_states", 0) else old)


def gru_unit(call: Call) -> ir.Value:
    """One step of a GRU from its gates, stored reset, update, output; the reset gate has been used in the last one.

    Inputs as for LSTMUnit without the cell, gates (1, N, 3D).
    """
    g = call.graph
    hidden, gates = call.input(0), call.input(1)
    _, update, output = g.ops("Split", [gates], 3, axis=2, num_outputs=3)
    share = g.op("Sigmoid", update)
    kept = g.op("Mul", hidden, share)
    state = g.op("Add", kept, g.op("Mul", g.op("Tanh", output), g.op("Sub", g.scalar(1.0, gates), share)))
    return _going(call, state, hidden) if call.int("sequence_lengths", 1) else state


def inference_lstm(call: Call) -> Results:
    """Layers of LSTMs upon each other: the last one's steps, then the last states and cells of all.

    Inputs: x (steps, batch, features), first states and cells (layers, batch, size), then of every layer and direction
    two matrices, with ``has_biases`` two vectors too, their gates in the order input, forget, cell, output.
    """
    g, layers, ways = call.graph, call.count("num_layers", 1, 1 << 12), 1 + bool(call.int("bidirectional", 0))
    each = 4 if call.int("has_biases", 1) else 2
    weights = call.inputs[3:]
    if len(weights) != layers * ways * each:
        raise RefusalError(f"{len(weights)} weights for {layers} layers of {ways} directions")
    first = bool(call.int("batch_first", 0))
    x = g.transpose(call.x, (1, 0, 2)) if first else call.x
    ends: list[Sequence[ir.Value]] = []
    for at in range(0, layers * ways, ways):
        own = [weights[each * way : each * (way + 1)] for way in range(at, at + ways)]
        states = [g.slice(call.input(which), 0, at, at + ways) for which in (1, 2)]
        x, *last = _layer(call, x, own, states)
        ends.append(last)
    hidden, cells = (g.op("Concat", *parts, axis=0) for parts in zip(*ends, strict=True))
    return (g.transpose(x, (1, 0, 2)) if first else x, hidden, cells)


def _layer(
    call: Call, x: ir.Value, weights: Sequence[Sequence[ir.Value]], states: Sequence[ir.Value]
) -> Sequence[ir.Value]:
    """One layer in all its directions: its steps, (steps, batch, directions times size), its last states and cells."""
    g = call.graph
    stacked = [
        g.op("Concat", *(g.unsqueeze(_gates(call, w), 0) for w in part), axis=0) for part in zip(*weights, strict=True)
    ]
    bias = g.op("Concat", *stacked[2:], axis=1) if len(stacked) > 2 else None
    direction = "bidirectional" if len(weights) > 1 else "forward"
    inputs = [x, stacked[0], stacked[1], bias, None, *states]
    y, *last = g.ops("LSTM", inputs, 3, hidden_size=size(weights[0][1], 1), direction=direction)
    return [g.reshape(g.transpose(y, (0, 2, 1, 3)), (0, 0, -1)), *last]


def _gates(call: Call, weight: ir.Value) -> ir.Value:
    """Gates stored i, f, g, o in ONNX's order i, o, f, g."""
    g = call.graph
    enter, keep, new, leave = g.ops("Split", [weight], 4, axis=0, num_outputs=4)
    return g.op("Concat", enter, leave, keep, new, axis=0)


RULES: Mapping[str, Rule] = {"LSTMUnit": lstm_unit, "GRUUnit": gru_unit, "InferenceLSTM": inference_lstm}
