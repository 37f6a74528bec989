"""OpenNMT's and fairseq's modules as their Lua, element by element."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from building import module, torch_object
from layers.rows import named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module
from retorch.torch7 import TorchObject

Rows = Iterator[tuple[str, Module, Any, Any]]


def dropouts(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 3)
    fields = {"noiseInit": np.ones(1), "sharedNoise": noise(rng, 2, 3)}
    yield "variational", module("onmt.VariationalDropout", p=0.3, train=True, **fields), x, x
    yield "low memory", module("nn.LowMemDropout", p=0.3, v2=True, inplace=True, noise=noise(rng, 1)), x, x


def joined(rng: np.random.Generator) -> Rows:
    for replicate, join, inputs in ((2, 3, None), (1, 2, 2), (-2, -1, None)):
        one, many = noise(rng, 2, 1, 3), noise(rng, 2, 4, 2)
        y = np.zeros((2, 4, 5))
        for n, t in np.ndindex(2, 4):
            y[n, t] = [*one[n, 0], *many[n, t]]
        fields = {} if inputs is None else {"nInputDims": inputs}
        net = module("onmt.JoinReplicateTable", dimensionReplicate=replicate, dimensionJoin=join, **fields)
        yield f"{replicate}-{join}", net, [one, many], y
    alike = [noise(rng, 2, 3, 1), noise(rng, 2, 3, 2)]
    net = module("onmt.JoinReplicateTable", dimensionReplicate=2, dimensionJoin=3)
    yield "alike", net, alike, np.array([[[*alike[0][n, t], *alike[1][n, t]] for t in range(3)] for n in range(2)])


def positions(rng: np.random.Generator) -> Rows:
    weight = noise(rng, 4, 2)
    net = module("onmt.PositionEmbedding", weight=weight, dimension=2, max_pos=3, nOutput=2)
    x, lengths = noise(rng, 3, 5, 2), np.array([5, 2, 3])
    # five words of which the last three share the last row; three and two empty places at the front
    rows = [[1, 2, 3, 3, 3], [0, 0, 0, 1, 2], [0, 0, 1, 2, 3]]
    yield "whole", net, [x, lengths], weight[np.array(rows)]
    yield "float", net, [x, lengths.astype(np.float32)], weight[np.array(rows)]


def wrapped(rng: np.random.Generator) -> Rows:
    double = torch_object("nn.MulConstant", constant_scalar=2)
    x = noise(rng, 2, 3)
    for name in ("Bridge", "NoAttention"):
        yield name, module(f"onmt.{name}", net=double, modules=[double]), x, x.astype(float) * 2


def linearized(rng: np.random.Generator) -> Rows:
    for kw in (1, 3):
        weight, bias = noise(rng, 4, kw * 2), noise(rng, 4)
        x = noise(rng, 2, 1, 2)
        y = [[[float(bias[o]) + sum(float(weight[o, (kw - 1) * 2 + c]) * float(x[n, 0, c]) for c in range(2))
               for o in range(4)]] for n in range(2)]  # fmt: skip
        fields = {"kw": kw, "weight": weight, "bias": bias, "inputBuffer": noise(rng, 1)}
        yield f"{kw}", module("nn.LinearizedConvolution", **fields), x, np.array(y)


def block(conv: np.ndarray, bias: np.ndarray) -> TorchObject:
    """fairseq's convolutional block for training."""
    kw, inside, out = conv.shape
    fields = {"kw": kw, "pad": kw - 1, "nIn": inside, "nOut": out, "weight": conv, "bias": bias}
    held = torch_object("nn.TemporalConvolutionTBC", **fields)
    around = torch_object("nn.GradMultiply", modules=[held], factor=1)
    return torch_object("nn.Sequential", modules=[torch_object("nn.Identity"), around, torch_object("nn.Identity")])


def train_and_test(rng: np.random.Generator) -> Rows:
    conv, bias = noise(rng, 3, 2, 4), noise(rng, 4)
    x = noise(rng, 2, 1, 2)
    y = np.array([[bias + x[n, 0].astype(float) @ conv[2]] for n in range(2)])
    empty = {"kw": 0, "weight": np.zeros(0, np.float32), "bias": np.zeros(0, np.float32)}
    fast = torch_object("nn.LinearizedConvolution", **empty)
    net = module("nn.ConvBlockTrainTestLayer", modules=[block(conv, bias), fast], train=True)
    yield "in training", net, x, y
    both = [torch_object("nn.MulConstant", constant_scalar=3), torch_object("nn.MulConstant", constant_scalar=5)]
    yield "evaluation", module("nn.TrainTestLayer", modules=both, train=False), x, x.astype(float) * 5


ROWS = named(dropouts, joined, positions, wrapped, linearized, train_and_test)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


def test_a_layer_of_two_modules_whose_evaluation_is_a_function_is_refused() -> None:
    both = [torch_object("nn.Identity"), torch_object("nn.Identity")]
    net = module("nn.TrainTestLayer", modules=both, train=True)
    assert ["by a function in the file" in problem.reason for problem in net.problems] == [True]


def test_a_table_that_torch_would_leave_repeated_is_refused() -> None:
    net = module("onmt.JoinReplicateTable", dimensionReplicate=2, dimensionJoin=3)
    with pytest.raises(UnsupportedError, match="leaves tensors repeated"):
        net.forward([np.zeros((2, 4, 3), np.float32), np.zeros((2, 1, 3), np.float32)])
