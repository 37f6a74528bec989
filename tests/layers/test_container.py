"""Containers and wrappers: what flows between modules, and what a module used twice does to its first output."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from building import module, sequential, torch_object
from layers.rows import Row, named, noise, random_shape, row_tests, times
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def scale(by: float, *, inplace: bool = False) -> Any:
    return torch_object("nn.MulConstant", constant_scalar=by, inplace=inplace)


def in_row(*modules: Any) -> Any:
    return torch_object("nn.Sequential", modules=list(modules))


def branches(*modules: Any) -> Any:
    return torch_object("nn.ConcatTable", modules=list(modules))


IDENTITY = torch_object("nn.Identity")


def rows_and_tables(rng: np.random.Generator) -> Rows:
    x, y = noise(rng, 2, 3), noise(rng, 2, 4)
    yield "empty", sequential(), x, x
    yield "row", sequential(scale(2), scale(3), scale(-1)), x, -6 * x
    yield "concattable", module("nn.ConcatTable", modules=[scale(2), IDENTITY, scale(3)]), x, [2 * x, x, 3 * x]
    yield "nested", sequential(branches(scale(2), branches(IDENTITY, scale(4)))), x, [2 * x, [x, 4 * x]]
    yield "paralleltable", module("nn.ParallelTable", modules=[scale(2), scale(3)]), [x, y], [2 * x, 3 * y]
    yield "more inputs", module("nn.ParallelTable", modules=[scale(2)]), [x, y], [2 * x]
    yield "maptable", module("nn.MapTable", module=scale(5), modules=[]), [x, y, x], [5 * x, 5 * y, 5 * x]
    yield "maptable of clones", module("nn.MapTable", modules=[scale(5), scale(5)]), [x, y], [5 * x, 5 * y]
    yield "maxout", module("nn.Maxout", modules=[scale(2), scale(3)]), x, 6 * x


def concats(rng: np.random.Generator) -> Rows:
    for rank, count in itertools.product((1, 2, 3, 4), (1, 2, 3)):
        x = noise(rng, *random_shape(rng, rank, 4))
        for axis in range(rank):
            dimension = axis + 1 if rng.random() < 0.7 else axis - rank
            net = module("nn.Concat", dimension=dimension, modules=[scale(i + 2) for i in range(count)])
            expected = np.concatenate([(i + 2) * x for i in range(count)], axis)
            yield f"{dimension}", net, x, expected


def centred(rng: np.random.Generator) -> Rows:
    """Branches that crop what they are given by different amounts."""
    for count in times(6, 2, 3):
        height, width = (int(v) for v in rng.integers(4, 9, 2))
        x = noise(rng, 2, 3, height, width)
        crops = [tuple(int(v) for v in rng.integers(1, 5, 2)) for _ in range(count)]
        modules = [
            in_row(
                torch_object("nn.Narrow", dimension=3, index=1, length=h),
                torch_object("nn.Narrow", dimension=4, index=1, length=w),
            )
            for h, w in crops
        ]
        tall, broad = max(h for h, _ in crops), max(w for _, w in crops)
        expected = np.zeros((2, 3 * count, tall, broad), np.float32)
        for branch, (h, w) in enumerate(crops):
            for i, j in np.ndindex(h, w):
                row, column = (tall - h) // 2 + i, (broad - w) // 2 + j
                expected[:, 3 * branch : 3 * branch + 3, row, column] = x[:, :, i, j]
        yield f"{crops}", module("nn.DepthConcat", dimension=2, modules=modules), x, expected


def parallels(rng: np.random.Generator) -> Rows:
    for rank in times(5, 2, 3, 4):
        x = noise(rng, *random_shape(rng, rank, 3))
        axis, joined = int(rng.integers(rank)), int(rng.integers(rank - 1))
        parts = np.moveaxis(x, axis, 0)
        modules = [scale(i + 1) for i in range(len(parts) + 1)]
        expected = np.concatenate([(i + 1) * part for i, part in enumerate(parts)], joined)
        net = module("nn.Parallel", inputDimension=axis + 1, outputDimension=joined + 1, modules=modules)
        yield f"{axis},{joined}", net, x, expected


def bottles(rng: np.random.Generator) -> Rows:
    weight = noise(rng, 5, 4)
    for shape in ((3, 4), (2, 3, 4), (1, 3, 4), (2, 1, 3, 4), (2, 2, 2, 2, 4), (3, 1, 4)):
        x = noise(rng, *shape)
        net = module("nn.Bottle", modules=[torch_object("nn.Linear", weight=weight)], nInputDim=2, nOutputDim=2)
        expected = np.array([[sum(row * line) for line in weight] for row in x.reshape(-1, 4)]).reshape(*shape[:-1], 5)
        yield f"{shape}", net, x, expected
        drops = torch_object("nn.Select", dimension=2, index=1)
        first = module("nn.Bottle", modules=[drops], nInputDim=3, nOutputDim=2)
        wider = noise(rng, 2, *shape)
        if wider.ndim > 2:
            yield f"{shape}", first, wider, wider[..., 0, :]


def wrappers(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 3)
    for typename in ("nn.Decorator", "nn.Serial", "nn.DontCast", "nn.Profile", "nn.NaN", "nn.GPU", "nn.Inception"):
        yield typename, module(typename, modules=[scale(3)]), x, 3 * x
        yield f"old {typename}", module(typename, module=scale(3)), x, 3 * x
    copies = [scale(3), scale(3)]
    yield "parallel", module("nn.DataParallelTable", modules=copies, dimension=1), x, 3 * x


def conversions(rng: np.random.Generator) -> Rows:
    image = noise(rng, 2, 3, 4, 5)
    for given, wanted, axes in [
        ("bchw", "bhwc", (0, 2, 3, 1)),
        ("bhwc", "bchw", (0, 3, 1, 2)),
        ("chwb", "bchw", (3, 0, 1, 2)),
        ("bchw", "bchw", (0, 1, 2, 3)),
        ("b*", "b*", (0, 1, 2, 3)),
    ]:
        yield (
            f"{given} {wanted}",
            module("nn.Convert", inputShape=given, outputShape=wanted),
            image,
            image.transpose(axes),
        )
    flat = image.reshape(2, 60)
    yield "bf", module("nn.Convert", inputShape="bchw", outputShape="bf"), image, flat
    yield "bf of one", module("nn.Convert", inputShape="bchw", outputShape="bf"), image[:1], flat[:1]
    yield "bf without batch", module("nn.Convert", inputShape="bchw", outputShape="bf"), image[0], flat[0]
    swapped = image.swapaxes(0, 1).reshape(3, 40)
    yield "bf from cb", module("nn.Convert", inputShape="cbhw", outputShape="bf"), image, swapped
    batch = {"inputBatchDim": 4, "outputBatchDim": 1}
    moved = module("nn.Convert", inputShape="chwb", outputShape="bchw", **batch)
    yield "without batch", moved, image[0], image[0]
    rows = noise(rng, 4, 3)
    yield "b", module("nn.Convert", inputShape="bt", outputShape="b"), rows, rows[:, 0]
    yield "b from tb", module("nn.Convert", inputShape="tb", outputShape="b"), rows, rows[0]
    yield "bt", module("nn.Convert", inputShape="b", outputShape="bt"), rows[:, 0].copy(), rows[:, :1]


def losses(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 3)
    for typename in ("nn.ClassNLLCriterion", "nn.MSECriterion", "nn.TheirOwnCriterion"):
        yield typename, sequential(scale(2), torch_object(typename, sizeAverage=True)), x, 2 * x


ROWS = named(rows_and_tables, concats, centred, parallels, bottles, wrappers, conversions, losses)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


def test_a_loss_is_left_out_and_said_so() -> None:
    net = sequential(scale(2), torch_object("nn.MSECriterion"))
    assert any("modules[2] nn.MSECriterion: left out" in note for note in net.notes)


@pytest.mark.parametrize(
    ("net", "x"),
    [
        (module("nn.ParallelTable", modules=[scale(1), scale(1)]), [np.zeros((2, 3))]),
        (module("nn.Parallel", inputDimension=1, outputDimension=1, modules=[scale(1)]), np.zeros((2, 3))),
        (module("nn.Concat", dimension=3, modules=[scale(1)]), np.zeros((2, 3))),
        (module("nn.Concat", dimension=1, modules=[branches(IDENTITY)]), np.zeros((2, 3))),
        (module("nn.Bottle", modules=[torch_object("nn.Unsqueeze", pos=1)]), np.zeros((2, 3, 4))),
    ],
)
def test_what_torch_refuses_is_refused(net: Module, x: Any) -> None:
    with pytest.raises(UnsupportedError):
        net.forward(x)
    with pytest.raises(UnsupportedError):
        Row("", net, x, None).agrees_converted()


@pytest.mark.parametrize(
    ("typename", "fields"),
    [
        ("nn.MapTable", {"modules": []}),
        ("nn.Decorator", {"modules": []}),
        ("nn.DataParallelTable", {}),
        ("nn.Convert", {"inputShape": "bt", "outputShape": "bf"}),
        ("nn.Convert", {"inputShape": "bcf", "outputShape": "bhwc"}),
        ("nn.Module", {}),
    ],
)
def test_what_says_nothing_is_a_problem(typename: str, fields: dict[str, Any]) -> None:
    assert module(typename, **fields).problems


def shared(net: Module, x: Any, expected: Any) -> None:
    row = Row("", net, x, expected)
    row.agrees_by_formula()
    row.agrees_converted()


X = np.array([[-1.0, 2.0, -3.0], [4.0, -5.0, 6.0]], np.float32)


def test_writing_in_place_is_seen_by_later_branches() -> None:
    for view in (IDENTITY, torch_object("nn.View", size=(3, 2)), torch_object("nn.Unsqueeze", pos=1)):
        writes = in_row(view, torch_object("nn.ReLU", inplace=True))
        net = sequential(branches(scale(1), writes, scale(1)))
        shape = net.forward(X)[1].shape
        relu = np.maximum(X, 0)
        shared(net, X, [X, relu.reshape(shape), relu])


def test_writing_in_place_into_a_copy_is_seen_by_nobody() -> None:
    copies = [
        torch_object("nn.Narrow", dimension=1, index=1, length=2),
        torch_object("nn.Transpose", permutations=[[1, 2]]),
        torch_object("nn.Select", dimension=1, index=1),
        torch_object("nn.JoinTable", dimension=1),
        torch_object("nn.CAddTable"),
    ]
    for copy in copies:
        first = [branches(IDENTITY)] if copy.typename in ("nn.JoinTable", "nn.CAddTable") else []
        writes = in_row(*first, copy, torch_object("nn.ReLU", inplace=True))
        net = sequential(branches(writes, IDENTITY))
        row = Row("", net, X, [net.forward(X)[0], X])
        assert np.array_equal(net.forward(X)[1], X)
        row.agrees_converted()


def test_adding_in_place_changes_the_first_of_the_table() -> None:
    add = in_row(branches(IDENTITY, scale(2)), torch_object("nn.CAddTable", inplace=True))
    shared(sequential(branches(add, IDENTITY)), X, [3 * X, 3 * X])


def test_a_module_used_twice_overwrites_its_first_output() -> None:
    twice = scale(2)
    shared(sequential(branches(twice, in_row(scale(10), twice))), X, [20 * X, 20 * X])


def test_a_container_used_twice_overwrites_its_first_output() -> None:
    twice = torch_object("nn.Concat", dimension=1, modules=[IDENTITY, scale(2)])
    wide = np.concatenate([10 * X, 20 * X])
    shared(sequential(branches(twice, in_row(scale(10), twice))), X, [wide, wide])


def test_each_entry_of_a_map_table_has_an_output_of_its_own() -> None:
    shared(module("nn.MapTable", module=scale(2), modules=[]), [X, 10 * X], [2 * X, 20 * X])
