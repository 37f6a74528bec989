"""Modules of word-rnn, as their Lua code says, number by number."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from building import module, torch_object
from layers.rows import named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def two_signs(rng: np.random.Generator) -> Rows:
    x = np.array([[-2.0, 0.5, -1.0, 3.0], [2.0, -0.5, 1.0, -3.0]], np.float32)
    up, down = (lambda v: v if v > 0 else math.exp(v) - 1), (lambda v: v if v < 0 else 1 - math.exp(-v))
    elu = [[down(-2.0), down(0.5), up(-1.0), up(3.0)], [down(2.0), down(-0.5), up(1.0), up(-3.0)]]
    yield "elu", module("BELU", alpha=1, inplace=False), x, np.array(elu)
    relu = module("nn.BReLU", threshold=0, val=0, inplace=False)
    yield "relu", relu, x, np.array([[-2, 0, 0, 3], [0, -0.5, 1, 0]])
    # of three columns one is of the first half
    yield "odd", relu, x[:, :3], np.array([[-2, 0.5, 0], [0, 0, 1]])
    planes = np.array([[[[-1.0, 2.0]], [[-3.0, 4.0]]]], np.float32)
    yield "planes", relu, planes, np.array([[[[-1, 0]], [[0, 4]]]])


def only_training(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 3)
    yield "penalty", module("nn.L2Penalty", l2weight=0.5), x, x
    yield "shared", module("nn.SharedDropout", p=0.5, id="L1", v2=False), x, x
    net = torch_object("nn.MulConstant", constant_scalar=2, inplace=False)
    skip = torch_object("nn.Identity")
    yield (
        "skip",
        module("nn.StochasticSkip", net=net, skip=skip, modules=[net, skip], skipRate=0.9, gate=False),
        x,
        2 * x,
    )


def zones(rng: np.random.Generator) -> Rows:
    x, y = noise(rng, 2, 3), noise(rng, 2, 3)
    zone = torch_object("nn.Zoneout", p=0.25)
    yield "once", module("nn.Zoneout", p=0.25), x, 0.75 * x
    both = module("nn.ParallelTable", modules=[zone, zone])
    # the module has one output tensor: its second call writes over what the first gave
    again = 0.75 * y + 0.25 * 0.75 * x
    yield "again", both, [x, y], [again, again]


def of_other_classes(rng: np.random.Generator) -> Rows:
    weight = noise(rng, 4, 2)
    words = {"vocab_size": 4, "embedding_size": 2}
    for name in ("LookupTableFixed", "GloVeEmbedding", "GloVeEmbeddingFixed"):
        yield name, module(name, weight=weight, **words), np.array([4, 1], np.float32), weight[[3, 0]]
    x = noise(rng, 2, 3)
    halves = torch_object("nn.MulConstant", constant_scalar=0.5, inplace=False)
    yield "normalization", module("LayerNormalization", modules=[halves, halves]), x, x / 4


ROWS = named(two_signs, only_training, zones, of_other_classes)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


@pytest.mark.parametrize("name", ["BELU", "nn.BReLU"])
def test_a_vector_or_a_single_column_is_refused(name: str):
    for x in (np.ones(4, np.float32), np.ones((3, 1), np.float32)):
        with pytest.raises(UnsupportedError, match="at least two columns"):
            module(name, inplace=False).forward(x)
