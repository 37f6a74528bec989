"""Cells of recurrent networks."""

from __future__ import annotations

from collections.abc import Mapping

from retorch.caffe2.parsing.call import Call, Results, Rule


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
    going = g.reshape(g.op("Less", g.reshape(call.input(4), ()), call.input(3)), (1, -1, 1))
    if call.int("drop_states", 0):
        hidden = cell = g.scalar(0.0, gates)
    return (g.op("Where", going, shown, hidden), g.op("Where", going, state, cell))


RULES: Mapping[str, Rule] = {"LSTMUnit": lstm_unit}
