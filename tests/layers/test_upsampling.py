"""Upsampling and resampling, pixel by pixel."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest

import retorch
from building import module, reference, through_onnx, torch_object
from golden_cases import check
from layers.loops import convolved, pick
from layers.rows import Row, every, named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def nearest(x: np.ndarray, rank: int, scale: int) -> np.ndarray:
    out = [n * scale for n in x.shape[-rank:]]
    y = np.zeros((*x.shape[:-rank], *out))
    for at in np.ndindex(*out):
        y[(..., *at)] = x[(..., *(i // scale for i in at))]
    return y


def linear(x: np.ndarray, out: Sequence[int]) -> np.ndarray:
    """SpatialUpSamplingBilinear.c and VolumetricUpSamplingTrilinear.c: place i of out shows i (in - 1) / (out - 1)."""
    rank = len(out)
    sizes = x.shape[-rank:]
    x = x.astype(np.float64)
    y = np.zeros((*x.shape[:-rank], *out))
    for at in np.ndindex(*out):
        places = [i * ((n - 1) / (o - 1) if o > 1 else 0) for i, n, o in zip(at, sizes, out, strict=True)]
        low = [math.floor(p + 1e-12) for p in places]
        for corner in product((0, 1), repeat=rank):
            share = math.prod(p - f if c else 1 - (p - f) for c, p, f in zip(corner, places, low, strict=True))
            there = [min(f + c, n - 1) for f, c, n in zip(low, corner, sizes, strict=True)]
            y[(..., *at)] += share * x[(..., *there)]
    return y


def repeated_pixels(rng: np.random.Generator) -> Rows:
    for i in range(48):
        scale = int(rng.integers(1, 5))
        x = noise(rng, 1 + i % 3, 2, *pick(rng, 1, 5))
        expected = nearest(x, 2, scale)
        if i % 2:
            net = module("nn.SpatialUpSamplingNearest", scale_factor=scale, inputSize=(0,), outputSize=(0,))
            yield f"{x.shape}x{scale}", net, *((x, expected) if i % 3 else (x[0], expected[0]))
        else:
            yield f"{x.shape}x{scale}", module("nn.UpSampling", mode="nearest", scale_factor=scale), x, expected


def between_pixels(rng: np.random.Generator) -> Rows:
    for i in range(60):
        x = noise(rng, 1 + i % 3, 2, *pick(rng, 1, 5))
        if i % 3 == 0:
            scale = int(rng.integers(1, 5))
            fields, out = {"scale_factor": scale}, [n * scale for n in x.shape[2:]]
        else:
            out = pick(rng, 1, 9)
            fields = {"oheight": out[0], "owidth": out[1]}
        expected = linear(x, out)
        if i % 2:
            net = module("nn.SpatialUpSamplingBilinear", **fields)
            yield f"{x.shape}to{out}", net, *((x, expected) if i % 5 else (x[0], expected[0]))
        else:
            yield f"{x.shape}to{out}", module("nn.UpSampling", mode="linear", **fields), x, expected


def volumes(rng: np.random.Generator) -> Rows:
    for i in range(20):
        x = noise(rng, 1 + i % 2, 2, *pick(rng, 1, 4, 3))
        scale, out = int(rng.integers(1, 4)), pick(rng, 1, 6, 3)
        if i % 3 == 0:
            yield f"{x.shape}x{scale}", module("nn.UpSampling", scale_factor=scale), x, nearest(x, 3, scale)
        elif i % 3 == 1:
            expected = linear(x, [n * scale for n in x.shape[2:]])
            yield f"{x.shape}x{scale}", module("nn.UpSampling", mode="linear", scale_factor=scale), x, expected
        else:
            fields = {"odepth": out[0], "oheight": out[1], "owidth": out[2]}
            yield f"{x.shape}to{out}", module("nn.UpSampling", mode="linear", **fields), x, linear(x, out)


def shuffled(rng: np.random.Generator) -> Rows:
    """PixelShuffle.lua: view (b, c, r, r, h, w), permute (b, c, h, r, w, r)."""
    for i in range(16):
        r, channels = pick(rng, 1, 3)
        height, width = pick(rng, 1, 4)
        x = noise(rng, 1 + i % 3, channels * r * r, height, width)
        expected = np.zeros((len(x), channels, height * r, width * r))
        for c, y, z in np.ndindex(*expected.shape[1:]):
            expected[:, c, y, z] = x[:, c * r * r + (y % r) * r + z % r, y // r, z // r]
        net = module("nn.PixelShuffle", upscaleFactor=r, upscaleFactorSquared=r * r)
        yield f"{x.shape}r{r}", net, *((x, expected) if i % 3 else (x[0], expected[0]))


def sorted_pixels(rng: np.random.Generator) -> Rows:
    """PixelSort.lua: view (b, c, h, r, w, r), permute (b, c, r, r, h, w)."""
    for i in range(12):
        r, channels = pick(rng, 1, 3)
        height, width = pick(rng, 1, 4)
        x = noise(rng, 1 + i % 3, channels, height * r, width * r)
        expected = np.zeros((len(x), channels * r * r, height, width))
        for n, c, y, z in np.ndindex(*x.shape):
            expected[n, (c * r + y % r) * r + z % r, y // r, z // r] = x[n, c, y, z]
        net = module("nn.PixelSort", downscaleFactor=r, downscaleFactorSquared=r * r)
        yield f"{x.shape}r{r}", net, *((x, expected) if i % 3 else (x[0], expected[0]))


def convolved_pixels(rng: np.random.Generator) -> Rows:
    """SpatialConvolutionUpsample of Tompson (channels become pixels) and of eyescream (a view)."""
    for i in range(12):
        channels, tall, wide_by = pick(rng, 1, 3, 3)
        x, weight, bias = (
            noise(rng, 2, 3, 4, 5),
            noise(rng, channels * tall * wide_by, 3, 3, 3),
            noise(rng, channels * tall * wide_by),
        )
        y = convolved(x, weight, bias, [1, 1], [1, 1])
        inner = torch_object("nn.SpatialConvolution", weight=weight, bias=bias, kW=3, kH=3, padW=1, padH=1)
        if i % 2 and tall == wide_by:
            fields = dict(inner.fields) | {"factor": tall, "nOutputPlaneU": channels, "h": 4, "w": 5}
            expected = y.reshape(2, channels, 4 * tall, 5 * tall)
        else:
            fields = {"modules": [inner], "scaleH": tall, "scaleW": wide_by, "nOutputPlane": channels}
            expected = np.zeros((2, channels, 4 * tall, 5 * wide_by))
            for c, h, w in np.ndindex(*expected.shape[1:]):
                channel = (c * tall + h % tall) * wide_by + w % wide_by
                expected[:, c, h, w] = y[:, channel, h // tall, w // wide_by]
        yield f"{channels}x{tall}x{wide_by}", module("nn.SpatialConvolutionUpsample", **fields), x, expected


def resampled(rng: np.random.Generator) -> Rows:
    """nnx: SpatialReSampling is bilinear, to a size or by ratios."""
    for i in range(24):
        x, out = noise(rng, 2, 3, *pick(rng, 2, 6)), pick(rng, 2, 8)
        ratios = [(o + 0.25) / n for o, n in zip(out, x.shape[2:], strict=True)]
        fields = {"oheight": out[0], "owidth": out[1]} if i % 2 else {"rheight": ratios[0], "rwidth": ratios[1]}
        expected = linear(x, out)
        net = module("nn.SpatialReSampling", **fields)
        yield f"{x.shape}to{out}", net, *((x, expected) if i % 3 else (x[0], expected[0]))


def resampled_by_mode(rng: np.random.Generator) -> Rows:
    """SpatialReSamplingEx.c, on any two neighbouring dimensions."""
    for i in range(48):
        mode, axis, larger = ["simple", "average", "bilinear"][i % 3], int(rng.integers(0, 3)), i % 2 == 0
        x = noise(rng, *pick(rng, 2, 7, 4))
        sizes = x.shape[axis : axis + 2]
        out = [int(rng.integers(n, 9)) if larger else int(rng.integers(1, n)) for n in sizes]
        if mode == "bilinear" and min(out) < 2:
            continue
        expected = np.zeros((*x.shape[:axis], *out, *x.shape[axis + 2 :]))
        front = (slice(None),) * axis
        steps = [-(-o // n) if larger else n // o for o, n in zip(out, sizes, strict=True)]
        for at in np.ndindex(*out):
            if larger:
                value = x[(*front, at[0] // steps[0], at[1] // steps[1])]
            else:
                cut = [
                    slice(j * s, (j + 1) * s if mode == "average" else j * s + 1)
                    for j, s in zip(at, steps, strict=True)
                ]
                value = x[(*front, *cut)].astype(np.float64).mean(axis=(axis, axis + 1))
            expected[(*front, *at)] = value
        if mode == "bilinear":
            moved = np.moveaxis(x, (axis, axis + 1), (-2, -1))
            expected = np.moveaxis(linear(moved, out), (-2, -1), (axis, axis + 1))
        fields = {"oheight": out[0], "owidth": out[1], "yDim": axis + 1, "xDim": axis + 2}
        yield f"{mode}{sizes}to{out}@{axis}", module("nn.SpatialReSamplingEx", mode=mode, **fields), x, expected


ROWS = named(
    repeated_pixels, between_pixels, volumes, shuffled, sorted_pixels, convolved_pixels, resampled, resampled_by_mode
)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


@every([row for row in ROWS if row.x.ndim == 4 and "by_mode" not in row.name][::2])
def test_a_network_made_for_one_takes_any_batch(row: Row) -> None:
    network = retorch.convert(row.net, row.x[:1], fold=False)
    check(row.flat, network.run(row.x), 1e-5)


@pytest.mark.parametrize(
    ("typename", "fields", "why"),
    [
        ("nn.SpatialUpSamplingBilinear", {}, "neither scale_factor"),
        ("nn.UpSampling", {"mode": "nearest", "oheight": 8, "owidth": 8}, "no output size"),
        ("nn.PixelShuffle", {"upscaleFactor": 2}, "groups of 4 channels"),
        ("nn.PixelSort", {"downscaleFactor": 7}, "heights and widths that 7 divides"),
        ("nn.SpatialReSampling", {"oheight": 1, "owidth": 8}, "to 1x8"),
        ("nn.SpatialReSamplingEx", {"oheight": 8, "owidth": 2, "yDim": 3, "xDim": 4}, "4x5 to 8x2"),
    ],
)
def test_what_has_no_size_is_refused(typename: str, fields: dict[str, Any], why: str) -> None:
    x = np.zeros((1, 3, 4, 5), np.float32)
    for run in (reference, through_onnx):
        with pytest.raises(UnsupportedError, match=why):
            run(module(typename, **fields), x)
