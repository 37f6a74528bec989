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


ROWS = named(distances)
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
