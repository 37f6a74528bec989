"""ccn2: cuda-convnet2's convolution, poolings and normalization, pixel by pixel; images are (C, H, H, N)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from building import module
from layers.rows import named, noise, random_shape, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def fitting(rng: np.random.Generator, kernel: int, stride: int, pad: int = 0) -> tuple[int, int]:
    """The size of an image that windows fit, and how many windows that is."""
    out = int(rng.integers(1 if kernel > 2 * pad else 2, 5))
    return (out - 1) * stride + kernel - 2 * pad, out


def convolutions(rng: np.random.Generator) -> Rows:
    for groups in (1, 2):
        for _ in range(8):
            kernel, stride = (int(v) for v in rng.integers(1, 4, 2))
            pad = int(rng.integers(0, kernel))
            size, out = fitting(rng, kernel, stride, pad)
            if size < 1:
                size, out = size + stride, out + 1
            c, o, n = (int(v) for v in rng.integers(1, 4, 3) * np.array([groups, groups, 1]))
            x, weight, bias = noise(rng, c, size, size, n), noise(rng, c // groups * kernel**2, o), noise(rng, o)
            wide = np.pad(x.astype(float), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
            y = np.zeros((o, out, out, n))
            for k, i, j, b in np.ndindex(*y.shape):
                first = k // (o // groups) * (c // groups)
                top, left = i * stride, j * stride
                seen = wide[first : first + c // groups, top : top + kernel, left : left + kernel, b]
                y[k, i, j, b] = float(bias[k]) + (seen.ravel() * weight[:, k].astype(float)).sum()
            fields = {"nInputPlane": c, "nOutputPlane": o, "kH": kernel, "dH": stride, "padding": pad}
            fields |= {"groups": groups} if groups > 1 else {}
            yield (
                f"{groups}-{kernel}-{stride}-{pad}",
                module("ccn2.SpatialConvolution", weight=weight, bias=bias, **fields),
                x,
                y,
            )


def poolings(rng: np.random.Generator) -> Rows:
    for name in ("Max", "Avg"):
        for _ in range(8):
            kernel, stride = (int(v) for v in rng.integers(1, 4, 2))
            size, out = fitting(rng, kernel, stride)
            c, n = random_shape(rng, 2, 3)
            x, y = noise(rng, c, size, size, n), np.zeros((c, out, out, n))
            for k, i, j, b in np.ndindex(*y.shape):
                seen = x[k, i * stride : i * stride + kernel, j * stride : j * stride + kernel, b].astype(float)
                y[k, i, j, b] = seen.max() if name == "Max" else seen.sum() / kernel**2
            yield f"{name}-{kernel}-{stride}", module(f"ccn2.Spatial{name}Pooling", kW=kernel, dW=stride), x, y


def normalizations(rng: np.random.Generator) -> Rows:
    for size in (1, 3, 5):
        for channels in (1, 4, 7):
            x = noise(rng, channels, 3, 3, 2)
            y = np.zeros(x.shape)
            for k, i, j, b in np.ndindex(*x.shape):
                around = x[max(0, k - size // 2) : k + size // 2 + 1, i, j, b].astype(float)
                y[k, i, j, b] = float(x[k, i, j, b]) / (2 + 0.3 * (around**2).sum()) ** 0.75
            fields = {"size": size, "addScale": 0.3, "powScale": 0.75, "minDiv": 2, "blocked": False}
            yield f"{size}-{channels}", module("ccn2.SpatialCrossResponseNormalization", **fields), x, y


ROWS = named(convolutions, poolings, normalizations)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


@pytest.mark.parametrize("shape", [(1, 6, 6, 2), (1, 5, 6, 2), (5, 5, 2)], ids=["fit", "square", "rank"])
def test_inputs_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedError):
        module("ccn2.SpatialMaxPooling", kW=3, dW=2).forward(np.zeros(shape, np.float32))


@pytest.mark.parametrize("fields", [{"size": 4}, {"size": 3, "blocked": True}], ids=["even", "blocked"])
def test_sums_that_are_refused(fields: dict[str, Any]) -> None:
    net = module("ccn2.SpatialCrossResponseNormalization", addScale=0.1, **fields)
    assert ["sums over" in problem.reason for problem in net.problems] == [True]
