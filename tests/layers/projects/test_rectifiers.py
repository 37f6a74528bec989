"""Rectifiers of papers, nnx's images and poolings of whole images: as their Lua code says, number by number."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from building import module, torch_object
from layers.rows import named, noise, row_tests
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def elementwise(name: str, x: np.ndarray, term: Any, **fields: Any) -> tuple[str, Module, Any, Any]:
    expected = np.array([term(float(v)) for v in x.ravel()]).reshape(x.shape)
    return name, module(f"nn.{name}", **fields), x, expected


def rectifiers(rng: np.random.Generator) -> Rows:
    for a, b, kept_a, kept_b in [(0.7, 1.5, 0.7, 1.5), (2.5, 3.0, 1.99, 3.0), (0.05, 0.0625, 0.11, 0.11)]:
        x, weight = noise(rng, 2, 3), np.array([a, b], np.float32)

        def pelu(v: float, a: float = kept_a, b: float = kept_b) -> float:
            return v * a / b if v >= 0 else a * (math.exp(v / b) - 1)

        yield elementwise("PELU", x, pelu, weight=weight)
        yield elementwise("ConstrainedMul", x, lambda v, a=kept_a: v * a, weight=weight[:1])
        yield elementwise("ConstrainedDiv", x, lambda v, b=kept_b: v / b, weight=weight[1:], inplace=True)
    x = np.array([[-2.0, -0.5, 0.25], [0.5, 0.75, 3.0]], np.float32)
    for inplace in (False, True):
        bias = np.array([0.5], np.float32)
        yield elementwise("SReLU", x.copy(), lambda v: max(v, 0.5), bias=bias, inplace=inplace, size=1)
    yield (
        "saturated",
        module("nn.SaturatedLU", threshold=-1, val=-3, threshold2=0.5, val2=9),
        x,
        np.array([[-3, -0.5, 0.25], [0.5, 9, 9]]),
    )
    # the value for what is too small is itself measured by the second threshold
    crossed = module("nn.SaturatedLU", threshold=0, val=7, threshold2=1, val2=2)
    yield "crossed", crossed, x, np.array([[2, 2, 0.25], [0.5, 0.75, 2]])
    for name in ("nn.GuidedReLU", "nn.DeconvnetReLU"):
        yield name, module(name, guide=False), x, np.array([[0, 0, 0.25], [0.5, 0.75, 3]])
    yield (
        "leaky",
        module("fbnn.LeakyReLU", weight=np.array([0.1], np.float32), nOutputPlane=0),
        x,
        np.array([[-0.2, -0.05, 0.25], [0.5, 0.75, 3]]),
    )


def offsets(rng: np.random.Generator) -> Rows:
    bias, copy = np.array([1.0, -2.0], np.float32), np.array([0.25, 0.5], np.float32)
    for shape, dims, axis in [((2, 2, 3), 2, 1), ((2, 3), 2, 0), ((3, 2, 2, 2), 3, 1), ((3, 2), None, 1)]:
        x = noise(rng, *shape)
        for constrained in (False, True):
            y = x.astype(float)
            for at in np.ndindex(*shape):
                own = float(bias[at[axis]])
                y[at] += float(copy[at[axis]]) if constrained and own > 0 else own
            fields = {"bias": bias, "biasCopy": copy, "isConstrained": constrained, "size": 2}
            net = module("nn.MyAdd", **fields | ({} if dims is None else {"numInputDims": dims}))
            yield f"{shape}-{constrained}", net, x, y
    x = noise(rng, 2, 3)
    yield "one", module("nn.MyAdd", bias=np.array([0.5], np.float32), size=1), x, x.astype(float) + 0.5


def pooled(name: str, x: np.ndarray, take: Any, **fields: Any) -> tuple[str, Module, Any, Any]:
    channels = [sorted(map(float, pixels)) for pixels in x.reshape(-1, 20)]
    expected = np.array([take(pixels) for pixels in channels]).reshape(*x.shape[:-2], 1, 1)
    return f"{name}-{x.ndim}-{fields}", module(f"nn.{name}", **fields), x, expected


def whole_images(rng: np.random.Generator) -> Rows:
    for x in (noise(rng, 3, 4, 5), noise(rng, 2, 3, 4, 5)):
        yield pooled("GlobalAveragePooling", x, lambda p: sum(p) / 20)
        yield pooled("GlobalMaxPooling", x, lambda p: p[-1])
        for n, count in [(1, 1), (7, 7), (0.3, 6), (0.01, 1), (0, 20)]:
            yield pooled("GlobalkMaxPooling", x, lambda p, c=count: sum(p[-c:]) / c, nMax=n)
        for most, least, m, n in [(1, 1, 1, 1), (3, 0, 3, 0), (0.5, 0.2, 10, 4)]:

            def both(p: list[float], m: int = m, n: int = n) -> float:
                return sum(p[-m:]) / m + (sum(p[:n]) / n if n else 0)

            yield pooled("WeldonPooling", x, both, nMax=most, nMin=least)
        for beta in (1, 2.5):

            def smooth(p: list[float], b: float = beta) -> float:
                return math.log(sum(math.exp(b * v) for v in p) / 20) / b

            yield pooled("LogSumExpPooling", x, smooth, beta=beta)


def images(rng: np.random.Generator) -> Rows:
    x, w, b = noise(rng, 3, 5, 7), noise(rng, 2, 3), noise(rng, 2)
    y = np.zeros((2, 5, 7))
    for o, i, j in np.ndindex(2, 5, 7):
        y[o, i, j] = float(b[o]) + sum(float(w[o, c]) * float(x[c, i, j]) for c in range(3))
    linear = torch_object("nn.SpatialLinear", weight=w, bias=b, fanin=3, fanout=2)
    yield "linear", module("nn.SpatialLinear", weight=w, bias=b), x, y
    yield "colours", module("nn.SpatialColorTransform", transform="rgb2yuv", islinear=True, linear=linear), x, y
    for down, across in [(1, 1), (2, 3), (5, 2)]:
        y = np.zeros((3, 5 // down, 7 // across))
        for c, i, j in np.ndindex(*y.shape):
            y[c, i, j] = x[c, i * down : (i + 1) * down, j * across : (j + 1) * across].astype(float).mean()
        yield f"down-{down}-{across}", module("nn.SpatialDownSampling", rH=down, rW=across), x, y
        y = np.zeros((3, 5 * down, 7 * across))
        for c, i, j in np.ndindex(*y.shape):
            y[c, i, j] = x[c, i // down, j // across]
        yield f"up-{down}-{across}", module("nn.SpatialUpSampling", dH=down, dW=across), x, y
    moved = module("nn.SpatialUpSampling", dH=3, dW=2, yDim=1, xDim=2)
    yield "up-dimensions", moved, x, np.repeat(np.repeat(x.astype(float), 3, axis=0), 2, axis=1)
    for height, width in [(5, 7), (2, 3), (8, 1), (3, 20)]:
        y = np.zeros((3, height, width))
        for c, i, j in np.ndindex(*y.shape):
            top, left = i * 5 // height, j * 7 // width
            bottom, right = max(top + 1, (i + 1) * 5 // height), max(left + 1, (j + 1) * 7 // width)
            y[c, i, j] = x[c, top:bottom, left:right].max()
        yield f"sampled-{height}-{width}", module("nn.SpatialMaxSampling", oheight=height, owidth=width), x, y


def unchanged(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 3)
    for name in ("nn.Balance", "nn.Probe", "nn.GradientRescale", "nn.RegularizeLayer"):
        yield name, module(name), x, x
    yield "penalty", module("nn.KLDPenalty", loss=1.5), [x, 2 * x], [x, 2 * x]
    weight, bias = noise(rng, 4, 3), noise(rng, 4)
    y = np.array([[sum(float(a) * float(b) for a, b in zip(r, w, strict=True)) for w in weight] for r in x])
    for name in ("nn.LinearNoBackprop", "nn.LinearNoBackpropInput", "fbnn.NormalizedLinearNoBias"):
        yield name, module(name, weight=weight, bias=bias), x, y + bias.astype(float)


def other_fields(rng: np.random.Generator) -> Rows:
    # the last dpnn stores a glimpse's height and width; nnx keeps sizes that its C code cuts to whole numbers
    x, place = noise(rng, 1, 1, 4, 4), np.zeros((1, 2), np.float32)
    inside = torch_object("nn.SpatialAveragePooling")
    glimpse = module("nn.SpatialGlimpse", height=2, width=2, depth=1, scale=2, module=inside)
    yield "glimpse", glimpse, [x, place], x[:, :, 1:3, 1:3]
    x = np.array([[[0.0, 2.0], [4.0, 6.0]]], np.float32)
    y = np.array([[[0, 1, 2], [2, 3, 4], [4, 5, 6]]])
    yield "resampling", module("nn.SpatialReSampling", oheight=3.7, owidth=3.2), x, y


ROWS = named(other_fields, rectifiers, offsets, whole_images, images, unchanged)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)
