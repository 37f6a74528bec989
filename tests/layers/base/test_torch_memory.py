"""Random networks whose modules stand in several branches, against Torch's tensors over storages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from building import reference, sequential, through_onnx, torch_object
from golden_cases import check
from layers.base import torch_memory as lua
from layers.base.torch_memory import Lua, Tensor
from layers.rows import noise
from retorch.errors import UnsupportedError, UsageError

ROWS, COLUMNS = 4, 6
#: A module as a file stores it, and as Torch runs it.
Pair = tuple[Any, Lua]


def row(*pairs: Pair) -> Pair:
    return _container("nn.Sequential", lua.sequential, pairs)


def both(*pairs: Pair) -> Pair:
    return _container("nn.ConcatTable", lua.concat_table, pairs)


def _container(typename: str, method: lua.Method, pairs: tuple[Pair, ...]) -> Pair:
    return torch_object(typename, modules=[p[0] for p in pairs]), Lua(method, modules=[p[1] for p in pairs])


def pair(typename: str, method: lua.Method, stored: dict[str, Any] | None = None, **fields: Any) -> Pair:
    """A module with the fields of its file, and what its method reads of itself."""
    return torch_object(typename, **(stored or {})), Lua(method, **fields)


def scale(by: float, inplace: bool) -> Pair:
    fields: dict[str, Any] = {"constant_scalar": by, "inplace": inplace}
    return pair("nn.MulConstant", lua.elementwise, fields, inplace=inplace, formula=lambda x: x * by)


def leaky(inplace: bool) -> Pair:
    fields: dict[str, Any] = {"negval": 0.3, "inplace": inplace}
    formula: Callable[[np.ndarray], np.ndarray] = lambda x: np.where(x > 0, x, 0.3 * x)  # noqa: E731
    return pair("nn.LeakyReLU", lua.elementwise, fields, inplace=inplace, formula=formula)


def same_type() -> Pair:
    return pair("nn.Copy", lua.copy_of_the_same_type, {"updateOutput": None, "output": np.zeros(0, np.float32)})


def dropout(inplace: bool) -> Pair:
    return pair("nn.Dropout", lua.reversal if inplace else lua.copied, {"v2": True, "p": 0.5, "inplace": inplace})


def view(typename: str, *sizes: int) -> Pair:
    stored = {"size": sizes} if typename == "nn.View" else {"size": sizes, "batchMode": False}
    return pair(typename, lua.view if typename == "nn.View" else lua.reshape, stored, sizes=sizes)


def replicate(times: int) -> Pair:
    return pair("nn.Replicate", lua.replicate, {"nfeatures": times, "dim": 2}, times=times)


def split(axis: int) -> Pair:
    return pair("nn.SplitTable", lua.split_table, {"dimension": axis + 1}, axis=axis)


def pick(at: int) -> Pair:
    return pair("nn.SelectTable", lua.select_table, {"index": at + 1}, index=at)


def add(inplace: bool) -> Pair:
    return pair("nn.CAddTable", lua.add_table, {"inplace": inplace}, inplace=inplace)


class Drawn:
    """Modules that take (4, 6) to (4, 6), drawn from a seed; some stand in several places."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.seen: dict[str, list[Pair]] = {}

    def one(self, *choices: Callable[[], Pair]) -> Pair:
        return choices[int(self.rng.integers(len(choices)))]()

    def shared(self, kind: str, *choices: Callable[[], Pair]) -> Pair:
        seen = self.seen.setdefault(kind, [])
        if seen and self.rng.random() < 0.5:
            return seen[int(self.rng.integers(len(seen)))]
        seen.append(self.one(*choices))
        return seen[-1]

    def layer(self) -> Pair:
        """What takes a tensor of any sizes, and gives as large a one."""
        inplace = bool(self.rng.random() < 0.5)
        number = float(np.round(self.rng.uniform(0.5, 2), 2))
        return self.shared(
            "any",
            lambda: scale(number, inplace),
            lambda: leaky(inplace),
            lambda: dropout(inplace),
            lambda: pair("nn.Identity", lua.identity),
            lambda: pair("nn.GradientReversal", lua.reversal),
            same_type,
            lambda: pair("nn.Contiguous", lua.contiguous),
            lambda: pair("nn.Contiguous", lua.contiguous),
        )

    def layers(self) -> Pair:
        return row(*[self.layer() for _ in range(int(self.rng.integers(1, 3)))])

    def viewed(self) -> Pair:
        wide, back = ("nn.View", "nn.Reshape")[int(self.rng.integers(2))], "nn.View"
        there = self.shared("wide", lambda: view(wide, 2, 12))
        return row(there, self.layers(), self.shared("back", lambda: view(back, ROWS, COLUMNS)))

    def unsqueezed(self) -> Pair:
        there = self.shared("unsqueeze", lambda: pair("nn.Unsqueeze", lua.unsqueeze, {"pos": 2}))
        back = self.shared("squeeze", lambda: pair("nn.Squeeze", lua.squeeze, {"dim": 2}))
        return row(there, self.layers(), back)

    def transposed(self) -> Pair:
        def swap() -> Pair:
            return pair("nn.Transpose", lua.transpose, {"permutations": [[1, 2]]})

        return row(self.shared("there", swap), self.layers(), self.shared("back again", swap))

    def replicated(self) -> Pair:
        """Copies that are one memory, put in order or not, of which one is taken."""
        times = int(self.rng.integers(1, 4))
        middle = self.shared(
            "in order",
            lambda: pair("nn.Contiguous", lua.contiguous),
            lambda: pair("nn.Contiguous", lua.contiguous),
            lambda: dropout(False),
            lambda: pair("nn.Identity", lua.identity),
        )
        taken = pick(int(self.rng.integers(times)))
        return row(self.shared(f"replicate {times}", lambda: replicate(times)), middle, split(1), taken, self.layers())

    def columns(self) -> Pair:
        """The columns, which stand apart in memory, each through layers or not, side by side again."""

        def tall() -> Pair:
            return view("nn.Reshape", ROWS, 1)

        each = [
            row(split(1), pick(i), *[self.layer()] * int(self.rng.integers(2)), self.shared(f"tall {i}", tall))
            for i in range(COLUMNS)
        ]
        return row(both(*each), pair("nn.JoinTable", lua.join_table, {"dimension": 2}))

    def added(self, *branches: Pair) -> Pair:
        inplace = bool(self.rng.random() < 0.4)
        return row(both(*branches), self.shared("add", lambda: add(inplace)))

    def any(self, depth: int) -> Pair:
        if depth <= 0:
            return self.layer()
        return self.one(
            self.viewed,
            self.unsqueezed,
            self.transposed,
            self.replicated,
            self.columns,
            lambda: self.added(self.any(depth - 1), self.any(depth - 1)),
            lambda: row(self.any(depth - 1), self.layer(), self.any(depth - 1)),
        )


def lasts(y: Any) -> list[np.ndarray]:
    return [y.array.copy()] if isinstance(y, Tensor) else [a for item in y for a in lasts(item)]


def drawn_network(seed: int) -> tuple[Any, Lua, np.ndarray]:
    drawn = Drawn(seed)
    identity = pair("nn.Identity", lua.identity)
    branches = [drawn.any(2) for _ in range(3)]
    made = row(drawn.any(1), both(identity, branches[0], identity, *branches[1:], identity))
    return sequential(made[0]), made[1], noise(np.random.default_rng(seed), ROWS, COLUMNS)


def agrees(seed: int) -> bool:
    """Whether the network runs in Torch, and is not refused; fails where it computes something else."""
    net, torch, x = drawn_network(seed)
    try:
        expected = lasts(torch.forward(Tensor.of(x)))
    except (AssertionError, IndexError, ValueError):
        return False  # a module's tensor got other sizes while another module still reads it: Torch stops too
    try:
        check(expected, reference(net, x), 1e-5)
        check(expected, through_onnx(net, x), 1e-4)
    except (UnsupportedError, UsageError):
        return False
    return True


@pytest.mark.parametrize("block", range(10))
def test_modules_in_several_branches(block: int) -> None:
    assert sum(agrees(seed) for seed in range(20 * block, 20 * block + 20)) >= 12


def test_a_copy_of_the_same_type_gives_its_input() -> None:
    """Copy.lua: ``self.output:set(input); return input``: each branch keeps what it was given."""
    x = noise(np.random.default_rng(0), 2, 3)
    copy = same_type()
    net = sequential(both(row(scale(2, False), copy), row(scale(3, False), copy))[0])
    for got in reference(net, x), through_onnx(net, x):
        check([2 * x, 3 * x], got, 1e-6)


def test_contiguous_does_not_copy_over_what_it_reads() -> None:
    """Contiguous.lua: ``if self.output:storage() == input:storage() then self.output:set() end``"""
    x = noise(np.random.default_rng(0), 2, 3)
    shared = pair("nn.Contiguous", lua.contiguous)
    net = sequential(both(shared, row(replicate(2), shared), pair("nn.Identity", lua.identity))[0])
    copies = np.stack([x, x], axis=1)
    for got in reference(net, x), through_onnx(net, x):
        # the first branch was given the module's tensor, which holds the copies by now
        check([copies, copies, x], got, 1e-6)


@pytest.mark.parametrize("seed", [1286, 1747, 2048, 2236, 1312, 1934, 2608, 2790, 2997])
def test_memory_that_grows_under_a_view(seed: int) -> None:
    """A module used again at another size, over memory that others look at or write to."""
    assert agrees(seed)
