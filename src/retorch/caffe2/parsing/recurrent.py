"""Cells of recurrent networks."""

from __future__ import annotations

from collections.abc import Mapping

from retorch.caffe2.parsing.call import Call, Results, Rule
from retorch.caffe2.parsing.graph import RefusalError, rank


def lstm_unit(call: Call) -> Results:
    """One step of an LSTM from its gates, stored i, f, o, g: the new hidden state and the new cell.

    Inputs: hidden state, cell, gates, and where sequences have lengths those and the time step, which are refused.
    """
    g = call.graph
    lengths = bool(call.int("sequence_lengths", 1))
    if lengths:
        raise RefusalError("LSTMUnit with sequence_lengths")
    cell, gates = call.input(1), call.input(2)
    axis = rank(gates) - 1
    enter, keep, leave, new = g.ops("Split", [gates], 4, axis=axis, num_outputs=4)
    bias = call.float("forget_bias", 0.0)
    if bias:
        keep = g.op("Add", keep, g.scalar(bias, gates))
    kept = g.op("Mul", cell, g.op("Sigmoid", keep))
    entered = g.op("Mul", g.op("Sigmoid", enter), g.op("Tanh", new))
    state = g.op("Add", kept, entered)
    return (g.op("Mul", g.op("Sigmoid", leave), g.op("Tanh", state)), state)


RULES: Mapping[str, Rule] = {"LSTMUnit": lstm_unit}
