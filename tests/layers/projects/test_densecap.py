"""DenseCap's boxes, one number after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import retorch
from building import module, sequential, torch_object
from layers.rows import named, noise, random_shape, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]

ANCHORS = np.array([[45, 90, 64], [90, 45, 64]], np.float32)
PLACES: dict[str, Any] = {"x0": 8.5, "y0": 9.5, "sx": 16, "sy": 8, "anchors": ANCHORS}


def boxes(rng: np.random.Generator, *sizes: int) -> np.ndarray:
    centres, sides = rng.uniform(1, 60, (*sizes, 2)), rng.uniform(2, 40, (*sizes, 2))
    return np.concatenate([centres, sides], axis=-1).astype(np.float32)


def reshaped_features(rng: np.random.Generator) -> Rows:
    for k in (1, 2, 3):
        n, each, height, width = random_shape(rng, 4, 4)
        x = noise(rng, n, k * each, height, width)
        y = np.zeros((n, k * height * width, each))
        for sample, anchor, i, j, d in np.ndindex(n, k, height, width, each):
            y[sample, (anchor * height + i) * width + j, d] = x[sample, anchor * each + d, i, j]
        yield f"{k}", module("nn.ReshapeBoxFeatures", k=k), x, y


def moved(box: Any, t: Any) -> list[float]:
    x, y, w, h = (float(v) for v in box)
    tx, ty, tw, th = (float(v) for v in t)
    return [tx * w + x, ty * h + y, w * math.exp(tw), h * math.exp(th)]


def transformed(rng: np.random.Generator) -> Rows:
    for sizes in ((3,), (2, 4), (2, 1, 3)):
        a, t = boxes(rng, *sizes), noise(rng, *sizes, 4)
        y = np.array([moved(*each) for each in zip(a.reshape(-1, 4), t.reshape(-1, 4), strict=True)])
        yield "there", module("nn.ApplyBoxTransform"), [a, t], y.reshape(a.shape)
    a, t = boxes(rng, 5), noise(rng, 5, 4)
    b = np.array([moved(*each) for each in zip(a, t, strict=True)], np.float32)
    yield "back", module("nn.InvertBoxTransform"), [a, b], t


def anchored(rng: np.random.Generator) -> Rows:
    for _ in range(2):
        n, _, height, width = random_shape(rng, 4, 4)
        x = noise(rng, n, 12, height, width)
        anchors, made = np.zeros((n, 12, height, width)), np.zeros((n, 3 * height * width, 4))
        for sample, k, i, j in np.ndindex(n, 3, height, width):
            box = [8.5 + 16 * j, 9.5 + 8 * i, ANCHORS[0, k], ANCHORS[1, k]]
            anchors[sample, 4 * k : 4 * k + 4, i, j] = box
            made[sample, (k * height + i) * width + j] = moved(box, x[sample, 4 * k : 4 * k + 4, i, j])
        yield "anchors", module("nn.MakeAnchors", **PLACES), x[:, :5], anchors
        yield "boxes", module("nn.MakeBoxes", **PLACES), x, made


def shared(rng: np.random.Generator) -> Rows:
    """The intersection over the union, whose sides are counted differently."""
    a, b = boxes(rng, 2, 4), boxes(rng, 2, 3)
    y = np.zeros((2, 4, 3))
    for n, i, j in np.ndindex(2, 4, 3):
        p, q = (list(map(float, box)) for box in (a[n, i], b[n, j]))
        sides = [
            min(p[d] + (p[d + 2] - 1) / 2, q[d] + (q[d + 2] - 1) / 2)
            - max(p[d] - (p[d + 2] - 1) / 2, q[d] - (q[d + 2] - 1) / 2)
            for d in (0, 1)
        ]
        both = max(sides[0], 0) * max(sides[1], 0)
        y[n, i, j] = both / (p[2] * p[3] - both + q[2] * q[3])
    yield "", module("nn.BoxIoU"), [a, b], y


def pooling(**fields: Any) -> Any:
    affine = torch_object("nn.BoxToAffine")
    grid = torch_object("nn.AffineGridGeneratorBHWD", height=2, width=3)
    branch = torch_object("nn.Sequential", modules=[affine, grid])
    there = torch_object("nn.Transpose", permutations=[[1, 2], [2, 3]])
    parts = torch_object("nn.ParallelTable", modules=[there, branch])
    back = torch_object("nn.Transpose", permutations=[[3, 4], [2, 3]])
    sampler = torch_object("nn.BatchBilinearSamplerBHWD")
    net = torch_object("nn.Sequential", modules=[parts, sampler, back])
    return torch_object("nn.BilinearRoiPooling", height=2, width=3, net=net, box_to_affine=affine, **fields)


def pooled(rng: np.random.Generator) -> Rows:
    """Two rows and three columns of each box; the image is of 20 x 30, what is read of 5 x 6."""
    x, places = noise(rng, 2, 5, 6), np.array([[10, 9, 12, 8], [16, 11, 25, 16], [4, 5, 9, 11]], np.float32)
    y = np.zeros((3, 2, 2, 3))
    for n, (across, down, w, h) in enumerate(places.astype(float)):
        for i, j in np.ndindex(2, 3):
            # from -1 to 1 over the box, and from there over the image
            v = (2 * i - 1) * h / 20 + (2 * down - 21) / 19
            u = (j - 1) * w / 30 + (2 * across - 31) / 29
            y[n, :, i, j] = between(x.astype(float), (v + 1) * 4 / 2, (u + 1) * 5 / 2)
    yield "", sequential(pooling(image_height=20, image_width=30)), [x, places], y
    rows = np.array([[[w[3] / 20, 0, (2 * w[1] - 21) / 19], [0, w[2] / 30, (2 * w[0] - 31) / 29]] for w in places])
    yield "affine", module("nn.BoxToAffine", H=20, W=30), places, rows


def between(x: np.ndarray, row: float, column: float) -> np.ndarray:
    """What lies between four pixels; outside there are zeros."""
    top, left = math.floor(row), math.floor(column)
    y = np.zeros(len(x))
    for i, j in np.ndindex(2, 2):
        if 0 <= top + i < x.shape[1] and 0 <= left + j < x.shape[2]:
            share = (row - top if i else 1 - row + top) * (column - left if j else 1 - column + left)
            y += share * x[:, top + i, left + j]
    return y


ROWS = named(reshaped_features, transformed, anchored, shared, pooled)
test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


def test_a_file_that_does_not_say_how_large_the_image_was_is_refused() -> None:
    net = sequential(pooling())
    x = [np.ones((2, 5, 6), np.float32), np.ones((1, 4), np.float32)]
    for run in net.forward, lambda x: retorch.convert(net, x):
        with pytest.raises(UnsupportedError, match="image's size") as caught:
            run(x)
        assert caught.value.hint and "setImageSize" in caught.value.hint
