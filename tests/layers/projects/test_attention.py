"""dpnn's SpatialGlimpse and NCEModule as their Lua code, sample by sample."""

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


def resampled(x: np.ndarray, size: int) -> np.ndarray:
    """(C, P, P) to (C, size, size), corners on corners, as nnx's SpatialReSampling."""
    y, patch = np.zeros((x.shape[0], size, size)), x.shape[1]
    for i, j in np.ndindex(size, size):
        at = [k * (patch - 1) / (size - 1) for k in (i, j)]
        low = [min(int(v), patch - 1) for v in at]
        high = [min(v + 1, patch - 1) for v in low]
        a, b = at[0] - low[0], at[1] - low[1]
        top = x[:, low[0], low[1]] * (1 - b) + x[:, low[0], high[1]] * b
        bottom = x[:, high[0], low[1]] * (1 - b) + x[:, high[0], high[1]] * b
        y[:, i, j] = top * (1 - a) + bottom * a
    return y


def glimpse(image: np.ndarray, place: np.ndarray, sizes: list[int], averages: bool) -> np.ndarray:
    """All patches of one image (C, H, W)."""
    made: list[np.ndarray] = []
    for patch in sizes:
        pad = (patch - 1) // 2
        whole = np.pad(image.astype(float), ((0, 0), (pad, pad), (pad, pad)))
        corner = []
        for share, length in zip((place.astype(float) + 1) / 2, whole.shape[1:], strict=True):
            room = length - patch
            corner.append(int(min(room, max(0, share * room))))
        cut = whole[:, corner[0] : corner[0] + patch, corner[1] : corner[1] + patch]
        if averages:
            times = patch // sizes[0]
            small = np.zeros((image.shape[0], sizes[0], sizes[0]))
            for i, j in np.ndindex(sizes[0], sizes[0]):
                square = cut[:, i * times : (i + 1) * times, j * times : (j + 1) * times]
                small[:, i, j] = square.sum(axis=(1, 2)) / times**2
            made.append(small)
        else:
            made.append(resampled(cut, sizes[0]))
    return np.concatenate(made)


def glimpses(rng: np.random.Generator) -> Rows:
    for scale, depth, inside, new in (
        (2, 1, "SpatialAveragePooling", True),
        (2, 3, "SpatialAveragePooling", True),
        (3, 3, "SpatialReSampling", True),
        (2, 3, "SpatialReSampling", False),
        (3, 2, "SpatialReSampling", False),
    ):
        for _ in range(6):
            size, (n, c) = int(rng.integers(2, 5)), random_shape(rng, 2, 3)
            h, w = (int(v) for v in rng.integers(4, 12, 2))
            x, place = noise(rng, n, c, h, w), rng.uniform(-1.3, 1.3, (n, 2)).astype(np.float32)
            kernel = torch_object("nn.SpatialAveragePooling", kW=2, kH=2, dW=2, dH=2)
            module_inside = kernel if "Average" in inside else torch_object(f"nn.{inside}", owidth=size, oheight=size)
            fields: dict[str, Any] = {"size": size, "depth": depth, "scale": scale, "module": module_inside}
            fields |= {"modules": [module_inside]} if new else {}
            sizes = [size * scale**i for i in range(depth)]
            expected = np.stack([glimpse(a, b, sizes, "Average" in inside) for a, b in zip(x, place, strict=True)])
            net = module("nn.SpatialGlimpse", **fields)
            yield f"{inside}-{scale}-{depth}-4", net, [x, place], expected
            yield f"{inside}-{scale}-{depth}-3", net, [x[0], place[0]], expected[0]


def words(rng: np.random.Generator) -> Rows:
    for logarithm in (False, True):
        for n, d, v in ((1, 3, 4), (3, 2, 5)):
            x, weight, bias = noise(rng, n, d), noise(rng, v, d), noise(rng, v)
            y = np.zeros((n, v))
            for i in range(n):
                scores = [sum(float(a) * float(b) for a, b in zip(x[i], w, strict=True)) for w in weight]
                shares = [math.exp(s + float(b)) for s, b in zip(scores, bias, strict=True)]
                y[i] = [math.log(s / sum(shares)) if logarithm else s / sum(shares) for s in shares]
            fields = {"normalized": True, "logsoftmax": logarithm, "k": 2, "unigrams": noise(rng, v)}
            net = module("nn.NCEModule", weight=weight, bias=bias, **fields)
            yield f"{logarithm}-{n}", net, [x, rng.integers(1, v + 1, n)], y


ROWS = named(glimpses, words)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


POOLING = torch_object("nn.SpatialAveragePooling", kW=2, kH=2)
SAMPLING = torch_object("nn.SpatialReSampling", owidth=4, oheight=4)


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (module("nn.SpatialGlimpse", size=4, depth=4, scale=2, module=SAMPLING), "how large its 4 patches are"),
        (module("nn.SpatialGlimpse", size=4, depth=3, scale=3, module=SAMPLING), "how large its 3 patches are"),
        (module("nn.SpatialGlimpse", size=3, depth=2, scale=1.5, module=POOLING), "1.5 times 3 pixels"),
        (module("nn.SpatialGlimpse", size=3), "no module"),
        (module("nn.NCEModule", weight=np.ones((2, 2)), bias=np.ones(2)), "draws"),
    ],
    ids=["deep", "wide", "fraction", "empty", "words"],
)
def test_what_has_no_one_meaning_is_refused(net: Module, reason: str) -> None:
    assert [reason in problem.reason for problem in net.problems] == [True]


@pytest.mark.parametrize("place", [(1, 2), (2, 3), (2,)], ids=["batch", "three", "rank"])
def test_places_that_do_not_fit(place: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedError):
        module("nn.SpatialGlimpse", size=2, module=POOLING).forward([np.zeros((2, 1, 4, 4)), np.zeros(place)])
