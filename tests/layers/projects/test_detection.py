"""multipathnet, Fast R-CNN's pooling, DeepMask and SharpMask as their Lua and CUDA code, box by box."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import retorch
from building import module, reference, torch_object
from golden_cases import check
from layers.rnn_modules import concat, para, seq
from layers.rows import named, noise, random_shape, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module
from retorch.torch7 import LuaTable, TorchObject

Rows = Iterator[tuple[str, Module, Any, Any]]


def boxes(rng: np.random.Generator, count: int, images: int, width: float, height: float) -> np.ndarray:
    """(image, x1, y1, x2, y2), from 1; some reach beyond the image, some are turned inside out."""
    x, y = rng.uniform(-0.1, 1.2, (count, 2)) * width + 1, rng.uniform(-0.1, 1.2, (count, 2)) * height + 1
    inside_out = rng.random(count) < 0.1
    x, y = (np.where(inside_out[:, None], t, np.sort(t, axis=1)) for t in (x, y))
    return np.column_stack([rng.integers(1, images + 1, count), x[:, 0], y[:, 0], x[:, 1], y[:, 1]]).astype(np.float32)


def c_round(x: float) -> int:
    return int(math.copysign(math.floor(abs(x) + 0.5), x))


def pooled(image: np.ndarray, box: np.ndarray, h: int, w: int, scale: float, v2: bool) -> np.ndarray:
    """One box over one image (C, height, width), bin by bin, as ROIPooling.cu; its numbers are floats of 32 bits."""
    f = np.float32
    left, top, right, bottom = (
        c_round(float((f(v) - f(1)) * f(scale))) - (v2 and i > 1) for i, v in enumerate(box[1:])
    )
    height, width = f(max(bottom - top + 1, 1)), f(max(right - left + 1, 1))
    y = np.zeros((image.shape[0], h, w))
    for i, j in np.ndindex(h, w):
        edges = [f(i) * (height / f(h)), f(i + 1) * (height / f(h)), f(j) * (width / f(w)), f(j + 1) * (width / f(w))]
        rounding = (c_round, c_round) if v2 else (math.floor, math.ceil)
        y0, y1, x0, x1 = (int(rounding[k % 2](float(e))) for k, e in enumerate(edges))
        y0, y1 = (min(max(v + top, 0), image.shape[1]) for v in (y0, y1))
        x0, x1 = (min(max(v + left, 0), image.shape[2]) for v in (x0, x1))
        if y1 > y0 and x1 > x0:
            y[:, i, j] = image[:, y0:y1, x0:x1].max(axis=(1, 2))
    return y


def regions(rng: np.random.Generator) -> Rows:
    for v2 in (None, False, True):
        for _ in range(14):
            n, c = random_shape(rng, 2, 3)
            height, width = (int(v) for v in rng.integers(2, 9, 2))
            h, w = (int(v) for v in rng.integers(1, 5, 2))
            scale = float(rng.choice([1.0, 0.5, 0.0625]))
            x = noise(rng, n, c, height, width)
            given = boxes(rng, 4, n, width / scale, height / scale)
            fields = {"W": w, "H": h, "spatial_scale": scale} | ({} if v2 is None else {"v2": v2})
            expected = np.stack([pooled(x[int(b[0]) - 1], b, h, w, scale, bool(v2)) for b in given])
            yield f"{v2}-{h}x{w}-{scale}", module("inn.ROIPooling", **fields), [x, given], expected


def norms(rng: np.random.Generator) -> Rows:
    for n, k in ((1, 1), (3, 2), (2, 5)):
        x, mean, std = noise(rng, n, 4 * k), noise(rng, 1, 4), noise(rng, 1, 4)
        y = np.zeros(x.shape)
        for i, j in np.ndindex(*x.shape):
            y[i, j] = float(x[i, j]) * float(std[0, j % 4]) + float(mean[0, j % 4])
        yield f"{n}-{k}", module("nn.BBoxNorm", mean=mean, std=std), x, y


def selections(rng: np.random.Generator) -> Rows:
    for normal in (False, True):
        for n, k in ((1, 1), (3, 2), (2, 5)):
            classes, y = noise(rng, n, k), noise(rng, n, 4 * k)
            mean, std = noise(rng, 1, 4), noise(rng, 1, 4)
            expected = np.zeros((n, 4))
            for i in range(n):
                best = classes[i].tolist().index(max(classes[i].tolist()))
                for j in range(4):
                    at = float(y[i, 4 * best + j])
                    expected[i, j] = at * float(std[0, j]) + float(mean[0, j]) if normal else at
            yield (
                f"{normal}",
                module("nn.SelectBoxes", **({"mean": mean, "std": std} if normal else {})),
                [classes, y],
                expected,
            )


def moves(rng: np.random.Generator) -> Rows:
    for n in (1, 2, 5):
        given, y = boxes(rng, n, 3, 20, 10), noise(rng, n, 4)
        expected = given.astype(float)
        for row, (_, x1, y1, x2, y2), (dx, dy, dw, dh) in zip(
            expected, given.astype(float), y.astype(float), strict=True
        ):
            w, h = x2 - x1, y2 - y1
            xc, yc, w2, h2 = (x1 + x2) / 2 + dx * w, (y1 + y2) / 2 + dy * h, math.exp(dw) * w / 2, math.exp(dh) * h / 2
            row[1:] = xc - w2, yc - h2, xc + w2, yc + h2
        yield f"convert-{n}", module("nn.ConvertFrom"), [given, y], expected
        a, b = (1 + 1.5) / 2, (1 - 1.5) / 2
        tr = np.array([[a, 0, b, 0], [0, a, 0, b], [b, 0, a, 0], [0, b, 0, a]])
        scaled = [
            (
                i,
                *(
                    ((x1 + x2) + s * 1.5 * (x2 - x1)) / 2 if k == 0 else ((y1 + y2) + s * 1.5 * (y2 - y1)) / 2
                    for s in (-1, 1)
                    for k in (0, 1)
                ),
            )
            for i, x1, y1, x2, y2 in given.astype(float)
        ]
        yield f"context-{n}", module("nn.ContextRegion", tr=tr), given, np.array(scaled)
        foveal: list[tuple[float, ...]] = []
        for i, x1, y1, x2, y2 in given.astype(float):
            w, h = x2 - x1, y2 - y1
            foveal.append((i, x1, y1, x2, y2))
            for before, whole in ((0.25, 1.5), (0.5, 2.0), (1.5, 4.0)):
                x, y0 = x1 - w * before, y1 - h * before
                foveal.append((i, x, y0, x + w * whole, y0 + h * whole))
        yield f"foveal-{n}", module("nn.Foveal"), given, np.array(foveal)


def times(factor: float) -> TorchObject:
    return torch_object("nn.MulConstant", constant_scalar=factor)


def containers(rng: np.random.Generator) -> Rows:
    for rank in (2, 4):
        x = noise(rng, *random_shape(rng, rank, 3))
        wide = x.astype(float)
        yield f"switch-{rank}", module("nn.ModeSwitch", modules=[times(2), times(3)], train=True), x, wide * 3
        split = module("nn.SequentialSplitBatch", modules=[times(2), times(3)], batch_size=3)
        yield f"split-{rank}", split, x, wide * 6
        spread = module("nn.ModelParallelTable", modules=[times(2), times(3)], dimension=2, gpuAssignments=[1, 2])
        yield f"spread-{rank}", spread, x, np.concatenate([wide * 2, wide * 3], axis=1)
        yield f"grad-{rank}", module("nn.GradMultiply", modules=[times(2)], factor=0.5), x, wide * 2
        mask = module("nn.DeepMask", trunk=times(2), maskBranch=times(3), scoreBranch=times(5), fSz=10)
        yield f"mask-{rank}", mask, x, [wide * 6, wide * 10]


def sharp(rng: np.random.Generator) -> Rows:
    for inplace in (False, True):
        x = noise(rng, 2, 3)
        wide = x.astype(float)
        # the trunk gives 2x, 6x, then max(6x, 0), which overwrites 6x where it is in place
        trunk = seq(times(2), times(3), torch_object("nn.ReLU", inplace=inplace))
        joined = [seq(para(times(a), times(b)), torch_object("nn.CAddTable")) for a, b in ((7, 11), (13, 17))]
        refs = LuaTable({0: times(5), 1: joined[0], 2: joined[1]})
        net = torch_object("nn.SharpMask", trunk=trunk, skpos=[2, 1], scoreBranch=times(1), km=16, ks=16)
        net["refs"] = refs
        clipped = np.maximum(6 * wide, 0)
        first = (clipped if inplace else 6 * wide) * 7 + clipped * 5 * 11
        yield f"{inplace}", module("nn.Sequential", modules=[net]), x, wide * 2 * 13 + first * 17


ROWS = named(regions, norms, selections, moves, containers, sharp)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


@pytest.mark.parametrize(
    ("net", "x"),
    [
        (module("nn.BBoxNorm", mean=np.ones(4), std=np.ones(4)), np.zeros((2, 6))),
        (module("nn.SelectBoxes"), [np.zeros((2, 3)), np.zeros((2, 8))]),
        (module("nn.Foveal"), np.zeros((2, 4))),
        (module("inn.ROIPooling", W=2, H=2), [np.zeros((1, 1, 3, 3)), np.zeros((2, 4))]),
        (module("nn.SequentialSplitBatch", modules=[times(2)], batch_size=3), np.zeros((4, 2))),
        (module("nn.SelectBoxes"), [np.zeros((2, 3))] * 3),
        (module("nn.ConvertFrom"), [np.zeros((2, 5))]),
        (module("nn.SeqMultiply"), [np.zeros((2, 5))]),
        (module("nn.ZipAlong"), [np.zeros((2, 5)), np.zeros(2)]),
        (module("nn.SpatialGlimpse", size=2, module=torch_object("nn.SpatialAveragePooling")), [np.zeros((1, 4, 4))]),
    ],
    ids=["norm", "select", "foveal", "regions", "split", "three", "one", "sequence", "zip", "glimpse"],
)
def test_inputs_that_do_not_fit(net: Module, x: Any) -> None:
    with pytest.raises(UnsupportedError):
        net.forward(x)
    with pytest.raises(UnsupportedError):
        retorch.convert(net, x, fold=False)


def test_a_network_of_regions() -> None:
    """Images and boxes through convolution, pooling and two heads, as Fast R-CNN has them."""
    rng = np.random.default_rng(3)
    weight, classes, moved = noise(rng, 4, 3, 3, 3), noise(rng, 2, 16), noise(rng, 8, 16)
    convolution = torch_object("nn.SpatialConvolution", weight=weight, kW=3, kH=3, padW=1, padH=1)
    regions = torch_object("inn.ROIPooling", W=2, H=2, spatial_scale=1, v2=True)
    view = torch_object("nn.View", size=(-1,), numElements=-1, numInputDims=3)
    heads = concat(torch_object("nn.LinearNB", weight=classes), torch_object("nn.LinearNB", weight=moved))
    stages = [para(convolution, torch_object("nn.Identity")), regions, view, heads, torch_object("nn.SelectBoxes")]
    net = module("nn.Sequential", modules=stages)
    x = [noise(rng, 2, 3, 7, 9), boxes(rng, 6, 2, 9, 7)]
    features = np.zeros((2, 4, 7, 9))
    wide = np.pad(x[0].astype(float), ((0, 0), (0, 0), (1, 1), (1, 1)))
    for n, o, i, j in np.ndindex(*features.shape):
        features[n, o, i, j] = (wide[n, :, i : i + 3, j : j + 3] * weight[o]).sum()
    rows = np.stack([pooled(features[int(b[0]) - 1], b, 2, 2, 1.0, True).ravel() for b in x[1]])
    best = (rows @ classes.T.astype(float)).argmax(axis=1)
    expected = np.stack([(row @ moved.T.astype(float))[4 * k : 4 * k + 4] for row, k in zip(rows, best, strict=True)])
    check([expected], reference(net, x), 1e-6)
    check([expected], retorch.convert(net, x, fold=False).run(*x), 1e-5)
