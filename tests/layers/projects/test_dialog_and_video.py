"""Modules of visdial, video prediction, textSimilarityConvNet and others, element by element as their Lua."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import retorch
from building import module, sequential, torch_object
from layers.rows import named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def exponentials(row: list[float]) -> list[float]:
    sizes = [math.exp(v - max(row)) for v in row]
    return [v / sum(sizes) for v in sizes]


def masks(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 3, 3)
    upper = np.triu(np.ones((1, 3, 3)), 1)
    kept = [[[float(row[j]) if j <= i else 0.0 for j in range(3)] for i, row in enumerate(table)] for table in x]
    for kind in ("u1", "f8"):
        yield f"future-{kind}", module("nn.MaskFuture", mask=upper.astype(kind)), x, np.array(kept)
    scores, hidden = noise(rng, 2, 4), np.array([[0, 1, 0, 0], [1, 0, 0, 1]])
    left = [[float(v) for v, gone in zip(*rows, strict=True) if not gone] for rows in zip(scores, hidden, strict=True)]
    expected = np.zeros((2, 4))
    expected[hidden == 0] = [v for row in left for v in exponentials(row)]
    yield "softmax", module("nn.MaskSoftMax"), [scores, hidden.astype(np.float32)], expected
    words, features = np.array([[0, 5], [3, 2], [1, 0]], np.float32), noise(rng, 2, 4)
    repeated = np.array([[features[n] * float(words[t, n] != 0) for n in range(2)] for t in range(3)])
    yield "time", module("nn.MaskTime", featSize=4), [words, features], repeated
    sparse = np.array([[0, 1.5], [-2, 0]], np.float32)
    yield "zero", module("nn.ReplaceZero", constant=-7), sparse, np.array([[-7, 1.5], [-2, -7]])


def scores_are_written(rng: np.random.Generator) -> Rows:
    """What else reads the scores, after the softmax, sees -9999999 where they were masked."""
    scores, hidden = noise(rng, 2, 3), np.array([[0, 1, 0], [0, 0, 1]], np.float32)
    both = torch_object(
        "nn.ConcatTable", modules=[torch_object("nn.MaskSoftMax"), torch_object("nn.SelectTable", index=1)]
    )
    left = [exponentials([float(scores[0, 0]), float(scores[0, 2])]), exponentials([float(v) for v in scores[1, :2]])]
    expected = np.array([[left[0][0], 0, left[0][1]], [*left[1], 0]])
    seen = scores.copy()
    seen[hidden != 0] = -9999999
    yield "both", sequential(both), [scores, hidden], [expected, seen]


def steps(rng: np.random.Generator) -> Rows:
    weight, bias = noise(rng, 4, 3), noise(rng, 4)
    x = noise(rng, 2, 5, 3)
    inside = [torch_object("nn.Linear", weight=weight, bias=bias), torch_object("nn.Tanh")]
    expected = np.array([[np.tanh(weight.astype(float) @ step + bias) for step in one] for one in x])
    yield "linear", module("nn.TemporalModule", modules=inside), x, expected
    for dim in (1, 2, 3):
        y = np.stack(list(np.moveaxis(x, dim - 1, 0))[::-1], dim - 1)
        yield f"reverse-{dim}", module("nn.Reverse", dim=dim, reverseIdx=np.arange(3)), x, y


def frames(rng: np.random.Generator) -> Rows:
    x, sizes = noise(rng, 2, 3, 2, 2), noise(rng, 5, 2)
    y = np.zeros((2, 3, 5, 5))
    for n, c, i, j in np.ndindex(*y.shape):
        y[n, c, i, j] = sum(float(sizes[i, a] * sizes[j, b] * x[n, c, a, b]) for a in range(2) for b in range(2))
    yield "enlarged", module("nn.SpatialUpSample", M=sizes, h=2, H=5), x, y
    column = noise(rng, 2, 1, 3)
    yield "expanded", module("nn.ExpandDim", d=2, k=4), column, np.array([[row[0]] * 4 for row in column])
    crops = noise(rng, 3, 2, 3) + 3
    inverted = np.array([[[1 / m[0, 0], 0, -m[0, 2] / m[0, 0]], [0, 1 / m[1, 1], -m[1, 2] / m[1, 1]]] for m in crops])
    yield "inverted", module("nn.CropInvert"), crops, inverted
    features = noise(rng, 2, 3, 4)
    yield "features", module("nn.FeatExpanderConv", n=3), features, np.array([f for f in features for _ in range(3)])
    yield "one", module("nn.FeatExpanderConv", n=1), features, features


def texts(rng: np.random.Generator) -> Rows:
    a, b = noise(rng, 4, 1), noise(rng, 4, 1)
    u, v = [float(t) for t in a.ravel()], [float(t) for t in b.ravel()]
    dot = sum(p * q for p, q in zip(u, v, strict=True))
    expected = dot / math.sqrt(sum(p * p for p in u)) / math.sqrt(sum(q * q for q in v))
    yield "cosine", module("nn.CsDis"), [a, b], np.array([expected])
    yield "padded", module("nn.PaddingReshape", size=np.array([2, 2]), nelement=4), a, a.reshape(1, 4, 1)
    left, square = noise(rng, 4, 3), noise(rng, 3, 3)
    yield "matrix", module("nn.MetrixMultiply", weight=square, dim=3), left, left.astype(float) @ square


def passed_on(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 3, 4, 4)
    fields: dict[str, dict[str, Any]] = {
        "TVLoss2": {"strength": 0.1, "x_diff": noise(rng, 2)},
        "TVLossModule": {"strength": 0.1, "loss": 0},
        "ContentLossModule": {"strength": 1, "nC": 3, "normalize": False, "loss": 0},
        "StyleINLossModule": {"strength": 1, "mean_loss": 0, "std_loss": 0},
        "StyleGramMatrixLossModule": {"strength": 1, "loss": 0},
        "StylePatchLossModule": {"strength": 1, "target_patches": noise(rng, 2)},
        "TextureLoss": {"strength": 1, "active": True, "match_to": noise(rng, 2)},
        "DeepDreamLoss": {"strength": 1, "max_grad": 100, "clipped": noise(rng, 1)},
    }
    for name, given in fields.items():
        yield name, module(f"nn.{name}", **given), x, x


def drawn(rng: np.random.Generator) -> Rows:
    x, given = noise(rng, 2, 3), noise(rng, 2, 3)
    yield "normal", module("nn.Gaussian", mean=0, stdv=1), [x, given], given
    yield "uniform", module("nn.Uniform", a=0, b=1), [x, given], given
    yield "dropped", module("nn.DropoutEx", p=0.5, noise=noise(rng, 1)), [x, given], x.astype(float) * given
    yield "zeros", module("nn.DropoutEx", p=0), x, np.zeros((2, 3))


def averages(rng: np.random.Generator) -> Rows:
    """kaggle-cifar10-torch7's average is a SpatialSubSampling by another name."""
    x, weight, bias = noise(rng, 1, 2, 4, 4), np.full(2, 0.25, np.float32), np.zeros(2, np.float32)
    net = module("nn.MySpatialAveragePooling", weight=weight, bias=bias, nInputPlane=2, kW=2, kH=2, dW=2, dH=2)
    yield "2x2", net, x, x.astype(float).reshape(1, 2, 2, 2, 2, 2).mean((3, 5))


ROWS = named(masks, scores_are_written, steps, frames, texts, passed_on, drawn, averages)
test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


@pytest.mark.parametrize(
    ("net", "x"),
    [
        (module("nn.MaskFuture", mask=np.ones((1, 3, 3))), np.ones((2, 4, 4), np.float32)),
        (module("nn.SpatialUpSample", M=np.ones((4, 2)), h=2, H=4), np.ones((1, 3, 3, 3), np.float32)),
        (module("nn.ExpandDim", d=2, k=4), np.ones((2, 2, 3), np.float32)),
        (module("nn.CropInvert"), np.ones((2, 3, 3), np.float32)),
    ],
)
def test_other_sizes_are_refused(net: Module, x: np.ndarray) -> None:
    with pytest.raises(UnsupportedError):
        retorch.convert(net, x)
