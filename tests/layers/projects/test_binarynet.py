"""BinaryNet's layers as its Lua, number by number."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from building import module
from layers.rows import named, noise, random_shape, row_tests
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def sign(value: float) -> int:
    return (value > 0) - (value < 0)


def binary(value: float) -> int:
    """The weight that BinaryNet computes with: clamp((w + 1) / 2), rounded as C does, stretched to ±1."""
    return 2 * math.floor(min(max((value + 1) / 2, 0), 1) + 0.5) - 1


def power(value: float) -> float:
    """± the power of two that is nearest on the scale of logarithms; halves away from zero."""
    if value == 0:
        return 0.0
    log = math.log(abs(value)) / math.log(2)
    return sign(value) * 2.0 ** (sign(log) * math.floor(abs(log) + 0.5))


def linear(rng: np.random.Generator) -> Rows:
    for rank in (1, 2):
        for _ in range(5):
            n, inside, out = random_shape(rng, 3)
            weight, bias = noise(rng, out, inside), noise(rng, out)
            weight[0, 0] = 0
            x = noise(rng, n, inside)
            y = [[float(bias[o]) + sum(binary(float(weight[o, i])) * float(x[b, i]) for i in range(inside))
                  for o in range(out)] for b in range(n)]  # fmt: skip
            net = module("BinaryLinear", weight=weight, bias=bias, weightB=noise(rng, out, inside), stcWeights=False)
            yield f"{rank}", net, x[0] if rank == 1 else x, np.array(y)[0] if rank == 1 else np.array(y)


def convolutions(rng: np.random.Generator) -> Rows:
    for name in ("BinarySpatialConvolution", "cudnnBinarySpatialConvolution"):
        for pad in (0, 1):
            n, c, o = random_shape(rng, 3)
            x, weight, bias = noise(rng, n, c, 4, 5), noise(rng, o, c, 3, 3), noise(rng, o)
            wide = np.pad(x.astype(float), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
            y = np.zeros((n, o, 2 + 2 * pad, 3 + 2 * pad))
            for b, k, i, j in np.ndindex(*y.shape):
                y[b, k, i, j] = float(bias[k]) + sum(
                    binary(float(weight[k, q, p, r])) * wide[b, q, i + p, j + r] for q, p, r in np.ndindex(c, 3, 3)
                )
            fields = {"nInputPlane": c, "nOutputPlane": o, "kW": 3, "kH": 3, "dW": 1, "dH": 1, "padW": pad, "padH": pad}
            yield f"{name}-{pad}", module(name, weight=weight, bias=bias, groups=1, **fields), x, y


def neurons(rng: np.random.Generator) -> Rows:
    for rank in (1, 2, 4):
        x = noise(rng, *random_shape(rng, rank))
        x.flat[0] = 0
        y = np.array([sign(float(v)) for v in x.ravel()], float).reshape(x.shape)
        yield f"{rank}", module("BinarizedNeurons", stcFlag=False), x, y


def norms(rng: np.random.Generator) -> Rows:
    for rank, name in ((2, "BatchNormalizationShiftPow2"), (4, "SpatialBatchNormalizationShiftPow2")):
        for affine in (True, False):
            for _ in range(3):
                shape = random_shape(rng, rank)
                c = shape[1]
                mean, std = noise(rng, c), np.exp(noise(rng, c) * 2)
                weight, bias = noise(rng, c) * 3, noise(rng, c)
                weight[0] = 0
                x = noise(rng, *shape)
                y = np.zeros(shape)
                for at in np.ndindex(*shape):
                    k = at[1]
                    y[at] = (float(x[at]) - float(mean[k])) * power(float(std[k]))
                    if affine:
                        y[at] = y[at] * power(float(weight[k])) + float(bias[k])
                given = {"weight": weight, "bias": bias} if affine else {}
                fields = {"affine": affine, "running_mean": mean, "running_std": std, "runningVal": True, "eps": 1e-5}
                yield f"{rank}-{affine}", module(name, train=False, **fields, **given), x, y


ROWS = named(linear, convolutions, neurons, norms)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


def test_the_weights_that_are_shown_and_exported_are_those_of_the_file() -> None:
    weight = np.array([[0.3, -2.0]], np.float32)
    net = module("BinaryLinear", weight=weight, bias=np.zeros(1, np.float32))
    assert np.array_equal(net.layer.parameters()["weight"], weight)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"running_mean": np.zeros(0, np.float32), "running_std": np.zeros(0, np.float32)}, "never run in training"),
        ({"running_mean": np.zeros(2), "running_std": np.ones(2), "runningVal": False}, "measures its batch"),
    ],
)
def test_norms_that_torch_does_not_run(fields: dict[str, Any], reason: str) -> None:
    net = module("SpatialBatchNormalizationShiftPow2", affine=False, **fields)
    assert [reason in problem.reason for problem in net.problems] == [True]
