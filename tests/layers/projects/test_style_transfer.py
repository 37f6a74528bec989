"""Style transfer, stereo matching and fairseq's tables as their projects' Lua and CUDA code, element by element."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from building import module, torch_object
from layers.rows import named, noise, random_shape, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def watchers(rng: np.random.Generator) -> Rows:
    fields: dict[str, dict[str, Any]] = {
        "TotalVariation": {"strength": 1e-6, "x_diff": noise(rng, 2), "y_diff": noise(rng, 2)},
        "TVLoss": {"strength": 1e-3},
        "ContentLoss": {"strength": 5.0, "target": noise(rng, 3), "mode": "none"},
        "StyleLoss": {"strength": 5.0, "target": noise(rng, 3), "mode": "capture"},
        "GradNormalization": {},
        "DummyGradOutput": {},
        "NoiseFill": {"num_noise_channels": 0},
    }
    for name, given in fields.items():
        for rank in (3, 4):
            x = noise(rng, *random_shape(rng, rank))
            yield f"{name}-{rank}", module(f"nn.{name}", **given), x, x


def grams(rng: np.random.Generator) -> Rows:
    for normalize in (None, True):
        for _ in range(6):
            n, c, h, w = random_shape(rng, 4)
            x = noise(rng, n, c, h, w)
            expected = np.zeros((n, c, c))
            for at in np.ndindex(n, c, c):
                a, b = x[at[0], at[1]].astype(float), x[at[0], at[2]].astype(float)
                expected[at] = sum(a[i] * b[i] for i in np.ndindex(h, w)) / (c * h * w if normalize else 1)
            net = module("nn.GramMatrix") if normalize is None else module("nn.GramMatrix", normalize=normalize)
            yield f"{normalize}-4", net, x, expected
            yield f"{normalize}-3", net, x[0], expected[0]


def adain(rng: np.random.Generator) -> Rows:
    for eps in (1e-5, 0.1):
        for _ in range(8):
            n, c, h, w = random_shape(rng, 4, 4)
            x = noise(rng, n, c, h, w + 1)
            s = noise(rng, n, c, *random_shape(rng, 2)) * 3 + 1
            y = np.zeros(x.shape)
            for i, k in np.ndindex(n, c):
                a, b = x[i, k].astype(float), s[i, k].astype(float)
                mean, variance = a.sum() / a.size, ((a - a.sum() / a.size) ** 2).sum() / a.size
                style_mean = b.sum() / b.size
                style_deviation = math.sqrt(((b - style_mean) ** 2).sum() / b.size)
                y[i, k] = (a - mean) / math.sqrt(variance + eps) * style_deviation + style_mean
            net = module("nn.AdaptiveInstanceNormalization", nOutput=c, eps=eps)
            yield f"{eps}-4", net, [x, s], y
            yield f"{eps}-3", net, [x[0], s[0]], y[:1]
    x, s = noise(rng, 1, 2, 3, 3), noise(rng, 1, 2, 3, 3)
    yield "disabled", module("nn.AdaptiveInstanceNormalization", nOutput=2, eps=1e-5, disabled=True), [x, s], x


def coordinates(rng: np.random.Generator) -> Rows:
    for rank in (3, 4):
        for _ in range(10):
            shape = random_shape(rng, rank)
            # few values: equals are common
            x = rng.integers(0, 3, shape).astype(np.float32)
            y, channel = np.zeros(shape), rank - 3
            for at in np.ndindex(*shape[:channel], *shape[channel + 1 :]):
                column = x[(*at[:channel], slice(None), *at[channel:])].tolist()
                y[(*at[:channel], column.index(max(column)), *at[channel:])] = 1
            yield f"{rank}", module("nn.MaxCoord", inplace=bool(rng.integers(2)), _type="torch.FloatTensor"), x, y


def unit_vectors(rng: np.random.Generator) -> Rows:
    for _ in range(10):
        n, c, h, w = random_shape(rng, 4)
        x = noise(rng, n, c, h, w) * np.float32(rng.choice([1e-3, 1, 10]))
        y = np.zeros(x.shape)
        for i, a, b in np.ndindex(n, h, w):
            y[i, :, a, b] = x[i, :, a, b] / math.sqrt(sum(float(v) ** 2 for v in x[i, :, a, b]) + 1e-5)
        yield "4", module("nn.Normalize2", norm=noise(rng, 1)), x, y


def pairs(rng: np.random.Generator) -> Rows:
    for _ in range(10):
        n, c, h, w = random_shape(rng, 4)
        x = noise(rng, 2 * n, c, h, w)
        y = np.zeros((n, 1, h, w))
        for i, k, a, b in np.ndindex(n, c, h, w):
            y[i, 0, a, b] += float(x[2 * i, k, a, b]) * float(x[2 * i + 1, k, a, b])
        yield "4", module("nn.StereoJoin1", tmp=noise(rng, 1)), x, y


def shifts(rng: np.random.Generator) -> Rows:
    for disp_max in (2, 3, 5):
        c, h, w = (int(v) for v in rng.integers(1, 5, 3))
        w += 4
        x = noise(rng, 2, c, h, w)
        y = np.full((1, disp_max, h, w), math.nan)
        for d, a, b in np.ndindex(disp_max, h, w):
            if b >= d:
                y[0, d, a, b] = -sum(float(x[0, k, a, b]) * float(x[1, k, a, b - d]) for k in range(c))
        yield f"{disp_max}", module("nn.StereoJoin", disp_max=disp_max, direction=-1), x, y


def one_by_one(rng: np.random.Generator) -> Rows:
    for name in ("nn.SpatialConvolution1_fw", "jzt.SpatialConvolution1_fw"):
        for _ in range(5):
            n, c, h, w = random_shape(rng, 4)
            out = int(rng.integers(1, 6))
            x, weight, bias = noise(rng, n, c, h, w), noise(rng, out, c), noise(rng, 1, out, 1, 1)
            y = np.zeros((n, out, h, w))
            for i, o, a, b in np.ndindex(n, out, h, w):
                y[i, o, a, b] = float(bias[0, o, 0, 0]) + sum(
                    float(weight[o, k]) * float(x[i, k, a, b]) for k in range(c)
                )
            yield name, module(name, weight=weight, bias=bias), x, y


def sequences(rng: np.random.Generator) -> Rows:
    for rank in (1, 2, 3, 4):
        x = noise(rng, *random_shape(rng, rank))
        y = np.array([[*row, 1.0] for row in x.reshape(-1, x.shape[-1])]).reshape(*x.shape[:-1], x.shape[-1] + 1)
        yield f"append-{rank}", module("nn.AppendBias"), x, y
    for trans_a, trans_b in ((False, False), (True, False), (False, True)):
        n, i, j, k = random_shape(rng, 4)
        a, b = noise(rng, n, i, j), noise(rng, n, j, k)
        y = np.array([[[sum(a[q, r, :] * b[q, :, s]) for s in range(k)] for r in range(i)] for q in range(n)])
        given = [a.swapaxes(1, 2).copy() if trans_a else a, b.swapaxes(1, 2).copy() if trans_b else b]
        yield "beamable", module("nn.BeamableMM", beam=0, transA=trans_a, transB=trans_b), given, y
    for count in (1, 2, 3):
        x = [noise(rng, 2, 3) for _ in range(count)]
        y = [[sum(float(t[i, j]) for t in x) * 0.7 for j in range(3)] for i in range(2)]
        yield f"add-{count}", module("nn.CAddTableMulConstant", constant_scalar=0.7), x, np.array(y)
    for length in (1, 4, 7):
        x, s = noise(rng, 2, 3, 4), noise(rng, 2, length, 5)
        factor = length * math.sqrt(1 / length)
        yield f"multiply-{length}", module("nn.SeqMultiply", scale=1), [x, s], x.astype(float) * factor
    x, s = [noise(rng, 2, i) for i in (1, 2, 3)], noise(rng, 4)
    yield "zip", module("nn.ZipAlong"), [x, s], [[t, s] for t in x]


def times_batches_channels(rng: np.random.Generator) -> Rows:
    for kw, pad in ((1, 0), (2, 0), (3, 1), (3, 2), (5, 4)):
        t, n, c, o = (int(v) for v in rng.integers(1, 5, 4) + np.array([4, 0, 0, 0]))
        x, weight, bias = noise(rng, t, n, c), noise(rng, kw, c, o), noise(rng, o)
        y = np.zeros((t - kw + 1 + 2 * pad, n, o))
        for i, b, k in np.ndindex(len(y), n, o):
            y[i, b, k] = float(bias[k])
            for j in range(kw):
                if 0 <= i + j - pad < t:
                    y[i, b, k] += sum(float(x[i + j - pad, b, q]) * float(weight[j, q, k]) for q in range(c))
        fields = {"kw": kw, "pad": pad, "nIn": c, "nOut": o}
        yield f"{kw}-{pad}", module("nn.TemporalConvolutionTBC", weight=weight, bias=bias, **fields), x, y


def opennmt(rng: np.random.Generator) -> Rows:
    double = torch_object("nn.MulConstant", constant_scalar=2)
    x, other = noise(rng, 2, 3), noise(rng, 2, 3)
    steps = ("Network", "LSTM", "GRU", "FeaturesEmbedding", "Attention", "GlobalAttention", "MaskedSoftmax")
    for name in steps:
        yield name, module(f"onmt.{name}", net=double, modules=[double]), x, x.astype(float) * 2
    words = torch_object("nn.LookupTable", weight=noise(rng, 5, 3))
    picked = np.stack([words["weight"][i] for i in (4, 0)])
    net = module("onmt.WordEmbedding", net=words, modules=[words], vocabSize=5, fix=False)
    yield "words", net, np.array([5, 1]), picked
    made = module("onmt.Generator", net=double, modules=[double], version=2)
    yield "features", module("onmt.FeaturesGenerator", net=double, modules=[double]), x, x.astype(float) * 2
    yield "generator", made, x, x.astype(float) * 2
    yield "generator-table", made, [x, other], x.astype(float) * 2


ROWS = named(
    watchers,
    grams,
    adain,
    coordinates,
    unit_vectors,
    pairs,
    shifts,
    one_by_one,
    sequences,
    times_batches_channels,
    opennmt,
)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (module("nn.BeamableMM", beam=5), "beam of 5"),
    ],
    ids=["beam"],
)
def test_what_has_no_meaning_is_refused(net: Module, reason: str) -> None:
    assert [reason in problem.reason for problem in net.problems] == [True]


@pytest.mark.parametrize(
    ("net", "shapes"),
    [
        (module("nn.StereoJoin1"), (3, 2, 4, 4)),
        (module("nn.StereoJoin", disp_max=3), (1, 2, 4, 4)),
        (module("nn.StereoJoin", disp_max=5), (2, 2, 4, 4)),
        (module("nn.Normalize2"), (2, 4, 4)),
        (module("nn.GramMatrix"), (4, 4)),
        (module("nn.MaxCoord"), (4, 4)),
    ],
    ids=["odd", "one image", "too many shifts", "vectors", "gram", "coordinates"],
)
def test_inputs_that_do_not_fit(net: Module, shapes: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedError):
        net.forward(np.zeros(shapes, np.float32))


def test_losses_of_stereo_matching_are_left_out() -> None:
    x = np.ones((2, 1, 1, 1), np.float32)
    for name in ("nn.Margin2", "nn.BCECriterion2"):
        net = module("nn.Sequential", modules=[torch_object(name, margin=0.2, pow=1)])
        assert np.array_equal(net.forward(x), x)
        assert any("loss" in note for note in net.notes)


def test_the_placeholder_of_stereo_matching_is_left_out() -> None:
    x = np.ones((2, 3, 1, 1), np.float32)
    join = torch_object("nn.StereoJoin", disp_max=1, direction=-1)
    net = module("nn.Sequential", modules=[torch_object("nn.Normalize2"), join])
    np.testing.assert_allclose(net.forward(x), np.full((2, 3, 1, 1), 1 / math.sqrt(3.00001)), rtol=1e-6)
    assert ["modules[2] nn.StereoJoin: left out" in note for note in net.notes] == [True]
