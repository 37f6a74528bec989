"""fbnn and networks of random depth: what their Lua and C++ code says, element by element."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import retorch
from building import module, torch_object
from layers.rows import named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module
from retorch.torch7 import LuaTable

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


def unfolded(rng: np.random.Generator) -> Rows:
    for pad, bias in [(0, True), (2, True), (1, False)]:
        weight, b, x = noise(rng, 4, 3 * 2), noise(rng, 4), noise(rng, 2, 5, 2)
        wide = np.pad(x.astype(float), ((0, 0), (pad, pad), (0, 0)))
        y = np.zeros((2, 3 + 2 * pad, 4))
        for n, t, o in np.ndindex(*y.shape):
            y[n, t, o] = (wide[n, t : t + 3].ravel() * weight[o]).sum() + (float(b[o]) if bias else 0)
        linear = torch_object("nn.Linear", weight=weight, bias=b)
        fields = {"kW": 3, "dW": 1, "pad": pad, "weight": weight, "linear": linear} | ({"bias": b} if bias else {})
        yield f"{pad}-{bias}", module("nn.UnfoldedTemporalConvolution", **fields), x, y
        yield f"{pad}-{bias}-alone", module("nn.UnfoldedTemporalConvolution", **fields), x[0], y[0]


def small(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 3, 4, 5)
    for factor in (1, 3):
        y = x.repeat(factor, axis=2).repeat(factor, axis=3)
        yield f"upsample-{factor}", module("nn.Upsample", factor=factor, buffer=np.zeros(0)), x, y
    for shape in [(4,), (3, 4)]:
        x = noise(rng, *shape)
        norm = np.array([np.sqrt(sum(float(v) ** 2 for v in row)) for row in x.reshape(-1, 4)])
        y = (x.reshape(-1, 4) / norm[:, None]).reshape(shape)
        yield f"normalize-{shape}", module("fbnn.L2Normalize", norms=np.zeros(0)), x, y
    value = noise(rng, 2, 3)
    yield "constant", module("fbnn.Constant", value=value), noise(rng, 4, 5), np.stack([value] * 4)
    inside = torch_object("nn.MulConstant", constant_scalar=2, inplace=False)
    yield "probe", module("fbnn.Probe", modules=[inside], name="seen"), x, 2 * x.astype(float)


def sparse(rng: np.random.Generator) -> Rows:
    weight, x = noise(rng, 5, 3, 2), np.array([[2, 0.5], [5, -1.0], [2, 3]], np.float32)
    y = np.array([[[p, v * w] for p, v in weight[int(i) - 1].astype(float)] for i, w in x])
    yield "lookup", module("nn.SparseLookupTable", weight=weight, nEntities=5, nIndices=3, sparseGrad=True), x, y
    table = noise(rng, 5, 4)
    y = np.array([table[int(i) - 1].astype(float) * float(w) for i, w in x])
    for name in ("nn.WeightedLookupTable", "nn.WeightedLookupTableSkinny"):
        yield name, module(name, weight=table), x, y
    yield "alone", module("nn.WeightedLookupTableSkinny", weight=table), x[:, 0], table[[1, 4, 1]]
    pairs = noise(rng, 2, 3, 2)
    y = np.array([[[p, v if v > 0.1 else -7] for p, v in row] for row in pairs.astype(float)])
    threshold = torch_object("nn.Threshold", threshold=0.1, val=-7, inplace=False)
    yield "threshold", module("nn.SparseThreshold", module=threshold), pairs, y


def cached(rng: np.random.Generator) -> Rows:
    weight, newer = noise(rng, 6, 2), noise(rng, 2, 2)
    backing = torch_object("nn.LookupTable", weight=weight)
    x = np.array([3, 1, 6, 3], np.float32)
    yield "empty", module("nn.CachingLookupTable", backing=backing, ways=[]), x, weight[[2, 0, 5, 2]]
    # row 3 stands in the first way and row 6 in the second, each newer than in the table
    ways = [LuaTable({"rows": LuaTable({row: kept})}) for row, kept in zip((3, 6), newer, strict=True)]
    net = module("nn.CachingLookupTable", backing=backing, ways=ways, numRows=2, numCols=2, numWays=2)
    yield "newer rows", net, x, np.array([newer[0], weight[0], newer[1], newer[0]])


ROWS = named(largest, unshared, maps, random_depth, unfolded, small, sparse, cached)

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


@pytest.mark.parametrize("name", ["nn.KMaxPooling", "nn.GroupKMaxPooling", "nn.TemporalKMaxPooling"])
def test_a_network_that_keeps_a_share_of_a_sequence_takes_its_length_only(name: str) -> None:
    x = np.zeros((6, 3), np.float32)
    fixed, shared = (retorch.convert(module(name, k=1, k_dynamic=share), x, fold=False) for share in (-1, 0.7))
    assert [isinstance(net.inputs[0].shape[0], int) for net in (fixed, shared)] == [False, True]
