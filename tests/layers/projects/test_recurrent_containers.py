"""Containers of recurrent.torch: one step of a network over a sequence, the states handed on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import retorch
from building import module, torch_object
from layers.rows import named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def step_of(weight: np.ndarray, bias: np.ndarray) -> Any:
    """{x, h} ↦ {h', h'}, h' = tanh(W (x, h) + b)."""
    join = torch_object("nn.JoinTable", dimension=2)
    linear = torch_object("nn.Linear", weight=weight, bias=bias)
    twice = torch_object("nn.ConcatTable", modules=[torch_object("nn.Identity"), torch_object("nn.Identity")])
    return torch_object("nn.Sequential", modules=[join, linear, torch_object("nn.Tanh"), twice])


def unrolled(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(N, T, H) for x of (N, T, D), number by number, the first h zero."""
    size = len(weight)
    y = np.zeros((*x.shape[:2], size))
    for n in range(len(x)):
        h = [0.0] * size
        for t in range(x.shape[1]):
            seen = [float(v) for v in x[n, t]] + h
            sums = [sum(float(weight[o, i]) * v for i, v in enumerate(seen)) for o in range(size)]
            h = [math.tanh(total + float(bias[o])) for o, total in enumerate(sums)]
            y[n, t] = h
    return y


def container(step: Any, state: Any, **fields: Any) -> Module:
    inside = [torch_object("nn.Sequential", modules=[step])]
    buffers = {"gradState": np.zeros(0, np.float32), "currentIteration": 1, "batchSize": 1}
    return module("nn.RecurrentContainer", modules=inside, state=state, **{**buffers, **fields})


def sequences(rng: np.random.Generator) -> Rows:
    weight, bias = noise(rng, 2, 5), noise(rng, 2)
    # what training left in the state is not part of the network
    state = np.full((4, 2), 7, np.float32)
    x = noise(rng, 3, 4, 3)
    y = unrolled(x, weight, bias)
    fields = {"seqMode": True, "stateful": True, "timeDimension": 2}
    yield "tensor", container(step_of(weight, bias), state, **fields), x, y
    table = [x[:, t] for t in range(4)]
    yield "table", container(step_of(weight, bias), state, **fields), table, [y[:, t] for t in range(4)]
    swapped = container(step_of(weight, bias), state, **{**fields, "timeDimension": 1})
    yield "time first", swapped, x.swapaxes(0, 1), y.swapaxes(0, 1)
    yield "one step of many", container(step_of(weight, bias), state, **fields), x[:, :1], y[:, :1]
    yield "one step", container(step_of(weight, bias), state, seqMode=False, stateful=False), x[:, 0], y[:, 0]


def projected(rng: np.random.Generator) -> Rows:
    weight, bias, out = noise(rng, 2, 5), noise(rng, 2), noise(rng, 4, 2)
    # the state goes past the projection, as add(m, true) has it
    past = [torch_object("nn.Linear", weight=out), torch_object("nn.Identity")]
    step = torch_object(
        "nn.Sequential", modules=[step_of(weight, bias), torch_object("nn.ParallelTable", modules=past)]
    )
    x = noise(rng, 2, 3, 3)
    y = np.einsum("nth,oh->nto", unrolled(x, weight, bias), out.astype(float))
    net = container(step, np.zeros((1, 2), np.float32), seqMode=True, stateful=False, timeDimension=2)
    yield "", net, x, y


def states_in_tables(rng: np.random.Generator) -> Rows:
    # {x, {a, b}} ↦ {a + b, {x, a}}: each step gives what came one and two steps before
    pick = {i: torch_object("nn.SelectTable", index=i) for i in (1, 2)}
    added = torch_object("nn.Sequential", modules=[pick[2], torch_object("nn.CAddTable")])
    first = torch_object("nn.Sequential", modules=[pick[2], pick[1]])
    kept = torch_object("nn.ConcatTable", modules=[pick[1], first])
    step = torch_object("nn.ConcatTable", modules=[added, kept])
    x = noise(rng, 2, 4, 3)
    y = np.stack([0 * x[:, 0], x[:, 0], x[:, 0] + x[:, 1], x[:, 1] + x[:, 2]], axis=1)
    zeros = np.zeros((1, 3), np.float32)
    yield "", container(step, [zeros, zeros], seqMode=True, stateful=True, timeDimension=2), x, y


ROWS = named(sequences, projected, states_in_tables)
test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


def test_that_it_starts_anew_is_said() -> None:
    net = container(step_of(np.ones((1, 2), np.float32), np.ones(1, np.float32)), np.zeros((1, 1), np.float32))
    assert any("here it starts anew" in note for note in net.notes)


def test_states_can_be_handed_in_and_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    weight, bias, x, h = noise(rng, 2, 5), noise(rng, 2), noise(rng, 2, 3), noise(rng, 2, 2)
    net = container(step_of(weight, bias), np.zeros((1, 2), np.float32), seqMode=False, stateful=True)
    retorch.convert(net, x, to="onnx", state=True).save(tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    y, after = session.run(None, dict(zip([i.name for i in session.get_inputs()], [x, h], strict=True)))
    wanted = np.tanh(np.concatenate([x, h], axis=1).astype(float) @ weight.T.astype(float) + bias)
    np.testing.assert_allclose(y, wanted, rtol=1e-5)
    np.testing.assert_allclose(after, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    "net",
    [
        container(torch_object("nn.SelectTable", index=1), np.zeros((1, 2), np.float32)),
        container(step_of(np.ones((2, 5), np.float32), np.ones(2, np.float32)), np.zeros(0, np.float32)),
    ],
    ids=["no state is given", "no state was set"],
)
def test_what_torch_refuses_is_refused(net: Module) -> None:
    x = np.ones((1, 3), np.float32)
    for run in net.forward, lambda x: retorch.convert(net, x):
        with pytest.raises(UnsupportedError):
            run(x)
