"""Recurrences of forks of torch-rnn and of rnn, sample by sample and step by step as their Lua."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from building import module, torch_object
from layers.rnn_modules import concat, plain, select, seq, sigmoid
from layers.rows import named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module
from retorch.torch7 import LuaTable, TorchObject

Rows = Iterator[tuple[str, Module, Any, Any]]


def grid(
    x: np.ndarray, h: np.ndarray, parts: dict[str, np.ndarray], bias: np.ndarray, zoneout: tuple[float, float]
) -> np.ndarray:
    """One sample, (T, D): the gates of time share candidates where the state is a multiple of a gate's size."""
    d = x.shape[1]
    size = parts["gates"].shape[1] // 2
    times = len(h) // size
    y: list[np.ndarray] = []
    for step in x.astype(float):
        fed = step @ parts["time"] + bias[: parts["time"].shape[1]]
        u, r = sigmoid(fed[: 2 * size] + h @ parts["gates"]).reshape(2, size)
        candidate = np.tanh(fed[2 * size :] + (np.tile(r, times) * h) @ parts["candidates"])
        u = np.tile(u, times) * (1 - zoneout[0])
        h = h - u * h + u * candidate
        below = bias[-3 * d :] + h @ parts["state"]
        u, r = sigmoid(below[: 2 * d] + step @ parts["depth"][:, : 2 * d]).reshape(2, d)
        candidate = np.tanh(below[2 * d :] + (r * step) @ parts["depth"][:, 2 * d :])
        u = u * (1 - zoneout[1])
        y.append(step - u * step + u * candidate)
    return np.array(y)


def taken_apart(weight: np.ndarray, d: int, size: int, times: int) -> dict[str, np.ndarray]:
    """GRIDGRU.lua's and GRIDGRUM.lua's weight, whose first D rows read the input."""
    weight = weight.astype(float)
    x, h = weight[:d], weight[d:]
    wide = (times + 2) * size
    return {
        "time": x[:, :wide],
        "depth": x[:, wide:],
        "gates": h[:, : 2 * size],
        "candidates": h[:, 2 * size : wide],
        "state": h[:, wide:],
    }


def grids(rng: np.random.Generator) -> Rows:
    for name, times in (("GRIDGRU", 1), ("GRIDGRUM", 2), ("GRIDGRUM", 3)):
        for zoneout in ((0.0, 0.0), (0.1, 0.25)):
            n, t, d, size = 2, 3, 3, 2
            weight = noise(rng, d + times * size, (times + 2) * size + 3 * d)
            bias = noise(rng, (times + 2) * size + 3 * d)
            x, h0 = noise(rng, n, t, d), noise(rng, n, times * size)
            fields = {"input_dim": d, "hidden_dim": size, "hidden_per_gate": times, "remember_states": True}
            if any(zoneout):
                if times > 1:
                    continue
                fields |= {"zoneout_prob": zoneout[0], "zoneout_probd": zoneout[1]}
            net = module(f"nn.{name}", weight=weight, bias=bias, **fields)
            parts = taken_apart(weight, d, size, times)
            zeros = np.zeros(times * size)
            yield f"{name}-{times}-{zoneout}", net, x, np.stack([grid(s, zeros, parts, bias, zoneout) for s in x])
            given = np.stack([grid(s, h.astype(float), parts, bias, zoneout) for s, h in zip(x, h0, strict=True)])
            yield f"{name}-{times}-{zoneout}-given", net, [h0, x], given


def low_rank(rng: np.random.Generator) -> Rows:
    for rank in (1, 3):
        n, t, d, h = 2, 4, 3, 2
        shapes = {"time": (d, 3 * h), "into": (h, rank), "out": (rank, 2 * h), "candidates": (h, h)}
        shapes |= {"depth": (d, 3 * d), "state": (h, 3 * d)}
        held = {name: noise(rng, *shape) for name, shape in shapes.items()}
        bias, x = noise(rng, 3 * h + 3 * d), noise(rng, n, t, d)
        weight = np.concatenate([part.ravel() for part in held.values()])
        parts = {name: part.astype(float) for name, part in held.items()}
        parts["gates"] = parts["into"] @ parts["out"]
        fields = {"input_dim": d, "hidden_dim": h, "hidden_rank": rank}
        expected = np.stack([grid(s, np.zeros(h), parts, bias, (0, 0)) for s in x])
        yield f"{rank}", module("nn.GRIDGRULR", weight=weight, bias=bias, **fields), x, expected


def histories(rng: np.random.Generator) -> Rows:
    for depth in (0, 1, 2, 5):
        x = noise(rng, 2, 3, 2)
        y = np.zeros((2, 3, 2 * (depth + 1)))
        for n, t, i in np.ndindex(2, 3, depth + 1):
            if t >= i:
                y[n, t, 2 * i : 2 * i + 2] = x[n, t - i]
        yield f"{depth}", module("nn.History", history_depth=depth), x, y


def convolutions(rng: np.random.Generator) -> Rows:
    for taps, apart in ((1, 1), (2, 1), (2, 4), (3, 2)):
        x, weight, bias = noise(rng, 2, 5, 3), noise(rng, taps, 3, 2), noise(rng, 2)
        y = np.zeros((2, 5, 2)) + bias
        for n, t, k in np.ndindex(2, 5, taps):
            if t >= k * apart:
                y[n, t] += x[n, t - k * apart].astype(float) @ weight[k]
        net = module("nn.StatefulConvolution", weight=weight, bias=bias, kernel_size=taps, dilat=apart)
        yield f"{taps}-{apart}", net, x, y


def step_of_a_grid() -> TorchObject:
    """{0, x, c, h} to {c + x, h + c, h · x}, the last first: no state is overwritten that is still read"""
    both = [(4, 2, "CMulTable"), (4, 3, "CAddTable"), (3, 2, "CAddTable")]
    made = concat(*[seq(concat(select(a), select(b)), plain(name)) for a, b, name in both])
    return seq(made, concat(select(3), select(2), select(1)))


def grid_lstms(rng: np.random.Generator) -> Rows:
    for given in (False, True):
        c, h = (noise(rng, 2, 3) if given else np.zeros((2, 3), np.float32) for _ in range(2))
        cells = LuaTable({0: LuaTable.of(c, h)})
        inner = step_of_a_grid()
        fields = {"outputSize": 3, "nb_layers": 1, "cells": cells, "recurrentModule": inner, "modules": [inner]}
        net = module("nn.Sequencer", modules=[torch_object("nn.Grid2DLSTM", **fields)])
        xs = [noise(rng, 2, 3) for _ in range(3)]
        ys: list[np.ndarray] = []
        c, h = c.astype(float), h.astype(float)
        for x in xs:
            ys.append(h * x)
            c, h = c + x, h + c
        yield f"{given}", net, xs, ys


def batch_normed(rng: np.random.Generator) -> Rows:
    inner = concat(seq(concat(select(1), select(2)), plain("CAddTable")), select(3))
    net = module("nn.Sequencer", modules=[torch_object("nn.BNFastLSTM", modules=[inner], outputSize=2, bn=True)])
    xs = [noise(rng, 1, 2) for _ in range(3)]
    yield "bn", net, xs, [np.sum(xs[: i + 1], axis=0, dtype=float) for i in range(3)]


ROWS = named(grids, low_rank, histories, convolutions, grid_lstms, batch_normed)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


def test_states_that_do_not_fit() -> None:
    weight, bias = np.zeros((5, 15), np.float32), np.zeros(15, np.float32)
    net = module("nn.GRIDGRU", weight=weight, bias=bias, input_dim=3, hidden_dim=2)
    with pytest.raises(UnsupportedError):
        net.forward([np.zeros((1, 2), np.float32), np.zeros((2, 4, 3), np.float32)])


def test_a_weight_of_another_size_is_refused() -> None:
    net = module("nn.GRIDGRULR", weight=np.zeros(7), bias=np.zeros(15), input_dim=3, hidden_dim=2, hidden_rank=1)
    assert ["holds 7 weights" in problem.reason for problem in net.problems] == [True]
