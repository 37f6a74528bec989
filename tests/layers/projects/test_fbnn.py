"""fbnn and networks of random depth: what their Lua and C++ code says, element by element."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from building import module, torch_object
from layers.rows import named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def largest(rng: np.random.Generator) -> Rows:
    x = noise(rng, 6, 3)
    for k, dynamic, kept in [(2, -1, 2), (1, 0.7, 4), (5, 0.2, 5), (6, -1, 6), (8, -1, 8)]:
        y = np.zeros((kept, 3))
        for column in range(3):
            best = sorted(sorted(range(6), key=lambda row: -x[row, column])[:kept])
            y[: len(best), column] = x[best, column]
        yield f"{k}-{dynamic}", module("nn.KMaxPooling", k=k, k_dynamic=dynamic, switches=np.zeros(0)), x, y
        y = np.zeros((2, kept, 3))
        batch = noise(rng, 2, 6, 3)
        for one, out in zip(batch, y, strict=True):
            norms = [sum(float(v) ** 2 for v in row) for row in one]
            best = sorted(sorted(range(6), key=lambda row: -norms[row])[:kept])
            out[: len(best)] = one[best]
        net = module("nn.GroupKMaxPooling", k=k, k_dynamic=dynamic, switches=np.zeros(0))
        yield f"rows-{k}-{dynamic}", net, batch, y
        yield f"rows-{k}-{dynamic}-alone", net, batch[0], y[0]


def unshared(rng: np.random.Generator) -> Rows:
    for wide in (False, True):
        weight, bias = noise(rng, 3, 2, 3, 2, 2, 3), noise(rng, 3, 2, 3)
        fields = {"nInputPlane": 2, "nOutputPlane": 3, "iH": 4, "iW": 5, "kH": 2, "kW": 3, "dH": 2, "dW": 1}
        x = noise(rng, 2, 2, 4, 5)
        y = np.zeros((2, 3, 2, 3))
        for n, o, i, j in np.ndindex(*y.shape):
            seen = x[n, :, 2 * i : 2 * i + 2, j : j + 3].astype(float)
            y[n, o, i, j] = float(bias[o, i, j]) + (seen * weight[o, i, j].astype(float)).sum()
        # as toInterleaved of the module turns them for the GPU
        stored = {"weight": weight.transpose(1, 2, 4, 5, 0, 3), "bias": bias.transpose(1, 2, 0)} if wide else {}
        kept = {name: np.ascontiguousarray(value) for name, value in stored.items()}
        net = module("nn.LocallyConnected", **fields, **{"weight": weight, "bias": bias, **kept})
        yield f"{wide}", net, x, y
        yield f"{wide}-alone", net, x[1], y[1]


def maps(rng: np.random.Generator) -> Rows:
    for size, scale, power in [(3, 0.5, 0.75), (5, 2.0, 1.5), (1, 1.0, 0.5)]:
        x = noise(rng, 2, 6, 3, 2)
        y = np.zeros(x.shape)
        for n, c, i, j in np.ndindex(*x.shape):
            around = x[n, max(0, c - size // 2) : c + size // 2 + 1, i, j].astype(float)
            y[n, c, i, j] = float(x[n, c, i, j]) / (1 + scale / size * sum(v * v for v in around)) ** power
        net = module("nn.CrossMapNormalization", size=size, scale=scale, power=power, squaredSum=np.zeros(0))
        yield f"{size}", net, x, y
        yield f"{size}-alone", net, x[0], y[0]


def random_depth(rng: np.random.Generator) -> Rows:
    x, weight, bias = noise(rng, 2, 3), noise(rng, 3, 3), noise(rng, 3)
    for inplace in (False, True):
        # a rectifier in place changes x after the skip was taken
        first = torch_object("nn.ReLU", inplace=inplace)
        linear = torch_object("nn.Linear", weight=weight, bias=bias)
        net = torch_object("nn.Sequential", modules=[first, linear])
        skip = torch_object("nn.Sequential", modules=[torch_object("nn.Identity")])
        block = module("nn.ResidualDrop", net=net, skip=skip, modules=[net, skip], deathRate=0.3, gate=False)
        wide, matrix = x.astype(float), weight.astype(float)
        yield f"block-{inplace}", block, x, wide + 0.7 * (np.maximum(wide, 0) @ matrix.T + bias.astype(float))
    yield "drop", module("nn.StochasticDrop", deathRate=0.3, gate=True), x, 0.7 * x.astype(float)


ROWS = named(largest, unshared, maps, random_depth)

test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("nn.CrossMapNormalization", {"size": 4, "scale": 1.0, "power": 1.0}, "an odd number of channels, not 4"),
        ("nn.CrossMapNormalization", {"size": 5, "scale": 1.0, "power": 1.0}, "takes 5 channels or more, not 3"),
    ],
)
def test_refused(name: str, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        module(name, **fields).forward(np.zeros((3, 2, 2)))
