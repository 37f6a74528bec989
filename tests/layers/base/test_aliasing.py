"""Random networks of views and in-place layers: the formulas share real memory, the converted network follows it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from building import reference, sequential, through_caffe2, through_onnx, torch_object
from golden_cases import check
from layers.rows import noise

ROWS, COLUMNS = 4, 6


def in_row(*modules: Any) -> Any:
    return torch_object("nn.Sequential", modules=list(modules))


class Drawn:
    """Modules that take (4, 6) to (4, 6), drawn from a seed; some are drawn again and so used twice."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.seen: dict[str, list[Any]] = {}

    def pick(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def simple(self, sizes: str = "whole") -> Any:
        """A layer that writes in place, or not; modules are used again for the same sizes only."""
        seen = self.seen.setdefault(sizes, [])
        if seen and self.rng.random() < 0.15:
            return self.pick(*seen)
        inplace = bool(self.rng.random() < 0.6)
        number = float(np.round(self.rng.uniform(-2, 2), 2))
        made = self.pick(
            torch_object("nn.ReLU", inplace=inplace),
            torch_object("nn.LeakyReLU", inplace=inplace, negval=0.3),
            torch_object("nn.MulConstant", inplace=inplace, constant_scalar=number),
            torch_object("nn.AddConstant", inplace=inplace, constant_scalar=number),
            torch_object("nn.Tanh"),
            torch_object("nn.Identity"),
        )
        if not made.get("inplace") and made.typename != "nn.Identity":
            # its output is a buffer of its own, which a second use overwrites
            seen.append(made)
        return made

    def viewed(self, depth: int) -> Any:
        """Something done to a view, and the view undone."""
        there, back = self.pick(
            (torch_object("nn.View", size=(2, 12)), torch_object("nn.View", size=(ROWS, COLUMNS))),
            (torch_object("nn.Reshape", size=(24,), batchMode=False), torch_object("nn.View", size=(ROWS, COLUMNS))),
            (torch_object("nn.Unsqueeze", pos=2), torch_object("nn.Squeeze", dim=2)),
            (torch_object("nn.Transpose", permutations=[[1, 2]]), torch_object("nn.Transpose", permutations=[[1, 2]])),
        )
        name = str(there.get("size", there.typename))
        return in_row(there, self.simple(name), self.simple(name), back, self.any(depth - 1))

    def split(self) -> Any:
        """The slices of a dimension, each changed or not, and joined again."""
        axis = int(self.rng.integers(1, 3))
        rows, columns = (1, COLUMNS) if axis == 1 else (ROWS, 1)
        each = [
            in_row(self.simple(f"split {axis}"), torch_object("nn.Reshape", size=(rows, columns), batchMode=False))
            for _ in range((ROWS, COLUMNS)[axis - 1])
        ]
        whole = in_row(
            torch_object("nn.SplitTable", dimension=axis),
            torch_object("nn.ParallelTable", modules=each),
            torch_object("nn.JoinTable", dimension=axis),
        )
        return self.added(whole, torch_object("nn.Identity"))

    def added(self, *branches: Any) -> Any:
        combine = self.pick(
            torch_object("nn.CAddTable", inplace=True),
            torch_object("nn.CAddTable"),
            torch_object("nn.CMaxTable"),
            torch_object("nn.CSubTable"),
        )
        return in_row(torch_object("nn.ConcatTable", modules=list(branches)), combine)

    def any(self, depth: int) -> Any:
        """A module of bounded depth."""
        if depth <= 0:
            return self.simple()
        kind = self.rng.integers(5)
        if kind == 0:
            return self.viewed(depth)
        if kind == 1:
            return self.split()
        if kind == 2:
            return self.added(self.any(depth - 1), self.any(depth - 1))
        if kind == 3:
            picked = in_row(
                torch_object("nn.ConcatTable", modules=[self.any(depth - 1), self.any(depth - 1), self.simple()]),
                torch_object("nn.NarrowTable", offset=1, length=2),
            )
            return in_row(picked, torch_object("nn.CAddTable", inplace=bool(self.rng.random() < 0.5)))
        return in_row(self.any(depth - 1), self.simple(), self.any(depth - 1))


@pytest.mark.parametrize("seed", range(150))
def test_shared_memory_is_followed(seed: int) -> None:
    drawn = Drawn(seed)
    last = torch_object(
        "nn.ConcatTable", modules=[torch_object("nn.Identity"), drawn.any(3), torch_object("nn.Identity")]
    )
    net = sequential(drawn.any(2), last)
    assert not net.problems
    x = noise(np.random.default_rng(seed), ROWS, COLUMNS)
    expected = reference(net, x)
    check(expected, through_onnx(net, x), 1e-5)
    check(expected, through_caffe2(net, x), 1e-5)
