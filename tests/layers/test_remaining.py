"""Names under which other packages saved what has a family of its own, with networks as those packages build them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import retorch
from building import module, sequential, torch_object
from layers.rows import named, noise, row_tests
from retorch.module import Module
from retorch.torch7 import LuaTable, TorchObject

Rows = Iterator[tuple[str, Module, Any, Any]]


def convolution(weight: np.ndarray, bias: np.ndarray, pad: int = 0) -> TorchObject:
    channels, inside, height, width = weight.shape
    return torch_object(
        "nn.SpatialConvolution",
        weight=weight,
        bias=bias,
        nInputPlane=inside,
        nOutputPlane=channels,
        kH=height,
        kW=width,
        padH=pad,
        padW=pad,
    )


def slid(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, pad: int = 0) -> np.ndarray:
    """A convolution of stride 1, tap by tap."""
    padded = np.pad(x.astype(float), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    height, width = padded.shape[2] - weight.shape[2] + 1, padded.shape[3] - weight.shape[3] + 1
    y = np.zeros((len(x), len(weight), height, width)) + bias[:, None, None]
    for i, j in np.ndindex(*weight.shape[2:]):
        y += np.einsum("oc,nchw->nohw", weight[:, :, i, j].astype(float), padded[:, :, i : i + height, j : j + width])
    return y


def fire_modules(rng: np.random.Generator) -> Rows:
    """dpnn's: squeeze by 1x1, expand by 1x1 and by 3x3 side by side, each with a ReLU."""
    for channels, squeezed, wide, size in ((3, 2, 4, 5), (4, 1, 2, 3), (2, 3, 3, 6)):
        s = noise(rng, squeezed, channels, 1, 1)
        one, three = noise(rng, wide, squeezed, 1, 1), noise(rng, 2, squeezed, 3, 3)
        sb, ob, tb = noise(rng, squeezed), noise(rng, wide), noise(rng, 2)
        expand = torch_object("nn.Concat", dimension=2, modules=[convolution(one, ob), convolution(three, tb, 1)])
        relus = [torch_object("nn.ReLU", inplace=False) for _ in range(2)]
        chain = torch_object("nn.Sequential", modules=[convolution(s, sb), relus[0], expand, relus[1]])
        fields = {"nInputPlane": channels, "s1x1": squeezed, "e1x1": wide, "e3x3": 2, "activation": "ReLU"}
        x = noise(rng, 2, channels, size, size)
        small = np.maximum(slid(x, s, sb), 0)
        expected = np.maximum(np.concatenate([slid(small, one, ob), slid(small, three, tb, 1)], 1), 0)
        yield f"{channels}", module("nn.FireModule", modules=[chain], module=chain, **fields), x, expected


def wrappers(rng: np.random.Generator) -> Rows:
    for name in ("nn.NoBackprop", "nn.DataParallel"):
        for count in (1, 3):
            weight, bias, x = noise(rng, 4, 3), noise(rng, 4), noise(rng, count, 3)
            inside = torch_object("nn.Linear", weight=weight, bias=bias)
            # its copies on other processors are left alone: only the first is the network
            copies = [torch_object("nn.Linear", weight=weight * 0, bias=bias)] if name == "nn.DataParallel" else []
            net = module(name, modules=[inside, *copies], dimension=1) if copies else module(name, modules=[inside])
            yield f"{name}-{count}", net, x, x @ weight.T.astype(float) + bias


def in_nns_own_tests(rng: np.random.Generator) -> Rows:
    """nn's tests have a linear layer of their own."""
    weight, bias, x = noise(rng, 4, 3), noise(rng, 4), noise(rng, 2, 3)
    net = module("nn.LinearTHNN", weight=weight, bias=bias, addBuffer=np.zeros(4))
    yield "linear", net, x, x @ weight.T.astype(float) + bias


def renamed(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 3)
    for name in ("nn.BatchFlip", "nn.Tic", "nn.Toc", "nn.GradScale"):
        yield name, module(name, train=True, name="part"), x, x
    weight, bias = noise(rng, 4, 3), noise(rng, 4)
    y = x @ weight.T.astype(float) + bias
    yield "metric", module("nnx.QDRiemaNNLinear", weight=weight, bias=bias, gamma=0.01, qdFlag=True), x, y
    for name in ("nn.FairLookupTable", "nn.FasterLookup", "nn.Dictionary"):
        yield name, module(name, weight=weight, batchScaled=True), np.array([3, 1], np.int64), weight[[2, 0]]


def capsules(rng: np.random.Generator) -> Rows:
    bias, x = noise(rng, 2, 3), noise(rng, 2, 4)
    yield "entity", module("nn.Entity", bias=bias, bsize=2), x, bias
    v = noise(rng, 2, 3, 5)
    yield "intensity", module("nn.IntensityMod"), [x, v], np.stack([v[i].astype(float) * x[i, 0] for i in range(2)])
    yield "component", module("nn.componentMul"), [v, 2 * v], 2 * v.astype(float) ** 2


def examples(rng: np.random.Generator) -> Rows:
    """Key-value memory networks: the words of all examples one after the other, and how many each has."""
    for lengths in ([2, 3, 1], [4], [1, 0, 2]):
        x, count = noise(rng, sum(lengths), 3), np.array(lengths, np.float32)
        sums, coded, at = np.zeros((len(lengths), 3)), np.zeros(x.shape), 0
        for e, length in enumerate(lengths):
            for j in range(1, length + 1):
                sums[e] += x[at]
                for k in (1, 2, 3):
                    weight = (1 - j / length) - k / 3 * (1 - 2 * j / length)
                    coded[at, k - 1] = float(x[at, k - 1]) * weight
                at += 1
        yield f"sum-{lengths}", module("nn.SumVecarr"), [x, count], sums
        yield f"position-{lengths}", module("nn.PositionalEncoder", forwardLen=False), [x, count], coded
        yield f"handed-{lengths}", module("nn.PositionalEncoder", forwardLen=True), [x, count], [coded, count]


def flattened(rng: np.random.Generator) -> Rows:
    x, weight, bias = noise(rng, 2, 3, 4, 5), noise(rng, 3, 2), noise(rng, 3)
    wide = x.astype(float)
    across = np.stack(
        [wide[:, c, :, :-1] * weight[c, 0] + wide[:, c, :, 1:] * weight[c, 1] + bias[c] for c in range(3)], 1
    )
    down = np.stack([wide[:, c, :-1] * weight[c, 0] + wide[:, c, 1:] * weight[c, 1] + bias[c] for c in range(3)], 1)
    fields = {"kL": 2, "nInputPlane": 3, "nOutputPlane": 3, "weight": weight, "bias": bias, "ones": np.zeros(0)}
    yield "across", module("nn.HorizontalConvolution", **fields), x, across
    yield "down", module("nn.VerticalConvolution", **fields), x, down
    matrix = noise(rng, 4, 3)
    lateral = slid(x, matrix[:, :, None, None], noise(rng, 4) * 0)
    fields = {"nInputPlane": 3, "nOutputPlane": 4, "weight": matrix, "bias": np.zeros(4, np.float32)}
    yield "lateral", module("nn.LateralConvolution", **fields), x, lateral
    pixels, b = noise(rng, 4, 3, 3, 3), noise(rng, 4)
    conv = {"kW": 3, "kH": 3, "padW": 1, "padH": 1, "weight": pixels, "bias": b, "nInputPlane": 3, "nOutputPlane": 4}
    view = slid(x, pixels, b, 1).reshape(2, 1, 8, 10)
    yield "upsample", module("cudnn.SpatialConvolutionUpsample", **conv, factor=2, nOutputPlaneU=1), x, view


def copied(rng: np.random.Generator) -> Rows:
    """skip-thoughts: samples whose word is blank take states from before, the first of them the first."""
    double = torch_object("nn.MulConstant", constant_scalar=2, inplace=False)
    inner = torch_object("nn.Sequential", modules=[torch_object("nn.CAddTable", inplace=False), double])
    steps = [noise(rng, 3, 2) for _ in range(4)]
    steps[1][0] = steps[2][1] = steps[3][1] = steps[3][2] = 0
    h, states = np.zeros((3, 2)), []
    for x in steps:
        before = iter(h)
        h = np.array(
            [2 * (row.astype(float) + own) if row.any() else next(before) for row, own in zip(x, h, strict=True)]
        )
        states.append(h)
    mask = torch_object("nn.MaskZeroCopy", modules=[inner], nInputDim=1)
    step = torch_object("nn.GRUST", modules=[mask], recurrentModule=mask, inputSize=2, outputSize=2, p=0, mono=False)
    yield "", module("nn.Sequencer", modules=[step], module=step), steps, states


def projected(row: np.ndarray) -> np.ndarray:
    """The numbers max(x − t, 0) that sum up to 1, t found by halving."""
    low, high = row.min() - 1, row.max()
    for _ in range(80):
        t = (low + high) / 2
        low, high = (t, high) if np.maximum(row - t, 0).sum() > 1 else (low, t)
    return np.maximum(row - low, 0)


def sparsely(rng: np.random.Generator) -> Rows:
    for scale in (0.3, 1.0, 5.0):
        for shape, axis in [((6,), 0), ((3, 6), 1), ((6, 2, 3), 0), ((2, 6, 3, 2), 1), ((2, 1), 1)]:
            x = noise(rng, *shape) * scale
            yield f"{shape}-{scale}", module("nn.SparseMax"), x, np.apply_along_axis(projected, axis, x.astype(float))


def losses(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 3)
    doubled = torch_object("nn.MulConstant", constant_scalar=2, inplace=False)
    names = """Criterion SparseMaxLoss BinaryLogisticRegression SpatialBinaryLogisticRegression VRClassReward HSM L1Cost
    BinaryClassReward HLogSoftMax AdaptiveLoss ClassNLLCriterionWithUNK SequencerCriterionNormStab"""
    for name in names.split():
        yield name, sequential(doubled, torch_object(f"nn.{name}")), x, 2 * x.astype(float)
    squares = torch_object("nn.MSECriterion", sizeAverage=True)
    loss = np.array([(x.astype(float) ** 2).mean()])
    yield "table", module("nn.CriterionTable", criterion=squares), [x, 2 * x], loss


def sparse(rng: np.random.Generator) -> Rows:
    for samples, entries, inputs, outputs in ((1, 2, 5, 3), (3, 4, 7, 2), (2, 1, 3, 4)):
        weight, bias = noise(rng, outputs, inputs), noise(rng, outputs)
        keys, values = rng.integers(1, inputs + 1, (samples, entries)), noise(rng, samples, entries)
        dense = np.zeros((samples, inputs))
        for n, e in np.ndindex(samples, entries):
            dense[n, keys[n, e] - 1] += values[n, e]
        x = np.stack([keys.astype(np.float32), values], 2)
        net = module("fbnn.SparseLinear", weight=weight, bias=bias, useSparseUpdate=False, numBackward=0)
        yield f"{samples}", net, x, dense @ weight.T.astype(float) + bias


ROWS = named(
    fire_modules, wrappers, in_nns_own_tests, renamed, capsules, examples, flattened, copied, sparsely, losses, sparse
)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


@pytest.mark.parametrize("name", ["nn.VRClassReward", "nn.HSM", "nn.BinaryLogisticRegression", "nn.OwnCriterion"])
def test_a_loss_beside_the_network_is_no_second_network(name: str, tmp_path: Path) -> None:
    inside = torch_object("nn.MulConstant", constant_scalar=2, inplace=False)
    loss = torch_object(name, module=torch_object("nn.Identity"))
    retorch.write(tmp_path / "both.t7", LuaTable({"model": inside, "criterion": loss}))
    assert np.array_equal(retorch.load(tmp_path / "both.t7").forward(np.ones(2)), [2, 2])


def test_the_network_of_a_trainer_is_read(tmp_path: Path) -> None:
    fields = {"learningRate": 0.01, "criterion": torch_object("nn.MSECriterion"), "verbose": True}
    inside = torch_object("nn.MulConstant", constant_scalar=2, inplace=False)
    retorch.write(tmp_path / "trainer.t7", torch_object("nn.StochasticGradient", module=inside, **fields))
    assert np.array_equal(retorch.load(tmp_path / "trainer.t7").forward(np.ones(2)), [2, 2])
