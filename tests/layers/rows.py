"""Rows of a family's tests: a module, an input, and what Torch gives by a formula written in the test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import retorch
from building import reference, through_caffe2, through_onnx
from golden_cases import check, flatten
from retorch.engines.caffe2_runtime import Runtime
from retorch.module import Module


@dataclass(frozen=True)
class Row:
    """``expected`` is nested as Torch nests it."""

    name: str
    net: Module
    x: Any
    expected: Any

    @property
    def flat(self) -> list[np.ndarray]:
        return flatten(self.expected)

    def agrees_by_formula(self) -> None:
        assert not self.net.problems, self.net.problems
        got = self.net.forward(self.x)
        assert nesting(got) == nesting(self.expected)
        check(self.flat, reference(self.net, self.x), 1e-6)
        check(self.flat, flatten(got), 1e-5)

    def agrees_converted(self) -> None:
        check(self.flat, through_onnx(self.net, self.x), 1e-5)
        check(self.flat, through_caffe2(self.net, self.x), 1e-5)

    def agrees_in_caffe2(self, caffe2: Runtime, folder: Path) -> None:
        retorch.convert(self.net, self.x, fold=False).save(folder, format="caffe2")
        inputs = [x.astype(np.float32) for x in flatten(self.x)]
        check(self.flat, caffe2.run(folder, inputs), 1e-4)


def nesting(x: Any) -> Any:
    return [nesting(i) for i in x] if isinstance(x, list) else "tensor"


def named(*makers: Callable[[np.random.Generator], Iterator[tuple[str, Module, Any, Any]]]) -> list[Row]:
    """All rows of some generators, each from its own fixed seed."""
    rows: list[Row] = []
    for maker in makers:
        rng = np.random.default_rng(20150101)
        rows += [Row(f"{maker.__name__}-{i}-{label}", *rest) for i, (label, *rest) in enumerate(maker(rng))]
    return rows


def every(rows: Sequence[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])


def row_tests(rows: Sequence[Row], converted: Sequence[Row] | None = None) -> tuple[Callable[..., None], ...]:
    """The tests of a table of rows: by the formula, converted (all, or those given), and in the real Caffe2."""

    @every(rows)
    def test_formula(row: Row) -> None:
        row.agrees_by_formula()

    @every(rows if converted is None else converted)
    def test_conversion(row: Row) -> None:
        row.agrees_converted()

    @pytest.mark.caffe2
    @every(rows)
    def test_in_caffe2(row: Row, caffe2: Runtime, tmp_path: Path) -> None:
        row.agrees_in_caffe2(caffe2, tmp_path)

    return test_formula, test_conversion, test_in_caffe2


def noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Numbers like a layer's, float32."""
    return rng.standard_normal(shape).astype(np.float32)


def random_shape(rng: np.random.Generator, rank: int, most: int = 5) -> tuple[int, ...]:
    return tuple(int(d) for d in rng.integers(1, most + 1, rank))


def times(count: int, *values: Any) -> Iterable[Any]:
    """Every value ``count`` times."""
    return [v for v in values for _ in range(count)]
