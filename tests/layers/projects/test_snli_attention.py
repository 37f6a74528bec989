"""The tables of SNLI-attention: repeated rows, masks over rows, and means of tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from building import module
from layers.rows import named, noise, row_tests
from retorch.errors import RetorchError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def repeated(rng: np.random.Generator) -> Rows:
    # the example that stands above the class
    x = np.array([[1, 0, 2, 3], [2, 0, 1, 3]], np.float32)
    v = np.array([[1, 2], [2, 3]], np.float32)
    y = np.array([[2, 2, 3, 5], [4, 3, 3, 6]])
    yield "AddScalar", module("nn.AddScalar"), [x, v], y
    yield "ReplicateAdd", module("nn.ReplicateAdd"), [x, v], y
    yield "once", module("nn.AddScalar"), [v, v], 2 * v
    rows = np.array([[1, 0], [2, 0], [5, 6], [7, 8]], np.float32)
    yield "TensorAddVector", module("nn.TensorAddVector"), [rows, v], np.array([[2, 2], [4, 3], [6, 8], [9, 11]])
    yield "one row", module("nn.TensorAddVector"), [v, v[:1]], np.array([[2, 4], [3, 5]])


def means(rng: np.random.Generator) -> Rows:
    a, b, c = np.array([[1, 2]], np.float32), np.array([[3, 5]], np.float32), np.array([[8, 2]], np.float32)
    yield "CAveTable", module("nn.CAveTable"), [a, b, c], np.array([[4, 3]])
    yield "CAveTable of one", module("nn.CAveTable"), [a], a
    # the first is not masked, and all of the mask is counted
    mask = np.array([[0, 1, 1, 2]], np.float32)
    yield "MaskAveTable", module("nn.MaskAveTable"), [[a, b, c], mask], np.array([[3, 2.25]])


def masked(rng: np.random.Generator) -> Rows:
    a, b = np.array([[1, 2], [3, 4]], np.float32), np.array([[5, 6], [7, 8]], np.float32)
    yield "rows", module("nn.Maskh"), [a, b, np.array([0, 1], np.float32)], np.array([[1, 2], [7, 8]])
    yield "between", module("nn.Maskh"), [a, b, np.array([[0.5], [0.25]], np.float32)], np.array([[3, 4], [4, 5]])
    yield "elements", module("nn.Maskh"), [a, b, np.eye(2, dtype=np.float32)], np.array([[5, 2], [3, 8]])


def summed(rng: np.random.Generator) -> Rows:
    x = np.array([[1, 2, 3], [4, 5, 9]], np.float32)
    yield "columns", module("nn.SumKeepdim", dimension=1, sizeAverage=False), x, np.array([[5, 7, 12]])
    yield "rows", module("nn.SumKeepdim", dimension=-1, sizeAverage=True), x, np.array([[2], [6]])
    yield "batch", module("nn.SumKeepdim", dimension=1, nInputDims=1, sizeAverage=False), x, np.array([[6], [18]])
    yield "table", module("nn.TableAddTensor"), [[x, 2 * x], -x], [0 * x, x]


def words(rng: np.random.Generator) -> Rows:
    weight, x = noise(rng, 4, 3), np.array([[4, 1], [2, 4]], np.float32)
    y = np.array([[weight[3], weight[0]], [weight[1], weight[3]]])
    yield "train", module("nn.LookupTableEmbedding_train", weight=weight, paddingValue=0), x, y
    yield "fixed", module("nn.LookupTableEmbedding_fixed", weight=weight), x, y
    yield "update", module("nn.LookupTableEmbedding_update", weight=weight, gradMask=np.ones(4, np.float32)), x, y


ROWS = named(repeated, means, masked, summed, words)
test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


@pytest.mark.parametrize("sizes", [((2, 5), (2, 2)), ((2, 4), (3, 2)), ((2, 4), (4,))])
def test_rows_that_do_not_fit_are_refused(sizes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(RetorchError, match="AddScalar"):
        module("nn.AddScalar").forward([np.ones(s, np.float32) for s in sizes])
