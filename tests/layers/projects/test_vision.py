"""imagine-nn, waifu2x, EDSR, DenseNet, DQN and XNOR-Net: what their Lua and CUDA code says, element by element."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import retorch
from building import module, torch_object
from layers.rnn_modules import seq
from layers.rows import named, noise, random_shape, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module
from retorch.torch7 import TorchObject

Rows = Iterator[tuple[str, Module, Any, Any]]


def affine(rng: np.random.Generator) -> Rows:
    for name in ("inn.ConstAffine", "inn.SpatialConstAffine", "nn.SpatialConstDiagonal"):
        for rank in (2, 4) if name == "inn.ConstAffine" else (4,):
            for inplace in (False, True):
                shape = random_shape(rng, rank)
                x, a, b = noise(rng, *shape), noise(rng, shape[1]), noise(rng, shape[1])
                y = np.zeros(shape)
                for at in np.ndindex(*shape):
                    y[at] = float(x[at]) * float(a[at[1]]) + float(b[at[1]])
                stored = [t if name == "inn.ConstAffine" else t.reshape(1, -1, 1, 1) for t in (a, b)]
                yield f"{name}-{rank}", module(name, a=stored[0], b=stored[1], inplace=inplace), x, y


def means(rng: np.random.Generator) -> Rows:
    for rank in (3, 4):
        for kind in ("image", "one", "repeated"):
            shape = random_shape(rng, rank)
            x, mean = noise(rng, *shape), noise(rng, *shape[-3:])
            stored = {"image": mean, "one": mean[None], "repeated": np.broadcast_to(mean, (4, *mean.shape))}[kind]
            yield f"{kind}-{rank}", module("inn.MeanSubtraction", mean=stored), x, x.astype(float) - mean


def stochastic(rng: np.random.Generator) -> Rows:
    for rank in (3, 4):
        for _ in range(15):
            kernel, stride = (rng.integers(1, 4, 2).tolist() for _ in range(2))
            shape = (*random_shape(rng, rank - 2, 3), *(int(k + rng.integers(0, 5)) for k in kernel))
            # after a rectifier: zeros are common, negatives are not
            x = np.maximum(noise(rng, *shape), 0)
            outs = [math.ceil((s - k) / d) + 1 for s, k, d in zip(shape[-2:], kernel, stride, strict=True)]
            y = np.zeros((*shape[:-2], *outs))
            for at in np.ndindex(*y.shape):
                i, j = at[-2] * stride[0], at[-1] * stride[1]
                seen = x[(*at[:-2], slice(i, i + kernel[0]), slice(j, j + kernel[1]))].astype(float).ravel()
                y[at] = sum(v * v for v in seen) / (1.17549435e-38 + sum(seen))
            fields = {"kH": kernel[0], "kW": kernel[1], "dH": stride[0], "dW": stride[1]}
            yield f"{rank}-{kernel}-{stride}", module("inn.SpatialStochasticPooling", **fields, train=True), x, y


def pyramid_level(width: int, height: int) -> TorchObject:
    return seq(
        torch_object("nn.SpatialAdaptiveMaxPooling", W=width, H=height),
        torch_object("nn.View", size=(-1,), numElements=-1, numInputDims=3),
        torch_object("nn.Contiguous"),
    )


def pyramids(rng: np.random.Generator) -> Rows:
    for rank in (3, 4):
        for levels in ([(1, 1)], [(4, 4), (2, 3), (1, 1)], [(3, 1), (1, 2)]):
            shape = (*random_shape(rng, rank - 3, 3), *random_shape(rng, 3, 6))
            x = noise(rng, *shape)
            images, rows = x.reshape(-1, *shape[-3:]).astype(float), []
            for image in images:
                row: list[float] = []
                for w, h in levels:
                    for channel in image:
                        for i, j in np.ndindex(h, w):
                            top, bottom = i * shape[-2] // h, math.ceil((i + 1) * shape[-2] / h)
                            left, right = j * shape[-1] // w, math.ceil((j + 1) * shape[-1] / w)
                            row.append(channel[top:bottom, left:right].max())
                rows.append(row)
            net = module("inn.SpatialPyramidPooling", modules=[pyramid_level(w, h) for w, h in levels], dimension=7)
            yield f"{rank}-{levels}", net, x, np.array(rows if rank == 4 else rows[0])


def elementwise(rng: np.random.Generator) -> Rows:
    for rank in (1, 2, 3, 4):
        x = noise(rng, *random_shape(rng, rank)) * 2
        x.flat[0] = 0
        wide = x.astype(float)
        yield f"rectifier-{rank}", module("nn.Rectifier"), x, (np.abs(wide) + wide) / 2
        yield f"binary-{rank}", module("nn.BinActiveZ"), x, (wide > 0) * 1.0 - (wide < 0)
        yield f"clip-{rank}", module("w2nn.InplaceClip01"), x, np.minimum(np.maximum(wide, 0), 1)
        yield f"grad-{rank}", module("w2nn.GradWeight", constant_scalar=0.1), x, x
        yield f"print-{rank}", module("w2nn.Print"), x, x
        old = (np.abs(wide) + wide) / 2 - 0.5 * 0.3 * (np.abs(wide) - wide)
        yield f"leaky-{rank}", module("w2nn.LeakyReLU", negative_scale=0.3, negative=noise(rng, 1)), x, old
        yield f"leaky-nn-{rank}", module("nn.LeakyReLU", negative_scale=0.3, negative=noise(rng, 1)), x, old
        yield f"leaky-new-{rank}", module("w2nn.LeakyReLU", negval=0.3, inplace=True), x, old


def tables(rng: np.random.Generator) -> Rows:
    for i in (1, 2, 3):
        x = [noise(rng, 2, 3), noise(rng, 2, 3), noise(rng, 2, 3)]
        yield f"auxiliary-{i}", module("w2nn.AuxiliaryLossTable", i=i, train=True), x, x[i - 1]
    for _ in range(6):
        n, c, h, w = random_shape(rng, 4)
        x, s = noise(rng, n, c, h, w), noise(rng, n, c, 1, 1)
        y = np.zeros(x.shape)
        for at in np.ndindex(n, c, h, w):
            y[at] = float(x[at]) * float(s[at[0], at[1], 0, 0])
        yield "scale", module("w2nn.ScaleTable", scale=noise(rng, 1)), [x, s], y
        other = noise(rng, n, c, h, w)
        fields = {"alpha": noise(rng, 1), "beta": noise(rng, 1), "train": True}
        yield "shake", module("w2nn.ShakeShakeTable", **fields), [x, other], x.astype(float) + other
        for inplace in (False, True):
            skipped = [x.astype(float) + other, x.astype(float) + 2 * x]
            yield "skip", module("nn.MultiSkipAdd", inplace=inplace), [x, [other, 2 * x]], skipped


def depth(rng: np.random.Generator) -> Rows:
    for _ in range(6):
        n, c, h, w = random_shape(rng, 4, 3)
        x = noise(rng, n, 4 * c, h, w)
        # dimension by dimension, as DepthExpand2x.lua
        t = x.transpose(0, 3, 2, 1).reshape(n, w, h * 2, 2 * c).transpose(0, 2, 1, 3).reshape(n, h * 2, w * 2, c)
        yield f"{c}-{h}-{w}", module("w2nn.DepthExpand2x"), x, t.transpose(0, 3, 2, 1).transpose(0, 1, 3, 2)


def edges(rng: np.random.Generator) -> Rows:
    for _ in range(4):
        n, c = random_shape(rng, 2, 3)
        h, w = (int(v) for v in rng.integers(4, 7, 2))
        x = noise(rng, n, c, h, w)
        weight, y = np.zeros((8 * c, c, 3, 3), np.float32), np.zeros((n, 8 * c, h - 2, w - 2))
        around = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
        for k, (channel, (i, j)) in enumerate((p, place) for p in range(c) for place in around):
            weight[k, channel, 1, 1], weight[k, channel, i, j] = 1, -1
            y[:, k] = x[:, channel, 1:-1, 1:-1].astype(float) - x[:, channel, i : h - 2 + i, j : w - 2 + j]
        fields = {"kW": 3, "kH": 3, "dW": 1, "dH": 1, "padW": 0, "padH": 0, "nInputPlane": c, "nOutputPlane": 8 * c}
        yield f"{c}", module("w2nn.EdgeFilter", weight=weight, **fields), x, y


def binary(rng: np.random.Generator) -> Rows:
    for rank in (3, 4):
        for _ in range(3):
            n, c, o = random_shape(rng, 3, 3)
            h, w = (int(v) for v in rng.integers(3, 6, 2))
            x, weight = noise(rng, n, c, h, w), noise(rng, o, c, 3, 2)
            weight.flat[0] = 0
            y = np.zeros((n, o, h, w - 1))
            padded = np.pad(x.astype(float), ((0, 0), (0, 0), (1, 1), (0, 0)))
            for i, k, a, b in np.ndindex(*y.shape):
                ones = [1.0 if v >= 0 else -1.0 for v in weight[k].ravel()]
                alpha = sum(abs(float(v)) for v in weight[k].ravel()) / weight[k].size
                y[i, k, a, b] = alpha * (padded[i, :, a : a + 3, b : b + 2].ravel() * ones).sum()
            fields = {"kW": 2, "kH": 3, "dW": 1, "dH": 1, "padW": 0, "padH": 1, "nInputPlane": c, "nOutputPlane": o}
            net = module("nn.SpatialBinaryConvolution", weight=weight, alphas=noise(rng, o), **fields)
            yield f"{rank}", net, x if rank == 4 else x[0], y if rank == 4 else y[0]


def rows_of_numbers(rng: np.random.Generator) -> Rows:
    for shape in ((3, 4), (1, 4), (4,)):
        x, weight = noise(rng, *shape), noise(rng, 5, 4)
        y = np.array(
            [sum(float(a) * float(b) for a, b in zip(r, w, strict=True)) for r in x.reshape(-1, 4) for w in weight]
        )
        yield f"linear-{shape}", module("nn.LinearNB", weight=weight), x, y.reshape(*shape[:-1], 5)
    for n in (1, 2, 5):
        x = noise(rng, 3, 4)
        yield f"expand-{n}", module("nn.FeatExpander", n=n), x, np.array([row for row in x for _ in range(n)])


def dense(rng: np.random.Generator) -> Rows:
    for count in (1, 2, 3):
        n, h, w = random_shape(rng, 3, 4)
        x = [noise(rng, n, int(c), h, w) for c in rng.integers(1, 4, count)]
        channels = sum(t.shape[1] for t in x)
        weight = noise(rng, 2, channels, 1, 1)
        made = np.zeros((n, 2, h, w))
        joined = np.maximum(np.concatenate(x, axis=1).astype(float) * 2, 0)
        for i, o, a, b in np.ndindex(*made.shape):
            made[i, o, a, b] = sum(float(weight[o, k, 0, 0]) * joined[i, k, a, b] for k in range(channels))
        net1 = seq(torch_object("nn.MulConstant", constant_scalar=2), torch_object("nn.ReLU", inplace=True))
        net2 = seq(torch_object("nn.SpatialConvolution", weight=weight, kW=1, kH=1))
        net = torch_object("nn.DenseConnectLayerCustom", net1=net1, net2=net2, modules=[net1, net2], input_c=weight)
        whole = module("nn.Sequential", modules=[net])
        yield f"table-{count}", whole, x, [*x, made]
        if count == 1:
            yield "tensor", whole, x[0], [*x, made]


ROWS = named(affine, means, stochastic, pyramids, elementwise, tables, depth, edges, binary, rows_of_numbers, dense)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


def after(*modules: TorchObject) -> Module:
    """{what the modules make of x, x after they ran}"""
    table = torch_object("nn.ConcatTable", modules=[seq(*modules), torch_object("nn.Identity")])
    return module("nn.Sequential", modules=[torch_object("nn.MulConstant", constant_scalar=1), table])


@pytest.mark.parametrize(
    ("first", "changes"),
    [
        (torch_object("w2nn.InplaceClip01"), True),
        (torch_object("w2nn.GradWeight", constant_scalar=1), False),
        (torch_object("inn.ConstAffine", a=np.full(2, 2.0), b=np.full(2, 1.0), inplace=True), True),
        (torch_object("nn.BBoxNorm", mean=np.ones(4), std=np.full(4, 2.0)), True),
        (torch_object("nn.TVLoss", strength=1), False),
    ],
    ids=["clip", "copy", "affine", "boxes", "loss"],
)
def test_who_else_sees_a_write(first: TorchObject, changes: bool) -> None:
    x = (
        np.linspace(-2, 2, 8, dtype=np.float32).reshape(4, 2)
        if "Affine" in first.typename
        else np.ones((2, 4), "f4") * 3
    )
    net = after(first)
    made, seen = (np.asarray(t) for t in net.forward(x))
    assert np.array_equal(seen, made if changes else x)
    converted = retorch.convert(net, x, fold=False).run(x)
    np.testing.assert_allclose(converted[0], made, rtol=1e-6)
    np.testing.assert_allclose(converted[1], seen, rtol=1e-6)


@pytest.mark.parametrize(
    ("net", "x"),
    [
        (module("inn.ConstAffine", a=np.ones(2), b=np.ones(2)), np.zeros((2, 2, 2))),
        (module("inn.MeanSubtraction", mean=np.ones((3, 4, 4))), np.zeros((3, 5, 5))),
        (module("w2nn.DepthExpand2x"), np.zeros((1, 6, 2, 2))),
        (module("w2nn.ScaleTable"), [np.zeros((1, 6, 2, 2)), np.zeros((1, 3, 1, 1))]),
        (module("nn.FeatExpander", n=2), np.zeros((1, 6, 2))),
        (module("w2nn.ScaleTable"), [np.zeros((1, 3, 2, 2)), np.zeros((1, 3))]),
        (module("w2nn.AuxiliaryLossTable", i=3), [np.zeros(2), np.zeros(2)]),
        (module("nn.MultiSkipAdd"), [np.zeros(2), np.zeros(2)]),
    ],
    ids=["affine", "mean", "depth", "scale", "expand", "spread", "auxiliary", "skip"],
)
def test_inputs_that_do_not_fit(net: Module, x: Any) -> None:
    with pytest.raises(UnsupportedError):
        net.forward(x)
    with pytest.raises(UnsupportedError):
        retorch.convert(net, x, fold=False)
