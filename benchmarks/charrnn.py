"""char-rnn (Karpathy, 2015): one step of its LSTM, as nngraph saves it, with random weights."""

from __future__ import annotations

import numpy as np

from benchmarks.networks import linear
from benchmarks.nngraph import Node, graph
from retorch import TorchObject
from retorch.torch7 import StorageFacts, TorchStorage


def _module(typename: str, *inputs: Node, **fields: object) -> Node:
    return Node(TorchObject(typename, fields), *inputs)


def _cell(x: Node, c: Node, h: Node, inputs: int, size: int) -> tuple[Node, Node]:
    """The next state of one layer: its cell and its output."""
    sums = _module("nn.CAddTable", Node(linear(inputs, 4 * size), x), Node(linear(size, 4 * size, bias=False), h))
    sizes = np.array([4, size]).view(TorchStorage).named(StorageFacts("torch.LongStorage"))
    parts = _module("nn.Reshape", sums, size=sizes, nelement=4 * size)
    into, forget, out, new = _module("nn.SplitTable", parts, dimension=2).split(4)
    kept = _module("nn.CMulTable", _module("nn.Sigmoid", forget), c)
    added = _module("nn.CMulTable", _module("nn.Sigmoid", into), _module("nn.Tanh", new))
    cell = _module("nn.CAddTable", kept, added)
    return cell, _module("nn.CMulTable", _module("nn.Sigmoid", out), _module("nn.Tanh", cell))


def step(vocabulary: int, size: int, layers: int) -> TorchObject:
    """{x, c, h, c, h, …} to {c, h, c, h, …, log probabilities}; x is the character, counted from 1."""
    given = [_module("nn.Identity") for _ in range(1 + 2 * layers)]
    x, inputs = _module("OneHot", given[0], outputSize=vocabulary), vocabulary
    states: list[Node] = []
    for c, h in zip(given[1::2], given[2::2], strict=True):
        cell, x = _cell(x, c, h, inputs, size)
        inputs = size
        states += [cell, x]
    scores = _module("nn.LogSoftMax", Node(linear(size, vocabulary), x))
    return graph(given, [*states, scores], np.random.default_rng(0))
