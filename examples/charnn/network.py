"""The networks of char-rnn's ``train.lua`` (model/LSTM.lua, GRU.lua, RNN.lua), one step of one layer, untrained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from examples.torch_modules import Graph, Maker, module
from retorch import LuaTable, TorchObject


def lstm(make: Maker, tokens: int, size: int) -> TorchObject:
    """{index, c, h} → {c, h, logarithms of probabilities}."""
    graph = Graph(3)
    index, c, h = graph.inputs
    x = graph(module("OneHot", outputSize=tokens), index)
    sums = graph(
        module("nn.CAddTable"),
        graph(make.linear(tokens, 4 * size), x, name="i2h_1"),
        graph(make.linear(size, 4 * size), h, name="h2h_1"),
    )
    sizes = {"size": np.array([4, size]), "nelement": 4 * size, "batchsize": np.array([1, 4, size])}
    parts = graph(module("nn.SplitTable", dimension=2), graph(module("nn.Reshape", **sizes), sums))
    gates = list(graph.split(parts, 4))
    into, forget, out = (graph(module("nn.Sigmoid"), gate) for gate in gates[:3])
    written = graph(module("nn.Tanh"), gates[3])
    kept, added = graph(module("nn.CMulTable"), forget, c), graph(module("nn.CMulTable"), into, written)
    next_c = graph(module("nn.CAddTable"), kept, added)
    next_h = graph(module("nn.CMulTable"), out, graph(module("nn.Tanh"), next_c))
    return graph.build(next_c, next_h, _scores(graph, make, next_h, size, tokens))


def gru(make: Maker, tokens: int, size: int) -> TorchObject:
    """{index, h} → {h, logarithms of probabilities}."""
    graph = Graph(2)
    index, h = graph.inputs
    x = graph(module("OneHot", outputSize=tokens), index)

    def total(state: TorchObject) -> TorchObject:
        return graph(module("nn.CAddTable"), graph(make.linear(tokens, size), x), graph(make.linear(size, size), state))

    update, reset = (graph(module("nn.Sigmoid"), total(h)) for _ in range(2))
    candidate = graph(module("nn.Tanh"), total(graph(module("nn.CMulTable"), reset, h)))
    negated = graph(module("nn.MulConstant", constant_scalar=-1, inplace=False), update)
    kept = graph(module("nn.AddConstant", constant_scalar=1, inplace=False), negated)
    next_h = graph(
        module("nn.CAddTable"),
        graph(module("nn.CMulTable"), update, candidate),
        graph(module("nn.CMulTable"), kept, h),
    )
    return graph.build(next_h, _scores(graph, make, next_h, size, tokens))


def rnn(make: Maker, tokens: int, size: int) -> TorchObject:
    """{index, h} → {h, logarithms of probabilities}."""
    graph = Graph(2)
    index, h = graph.inputs
    x = graph(module("OneHot", outputSize=tokens), index)
    sums = graph(module("nn.CAddTable"), graph(make.linear(tokens, size), x), graph(make.linear(size, size), h))
    next_h = graph(module("nn.Tanh"), sums)
    return graph.build(next_h, _scores(graph, make, next_h, size, tokens))


def _scores(graph: Graph, make: Maker, h: TorchObject, size: int, tokens: int) -> TorchObject:
    return graph(module("nn.LogSoftMax"), graph(make.linear(size, tokens), h, name="decoder"))


CELLS: dict[str, Callable[[Maker, int, int], TorchObject]] = {"lstm": lstm, "gru": gru, "rnn": rnn}


def checkpoint(text: bytes, cell: str = "lstm", size: int = 128, seed: int = 1) -> LuaTable:
    """What char-rnn's ``train.lua`` saves, before the first step of training.

    Args:
        text: what it will be trained on; its bytes are the vocabulary.
        cell: ``lstm``, ``gru`` or ``rnn``.
        size: of its state.
        seed: of its weights.
    """
    tokens = sorted(set(text))
    network = CELLS[cell](Maker(np.random.default_rng(seed)), len(tokens), size)
    vocabulary = LuaTable({_character(token): index for index, token in enumerate(tokens, 1)})
    options = LuaTable({"model": cell, "rnn_size": size, "num_layers": 1, "dropout": 0, "seq_length": 50})
    return LuaTable({"protos": LuaTable({"rnn": network}), "opt": options, "vocab": vocabulary})


def _character(token: int) -> str | bytes:
    return chr(token) if token < 128 else bytes([token])
