"""Deep TEN's and NetVLAD's dictionaries and MSG-Net's style, one number after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import retorch
from building import module, torch_object
from layers.rows import named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def shared_out(x: np.ndarray, words: np.ndarray, scores: Any) -> np.ndarray:
    """Σ_n a[n, k] · (x[n] − words[k]), a the softmax of the scores of x[n]."""
    y = np.zeros(words.shape)
    for row in x.astype(float):
        e = [math.exp(score) for score in scores(row)]
        for k, word in enumerate(words.astype(float)):
            y[k] += e[k] / sum(e) * (row - word)
    return y


def encodings(rng: np.random.Generator) -> Rows:
    words, factors = noise(rng, 3, 4), noise(rng, 3)

    def nearness(row: np.ndarray) -> list[float]:
        return [
            -float(f) * sum((row[d] - float(w[d])) ** 2 for d in range(4)) for f, w in zip(factors, words, strict=True)
        ]

    x = noise(rng, 2, 5, 4)
    net = module("nn.Encoding", K=3, D=4, weight=words, bias=factors, soft=torch_object("nn.SoftMax"))
    yield "batch", net, x, np.array([shared_out(sample, words, nearness) for sample in x])
    yield "one", net, x[0], shared_out(x[0], words, nearness)


def assigned(rng: np.random.Generator) -> Rows:
    words, weight = noise(rng, 3, 4), noise(rng, 3, 4)

    def scores(row: np.ndarray) -> list[float]:
        return [sum(float(w[d]) * row[d] for d in range(4)) for w in weight]

    linear, softmax = torch_object("nn.Linear", weight=weight), torch_object("nn.SoftMax")
    assigner = torch_object("nn.Sequential", modules=[linear, softmax])
    x = noise(rng, 2, 5, 4)
    net = module("nn.NetVLAD", K=3, D=4, weight=words, assigner=assigner)
    yield "batch", net, x, np.array([shared_out(sample, words, scores) for sample in x])
    yield "one", net, x[0], shared_out(x[0], words, scores)


def aggregated(rng: np.random.Generator) -> Rows:
    shares, residuals = noise(rng, 2, 5, 3), noise(rng, 2, 5, 3, 4)
    y = np.zeros((2, 3, 4))
    for b, n, k, d in np.ndindex(2, 5, 3, 4):
        y[b, k, d] += float(shares[b, n, k]) * float(residuals[b, n, k, d])
    yield "batch", module("nn.Aggregate", K=3, D=4), [shares, residuals], y
    yield "one", module("nn.Aggregate", K=3, D=4), [shares[1], residuals[1]], y[1]


def inspired(rng: np.random.Generator) -> Rows:
    weight, style, x = noise(rng, 3, 3), noise(rng, 3, 3), noise(rng, 2, 3, 2, 4)
    y = np.zeros(x.shape)
    for at in np.ndindex(*x.shape):
        n, c, i, j = at
        for k, m in np.ndindex(3, 3):
            y[at] += float(weight[k, m]) * float(style[m, c]) * float(x[n, k, i, j])
    net = module("nn.Inspiration", C=3, Weight=weight, target=style)
    yield "batch", net, x, y
    yield "one", net, x[1], y[1]


test_formula, test_conversion, test_in_caffe2 = row_tests(named(encodings, assigned, aggregated, inspired))

WORDS = np.ones((3, 4), np.float32)


@pytest.mark.parametrize(
    ("net", "x"),
    [
        (module("nn.Encoding", weight=WORDS, bias=WORDS[:, 0]), np.ones((5, 3), np.float32)),
        (module("nn.Aggregate"), [np.ones((5, 3), np.float32), np.ones((5, 4, 3), np.float32)]),
        (module("nn.Inspiration", Weight=np.eye(3), target=np.eye(3)), np.ones((4, 2, 2), np.float32)),
    ],
)
def test_what_torch_refuses_is_refused(net: Module, x: Any) -> None:
    for run in net.forward, lambda x: retorch.convert(net, x):
        with pytest.raises(UnsupportedError):
            run(x)
