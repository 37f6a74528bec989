"""Distances to the first of several batches, and fbnn's pyramid of Gaussians, as their Lua code says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import retorch
from building import module, torch_object
from layers.rows import named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def distances(rng: np.random.Generator) -> Rows:
    weight = noise(rng, 2, 3)
    net = torch_object("nn.Linear", weight=weight, bias=noise(rng, 2))
    for norm in (1, 2):
        made = module("nn.TripletNetBatch", Net=net, dist=torch_object("nn.PairwiseDistance", norm=norm))
        for batches, rows in ((3, 2), (2, 4)):
            x = noise(rng, batches, rows, 3)
            y = np.zeros((rows, batches - 1))
            for n, i in np.ndindex(*y.shape):
                # the bias is in both
                apart = [
                    sum(float(weight[o, c]) * float(x[0, n, c] - x[i + 1, n, c]) for c in range(3)) for o in (0, 1)
                ]
                y[n, i] = sum(abs(a) ** norm for a in apart) ** (1 / norm)
            yield f"{norm}-{batches}", made, x, y


def gaussians(rng: np.random.Generator) -> Rows:
    filters = noise(rng, 3, 3, 3)
    fields = {"nScalesPerOctave": 2, "sigma": np.array([1, 1.4, 2]), "kH": 3, "kW": 3, "padH": 1, "padW": 1}
    for octaves, (channels, height, width) in ((1, (1, 2, 3)), (2, (2, 5, 4)), (3, (1, 9, 8))):
        net = module("nn.DifferenceOfGaussian", filter=filters, nOctaves=octaves, nInputPlane=channels, **fields)
        x = noise(rng, 2, channels, height, width)
        y = pyramid(x.astype(float), filters.astype(float), octaves)
        yield f"{octaves}", net, x, y
        yield f"{octaves}, one image", net, x[1], [octave[1] for octave in y]


def pyramid(x: np.ndarray, filters: np.ndarray, octaves: int) -> list[np.ndarray]:
    """Octave by octave, pixel by pixel: filters of 3 x 3 over the image with zeros around it."""
    made: list[np.ndarray] = []
    for _ in range(octaves):
        blurred = np.zeros((*x.shape[:2], len(filters), *x.shape[2:]))
        for n, c, f, i, j in np.ndindex(*blurred.shape):
            seen = [
                (u, v)
                for u in range(3)
                for v in range(3)
                if 0 <= i + u - 1 < x.shape[2] and 0 <= j + v - 1 < x.shape[3]
            ]
            blurred[n, c, f, i, j] = sum(filters[f, u, v] * x[n, c, i + u - 1, j + v - 1] for u, v in seen)
        planes = [[blurred[:, c, f] - blurred[:, c, f + 1] for f in range(len(filters) - 1)] for c in range(x.shape[1])]
        made.append(np.stack([plane for channel in planes for plane in channel], axis=1))
        # Torch's pixels 2, 4, 6, …
        x = blurred[:, :, -1, 1::2, 1::2]
    return made


ROWS = named(distances, gaussians)
test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


@pytest.mark.parametrize("sizes", [(1, 2, 3), (4,)])
def test_one_batch_is_refused(sizes: tuple[int, ...]) -> None:
    made = module(
        "nn.TripletNetBatch", Net=torch_object("nn.Identity"), dist=torch_object("nn.PairwiseDistance", norm=2)
    )
    x = np.ones(sizes, np.float32)
    for run in made.forward, lambda x: retorch.convert(made, x):
        with pytest.raises(UnsupportedError):
            run(x)


@pytest.mark.parametrize("sizes", [(1, 2, 4, 4), (1, 1, 3, 8), (4, 4)])
def test_images_that_a_pyramid_cannot_halve_are_refused(sizes: tuple[int, ...]) -> None:
    filters = np.ones((2, 3, 3), np.float32)
    net = module("nn.DifferenceOfGaussian", filter=filters, nOctaves=2, nInputPlane=1)
    x = np.ones(sizes, np.float32)
    for run in net.forward, lambda x: retorch.convert(net, x):
        with pytest.raises(UnsupportedError):
            run(x)
