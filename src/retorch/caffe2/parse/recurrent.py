"""Cells of recurrent networks."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule


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
    step, lengths = call.inputs[-1], call.inputs[-2]
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


RULES: Mapping[str, Rule] = {"LSTMUnit": lstm_unit, "GRUUnit": gru_unit}
