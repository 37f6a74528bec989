"""Recurrent layers: those of cuDNN as PyTorch's, those of rnn and torch-rnn in their own layout, steps with a state."""

from __future__ import annotations

from typing import Any

import numpy as np

from retorch.layers.recurrent import cudnn, masking, recursor, sequence, sequencer, torch_rnn
from retorch.pytorch.part import Part, State
from retorch.pytorch.rule import Run, keeps_state, rule, trained
from retorch.pytorch.trace import Scope, flat

_CUDNN = {"LSTM": "LSTM", "GRU": "GRU", "RELU": "RNN", "TANH": "RNN"}


@rule(cudnn.RNN, says="nn.LSTM, nn.GRU, nn.RNN")
def cudnn_rnn(layer: cudnn.RNN, at: Run) -> Part | None:
    cell = layer.stack[0][0]
    if layer.inputMode == "CUDNN_SKIP_INPUT" or layer.h0 is not None or layer.c0 is not None:
        return None
    states: dict[str, State] = {}
    for i, cells in enumerate(layer.stack):
        for direction, one in enumerate(cells):
            end = f"_l{i}{'_reverse' if direction else ''}"
            arrays = {"weight_ih": one.inputs, "weight_hh": one.recurrent, "bias_ih": one.bias}
            for name, array in {**arrays, "bias_hh": one.recurrent_bias}.items():
                if array is None:
                    return None
                states[name + end] = State(np.ascontiguousarray(array, np.float32))
    named: dict[str, Any] = {}
    if layer.numLayers > 1:
        named["num_layers"] = layer.numLayers
    if cell.kind == "RELU":
        named["nonlinearity"] = "relu"
    if layer.batchFirst:
        named["batch_first"] = True
    dropout = layer.raw.get("dropout")
    if isinstance(dropout, (int, float)) and dropout and layer.numLayers > 1:
        named["dropout"] = float(dropout)
    if layer.directions == 2:
        named["bidirectional"] = True
    return at.module(_CUDNN[cell.kind], layer.inputSize, layer.hiddenSize, states=states, how="module", **named)


@rule(sequence.Sequence, says="SeqLSTM, SeqGRU, VanillaRNN")
def whole_sequence(layer: sequence.Sequence, at: Run) -> Part | None:
    if not isinstance(layer, (sequence.RnnSequence, torch_rnn.TorchRnnSequence)) or layer.weight is None:
        return None
    rnn = isinstance(layer, sequence.RnnSequence)
    if any(array is not None and array.size for array, _ in layer.states()) or getattr(layer, "v", None) is not None:
        return None
    batch_first, _, masked = layer.layout if isinstance(layer, sequence.RnnWeights) else (True, False, False)
    projection = getattr(layer, "weightO", None)
    hidden, outputs = layer.cell.hidden, layer.cell.output
    name = {"LSTM": "SeqLSTM", "GRU": "SeqGRU" if rnn else "UpdateGRU", "TANH": "VanillaRNN"}[layer.cell.kind]
    states = {"weight": trained(layer.weight, "weight"), "bias": trained(np.asarray(layer.bias).reshape(-1), "bias")}
    if projection is not None:
        states["weightO"] = trained(projection, "weightO")
    named: dict[str, Any] = {} if projection is None else {"outputs": outputs}
    named |= {"batch_first": True} if batch_first else {}
    named |= {"mask_zero": True} if masked else {}
    inputs = layer.weight.shape[0] - outputs
    return at.module(name, inputs, hidden, states=states, **named)


@keeps_state
@rule(recursor.HiddenStep)
def step_with_state(layer: recursor.HiddenStep, at: Run) -> Part | None:
    start = layer.start()
    if any(given is not None for given, _ in start) or at.planner.names_between(layer, layer.inner) != ["0"]:
        return None
    inside = [item for item in at.scope.items if isinstance(item, Scope)]
    if len(inside) != 1 or at.planner.run(inside[0]) is None or isinstance(at.given, tuple):
        return None
    return at.module(
        "HiddenStep", *(size for _, size in start), children={"0": at.child(layer.inner)}, children_first=True
    )


@keeps_state
@rule(torch_rnn.LSTM, torch_rnn.GRU)
def step_or_sequence(layer: torch_rnn.LSTM | torch_rnn.GRU, at: Run) -> Part | None:
    return whole_sequence(layer, at) if layer.whole else step_with_state(layer, at)


@keeps_state
@rule(recursor.Recurrence)
def recurrence(layer: recursor.Recurrence, at: Run) -> Part | None:
    if layer.given is not None or at.planner.names_between(layer, layer.inner) != ["0"]:
        return None
    sizes = layer.sizes if isinstance(layer.sizes, list) else [layer.sizes]
    inside = [item for item in at.scope.items if isinstance(item, Scope)]
    first = flat(at.given)[0]
    batched = first.shape is not None and len(first.shape) > layer.nInputDim
    if any(isinstance(size, list) for size in sizes) or not batched or len(inside) != 1:
        return None
    if at.planner.run(inside[0]) is None:
        return None
    return at.module("Recurrence", *sizes, children={"0": at.child(layer.inner)}, children_first=True)


@keeps_state
@rule(recursor.Recurrent)
def recurrent(layer: recursor.Recurrent, at: Run) -> Part | None:
    inside = [item for item in at.scope.items if isinstance(item, Scope)]
    if any(at.planner.run(run) is None for run in inside):
        return None
    children = {"initialModule": at.child(layer.initialModule), "recurrentModule": at.child(layer.recurrentModule)}
    return at.module("Recurrent", children=children)


@keeps_state
@rule(recursor.Recursor, sequencer.BiSequencer)
def around(layer: recursor.Recursor | sequencer.BiSequencer, at: Run) -> Part | None:
    inside = at.runs_inside()
    if inside is None or len(inside) != 1 or at.planner.names_between(layer, inside[0].layer) != ["0"]:
        return None
    return at.module("nn.Sequential", children={"0": at.child(inside[0].layer)})


@rule(sequencer.Sequencer)
def calls_every_step(layer: sequencer.Sequencer, at: Run) -> Part | None:
    inside = [item for item in at.scope.items if isinstance(item, Scope)]
    if not inside or at.planner.names_between(layer, layer.inner) != ["0"]:
        return None
    if any(run.layer is not layer.inner or at.planner.run(run) is None for run in inside):
        return None
    return at.module("Sequencer", children={"0": at.child(layer.inner)})


@rule(masking.MaskZero)
def mask_zero(layer: masking.MaskZero, at: Run) -> Part | None:
    inside = [item for item in at.scope.items if isinstance(item, Scope)]
    if not layer.masks or isinstance(at.given, tuple) or isinstance(at.scope.made, tuple) or len(inside) != 1:
        return None
    batched = layer.is_batch(at.rank) and layer.by_sample(len(at.made_shape()))
    if not batched or not at.is_float() or at.planner.run(inside[0]) is None:
        return None
    if at.planner.names_between(layer, layer.inner) != ["0"]:
        return None
    return at.module("MaskZero", children={"0": at.child(layer.inner)})
