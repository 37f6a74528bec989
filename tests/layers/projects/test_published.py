"""Classes of EntNet, HieCoAttenVQA, DC-IGN, shake-shake, Atari players and dpnn as their Lua, element by element."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from building import module, sequential, torch_object
from layers.rows import Row, named, noise, random_shape, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module
from retorch.torch7 import LuaTable, TorchObject

Rows = Iterator[tuple[str, Module, Any, Any]]


def normalized(rng: np.random.Generator) -> Rows:
    for rank in (1, 2, 3):
        for thresh in (0.0, 0.7):
            x = noise(rng, *random_shape(rng, rank))
            x.reshape(-1, x.shape[-1])[0] = 0
            rows: list[list[float]] = []
            for row in x.reshape(-1, x.shape[-1]).astype(float):
                norm = math.sqrt(sum(float(v) ** 2 for v in row))
                rows.append([float(v) / (thresh + 1 if norm <= thresh else norm) for v in row])
            yield f"{rank}-{thresh}", module("nn.Normalization", thresh=thresh), x, np.array(rows).reshape(x.shape)


def masked(rng: np.random.Generator) -> Rows:
    for dtype in (np.uint8, np.float32):
        x = noise(rng, 3, 5)
        mask = np.array([[0, 0, 0, 1, 1], [1, 0, 1, 0, 0], [0, 0, 0, 0, 0]], dtype)
        y = np.zeros(x.shape)
        for i, row in enumerate(x):
            e = [0.0 if mask[i, j] else math.exp(float(v)) for j, v in enumerate(row)]
            y[i] = np.array(e) / sum(e)
        yield np.dtype(dtype).name, module("nn.maskSoftMax"), [x, mask], y
    everything = np.ones((1, 4), np.uint8)
    yield "all", module("nn.maskSoftMax"), [noise(rng, 1, 4), everything], np.full((1, 4), 0.25)


def clamps(rng: np.random.Generator) -> Rows:
    x = noise(rng, 3, 4)
    for passthrough, columns in ((None, []), (1, [0]), (3, [2]), (4, [3])):
        y = np.array([x[0]] * 3)
        y[:, columns] = x[:, columns]
        given = {} if passthrough is None else {"passthrough": passthrough}
        yield f"{passthrough}", module("nn.SelectiveOutputClamp", active=True, **given), x, y
    yield (
        "range",
        module("nn.SelectiveOutputClamp", passthrough=[2, 3], active=True),
        x,
        np.array([[x[0, 0], x[i, 1], x[i, 2], x[0, 3]] for i in range(3)]),
    )
    yield "off", module("nn.SelectiveOutputClamp", passthrough=2, active=False), x, x
    yield "filter", module("nn.SelectiveGradientFilter", active=True, force_invariance=False), x, x
    yield "topk", module("nn.BatchTopK", k=0.3, flag=True), x, x
    yield "entropy", module("nn.CategoricalEntropy", scale=1, sizeAverage=True), x, x
    weight, bias = noise(rng, 2, 4), noise(rng, 2)
    linear = [[float(bias[o]) + sum(float(a) * float(b) for a, b in zip(weight[o], row, strict=True)) for o in (0, 1)]
              for row in x]  # fmt: skip
    yield "linear", module("nn.LinearCR", weight=weight, bias=bias), x, np.array(linear)


def unpooled(rng: np.random.Generator) -> Rows:
    for scale in (1, 2, 3):
        n, c, size = random_shape(rng, 3)
        x = noise(rng, n, c, size, size)
        y = np.zeros((n, c, size * scale, size * scale))
        for at in np.ndindex(*x.shape):
            y[at[0], at[1], at[2] * scale, at[3] * scale] = x[at]
        yield f"{scale}", module("nn.UnPooling", scale=scale), x, y


def reparametrized(rng: np.random.Generator) -> Rows:
    mean, log_variance, eps = (noise(rng, 2, 3) for _ in range(3))
    y = [[float(mean[i, j]) + math.exp(float(log_variance[i, j]) / 2) * float(eps[i, j]) for j in range(3)]
         for i in range(2)]  # fmt: skip
    for name in ("nn.Reparametrize", "nn.Sampler", "nn.GaussianSampler"):
        yield f"drawn-{name}", module(name), [[mean, log_variance], eps], np.array(y)


def branch(factor: float, scale: TorchObject) -> TorchObject:
    """A branch of a shake-shake block as it stands in the file: a rectifier in place first, the scale as the 7th."""
    held = [torch_object("nn.ReLU", inplace=True), torch_object("nn.MulConstant", constant_scalar=factor)]
    return torch_object("nn.Sequential", modules=[*held, *[torch_object("nn.Identity")] * 4, scale])


def blocks(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 3, 2, 2)
    positive = np.maximum(x.astype(float), 0)
    for kind in ("batch", "image"):

        def scale(value: float, kind: str = kind) -> TorchObject:
            if kind == "batch":
                return torch_object("nn.MulConstant", constant_scalar=value)
            return torch_object("nn.MulConstantSlices", constant_tensor=np.array([value, 1 - value]))

        skip = torch_object("nn.Sequential", modules=[torch_object("nn.Identity")])
        nets = {"net1": branch(3.0, scale(0.9)), "net2": branch(-5.0, scale(0.1)), "skip": skip}
        fields = {"shakeImage": str(kind == "image").lower(), "forwardShake": "true", "batchSize": 2}
        net = module("nn.ShakeShakeBlock", modules=[nets["net1"], nets["net2"], skip], **nets, **fields)
        yield kind, net, x, x.astype(float) + 1.5 * positive - 2.5 * positive
    table = [noise(rng, 2, 2) for _ in range(3)]
    halves = [table[0].astype(float), table[1].astype(float) / 2, table[2].astype(float) / 2]
    yield "table", module("nn.ShakeShakeTable", batchSize=4, constant_tensor=np.ones(4)), table, halves
    factors = np.array([2.0, -1.0, 3.0])
    for inplace in (False, True):
        net = module("nn.MulConstantSlices", constant_tensor=factors, inplace=inplace)
        yield f"slices-{inplace}", net, x, np.stack([x[0].astype(float) * 2, -x[1].astype(float)])


def covered(size: int, wanted: int) -> Iterator[list[tuple[int, float]]]:
    """For each pixel of a shorter row: the pixels that it covers, and how much of each, a piece at a time."""
    for i in range(wanted):
        pieces = [(j, 0.0) for j in range(size)]
        steps = 1000 * wanted
        for piece in range(steps):
            place = (i + (piece + 0.5) / steps) * size / wanted
            j = min(int(place), size - 1)
            pieces[j] = (j, pieces[j][1] + 1 / steps)
        yield pieces


def spread(size: int, wanted: int) -> Iterator[list[tuple[int, float]]]:
    """For each pixel of a longer row: the two that it lies between."""
    for i in range(wanted):
        place = i * (size - 1) / (wanted - 1)
        left = min(int(place), size - 2)
        yield [(left, 1 - (place - left)), (left + 1, place - left)]


def scaled(rng: np.random.Generator) -> Rows:
    for (h, w), (height, width) in (((6, 8), (3, 2)), ((4, 3), (7, 5)), ((5, 5), (2, 9)), ((4, 4), (4, 4))):
        x = noise(rng, 2, 3, h, w)
        grey = 0.299 * x[0, 0].astype(float) + 0.587 * x[0, 1] + 0.114 * x[0, 2]
        rows = list(covered(h, height) if height <= h else spread(h, height))
        columns = list(covered(w, width) if width <= w else spread(w, width))
        y = np.zeros((1, height, width))
        for i, j in np.ndindex(height, width):
            y[0, i, j] = sum(a * b * grey[p, q] for p, a in rows[i] for q, b in columns[j])
        net = module("nn.Scale", height=height, width=width)
        yield f"{h}x{w}-{height}x{width}", net, x, y
        yield f"{h}x{w}-{height}x{width}-3", net, x[0], y


def clusters(rng: np.random.Generator) -> Rows:
    for k, dim, n in ((3, 2, 5), (5, 4, 2), (2, 1, 3)):
        weight, x = noise(rng, k, dim), noise(rng, n, dim)
        x[0], weight[-1] = weight[0], weight[0]
        y: list[float] = []
        for row in x:
            far = [sum((float(a) - float(b)) ** 2 for a, b in zip(row, center, strict=True)) for center in weight]
            y.append(far.index(min(far)) + 1)
        yield f"{k}-{dim}", module("nn.Kmeans", k=k, dim=dim, weight=weight, loss=0), x, np.array(y, float)


def crops(rng: np.random.Generator) -> Rows:
    for (h, w), (oheight, owidth) in (((5, 6), (2, 3)), ((4, 5), (3, 4)), ((7, 7), (1, 6))):
        x = noise(rng, 2, 3, h, w)
        top, left = math.ceil((h - oheight) / 2) - 1, math.ceil((w - owidth) / 2) - 1
        y = np.array([[[[x[n, c, top + i, left + j] for j in range(owidth)] for i in range(oheight)]
                       for c in range(3)] for n in range(2)])  # fmt: skip
        net = module("nn.SpatialUniformCrop", oheight=oheight, owidth=owidth)
        yield f"{h}x{w}", net, x, y
        yield f"{h}x{w}-3", net, x[1], y[1]


def sequences_of_any_length(rng: np.random.Generator) -> Rows:
    """Running sums of each sequence, by a recurrence around an addition that is told which steps are empty."""
    for last_only in (False, True):
        x = [noise(rng, steps, 2) for steps in (3, 1, 4)]
        expected: list[np.ndarray] = []
        for sample in x:
            state, rows = np.zeros(2), []
            for row in sample.astype(float):
                state = state + row
                rows.append(state)
            expected.append(np.array(rows))
        # {x, h} to x + h, masked, as the state of a recurrence
        adding = torch_object("nn.CAddTable", inplace=False)
        step = torch_object("nn.MaskZero", modules=[adding], v2=True, maskoutput=True, zeroMask=np.zeros(1, np.uint8))
        recurrence = torch_object("nn.Recurrence", modules=[step], outputSize=[2], nInputDim=1)
        sequencer = torch_object("nn.Sequencer", modules=[recurrence], _remember="neither")
        net = module("nn.VariableLength", modules=[sequencer], lastOnly=last_only)
        assert not net.notes
        yield f"{last_only}", net, x, np.stack([y[-1] for y in expected]) if last_only else expected


ROWS = named(
    normalized, masked, clamps, unpooled, reparametrized, blocks, scaled, clusters, crops, sequences_of_any_length
)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


@pytest.mark.parametrize(
    ("net", "x"),
    [
        (module("nn.SpatialUniformCrop", oheight=4, owidth=4), np.zeros((1, 1, 4, 6), np.float32)),
        (module("nn.Kmeans", weight=np.zeros((2, 3), np.float32)), np.zeros((1, 2), np.float32)),
        (module("nn.UnPooling", scale=2), np.zeros((1, 1, 2, 3), np.float32)),
        (module("nn.MulConstantSlices", constant_tensor=np.ones(2)), np.zeros((3, 2), np.float32)),
        (module("nn.VariableLength", modules=[torch_object("nn.Identity")]), []),
    ],
    ids=["no room", "other rows", "not square", "too many samples", "no sequences"],
)
def test_inputs_that_do_not_fit(net: Module, x: Any) -> None:
    with pytest.raises(UnsupportedError):
        net.forward(x)


def test_later_readers_see_the_mask_in_the_scores() -> None:
    """{x, mask} to {softmax, x}: Torch writes into x before the second branch reads it."""
    both = torch_object(
        "nn.ConcatTable", modules=[torch_object("nn.maskSoftMax"), torch_object("nn.SelectTable", index=1)]
    )
    net = sequential(both)
    x, mask = np.array([[1.0, 2.0]], np.float32), np.array([[0, 1]], np.uint8)
    expected = [np.array([[1.0, 0.0]]), np.array([[1.0, -9999999.0]])]
    Row("mask", net, [x, mask], expected).agrees_converted()
    got = net.forward([x.copy(), mask])
    assert [np.array_equal(a, b) for a, b in zip(got, expected, strict=True)] == [True, True]


def test_two_networks_of_a_file_share_the_module_that_is_unmasked() -> None:
    shared = torch_object("nn.Identity")
    stored = LuaTable.of(shared, shared)
    net = module("nn.VariableLength", modules=[torch_object("nn.Sequential", modules=stored)])
    x = [np.ones((2, 3), np.float32)]
    assert np.array_equal(net.forward(x)[0], x[0])
    assert "zeroMask" not in shared
