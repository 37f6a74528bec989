"""Pooling into a given number of bins, and with windows drawn at random, against loops over windows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

import retorch
from building import module, torch_object
from golden_cases import check
from layers.loops import pick
from layers.rows import Row, every, named, noise, row_tests
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def adaptive(rng: np.random.Generator) -> Rows:
    """Bins from ⌊i n / out⌋ to ⌈(i + 1) n / out⌉: even, uneven, overlapping, more bins than pixels."""
    for i in range(40):
        sizes, out = pick(rng, 1, 9), pick(rng, 1, 5)
        x = noise(rng, 2, 3, *sizes)
        largest_of, expected = i % 2 == 0, np.zeros((2, 3, *out))
        for at in np.ndindex(*out):
            ends = [(j * n // o, math.ceil((j + 1) * n / o)) for j, n, o in zip(at, sizes, out, strict=True)]
            (top, bottom), (left, right) = ends
            seen = x[:, :, top:bottom, left:right].astype(np.float64)
            expected[(..., *at)] = seen.max(axis=(2, 3)) if largest_of else seen.mean(axis=(2, 3))
        net = module(f"nn.SpatialAdaptive{'Max' if largest_of else 'Average'}Pooling", H=out[0], W=out[1])
        yield f"{sizes}to{out}", net, *((x, expected) if i % 5 else (x[0], expected[0]))


def adaptive_in_floats(rng: np.random.Generator) -> Rows:
    """SpatialAdaptiveMaxPooling.c has ``(float)(i + 1) / oheight * iheight``: bins that ought to end on a whole number
    may reach one further, or begin one earlier (22 and 23)."""
    for i, (size, out, reach) in enumerate([(21, 7, 4), (13, 13, 2), (25, 5, 6), (22, 22, 2), (26, 13, 3), (20, 5, 4)]):
        x = noise(rng, 2, 2, size, 6)
        one = np.float32(1)
        edges = [one * np.float32(j) / np.float32(out) * np.float32(size) for j in range(out + 1)]
        ends = [(math.floor(float(a)), math.ceil(float(b))) for a, b in pairwise(edges)]
        assert max(b - a for a, b in ends) == reach
        rows = [x[:, :, a:b].astype(np.float64) for a, b in ends]
        for largest_of in (True, False):
            seen = [row.max(axis=2) if largest_of else row.mean(axis=2) for row in rows]
            columns = np.stack(seen, axis=2).reshape(2, 2, out, 3, 2)
            expected = columns.max(axis=-1) if largest_of else columns.mean(axis=-1)
            net = module(f"nn.SpatialAdaptive{'Max' if largest_of else 'Average'}Pooling", H=out, W=3)
            yield f"{size}to{out}", net, *((x, expected) if i % 3 else (x[0], expected[0]))


def pyramids(rng: np.random.Generator) -> Rows:
    for i in range(6):
        x = noise(rng, 2, 3, *pick(rng, 3, 7))
        parts, modules = [], []
        for out in (pick(rng, 1, 3), pick(rng, 1, 3)):
            for c in range(3):
                for at in np.ndindex(*out):
                    sizes = zip(at, x.shape[2:], out, strict=True)
                    cut = [slice(j * n // o, math.ceil((j + 1) * n / o)) for j, n, o in sizes]
                    parts.append(x[:, c, *cut].max(axis=(1, 2)))
            pool = torch_object("nn.SpatialAdaptiveMaxPooling", H=out[0], W=out[1])
            view = torch_object("nn.View", size=(-1,), numElements=-1, numInputDims=3)
            modules.append(torch_object("nn.Sequential", modules=[pool, view]))
        expected = np.stack(parts, axis=1)
        net = module("inn.SpatialPyramidPooling", modules=modules, dimension=1)
        yield f"{x.shape}", net, *((x, expected) if i % 2 else (x[0], expected[0]))


def fractional(rng: np.random.Generator) -> Rows:
    """Windows from drawn samples, computed in the samples' own precision (SpatialFractionalMaxPooling.c)."""
    for i in range(10):
        rank = 3 if i % 5 == 4 else 2
        sizes, pool = pick(rng, 6, 9, rank), pick(rng, 2, 3, rank)
        out = [int(rng.integers(2, n - p)) for n, p in zip(sizes, pool, strict=True)]
        x = noise(rng, 2, 2, *sizes)
        samples = rng.random((2, 2, rank)).astype(np.float32 if i % 2 else np.float64)
        expected = np.zeros((2, 2, *out))
        for n in range(2):
            for c in range(2):
                begins = []
                for axis in range(rank):
                    # samples come innermost axis first: W, H and T, W, H for images (H, W) and volumes (H, W, T)
                    s = samples[n, c, rank - 1 - axis]
                    alpha = s.dtype.type(sizes[axis] - pool[axis]) / s.dtype.type(out[axis] - 1)
                    row = [int((s.dtype.type(j) + s) * alpha) - int(s * alpha) for j in range(out[axis] - 1)]
                    begins.append([*row, sizes[axis] - pool[axis]])
                for at in np.ndindex(*out):
                    cut = [slice(b[j], b[j] + p) for j, b, p in zip(at, begins, pool, strict=True)]
                    expected[(n, c, *at)] = x[(n, c, *cut)].max()
        letters = "HWT"[:rank]
        fields = {f"poolSize{a}": p for a, p in zip(letters, pool, strict=True)}
        if i % 3:
            fields |= {f"out{a}": o for a, o in zip(letters, out, strict=True)}
        else:
            fields |= {f"ratio{a}": (o + 0.5) / n for a, o, n in zip(letters, out, sizes, strict=True)}
        kind = "nn.SpatialFractionalMaxPooling" if rank == 2 else "nn.VolumetricFractionalMaxPooling"
        yield f"{sizes}to{out}", module(kind, randomSamples=samples, newRandomPool=True, **fields), x, expected


ROWS = named(adaptive, adaptive_in_floats, pyramids, fractional)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


@every([row for row in ROWS if row.x.ndim == 4 and not row.name.startswith("fractional")][::2])
def test_a_network_made_for_one_takes_any_batch(row: Row) -> None:
    network = retorch.convert(row.net, row.x[:1], fold=False)
    check(row.flat, network.run(row.x), 1e-5)


def test_windows_drawn_at_random_are_said_to_be() -> None:
    fields = {"poolSizeW": 2, "poolSizeH": 2, "outW": 2, "outH": 2}
    drawn = module("nn.SpatialFractionalMaxPooling", randomSamples=np.zeros((1, 1, 2)), newRandomPool=False, **fields)
    assert "at random" in drawn.notes[0]
    assert "holds no draw" in module("nn.SpatialFractionalMaxPooling", **fields).problems[0].reason


def test_maxima_pass_nan_over_as_thnn_does() -> None:
    """``val > maxval`` in SpatialAdaptiveMaxPooling.c, from -FLT_MAX on: NaN is never the larger one."""
    x = np.array([[[1, math.nan, math.nan], [3, 2, math.nan]]], np.float32)
    pool = torch_object("nn.SpatialAdaptiveMaxPooling", H=1, W=3)
    lowest = np.finfo(np.float32).min
    np.testing.assert_array_equal(module("nn.Sequential", modules=[pool]).forward(x), [[[3, 2, lowest]]])
