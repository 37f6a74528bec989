"""The inner modules that the package rnn builds, and their steps as loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from building import torch_object
from layers.rows import noise
from retorch.torch7 import TorchObject

#: A step of a formula: the input and the states before to the states after, the output first.
Step = Callable[..., list[np.ndarray]]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def seq(*modules: TorchObject) -> TorchObject:
    return torch_object("nn.Sequential", modules=list(modules))


def concat(*modules: TorchObject) -> TorchObject:
    return torch_object("nn.ConcatTable", modules=list(modules))


def para(*modules: TorchObject) -> TorchObject:
    return torch_object("nn.ParallelTable", modules=list(modules))


def plain(name: str, **fields: Any) -> TorchObject:
    return torch_object(f"nn.{name}", **fields)


def select(index: int) -> TorchObject:
    return plain("SelectTable", index=index)


def narrow(offset: int, length: int) -> TorchObject:
    return plain("NarrowTable", offset=offset, length=length)


def linear(w: np.ndarray, b: np.ndarray | None = None) -> TorchObject:
    return plain("LinearNoBias", weight=w) if b is None else plain("Linear", weight=w, bias=b)


def gates_of(wi: np.ndarray, bi: np.ndarray, wh: np.ndarray, count: int, *acts: str) -> list[TorchObject]:
    """{x, h} to its gates, as FastLSTM and GRU cut them."""
    size = len(bi) // count
    return [
        para(linear(wi, bi), linear(wh)),
        plain("CAddTable"),
        plain("Reshape", size=(count, size), nelement=count * size),
        plain("SplitTable", dimension=1, nInputDims=2),
        para(*map(plain, acts)),
    ]


def fast_lstm(rng: np.random.Generator, d: int, h: int) -> tuple[TorchObject, Step]:
    """FastLSTM's inner module, {x, h, c} to {h, c}; its gates are i, g, f, o."""
    wi, bi, wh = noise(rng, 4 * h, d), noise(rng, 4 * h), noise(rng, 4 * h, h)
    gates = seq(narrow(1, 2), *gates_of(wi, bi, wh, 4, "Sigmoid", "Tanh", "Sigmoid", "Sigmoid"))
    written = seq(narrow(1, 2), plain("CMulTable"))
    kept = seq(concat(select(3), select(5)), plain("CMulTable"))
    cell = seq(concat(written, kept), plain("CAddTable"))
    out = seq(concat(seq(select(1), plain("Tanh")), select(2)), plain("CMulTable"))
    inner = seq(
        concat(gates, select(3)),
        plain("FlattenTable"),
        concat(cell, select(4)),
        plain("FlattenTable"),
        concat(out, select(1)),
    )

    def step(x: np.ndarray, before: np.ndarray, c: np.ndarray) -> list[np.ndarray]:
        a = x @ wi.T.astype(float) + bi + before @ wh.T.astype(float)
        i, g, f, o = (a[..., k * h : (k + 1) * h] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return [sigmoid(o) * np.tanh(c), c]

    return inner, step


def peephole_lstm(rng: np.random.Generator, d: int, h: int) -> tuple[TorchObject, Step]:
    """nn.LSTM's inner module of the package rnn: every gate also sees the cell."""
    numbers = {n: (noise(rng, h, d), noise(rng, h), noise(rng, h, h), noise(rng, h)) for n in "ifog"}

    def gate(name: str) -> TorchObject:
        w, b, r, p = numbers[name]
        seen = para(linear(w, b), linear(r), plain("CMul", weight=p, size=(h,)))
        return seq(seen, plain("CAddTable"), plain("Sigmoid"))

    w, b, r, _ = numbers["g"]
    hidden = seq(narrow(1, 2), para(linear(w, b), linear(r)), plain("CAddTable"), plain("Tanh"))
    forget = seq(concat(gate("f"), select(3)), plain("CMulTable"))
    write = seq(concat(gate("i"), hidden), plain("CMulTable"))
    cell = seq(concat(forget, write), plain("CAddTable"))
    out = seq(concat(gate("o"), seq(select(3), plain("Tanh"))), plain("CMulTable"))
    inner = seq(concat(narrow(1, 2), cell), plain("FlattenTable"), concat(out, select(3)))

    def step(x: np.ndarray, before: np.ndarray, c: np.ndarray) -> list[np.ndarray]:
        def sums(name: str, cell: np.ndarray) -> np.ndarray:
            w, b, r, p = (v.astype(float) for v in numbers[name])
            return x @ w.T + b + before @ r.T + (0 if name == "g" else p * cell)

        c = sigmoid(sums("f", c)) * c + sigmoid(sums("i", c)) * np.tanh(sums("g", c))
        return [sigmoid(sums("o", c)) * np.tanh(c), c]

    return inner, step


def gru(rng: np.random.Generator, d: int, h: int) -> tuple[TorchObject, Step]:
    """GRU's inner module, {x, h} to h; its gates are r, z."""
    wi, bi, wh = noise(rng, 2 * h, d), noise(rng, 2 * h), noise(rng, 2 * h, h)
    wn, bn, rn = noise(rng, h, d), noise(rng, h), noise(rng, h, h)
    gates = seq(*gates_of(wi, bi, wh, 2, "Sigmoid", "Sigmoid"))
    reset = seq(narrow(2, 2), plain("CMulTable"), linear(rn))
    hidden = seq(concat(seq(select(1), linear(wn, bn)), reset), plain("CAddTable"), plain("Tanh"))
    new = seq(concat(hidden, seq(select(4), plain("SAdd", addend=-1, negate=True))), plain("CMulTable"))
    inner = seq(
        concat(plain("Identity"), gates),
        plain("FlattenTable"),
        concat(narrow(1, 4), select(2)),
        plain("FlattenTable"),
        concat(new, seq(narrow(4, 2), plain("CMulTable"))),
        plain("CAddTable"),
    )

    def step(x: np.ndarray, before: np.ndarray) -> list[np.ndarray]:
        a = sigmoid(x @ wi.T.astype(float) + bi + before @ wh.T.astype(float))
        r, z = a[..., :h], a[..., h:]
        n = np.tanh(x @ wn.T.astype(float) + bn + (r * before) @ rn.T.astype(float))
        return [(1 - z) * n + z * before]

    return inner, step


def steps(step: Step, xs: Any, states: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a formula over a sequence."""
    outputs: list[np.ndarray] = []
    for x in xs:
        states = step(x.astype(float), *states)
        outputs.append(states[0])
    return outputs
