"""Losses inside a graph, as nngraph's ModuleFromCriterion and THNN say them, number by number."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from building import module, torch_object
from layers.rows import named, noise, random_shape, row_tests
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def loss(name: str, **fields: Any) -> Module:
    return module("nn.ModuleFromCriterion", criterion=torch_object(f"nn.{name}", **fields))


def smooth(x: float, t: float) -> float:
    z = abs(x - t)
    return z * z / 2 if z < 1 else z - 0.5


def by_elements(rng: np.random.Generator) -> Rows:
    terms = {"MSE": lambda x, t: (x - t) ** 2, "Abs": lambda x, t: abs(x - t), "SmoothL1": smooth}
    for name, term in terms.items():
        for average in (True, False):
            for rank in (1, 2, 4):
                shape = random_shape(rng, rank)
                x, t = noise(rng, *shape), noise(rng, *shape)
                total = sum(term(float(a), float(b)) for a, b in zip(x.ravel(), t.ravel(), strict=True))
                expected = np.array([total / x.size if average else total])
                yield f"{name}-{average}-{rank}", loss(f"{name}Criterion", sizeAverage=average), [x, t], expected


def weighted(rng: np.random.Generator) -> Rows:
    """The target is weighted, and not what it differs by."""
    x, t = noise(rng, 3, 4), noise(rng, 3, 4)
    for label, weight in (("each", noise(rng, 3, 4)), ("rows", noise(rng, 4))):
        pairs = zip(x.ravel(), t.ravel(), np.resize(weight, x.shape).ravel(), strict=True)
        total = sum((float(a) - float(w) * float(b)) ** 2 for a, b, w in pairs)
        yield label, loss("WeightedMSECriterion", weight=weight, sizeAverage=True), [x, t], np.array([total / x.size])


def binary(rng: np.random.Generator) -> Rows:
    for weights in (None, noise(rng, 3)):
        x = (rng.uniform(0.05, 0.95, (2, 3))).astype(np.float32)
        t = rng.integers(0, 2, (2, 3)).astype(np.float32)
        total = 0.0
        for i, j in np.ndindex(2, 3):
            a, b = float(x[i, j]), float(t[i, j])
            term = -(b * math.log(a + 1e-12) + (1 - b) * math.log(1 - a + 1e-12))
            total += term if weights is None else term * float(weights[j])
        fields = {} if weights is None else {"weights": weights}
        yield f"{weights is None}", loss("BCECriterion", sizeAverage=True, **fields), [x, t], np.array([total / 6])


def classes(rng: np.random.Generator) -> Rows:
    for cross in (False, True):
        for weights in (None, np.abs(noise(rng, 4)) + np.float32(0.1)):
            for average in (True, False):
                x, t = noise(rng, 3, 4), np.array([4, 1, 2])
                total, share = 0.0, 0.0
                for row, at in zip(x.astype(float), t, strict=True):
                    log = math.log(sum(math.exp(v) for v in row)) if cross else 0.0
                    w = 1.0 if weights is None else float(weights[at - 1])
                    total, share = total - w * (row[at - 1] - log), share + w
                fields: dict[str, Any] = {"sizeAverage": average} | ({} if weights is None else {"weights": weights})
                inner = {"nll": torch_object("nn.ClassNLLCriterion", **fields)} if cross else fields
                net = loss("CrossEntropyCriterion" if cross else "ClassNLLCriterion", **inner)
                yield f"{cross}-{average}", net, [x, t], np.array([total / share if average else total])
                if weights is None and not cross:
                    one = np.array([-float(x[0, 3])])
                    yield f"one-{average}", net, [x[0], t[:1]], one


def margins(rng: np.random.Generator) -> Rows:
    terms = {
        "DistKLDiv": lambda x, t: t * (math.log(t) - x) if t > 0 else 0.0,
        "SoftMargin": lambda x, t: math.log(1 + math.exp(-x * t)),
        "Margin": lambda x, t: max(0.7 - x * t, 0.0),
        "HingeEmbedding": lambda x, t: {1: x, -1: max(0.7 - x, 0.0)}.get(t, x + max(0.7 - x, 0.0)),
        "MultiLabelSoftMargin": lambda x, t: (
            -t * math.log(1 / (1 + math.exp(-x))) - (1 - t) * math.log(1 / (1 + math.exp(x)))
        ),
    }
    targets = {"DistKLDiv": [0, 0.3, 0.7], "MultiLabelSoftMargin": [0, 1]}
    for name, term in terms.items():
        for average in (True, False):
            x, t = noise(rng, 3, 4), rng.choice(targets.get(name, [-1, 0, 1]), (3, 4)).astype(np.float32)
            total = sum(term(float(a), float(b)) for a, b in zip(x.ravel(), t.ravel(), strict=True))
            fields = {"sizeAverage": average, "margin": 0.7}
            yield (
                f"{name}-{average}",
                loss(f"{name}Criterion", **fields),
                [x, t],
                np.array([total / (12 if average else 1)]),
            )


def several_classes(rng: np.random.Generator) -> Rows:
    for power in (1, 2):
        for weights in (None, np.abs(noise(rng, 4)) + np.float32(0.1)):
            for average in (True, False):
                x, t, total = noise(rng, 3, 4), np.array([4, 1, 2]), 0.0
                for row, at in zip(x.astype(float), t, strict=True):
                    off = sum(max(0.7 - row[at - 1] + v, 0.0) ** power for i, v in enumerate(row, 1) if i != at)
                    total += off / 4 * (1.0 if weights is None else float(weights[at - 1]))
                fields: dict[str, Any] = {"sizeAverage": average, "margin": 0.7, "p": power}
                net = loss("MultiMarginCriterion", **fields | ({} if weights is None else {"weights": weights}))
                yield f"{power}-{average}", net, [x, t], np.array([total / (3 if average else 1)])


ROWS = named(weighted, by_elements, binary, classes, margins, several_classes)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


def test_a_loss_that_is_not_known_is_refused_by_name() -> None:
    net = loss("CosineEmbeddingCriterion")
    assert ["nn.CosineEmbeddingCriterion" in problem.reason for problem in net.problems] == [True]
