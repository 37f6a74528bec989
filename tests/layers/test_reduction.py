"""Sums, means and extremes, against Python's own over one dimension."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from building import module, reference, through_caffe2, through_onnx
from layers.rows import named, noise, random_shape, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]

#: Class, fields, what it does with a list, and whether the dimension stays.
KINDS: list[tuple[str, dict[str, Any], Callable[[list[float]], float], bool]] = [
    ("nn.Sum", {}, math.fsum, False),
    ("nn.Sum", {"sizeAverage": False, "squeeze": False}, math.fsum, True),
    ("nn.Sum", {"sizeAverage": True, "squeeze": True}, statistics.fmean, False),
    ("nn.Mean", {}, statistics.fmean, False),
    ("nn.Mean", {"sizeAverage": True, "squeeze": True}, statistics.fmean, False),
    ("nn.Max", {}, max, False),
    ("nn.Min", {}, min, False),
]


def along(x: np.ndarray, axis: int, of: Callable[[list[float]], float], keep: bool) -> np.ndarray:
    columns = np.moveaxis(x, axis, -1)
    values = [of(column) for column in columns.reshape(-1, x.shape[axis]).tolist()]
    shape = list(x.shape)
    if keep or x.ndim == 1:
        shape[axis] = 1
    else:
        del shape[axis]
    return np.reshape(values, shape)


def dimensions(rank: int) -> Iterator[tuple[dict[str, int], int]]:
    """Fields, and the dimension from 0 that they mean for an input of that rank."""
    for dimension in range(1, rank + 1):
        yield {"dimension": dimension}, dimension - 1
        yield {"dimension": -dimension}, rank - dimension
        if dimension < rank:
            yield {"dimension": dimension, "nInputDims": rank - 1}, dimension
        yield {"dimension": dimension, "nInputDims": rank}, dimension - 1


def reductions(rng: np.random.Generator) -> Rows:
    for typename, fields, of, keep in KINDS:
        for rank in (1, 2, 3, 4):
            for where, axis in dimensions(rank):
                x = noise(rng, *random_shape(rng, rank))
                net = module(typename, **fields, **where)
                yield f"{typename}-{where}", net, x, along(x, axis, of, keep)


def argmax(rng: np.random.Generator) -> Rows:
    for shape, fields, axis in [
        *(((5,), {}, 0), ((3, 4), {"dim": 2}, 1), ((3, 4), {"dim": 1, "nInputDim": 1}, 1), ((4,), {"nInputDim": 1}, 0)),
        *(((2, 3, 4), {"dim": 2}, 1), ((2, 3, 4), {"dim": 2, "nInputDim": 2}, 2), ((1, 5), {"dim": 2}, 1)),
    ]:
        # few different numbers, so that the first of several counts
        x = rng.integers(0, 3, shape).astype(np.float32)
        expected = along(x, axis, lambda column: 1 + column.index(max(column)), False)
        yield f"{shape}", module("nn.ArgMax", **fields), x, expected
        yield f"{shape}-float", module("nn.ArgMax", asLong=False, **fields), x, expected


ROWS = named(reductions, argmax)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS, converted=ROWS[::2])


def test_indices_are_whole_numbers_unless_told_otherwise() -> None:
    x = np.array([[1, 3, 2]], np.float32)
    assert reference(module("nn.ArgMax", dim=2), x)[0].dtype == np.int64
    assert through_onnx(module("nn.ArgMax", dim=2), x)[0].dtype == np.int64
    assert module("nn.ArgMax", dim=2, asLong=False).forward(x).dtype == np.float32


def test_what_is_not_a_number_wins() -> None:
    x = np.array([[1, math.nan, 2], [3, 4, 5]], np.float32)
    assert np.array_equal(reference(module("nn.Max", dimension=2), x)[0], [math.nan, 5], equal_nan=True)


def test_one_element_is_left_of_a_vector() -> None:
    x = np.array([1, 2, 4], np.float32)
    for engine in (reference, through_onnx, through_caffe2):
        assert [y.tolist() for y in engine(module("nn.Sum", dimension=1), x)] == [[7]]


@pytest.mark.parametrize("dimension", [3, -3, 0])
def test_dimensions_that_are_not_there_are_refused(dimension: int) -> None:
    with pytest.raises(UnsupportedError, match=f"goes along dimension {dimension} of 2"):
        module("nn.Sum", dimension=dimension).forward(np.zeros((2, 3)))
