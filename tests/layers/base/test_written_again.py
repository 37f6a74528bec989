"""Writes into nn.Replicate's entries, which are one memory: the numbers are the real Torch7's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import retorch
from building import sequential, torch_object
from layers.rows import named, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module

X = np.array([[1, -2], [-4, 3]], np.float32)
ONE = torch_object("nn.MulConstant", constant_scalar=1)
TWICE = torch_object("nn.MulConstant", constant_scalar=2, inplace=True)
LEAKY = torch_object("nn.LeakyReLU", negval=0.5, inplace=True)
RELU = torch_object("nn.ReLU", inplace=True)
HARD = torch_object("nn.HardTanh", inplace=True)


def replicate(dim: int = 1) -> Any:
    return torch_object("nn.Replicate", nfeatures=3, dim=dim)


def in_row(*modules: Any) -> Any:
    return torch_object("nn.Sequential", modules=list(modules))


def beside(*modules: Any) -> Any:
    return torch_object("nn.ConcatTable", modules=[*modules, torch_object("nn.Identity")])


def entry(dim: int, at: int) -> tuple[Any, Any]:
    """One entry of dimension ``dim``, as a view: nn.Select copies."""
    return torch_object("nn.SplitTable", dimension=dim), torch_object("nn.SelectTable", index=at)


def one_entry(rng: np.random.Generator) -> Iterator[tuple[str, Module, Any, Any]]:
    """What is written into one entry is in the input, and in the others."""
    for dim in (1, 2, 3):
        for at in (1, 2, -1):
            for write, y in (TWICE, 2 * X), (LEAKY, np.array([[1, -1], [-2, 3]])):
                yield "split", sequential(ONE, beside(in_row(replicate(dim), *entry(dim, at), write))), X, [y, y]
    whole = in_row(replicate(2), beside(in_row(*entry(2, 2), TWICE)))
    doubled = np.stack([2 * X] * 3, 1)
    yield "seen from within", sequential(ONE, beside(whole)), X, [[2 * X, doubled], 2 * X]
    part = in_row(replicate(), *entry(1, 3), *entry(1, 2), TWICE)
    y = np.array([[1, -2], [-8, 6]])
    yield "part", sequential(ONE, beside(part)), X, [y[1], y]
    column = in_row(replicate(2), *entry(3, 1), *entry(2, 3), TWICE)
    y = np.array([[2, -2], [-8, 3]])
    yield "column", sequential(ONE, beside(column)), X, [y[:, 0], y]


def all_entries(rng: np.random.Generator) -> Iterator[tuple[str, Module, Any, Any]]:
    """Torch comes by each element three times, and what it does the second time changes nothing."""
    for dim in (1, 2, 3):
        for write, y in (RELU, np.maximum(X, 0)), (HARD, np.clip(X, -1, 1)):
            yield "", sequential(ONE, beside(in_row(replicate(dim), write))), X, [np.stack([y] * 3, dim - 1), y]
    column = in_row(replicate(2), *entry(3, 2), RELU)
    y = np.array([[1, 0], [-4, 3]])
    yield "column", sequential(ONE, beside(column)), X, [np.stack([y[:, 1]] * 3, 1), y]
    added = torch_object("nn.Threshold", threshold=0, val=7, inplace=True)
    y = np.where(X > 0, X, 7)
    yield "threshold", sequential(ONE, beside(in_row(replicate(), added))), X, [np.stack([y] * 3), y]


test_formula, test_conversion, test_in_caffe2 = row_tests(named(one_entry, all_entries))


@pytest.mark.parametrize("write", [TWICE, LEAKY, torch_object("nn.AddConstant", constant_scalar=1, inplace=True)])
def test_a_write_that_torch_repeats_is_refused(write: Any) -> None:
    """Torch7 gives 8 · x for three entries doubled in place."""
    refused(sequential(ONE, replicate(), write), X, "modules[3]")


def test_a_sum_into_what_is_shown_again_is_refused() -> None:
    both = torch_object("nn.ConcatTable", modules=[replicate(), in_row(replicate(), ONE)])
    refused(sequential(both, torch_object("nn.CAddTable", inplace=True)), X, "modules[2]")


def refused(net: Module, x: np.ndarray, path: str) -> None:
    for run in net.forward, lambda x: retorch.convert(net, x):
        with pytest.raises(UnsupportedError, match=r"as nn\.Replicate gives it") as caught:
            run(x)
        assert path in str(caught.value)
        assert caught.value.hint and "nn.Contiguous" in caught.value.hint
