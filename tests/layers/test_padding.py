"""Paddings and croppings, element by element as the Lua and C sources place them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import retorch
from building import module, reference, through_onnx, torch_object
from golden_cases import check
from layers.loops import named_fields, pick
from layers.rows import Row, every, named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]
SIDES = "pad_t pad_b pad_l pad_r"

#: Where element ``i`` of the output comes from, with ``b`` elements of padding before ``n`` of input; None is zero.
RULES: dict[str, Callable[[int, int, int], int | None]] = {
    "nn.SpatialZeroPadding": lambda i, b, n: i - b if 0 <= i - b < n else None,
    # SpatialReflectionPadding.c: pad_l * 2 - j, j, (iwidth + pad_l - 1) * 2 - j; less the start of the output
    "nn.SpatialReflectionPadding": lambda i, b, n: (
        (b * 2 - i if i < b else i if i < n + b else (n + b - 1) * 2 - i) - b
    ),
    "nn.SpatialReplicationPadding": lambda i, b, n: min(max(i, b), n + b - 1) - b,
    "nn.SpatialCircularPadding": lambda i, b, n: (i - b) % n,
    "nn.SpatialSymmetricPadding": lambda i, b, n: b - i - 1 if i < b else i - b if i < n + b else 2 * n + b - 1 - i,
}


def placed(x: np.ndarray, pads: list[int], rule: Callable[[int, int, int], int | None]) -> np.ndarray:
    """``pads`` is (before, after) of each of the last axes."""
    axes = len(pads) // 2
    sizes = x.shape[-axes:]
    out = [n + pads[2 * a] + pads[2 * a + 1] for a, n in enumerate(sizes)]
    y = np.zeros((*x.shape[:-axes], *out))
    for at in np.ndindex(*out):
        there = [rule(i, pads[2 * a], n) for a, (i, n) in enumerate(zip(at, sizes, strict=True))]
        if None not in there:
            y[(..., *at)] = x[(..., *there)]
    return y


def around_images(rng: np.random.Generator) -> Rows:
    """Sides of their own, nothing on some, negative ones on others."""
    for typename, rule in RULES.items():
        least = 0 if "Circular" in typename else -2
        for i in range(24):
            sizes, pads = pick(rng, 5, 8), pick(rng, least, 2, 4)
            if i == 0:
                pads = [0, 0, 0, 0]
            x = noise(rng, 1 + i % 3, 2, *sizes)
            expected = placed(x, pads, rule)
            net = module(typename, **named_fields(SIDES, pads))
            yield f"{typename}{pads}", net, *((x, expected) if i % 3 else (x[0], expected[0]))


def one_amount_for_all(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 3, 4, 5)
    expected = placed(x, [2, 2, 2, 2], RULES["nn.SpatialZeroPadding"])
    yield "pad_l", module("nn.SpatialZeroPadding", pad_l=2), x, expected


def any_dimensions(rng: np.random.Generator) -> Rows:
    """nnx's: dimensions 2 and 3 of whatever comes, or others, and a value that stands around."""
    for rank, rows, columns, val in [(3, 2, 3, 0.0), (4, 2, 3, 0.5), (4, 3, 4, -1.0), (3, 1, 2, 0.0), (4, 3, 1, 2.0)]:
        for top, bottom, left, right in [(1, 2, 0, 3), (-1, 1, 2, -1), (-1, 0, 0, -1)]:
            x = noise(rng, *(4, 5, 3, 6)[:rank])
            kept = x.astype(float)
            for dim, before, after in [(rows - 1, top, bottom), (columns - 1, left, right)]:
                slices = np.moveaxis(kept, dim, 0)
                slices = slices[max(-before, 0) : len(slices) + min(after, 0)]
                edge = np.full((1, *slices.shape[1:]), val)
                grown = np.concatenate([*[edge] * max(before, 0), slices, *[edge] * max(after, 0)])
                kept = np.moveaxis(grown, 0, dim)
            fields = {"pad_l": left, "pad_r": right, "pad_t": top, "pad_b": bottom}
            if (rows, columns, val) != (2, 3, 0.0):
                fields |= {"y_dim": rows, "x_dim": columns, "val": val}
            yield f"{rank}-{rows}-{columns}-{top}", module("nn.SpatialPadding", **fields), x, kept


def volumes(rng: np.random.Generator) -> Rows:
    for i in range(14):
        pads = pick(rng, -1, 2, 6)
        x = noise(rng, 2, 2, *pick(rng, 4, 5, 3))
        expected = placed(x, pads, RULES["nn.SpatialReplicationPadding"])
        net = module("nn.VolumetricReplicationPadding", **named_fields("pfront pback ptop pbottom pleft pright", pads))
        yield f"{pads}", net, *((x, expected) if i % 3 else (x[0], expected[0]))


def shaved(rng: np.random.Generator) -> Rows:
    for size in range(4):
        x = noise(rng, 2, 3, 8, 9)
        yield f"{size}", module("nn.ShaveImage", size=size), x, x[:, :, size : 8 - size, size : 9 - size]


def blocks(rng: np.random.Generator) -> Rows:
    """nn.Padding: entries of a value before an index, counted from either end, with or without a batch."""
    for i in range(40):
        shape = tuple(pick(rng, 2, 5, 4))
        dims = [None, 3, 4][i % 3]
        dim = int(rng.integers(1, 4))
        axis = dim - 1 + (dims == 3)
        pad, value = int(rng.integers(-3, 4)), [0, 0.5, -2][i % 3]
        index = int(rng.integers(1, shape[axis] + 2))
        x = noise(rng, *shape)
        entries = list(np.moveaxis(x.astype(np.float64), axis, 0))
        # Padding.lua: what stands in front of the block
        front = shape[axis] - index + 1 if pad > 0 else index - 1
        block = [np.full_like(entries[0], value)] * abs(pad)
        expected = np.moveaxis(np.stack([*entries[:front], *block, *entries[front:]]), 0, axis)
        fields = {"dim": dim, "pad": pad, "value": value, "index": index} | ({"nInputDim": dims} if dims else {})
        yield f"{dim}{pad:+}@{index}of{shape}", module("nn.Padding", **fields), x, expected


ROWS = named(around_images, any_dimensions, one_amount_for_all, volumes, shaved, blocks)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


@every([row for row in ROWS if row.x.ndim == 4 and row.name.startswith(("around", "shaved"))][::2])
def test_a_network_made_for_one_takes_any_batch(row: Row) -> None:
    network = retorch.convert(row.net, row.x[:1], fold=False)
    check(row.flat, network.run(row.x), 1e-5)


@pytest.mark.parametrize("typename", [*RULES, "nn.Padding", "nn.ShaveImage", "nn.VolumetricReplicationPadding"])
def test_nothing_to_pad_is_still_a_copy(typename: str) -> None:
    """A layer that writes in place afterwards does not reach the input of the padding."""
    fields = named_fields(SIDES + " dim pad size pfront pback ptop pbottom pleft pright", [0, 0, 0, 0, 1, *[0] * 8])
    pad = torch_object(typename, **fields)
    flip = torch_object("nn.MulConstant", constant_scalar=-1, inplace=True)
    copied = module("nn.Sequential", modules=[pad, flip]).layer.raw
    net = module("nn.ConcatTable", modules=[torch_object("nn.Identity"), copied])
    x = noise(np.random.default_rng(1), 1, 2, 3, 4)
    check([x, -x], reference(net, x))
    check([x, -x], through_onnx(net, x))


@pytest.mark.parametrize(
    ("typename", "fields", "why"),
    [
        ("nn.SpatialZeroPadding", {"pad_l": -3}, "nothing is left"),
        ("nn.SpatialReflectionPadding", {"pad_l": 4}, "more than it holds"),
        ("nn.SpatialCircularPadding", {"pad_l": 6}, "more than it holds"),
        ("nn.SpatialCircularPadding", {"pad_l": -1}, "negative"),
        ("nn.SpatialSymmetricPadding", {"pad_l": 6}, "more than it holds"),
        ("nn.Padding", {"dim": 1, "pad": 2, "index": 9}, "entry 9 of 1"),
        ("nn.Padding", {"dim": 6, "pad": 2}, "dimension 6 of a 4-D"),
        ("nn.ShaveImage", {"size": 2}, "nothing is left"),
    ],
)
def test_impossible_amounts_are_refused(typename: str, fields: dict[str, Any], why: str) -> None:
    x = np.zeros((1, 2, 4, 5), np.float32)
    for run in (reference, through_onnx):
        with pytest.raises(UnsupportedError, match=why):
            run(module(typename, **fields), x)
