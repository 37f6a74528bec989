"""Spatial transformers, place by place, as stnbhwd's C and Lua code."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from building import module, reference, sequential, through_caffe2, through_onnx, torch_object
from golden_cases import check
from layers.loops import pick
from layers.rows import named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def seen(image: np.ndarray, across: float, down: float) -> np.ndarray:
    """An image (H, W, C) at a place in -1 … 1: four neighbours, those outside are zero (BilinearSamplerBHWD.c)."""
    height, width = image.shape[:2]
    x, y = (across + 1) * (width - 1) / 2, (down + 1) * (height - 1) / 2
    left, top = math.floor(x), math.floor(y)
    total = np.zeros(image.shape[2])
    for i, row_share in ((top, 1 - (y - top)), (top + 1, y - top)):
        for j, column_share in ((left, 1 - (x - left)), (left + 1, x - left)):
            if 0 <= i < height and 0 <= j < width:
                total += image[i, j] * row_share * column_share
    return total


def sampled(images: np.ndarray, grids: np.ndarray, order: tuple[int, int] = (0, 1)) -> np.ndarray:
    y = np.zeros((*grids.shape[:3], images.shape[3]))
    for n, i, j in np.ndindex(*grids.shape[:3]):
        y[n, i, j] = seen(images[n].astype(np.float64), *grids[n, i, j, list(order)].astype(np.float64).tolist())
    return y


def base(height: int, width: int) -> np.ndarray:
    """AffineGridGeneratorBHWD.lua: (vertical, horizontal, 1) of each place."""
    rows, columns = ([-1 + i / (n - 1) * 2 for i in range(n)] for n in (height, width))
    return np.array([[[r, c, 1.0] for c in columns] for r in rows])


def samplers(rng: np.random.Generator) -> Rows:
    for i in range(72):
        image = noise(rng, 1 + i % 3, *pick(rng, 1, 6, 3))
        grid = (noise(rng, len(image), *pick(rng, 1, 5), 2) * [0.5, 1, 2][i % 3]).astype(np.float32)
        expected = sampled(image, grid)
        single = i % 4 == 0
        x = [image[0], grid[0]] if single else [image, grid]
        yield f"{image.shape}at{grid.shape}", module("nn.BilinearSamplerBHWD"), x, expected[0] if single else expected


def samplers_on_pixels(rng: np.random.Generator) -> Rows:
    """Places exactly on pixels, corners and edges among them."""
    for height, width in ((3, 5), (5, 3), (2, 9)):
        image = noise(rng, 1, height, width, 2)
        grid = base(height, width)[None, ..., [1, 0]].astype(np.float32)
        yield f"{height}x{width}", module("nn.BilinearSamplerBHWD"), [image, grid], image


def grids(rng: np.random.Generator) -> Rows:
    for i in range(40):
        height, width = pick(rng, 2, 6)
        x = noise(rng, 1 + i % 3, 2, 3)
        expected = np.einsum("hwk,nck->nhwc", base(height, width), x)
        fields: dict[str, Any] = {"height": height, "width": width}
        if i % 2:
            fields |= {"baseGrid": base(height, width), "batchGrid": base(height, width)[None]}
        net = module("nn.AffineGridGeneratorBHWD", **fields)
        yield f"{height}x{width}", net, *((x, expected) if i % 4 else (x[0], expected[0]))


def matrices(rng: np.random.Generator) -> Rows:
    """Products of 3 x 3 matrices, of which two rows are given (AffineTransformMatrixGenerator.lua)."""
    for i in range(64):
        turns, scales, shifts = (bool(i >> bit & 1) for bit in range(3))
        if not (turns or scales or shifts):
            x = noise(rng, 2, 6)
            yield "whole", module("nn.AffineTransformMatrixGenerator", fullMode=True), x, x.reshape(2, 2, 3)
            continue
        x = noise(rng, 1 + i % 3, turns + 2 * scales + 2 * shifts)
        expected = np.zeros((len(x), 2, 3))
        for row, made in zip(x.astype(np.float64).tolist(), expected, strict=True):
            whole, left = np.eye(3), list(row)
            if turns:
                angle = left.pop(0)
                turn = [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]]
                whole = whole @ turn
            if scales:
                whole = whole @ np.diag([left.pop(0), left.pop(0), 1])
            if shifts:
                whole = whole @ [[1, 0, left.pop(0)], [0, 1, left.pop(0)], [0, 0, 1]]
            made[...] = whole[:2]
        fields = {"useRotation": turns, "useScale": scales, "useTranslation": shifts, "fullMode": False}
        net = module("nn.AffineTransformMatrixGenerator", **fields)
        yield f"{turns:d}{scales:d}{shifts:d}", net, *((x, expected) if i % 5 else (x[0], expected[0]))


def scaled(rng: np.random.Generator) -> Rows:
    for i in range(20):
        x, scale = noise(rng, 1 + i % 3, *pick(rng, 2, 5), 2), int(rng.integers(1, 4))
        grid = base(x.shape[1] * scale, x.shape[2] * scale)[None, ..., :2].repeat(len(x), axis=0)
        # rounding must not push the last row out of the image
        expected = sampled(x, np.clip(grid, -1, 1 - 1e-12), (1, 0))
        net = module("nn.ScaleBHWD", scale=scale)
        yield f"{x.shape}x{scale}", net, *((x, expected) if i % 4 else (x[0], expected[0]))


def transformers(rng: np.random.Generator) -> Rows:
    """A whole spatial transformer: where the grid comes from AffineGridGeneratorBHWD, it is (vertical, horizontal)."""
    for height, width in ((4, 6), (5, 3), (6, 6)):
        image, matrix = noise(rng, 2, 5, 4, 3), noise(rng, 2, 2, 3)
        grid = np.einsum("hwk,nck->nhwc", base(height, width), matrix)
        generator = torch_object("nn.AffineGridGeneratorBHWD", height=height, width=width)
        parallel = torch_object("nn.ParallelTable", modules=[torch_object("nn.Identity"), generator])
        net = sequential(parallel, torch_object("nn.BilinearSamplerBHWD"))
        yield f"{height}x{width}", net, [image, matrix], sampled(image, grid, (1, 0))


ROWS = named(samplers, samplers_on_pixels, grids, matrices, scaled, transformers)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


def test_the_order_of_coordinates_is_said() -> None:
    assert any("(x, y)" in note for note in module("nn.BilinearSamplerBHWD").notes)


def test_a_row_that_is_a_matrix_shares_its_storage() -> None:
    """Without settings the generator only views its input: a layer that writes in place reaches it."""
    view = torch_object("nn.AffineTransformMatrixGenerator", fullMode=True)
    flip = torch_object("nn.MulConstant", constant_scalar=-1, inplace=True)
    flipped = torch_object("nn.Sequential", modules=[view, flip])
    net = module("nn.ConcatTable", modules=[torch_object("nn.Identity"), flipped])
    x = noise(np.random.default_rng(1), 2, 6)
    for run in (reference, through_onnx, through_caffe2):
        check([-x, -x.reshape(2, 2, 3)], run(net, x))


@pytest.mark.parametrize(
    ("typename", "shapes", "why"),
    [
        ("nn.BilinearSamplerBHWD", [(1, 4, 4, 2), (2, 3, 3, 2)], "cannot read an image"),
        ("nn.BilinearSamplerBHWD", [(1, 4, 4, 2)], "takes an image and a grid"),
        ("nn.AffineGridGeneratorBHWD", (2, 3, 3), "2x3, not 3x3"),
        ("nn.AffineTransformMatrixGenerator", (2, 5), "6 numbers, not 5"),
    ],
)
def test_what_does_not_fit_is_refused(typename: str, shapes: Any, why: str) -> None:
    fields = {"height": 3, "width": 3} if "Grid" in typename else {}
    x = [np.zeros(s, np.float32) for s in shapes] if isinstance(shapes, list) else np.zeros(shapes, np.float32)
    for run in (reference, through_onnx):
        with pytest.raises(UnsupportedError, match=why):
            run(module(typename, **fields), x)
