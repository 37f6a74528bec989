"""Views, reorderings and selections, against sizes and loops written here from Torch's sources."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import retorch
from building import module, sequential, torch_object
from layers.rows import Row, named, noise, random_shape, row_tests, times
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]

#: View.lua, worked out by hand: size, numInputDims, the input's sizes, the output's.
VIEWS = [
    ((12,), None, (2, 3, 4), (2, 12)),
    ((12,), None, (1, 3, 4), (12,)),
    ((12,), None, (3, 4), (12,)),
    ((12,), 2, (1, 3, 4), (1, 12)),
    ((12,), 2, (3, 4), (12,)),
    ((12,), 2, (5, 3, 4), (5, 12)),
    ((12,), 2, (2, 5, 3, 4), (10, 12)),
    ((12,), 1, (5, 12), (5, 12)),
    ((6,), None, (2, 3, 4), (4, 6)),
    ((-1,), None, (2, 3, 4), (24,)),
    ((-1,), None, (1, 3, 4), (12,)),
    ((-1,), 2, (2, 3, 4), (2, 12)),
    ((-1,), 3, (2, 3, 4, 5), (2, 60)),
    ((-1,), 3, (3, 4, 5), (60,)),
    ((-1,), 3, (2, 2, 3, 4, 5), (4, 60)),
    ((-1, 12), None, (2, 3, 4), (2, 12)),
    ((-1, 4), 3, (2, 3, 4, 5), (2, 15, 4)),
    ((3, -1), 3, (2, 3, 4, 5), (2, 3, 20)),
    ((1, 3, 4), 2, (2, 3, 4), (2, 1, 3, 4)),
    ((2, 12), None, (2, 3, 4), (2, 12)),
    ((2, 3, 2), None, (24,), (2, 2, 3, 2)),
    ((1,), None, (4,), (4, 1)),
    ((1,), None, (1,), (1,)),
    ((1, 1, 5, 5), None, (1, 1, 5, 5), (1, 1, 5, 5)),
    ((2, 2), None, (3, 4), (3, 2, 2)),
]

#: Reshape.lua, likewise: size, batchMode, the input's sizes, the output's.
RESHAPES = [
    ((12,), None, (2, 3, 4), (2, 12)),
    ((12,), None, (3, 4), (12,)),
    ((12,), None, (1, 3, 4), (1, 12)),
    ((24,), None, (2, 3, 4), (24,)),
    ((4, 3), True, (2, 3, 4), (2, 4, 3)),
    ((4, 3), True, (1, 3, 4), (1, 4, 3)),
    ((4, 6), False, (2, 3, 4), (4, 6)),
    ((1, 12), False, (1, 3, 4), (1, 12)),
    ((3, 4), None, (5, 12), (5, 3, 4)),
    ((12, 1), None, (12,), (12, 1)),
    ((1, 28, 28), None, (1, 28, 28), (1, 1, 28, 28)),
    ((2, 3, 4), None, (24,), (2, 3, 4)),
    ((1, 2, -1), None, (1, 2, 8, 8), (1, 1, 2, 64)),
    ((1, 2, -1), None, (3, 2, 8, 8), (3, 1, 2, 64)),
    ((-1,), None, (24,), (24, 1)),
    ((-1, 4), False, (2, 3, 4), (6, 4)),
    ((3, -1), False, (2, 3, 4), (3, 8)),
    ((-1, 2), True, (2, 3, 4), (2, 6, 2)),
]


def views(rng: np.random.Generator) -> Rows:
    for size, dims, given, wanted in VIEWS:
        fields = {} if dims is None else {"numInputDims": dims}
        x = noise(rng, *given)
        yield "", module("nn.View", size=size, **fields), x, x.reshape(wanted)


def reshapes(rng: np.random.Generator) -> Rows:
    for size, batch, given, wanted in RESHAPES:
        fields = {} if batch is None else {"batchMode": batch}
        x = noise(rng, *given)
        yield "", module("nn.Reshape", size=size, **fields), x, x.reshape(wanted)


def batch_reshapes(rng: np.random.Generator) -> Rows:
    for given, index, wanted in [((2, 3, 4), 1, (6, 4)), ((4, 5), 2, (2, 10)), ((12,), 1, (6, 2))]:
        size = tuple(1 if i == index - 1 else d for i, d in enumerate(wanted))
        x = noise(rng, *given)
        fields = {"size": size, "index": index, "sizeindex": 1, "nelement": int(np.prod(size))}
        yield "", module("nn.BatchReshape", **fields), x, x.reshape(wanted)


def collapses(rng: np.random.Generator) -> Rows:
    for dims, given, wanted in [
        (2, (3, 4, 5), (3, 20)),
        (2, (4, 5), (20,)),
        (3, (1, 2, 3, 4), (1, 24)),
        (1, (3, 4), (3, 4)),
    ]:
        x = noise(rng, *given)
        yield "", module("nn.Collapse", nInputDim=dims), x, x.reshape(wanted)


def transposes(rng: np.random.Generator) -> Rows:
    for rank, swaps in itertools.product((2, 3, 4, 5), (1, 2, 3)):
        for batched in (False, True):
            x = noise(rng, *random_shape(rng, rank))
            own = rank - batched
            pairs = [[int(v) for v in rng.integers(1, own + 1, 2)] for _ in range(swaps)]
            expected = x
            for a, b in pairs:
                expected = expected.swapaxes(a - 1 + batched, b - 1 + batched)
            fields = {"numInputDims": own} if batched else {}
            yield f"{pairs}", module("nn.Transpose", permutations=pairs, **fields), x, expected


#: Squeeze.lua: dim, numInputDims, the input's sizes, the output's.
SQUEEZES = [
    (None, None, (2, 1, 3, 1), (2, 3)),
    (None, None, (1, 1, 3, 1), (3,)),
    (None, None, (1, 1), (1,)),
    (None, None, (2, 3), (2, 3)),
    (None, 3, (1, 1, 3, 1), (1, 3)),
    (None, 3, (2, 1, 3, 1), (2, 3)),
    (None, 2, (1, 1, 1), (1, 1)),
    (None, 2, (2, 1, 1), (2,)),
    (2, None, (2, 1, 3), (2, 3)),
    (2, None, (2, 4, 3), (2, 4, 3)),
    (1, 2, (5, 1, 3), (5, 3)),
    (1, 2, (1, 3), (3,)),
    (1, None, (1,), (1,)),
]


def squeezes(rng: np.random.Generator) -> Rows:
    for dim, dims, given, wanted in SQUEEZES:
        fields = {k: v for k, v in (("dim", dim), ("numInputDims", dims)) if v is not None}
        x = noise(rng, *given)
        yield f"{given}", module("nn.Squeeze", **fields), x, x.reshape(wanted)


def unsqueezes(rng: np.random.Generator) -> Rows:
    for rank in (1, 2, 3, 4):
        for pos in range(1, rank + 2):
            x = noise(rng, *random_shape(rng, rank))
            wanted = (*x.shape[: pos - 1], 1, *x.shape[pos - 1 :])
            yield f"{pos}", module("nn.Unsqueeze", pos=pos), x, x.reshape(wanted)
            batched = noise(rng, 3, *x.shape)
            yield f"{pos}", module("nn.Unsqueeze", pos=pos, numInputDims=rank), batched, batched.reshape(3, *wanted)


def narrows(rng: np.random.Generator) -> Rows:
    for rank in times(6, 1, 2, 3, 4):
        x = noise(rng, *(int(d) for d in rng.integers(2, 7, rank)))
        axis = int(rng.integers(rank))
        size = x.shape[axis]
        index = int(rng.integers(1, size + 1))
        length = int(rng.integers(1, size - index + 2))
        expected = np.stack([x.take(index - 1 + i, axis) for i in range(length)], axis)
        dimension = axis + 1 if rng.random() < 0.5 else axis - rank
        yield "", module("nn.Narrow", dimension=dimension, index=index, length=length), x, expected
        rest = size - index + 1
        back = int(rng.integers(1, rest + 1))
        expected = np.stack([x.take(index - 1 + i, axis) for i in range(rest + 1 - back)], axis)
        yield "back", module("nn.Narrow", dimension=dimension, index=index, length=-back), x, expected
        drop = int(rng.integers(1, size))
        expected = np.stack([x.take(i, axis) for i in range(size - drop)], axis)
        yield "front", module("nn.Narrow", dimension=dimension, index=-drop, length=drop), x, expected


def selects(rng: np.random.Generator) -> Rows:
    for rank in times(8, 2, 3, 4):
        x = noise(rng, *random_shape(rng, rank))
        axis = int(rng.integers(rank))
        at = int(rng.integers(x.shape[axis]))
        dimension = axis + 1 if rng.random() < 0.5 else axis - rank
        index = at + 1 if rng.random() < 0.5 else at - x.shape[axis]
        expected = np.moveaxis(x, axis, 0)[at]
        yield f"{dimension},{index}", module("nn.Select", dimension=dimension, index=index), x, expected


def replicates(rng: np.random.Generator) -> Rows:
    for rank in (1, 2, 3):
        for dim in range(1, rank + 2):
            x = noise(rng, *random_shape(rng, rank))
            yield "", module("nn.Replicate", nfeatures=3, dim=dim), x, np.stack([x] * 3, dim - 1)
            batched = noise(rng, 2, *x.shape)
            expected = np.stack([batched] * 4, dim)
            yield "batch", module("nn.Replicate", nfeatures=4, dim=dim, ndim=rank), batched, expected
    x = noise(rng, 2, 3)
    yield "old", module("nn.Replicate", nfeatures=2), x, np.stack([x, x])


def indexes(rng: np.random.Generator) -> Rows:
    for rank in times(4, 2, 3, 4):
        x = noise(rng, *random_shape(rng, rank))
        axis = int(rng.integers(rank))
        at = rng.integers(1, x.shape[axis] + 1, int(rng.integers(1, 6)))
        expected = np.stack([x.take(i - 1, axis) for i in at], axis)
        yield "", module("nn.Index", dimension=axis + 1), [x, at.astype(np.int64)], expected


def masked_selects(rng: np.random.Generator) -> Rows:
    inplace = torch_object("nn.ReLU", inplace=True)
    pointwise = {
        "": (),
        "elementwise": (torch_object("nn.Tanh"), inplace, torch_object("nn.MulConstant", constant_scalar=2)),
    }
    for name, modules in pointwise.items():
        for rank in times(3, 1, 2, 3, 4):
            x = noise(rng, *random_shape(rng, rank))
            mask = rng.integers(0, 2, x.shape).astype(np.float32)
            picked = [float(v) for v, m in zip(x.ravel(), mask.ravel(), strict=True) if m]
            expected = [2 * max(np.tanh(v), 0) for v in picked] if modules else picked
            net = sequential(torch_object("nn.MaskedSelect"), *modules)
            yield name, net, [x, mask], np.array(expected, np.float64)


ROWS = named(
    *(views, reshapes, batch_reshapes, collapses, transposes, squeezes, unsqueezes, narrows, selects, replicates),
    *(indexes, masked_selects),
)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


SELECTED = (np.arange(6, dtype=np.float32).reshape(2, 3), np.array([[1, 0, 1], [0, 0, 1]], np.float32))


def test_what_needs_the_number_of_selected_elements_is_refused() -> None:
    linear = torch_object("nn.Linear", weight=np.ones((2, 3), np.float32), bias=np.zeros(2, np.float32))
    net = sequential(torch_object("nn.MaskedSelect"), torch_object("nn.ReLU"), linear)
    assert np.array_equal(net.forward(list(SELECTED)), [7, 7])
    with pytest.raises(UnsupportedError, match=r"modules\[3\] nn.Linear: how many .* depends on the values") as caught:
        retorch.convert(net, list(SELECTED), fold=False)
    assert len(caught.value.problems) == 1


def test_as_many_are_selected_as_the_mask_says() -> None:
    made = retorch.convert(
        sequential(torch_object("nn.MaskedSelect"), torch_object("nn.Square")), list(SELECTED), fold=False
    )
    assert made.outputs[0].shape == (None,)
    for mask in (np.zeros(6), np.ones(6), np.array([0, 0, 0, 1, 1, 0])):
        (y,) = made.run(SELECTED[0], mask.reshape(2, 3))
        assert y.tolist() == [float(i * i) for i in range(6) if mask[i]]


def test_a_mask_of_another_size_is_refused() -> None:
    net = module("nn.MaskedSelect")
    with pytest.raises(UnsupportedError, match="cannot select from"):
        net.forward([np.zeros((2, 3)), np.zeros(2)])
    with pytest.raises(UnsupportedError, match="cannot select from"):
        retorch.convert(net, [(2, 3), (2,)], fold=False)


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (module("nn.View", size=(5,)), (2, 3, 4)),
        (module("nn.View", size=(2, 12)), (3, 3, 4)),
        (module("nn.Reshape", size=(5,)), (2, 3, 4)),
        (module("nn.Reshape", size=(5,), batchMode=False), (2, 3, 4)),
        (module("nn.Transpose", permutations=[[1, 4]]), (2, 3, 4)),
        (module("nn.Narrow", dimension=2, index=3, length=2), (2, 3)),
        (module("nn.Narrow", dimension=3, index=1, length=1), (2, 3)),
        (module("nn.Select", dimension=1, index=3), (2, 3)),
        (module("nn.Unsqueeze", pos=4), (2, 3)),
        (module("nn.Replicate", nfeatures=2, dim=4), (2, 3)),
    ],
)
def test_what_torch_refuses_is_refused(net: Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedError):
        net.forward(np.zeros(shape, np.float32))
    with pytest.raises(UnsupportedError):
        Row("", net, np.zeros(shape, np.float32), None).agrees_converted()
