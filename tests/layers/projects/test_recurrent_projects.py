"""Recurrent networks as projects published them, against loops; real checkpoints of torch-rnn among them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.nngraph import Node, graph

import retorch
from building import module, torch_object
from layers.recurrent.test_cudnn import make
from layers.recurrent.test_sequence import lstm, vanilla
from layers.rnn_modules import concat, linear, plain, sigmoid
from layers.rows import Row, named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module, bind
from retorch.torch7 import LuaTable, TorchObject

Rows = Iterator[tuple[str, Module, Any, Any]]


def normalization(rng: np.random.Generator, h: int) -> tuple[TorchObject, Any]:
    mean, var = noise(rng, h), rng.random(h).astype(np.float32) + np.float32(0.5)
    g, b = noise(rng, h), noise(rng, h)
    made = plain("BatchNormalization", running_mean=mean, running_var=var, weight=g, bias=b, eps=1e-5)
    return made, lambda x: (x - mean) / np.sqrt(var.astype(float) + 1e-5) * g + b


def language_models(rng: np.random.Generator) -> Rows:
    for kind, layers, normal in (("lstm", 1, 0), ("lstm", 2, 1), ("rnn", 2, 0), ("lstm", 3, 0), ("rnn", 1, 1)):
        n, t, v, d, h = (int(k) for k in rng.integers(2, 6, 5))
        table = noise(rng, v, d)
        chain, x = [plain("LookupTable", weight=table)], rng.integers(1, v + 1, (n, t))
        folds, parts = [], []
        y = table[x - 1].swapaxes(0, 1)
        for layer in range(layers):
            width, gates = h if layer else d, 4 if kind == "lstm" else 1
            w, b = noise(rng, width + h, gates * h), noise(rng, gates * h)
            name = "LSTM" if kind == "lstm" else "VanillaRNN"
            chain.append(plain(name, weight=w, bias=b, input_dim=width, hidden_dim=h, remember_states=True))
            zeros = np.zeros((n, h))
            y = lstm(w, b, y, zeros, zeros)[0] if kind == "lstm" else vanilla(w, b, y, zeros)
            if normal:
                made, formula = normalization(rng, h)
                folds.append(plain("View", size=(1, 1, -1), numInputDims=3))
                parts.append(plain("View", size=(1, -1), numInputDims=2))
                chain += [folds[-1], made, parts[-1]]
                y = formula(y)
            chain.append(plain("Dropout", p=0.5, v2=True))
        w, b = noise(rng, v, h), noise(rng, v)
        # the sizes of the views are those of the last batch that the file saw
        first, second = plain("View", size=(35, -1), numInputDims=3), plain("View", size=(5, 7, -1), numInputDims=2)
        chain += [first, linear(w, b), second]
        net = torch_object("nn.LanguageModel", net=torch_object("nn.Sequential", modules=chain), rnns=[])
        net["view1"], net["view2"] = first, second
        net["bn_view_in"], net["bn_view_out"] = LuaTable.of(*folds), LuaTable.of(*parts)
        yield f"{kind}{layers}", bind(net), x, (y @ w.T.astype(float) + b).swapaxes(0, 1)


def adapters(rng: np.random.Generator) -> Rows:
    for n, t in ((1, 1), (2, 3), (4, 2)):
        w, b, x = noise(rng, 3, 5), noise(rng, 3), noise(rng, n, t, 5)
        first, second = plain("View", size=(9, -1), numInputDims=3), plain("View", size=(3, 3, -1), numInputDims=2)
        chain = torch_object("nn.Sequential", modules=[first, linear(w, b), second])
        net = torch_object("nn.TemporalAdapter", net=chain, view_in=first, view_out=second)
        yield "", bind(net), x, x @ w.T.astype(float) + b


def batch_brnns(rng: np.random.Generator) -> Rows:
    """DeepSpeech: the directions of a cuDNN layer without input matrices, summed."""
    for name, t, n in (("cudnn.BatchBRNN", 2, 2), ("cudnn.BatchBRNNReLU", 4, 3), ("cudnn.BatchBRNNReLU", 3, 2)):
        d, h = 5, 3
        clipped = name.endswith("ReLU")
        w, (made, formula) = noise(rng, h, d), normalization(rng, h)
        first, second = plain("View", size=(4, -1), numInputDims=3), plain("View", size=(2, 2, -1), numInputDims=2)
        inner = make(rng, "CUDNN_RNN_RELU" if clipped else "CUDNN_RNN_TANH", 2, 1, h, h, True)
        rnn = torch_object(
            "cudnn.RNN",
            weight=inner.packed(),
            inputSize=h,
            hiddenSize=h,
            mode=inner.mode,
            bidirectional="CUDNN_BIDIRECTIONAL",
            inputMode="CUDNN_SKIP_INPUT",
        )
        clamp = [plain("Clamp", min_val=0, max_val=20)] if clipped else []
        last = [plain("View", size=(-1, 2, h), numInputDims=2), plain("Sum", dimension=3)]
        net = torch_object(name, modules=[first, linear(w), made, second, rnn, *clamp, *last])
        net["view_in"], net["view_out"], net["rnn"] = first, second, rnn
        x, zeros = noise(rng, t, n, d), np.zeros((2, n, h))
        y = inner.run(formula(x @ w.T.astype(float)), zeros, zeros)
        y = np.clip(y, 0, 20) if clipped else y
        yield name, bind(net), x, y[:, :, :h] + y[:, :, h:]


def _crnn_cell(rng: np.random.Generator, d: int, h: int) -> tuple[TorchObject, Any]:
    """CRNN's unit, {x, c, h} to {c, h, y}."""
    x, c, before = (Node(plain("Identity")) for _ in range(3))
    wi, bi, wh, bh = noise(rng, 4 * h, d), noise(rng, 4 * h), noise(rng, 4 * h, h), noise(rng, 4 * h)
    sums = Node(plain("CAddTable"), Node(linear(wi, bi), x), Node(linear(wh, bh), before))

    def part(node: Node, at: int, size: int) -> Node:
        return Node(plain("Narrow", dimension=2, index=at * h + 1, length=size * h), node)

    gates = Node(plain("Sigmoid"), part(sums, 0, 3))
    new = Node(plain("Tanh"), part(sums, 3, 1))
    kept, written = Node(plain("CMulTable"), part(gates, 1, 1), c), Node(plain("CMulTable"), part(gates, 0, 1), new)
    cell = Node(plain("CAddTable"), kept, written)
    out = Node(plain("CMulTable"), part(gates, 2, 1), Node(plain("Tanh"), cell))

    def step(x: np.ndarray, c: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        a = x @ wi.T.astype(float) + bi + before @ wh.T.astype(float) + bh
        c = sigmoid(a[:, h : 2 * h]) * c + sigmoid(a[:, :h]) * np.tanh(a[:, 3 * h :])
        return c, sigmoid(a[:, 2 * h : 3 * h]) * np.tanh(c)

    return graph([x, c, before], [cell, out, Node(plain("Identity"), out)], rng), step


def crnn(rng: np.random.Generator) -> Rows:
    """Both directions of an LSTM over a table, joined, and a layer for every step."""
    for t in (1, 2, 4):
        n, d, h, o = (int(k) for k in rng.integers(1, 4, 4))
        x = noise(rng, t, n, d)
        layers, ys = [], []
        for reverse in (False, True):
            unit, step = _crnn_cell(rng, d, h)
            layers.append(plain("LstmLayer", lstmUnit=unit, nHidden=h, maxT=26, reverse=reverse))
            c = before = np.zeros((n, h))
            y = np.zeros((t, n, h))
            for at in reversed(range(t)) if reverse else range(t):
                c, before = step(x[at].astype(float), c, before)
                y[at] = before
            ys.append(y)
        (w1, b1), (w2, b2), (w3, b3) = ((noise(rng, o, k), noise(rng, o)) for k in (h, h, o))
        ahead, back = Node(plain("Identity")), Node(plain("Identity"))
        sums = Node(plain("CAddTable"), Node(linear(w1, b1), ahead), Node(linear(w2, b2), back))
        join = plain("BiRnnJoin", joinUnit=graph([ahead, back], [sums], rng), maxT=26)
        unit = plain("SharedParallelTable", unit=linear(w3, b3), maxT=26)
        joined = ys[0] @ w1.T.astype(float) + b1 + ys[1] @ w2.T.astype(float) + b2
        net = bind(torch_object("nn.Sequential", modules=[concat(*layers), join, unit]))
        yield "", net, list(x), list(joined @ w3.T.astype(float) + b3)


ROWS = named(language_models, adapters, batch_brnns, crnn)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


def test_the_language_model_of_neuraltalk2_says_where_its_network_is() -> None:
    net = module("nn.LanguageModel", core=plain("Identity"), lookup_table=plain("Identity"))
    assert "the network of one step is its field `core`" in str(net.problems[0])


def test_indices_of_other_dimensions_are_refused() -> None:
    net = ROWS[0].net
    with pytest.raises(UnsupportedError, match="takes indices of two dimensions, not 1"):
        net.forward(np.ones(4))
    with pytest.raises(UnsupportedError, match="takes indices of two dimensions, not 1"):
        retorch.convert(net, np.ones(4, np.int64), fold=False)


@pytest.mark.real
@pytest.mark.parametrize("owner", ["dilawar", "danhon", "flynn-chen", "jkeefe"])
def test_checkpoints_of_torch_rnn(owner: str, real: Path) -> None:
    file = next(real.glob(f"{owner}*/*checkpoint*.t7"))
    stored = retorch.read(file)["model"]
    table, *rest = stored["net"]["modules"].sequence()
    x = np.random.default_rng(5).integers(1, len(table["weight"]) + 1, (2, 6))
    y = np.asarray(table["weight"])[x - 1].swapaxes(0, 1)
    for at in rest:
        if at.typename == "nn.LSTM":
            zeros = np.zeros((2, at["hidden_dim"]))
            y = lstm(np.asarray(at["weight"]), np.asarray(at["bias"]), y, zeros, zeros)[0]
        elif at.typename == "nn.Linear":
            y = y @ np.asarray(at["weight"]).T.astype(float) + np.asarray(at["bias"])
    row = Row(owner, retorch.load(file), x, y.swapaxes(0, 1))
    row.agrees_by_formula()
    row.agrees_converted()
