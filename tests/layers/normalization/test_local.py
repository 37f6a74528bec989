"""Normalization by what surrounds each pixel, against a loop over pixels, channels and taps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from building import module, torch_object
from layers.rows import named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module
from retorch.torch7 import TorchObject

Rows = Iterator[tuple[str, Module, Any, Any]]

SHAPES = [(2, 3, 6, 7), (1, 1, 5, 5), (3, 4, 8), (1, 9, 4), (1, 4, 3, 2)]


def around(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The weighted sum over all channels and the taps inside the image, at each pixel of (N, C, H, W)."""
    count, channels, height, width = x.shape
    up, left = kernel.shape[0] // 2, kernel.shape[1] // 2
    total = np.zeros((count, 1, height, width))
    for n, row, column in np.ndindex(count, height, width):
        for channel, i, j in np.ndindex(channels, *kernel.shape):
            r, c = row + i - up, column + j - left
            if 0 <= r < height and 0 <= c < width:
                total[n, 0, row, column] += float(kernel[i, j]) * float(x[n, channel, r, c])
    return total


def subtracted(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    batch = x.reshape(-1, *x.shape[-3:]).astype(np.float64)
    return (batch - around(batch, kernel) / around(np.ones_like(batch), kernel)).reshape(x.shape)


def divided(x: np.ndarray, kernel: np.ndarray, threshold: float, value: float) -> np.ndarray:
    batch = x.reshape(-1, *x.shape[-3:]).astype(np.float64)
    deviation = np.sqrt(around(batch * batch, kernel)) / around(np.ones_like(batch), kernel)
    bounded = np.array([d if d > threshold else value for d in deviation.ravel()]).reshape(deviation.shape)
    return (batch / bounded).reshape(x.shape)


def estimator(kernel: np.ndarray, channels: int, estimator_kind: str) -> TorchObject:
    """What the modules hold: in 2012 a map per channel and a sum, later a convolution; two for kernels of a vector."""
    flat = kernel if kernel.ndim == 2 else kernel[None]
    kinds = {"map": "nn.SpatialConvolutionMap", "conv": "nn.SpatialConvolution"}
    leading = {"map": (channels,), "conv": (1, channels)}

    def convolution(kind: str, taps: np.ndarray) -> TorchObject:
        weight = np.broadcast_to(taps, (*leading[kind], *taps.shape)).astype(np.float32)
        bias = np.zeros(len(weight), np.float32)
        return torch_object(kinds[kind], kH=taps.shape[0], kW=taps.shape[1], weight=weight, bias=bias)

    inside = [torch_object("nn.SpatialZeroPadding")]
    if kernel.ndim == 2:
        inside.append(convolution(estimator_kind, flat))
    else:
        inside += [convolution("map", flat), convolution(estimator_kind, flat.T)]
    return torch_object("nn.Sequential", modules=[*inside, torch_object("nn.Replicate")])


def taps(rng: np.random.Generator, size: tuple[int, ...], channels: int) -> np.ndarray:
    """A kernel as the divisive module leaves it: of the sum that makes all channels count one."""
    kernel = rng.uniform(0.1, 1, size).astype(np.float32)
    return kernel / np.float32(kernel.sum() * (channels if len(size) == 2 else math.sqrt(channels)))


def full(kernel: np.ndarray) -> np.ndarray:
    return kernel if kernel.ndim == 2 else np.array([[a * b for b in kernel.tolist()] for a in kernel.tolist()])


def local(rng: np.random.Generator) -> Rows:
    for shape in SHAPES:
        for size in ((3, 3), (5, 3), (1, 5), (3,), (5,)):
            channels = shape[-3]
            kernel, x = taps(rng, size, channels), noise(rng, *shape)
            for estimator_kind in ("map", "conv"):
                made = estimator(kernel, channels, estimator_kind)
                fields = {"nInputPlane": channels, "kernel": kernel, "meanestimator": made}
                subtractive = torch_object("nn.SpatialSubtractiveNormalization", **fields)
                mean = subtracted(x, full(kernel))
                yield f"sub-{estimator_kind}-{size}", module("nn.Sequential", modules=[subtractive]), x, mean
                for threshold, value in ((1e-4, 1e-4), (0.8, 0.8), (0.8, 2.0)):
                    bounds = {"threshold": threshold, "thresval": value, "stdestimator": made}
                    divisive = torch_object("nn.SpatialDivisiveNormalization", **fields, **bounds)
                    alone = divided(x, full(kernel), threshold, value)
                    yield f"div-{estimator_kind}-{size}", module("nn.Sequential", modules=[divisive]), x, alone
                both = torch_object("nn.Sequential", modules=[subtractive, divisive])
                net = module("nn.SpatialContrastiveNormalization", normalizer=both)
                yield f"both-{estimator_kind}-{size}", net, x, divided(mean, full(kernel), threshold, value)


def without_estimator(rng: np.random.Generator) -> Rows:
    for size in ((3, 3), (3,)):
        x, kernel = noise(rng, 2, 3, 5, 4), taps(rng, size, 3)
        net = module("nn.SpatialSubtractiveNormalization", nInputPlane=3, kernel=kernel)
        yield f"{size}", net, x, subtracted(x, full(kernel))


def of_nnx(rng: np.random.Generator) -> Rows:
    for channels, height, width, size, fixed in [
        *((1, 6, 7, (3, 3), None), (1, 9, 8, (7, 7), None), (3, 5, 6, (5, 3), None), (2, 4, 5, (4, 2), None)),
        *((3, 5, 6, (3, 3), 0.7), (1, 6, 7, (3, 5), 0.5)),
    ]:
        kernel = rng.uniform(0.1, 1, size)
        kernel /= kernel.sum()
        x = noise(rng, channels, height, width)
        centered = subtracted(x, kernel)[None]
        deviation = np.sqrt(around(centered * centered, kernel)) / around(np.ones_like(centered), kernel)
        threshold = max(math.fsum(deviation.ravel()) / deviation.size, 1e-3) if fixed is None else fixed
        expected = (centered / np.maximum(deviation, threshold))[0]
        fields = {} if fixed is None else {"fixedThres": fixed}
        net = module("nn.SpatialNormalization", nfeatures=channels, kernel=kernel, **fields)
        yield f"{size}", net, x, expected
        if channels == 1:
            yield f"{size}-flat", net, x[0], expected


ROWS = named(local, without_estimator, of_nnx)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS, converted=ROWS[::3])


def test_other_planes_are_refused() -> None:
    net = module("nn.SpatialSubtractiveNormalization", nInputPlane=3, kernel=np.ones((3, 3)))
    with pytest.raises(UnsupportedError, match="takes images of 3 channels"):
        net.forward(np.zeros((2, 1, 5, 5)))


def test_an_estimator_with_biases_is_refused() -> None:
    made = estimator(np.ones((3, 3)), 2, "conv")
    made["modules"][2]["bias"] = np.ones(1, np.float32)
    net = module("nn.SpatialSubtractiveNormalization", nInputPlane=2, meanestimator=made)
    with pytest.raises(UnsupportedError, match="biases"):
        net.forward(np.zeros((2, 5, 5)))
