"""Affine maps, look-ups, products and distances, against loops over their sums."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import retorch
from building import module, torch_object
from layers.rows import Row, named, noise, row_tests, times
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def sizes(rng: np.random.Generator) -> tuple[int, int, int]:
    n, i, o = (int(v) for v in rng.integers(1, 6, 3))
    return n, i, o


def per_row(function: Any, x: np.ndarray) -> np.ndarray:
    """A function of vectors on a vector, or on the rows of a matrix, in float64."""
    wide = x.astype(np.float64)
    return np.array(function(wide) if x.ndim == 1 else [function(row) for row in wide], np.float64)


def inputs(rng: np.random.Generator, n: int, i: int) -> list[np.ndarray]:
    return [noise(rng, n, i), noise(rng, i)]


def affine(weight: np.ndarray, bias: np.ndarray | None) -> Any:
    def one(row: np.ndarray) -> list[float]:
        return [
            math.fsum(float(w) * v for w, v in zip(line, row, strict=True)) + (0 if bias is None else float(bias[k]))
            for k, line in enumerate(weight)
        ]

    return one


def linears(rng: np.random.Generator) -> Rows:
    for typename in times(4, "nn.Linear", "nn.LinearNoBias"):
        n, i, o = sizes(rng)
        weight, bias = noise(rng, o, i), noise(rng, o)
        for x in inputs(rng, n, i):
            plain = typename == "nn.LinearNoBias"
            net = module(typename, weight=weight, **({} if plain else {"bias": bias}))
            yield typename, net, x, per_row(affine(weight, None if plain else bias), x)


def weight_norms(rng: np.random.Generator) -> Rows:
    for _ in range(4):
        n, i, o = sizes(rng)
        v, g, bias = noise(rng, o, i), noise(rng, o, 1), noise(rng, o)
        unit = np.array(
            [
                [float(g[k, 0]) * x / math.sqrt(sum(y * y for y in row)) for x in row]
                for k, row in enumerate(v.astype(float))
            ]
        )
        for x in inputs(rng, n, i):
            yield "", module("nn.LinearWeightNorm", v=v, g=g, bias=bias), x, per_row(affine(unit, bias), x)
            shared = module("nn.LinearWeightNorm", shared_v=v, shared_g=g)
            yield "shared", shared, x, per_row(affine(unit, None), x)


def wrapped_weight_norms(rng: np.random.Generator) -> Rows:
    for outer in times(3, 1, 2):
        n, i, o = sizes(rng)
        shape = (o, i) if outer == 1 else (i, o)
        v, g = noise(rng, *shape), noise(rng, shape[0], 1)
        rows = [
            [float(g[k, 0]) * x / math.sqrt(sum(y * y for y in row) + 1e-4) for x in row]
            for k, row in enumerate(v.astype(float))
        ]
        weight = np.array(rows) if outer == 1 else np.array(rows).T
        inside = torch_object("nn.Linear", bias=noise(rng, o))
        fields = {"v": v, "g": g, "outputDim": outer, "viewOut": shape}
        net = module("nn.WeightNorm", modules=[inside], **fields)
        for x in inputs(rng, n, i):
            yield f"{outer}", net, x, per_row(affine(weight, inside["bias"]), x)


def partials(rng: np.random.Generator) -> Rows:
    for _ in range(4):
        n, i, o = sizes(rng)
        weight, bias = noise(rng, o, i), noise(rng, 1, o)
        for partition in (np.arange(1, o + 1), rng.permutation(o)[: o // 2 + 1] + 1):
            table = torch_object("nn.LookupTable", weight=weight)
            both = torch_object("nn.ParallelTable", modules=[torch_object("nn.Identity"), table])
            network = torch_object("nn.Sequential", modules=[both, torch_object("nn.MM", transB=True)])
            net = module("nn.PartialLinear", network=network, partition=partition.astype(np.float64), bias=bias)
            x = noise(rng, n, i)
            some = partition - 1
            yield "", net, x, per_row(affine(weight[some], bias[0, some]), x)


def bilinears(rng: np.random.Generator) -> Rows:
    for with_bias in times(5, True, False):
        n, i, o = sizes(rng)
        j = int(rng.integers(1, 5))
        weight, bias = noise(rng, o, i, j), noise(rng, o)
        a, b = noise(rng, n, i), noise(rng, n, j)
        expected = np.zeros((n, o))
        for row, k in np.ndindex(n, o):
            pairs = [float(a[row, p]) * float(weight[k, p, q]) * float(b[row, q]) for p, q in np.ndindex(i, j)]
            expected[row, k] = math.fsum(pairs) + (float(bias[k]) if with_bias else 0)
        fields = {"bias": bias} if with_bias else {}
        yield "", module("nn.Bilinear", weight=weight, **fields), [a, b], expected


def euclideans(rng: np.random.Generator) -> Rows:
    for _ in range(5):
        n, i, o = sizes(rng)
        weight, scale = noise(rng, i, o), noise(rng, i, o)

        def plain(row: np.ndarray, weight: np.ndarray = weight) -> list[float]:
            return [math.dist(row, column) for column in weight.T]

        def scaled(row: np.ndarray, weight: np.ndarray = weight, scale: np.ndarray = scale) -> list[float]:
            return [math.hypot(*(c * (row - w))) for w, c in zip(weight.T, scale.T, strict=True)]

        for x in inputs(rng, n, i):
            yield "", module("nn.Euclidean", weight=weight), x, per_row(plain, x)
            yield "weighted", module("nn.WeightedEuclidean", weight=weight, diagCov=scale), x, per_row(scaled, x)


def cosines(rng: np.random.Generator) -> Rows:
    for _ in range(5):
        n, i, o = sizes(rng)
        weight = noise(rng, o, i)

        def one(row: np.ndarray, weight: np.ndarray = weight) -> list[float]:
            return [
                float(row @ w) / (math.hypot(*w) + 1e-12) / (math.hypot(*row) + 1e-12) for w in weight.astype(float)
            ]

        for x in inputs(rng, n, i):
            yield "", module("nn.Cosine", weight=weight), x, per_row(one, x)
    zero = np.zeros((2, 3), np.float32)
    yield "zero", module("nn.Cosine", weight=zero), noise(rng, 1, 3), np.zeros((1, 2))


def matrix_products(rng: np.random.Generator) -> Rows:
    for code in times(4, 0, 1, 2, 3):
        n, m, k, p = (int(v) for v in rng.integers(1, 5, 4))
        trans_a, trans_b = bool(code & 1), bool(code & 2)
        a, b = noise(rng, n, m, k), noise(rng, n, k, p)
        expected = np.zeros((n, m, p))
        for row, i, j in np.ndindex(n, m, p):
            expected[row, i, j] = math.fsum(float(a[row, i, q]) * float(b[row, q, j]) for q in range(k))
        x = [a.swapaxes(1, 2).copy() if trans_a else a, b.swapaxes(1, 2).copy() if trans_b else b]
        net = module("nn.MM", transA=trans_a, transB=trans_b)
        yield "batch", net, x, expected
        yield "", net, [t[0] for t in x], expected[0]


def matrix_vectors(rng: np.random.Generator) -> Rows:
    for trans in times(4, True, False):
        n, m, k = (int(v) for v in rng.integers(1, 5, 3))
        a, v = noise(rng, n, m, k), noise(rng, n, k)
        expected = np.array(
            [
                [math.fsum(float(p) * float(q) for p, q in zip(row, u, strict=True)) for row in t]
                for t, u in zip(a, v, strict=True)
            ]
        )
        given = a.swapaxes(1, 2).copy() if trans else a
        yield "batch", module("nn.MV", trans=trans), [given, v], expected
        yield "", module("nn.MV", trans=trans), [given[0], v[0]], expected[0]


def pairs(rng: np.random.Generator) -> Rows:
    """Numbers for pairs of rows; one row gives one number in a vector."""
    formulas: dict[str, Any] = {
        "nn.DotProduct": lambda a, b: math.fsum(p * q for p, q in zip(a, b, strict=True)),
        "nn.CosineDistance": lambda a, b: (a @ b) / math.sqrt((a @ a + 1e-12) * (b @ b + 1e-12)),
    }
    for p in (1, 2, 3, 2.5):
        formulas[f"nn.PairwiseDistance/{p}"] = lambda a, b, p=p: math.fsum(abs(v) ** p for v in a - b) ** (1 / p)
    for name, formula in formulas.items():
        typename, _, p = name.partition("/")
        net = module(typename, **({"norm": float(p)} if p else {}))
        for _ in range(4):
            n, d = (int(v) for v in rng.integers(1, 6, 2))
            a, b = noise(rng, n, d), noise(rng, n, d)
            rows = list(zip(a.astype(float), b.astype(float), strict=True))
            yield name, net, [a, b], np.array([formula(*row) for row in rows])
            yield name, net, [a[0], b[0]], np.array([formula(*rows[0])])


def lookups(rng: np.random.Generator) -> Rows:
    for shape in times(4, (5,), (3, 4), (1, 2)):
        weight = noise(rng, 7, 3)
        at = rng.integers(1, 8, shape)
        rows = np.array([weight[i - 1] for i in at.ravel()]).reshape(*shape, 3)
        masked = np.array([weight[i - 1] if i > 1 else weight[0] * 0 for i in at.ravel()]).reshape(*shape, 3)
        for x in (at.astype(np.float32), at.astype(np.int64)):
            yield f"{x.dtype}", module("nn.LookupTable", weight=weight), x, rows
            yield f"{x.dtype}", module("nn.LookupTableMaskZero", weight=weight), x - x.dtype.type(1), masked
            yield (
                f"{x.dtype}",
                module("nn.OneHot", outputSize=7),
                x,
                np.array([[i == k + 1 for k in range(7)] for i in at.ravel()], np.float32).reshape(*shape, 7),
            )
            yield (
                f"{x.dtype}",
                module("OneHot", outputSize=7, _eye=np.eye(7)),
                x,
                np.array([[i == k + 1 for k in range(7)] for i in at.ravel()], np.float32).reshape(*shape, 7),
            )


def limited_lookups(rng: np.random.Generator) -> Rows:
    for p in (1.0, 2.0, 3.0):
        weight = noise(rng, 6, 4) * 2
        x = np.arange(1, 7).astype(np.int64)
        expected = weight.astype(float)
        for row in expected:
            norm = sum(abs(v) ** p for v in row) ** (1 / p)
            if norm > 3:
                row *= 3 / (norm + 1e-7)
        yield f"{p}", module("nn.LookupTable", weight=weight, maxNorm=3, normType=p), x, expected


def sparse(rng: np.random.Generator) -> Rows:
    for _ in range(6):
        n, i, o = sizes(rng)
        nonzero = int(rng.integers(1, 5))
        weight, bias = noise(rng, o, i), noise(rng, o)
        keys, values = rng.integers(1, i + 1, (n, nonzero)), noise(rng, n, nonzero)
        values[:, 1:2] = 0
        expected = np.zeros((n, o))
        for row, k in np.ndindex(n, o):
            terms = [float(values[row, e]) * float(weight[k, keys[row, e] - 1]) for e in range(nonzero)]
            expected[row, k] = float(bias[k]) + math.fsum(terms)
        x = np.stack([keys.astype(np.float32), values], 2)
        x[:, 1:2] = 0  # padding
        net = module("nn.SparseLinear", weight=weight, bias=bias)
        yield "batch", net, x, expected
        yield "one", net, x[0], expected[0]
        yield "table", net, list(x), expected
        indexed = module("nn.IndexLinear", weight=weight.T.copy(), bias=bias)
        yield "index", indexed, [keys[0].astype(np.int64), values[0]], expected[0]
        yield "indexes", indexed, [list(keys.astype(np.int64)), list(values)], expected


def normalized_index_linears(rng: np.random.Generator) -> Rows:
    for _ in range(5):
        _, i, o = sizes(rng)
        weight, bias = np.abs(noise(rng, i, o + 4)) + 0.1, noise(rng, o)
        weight[:, 1] = 1 / weight[:, 0]
        keys, values = rng.integers(11, i + 11, 4), noise(rng, 4) * 2
        expected = bias.astype(float)
        for key, value in zip(keys, values.astype(float), strict=True):
            row = weight[key - 11].astype(float)
            scaled = math.copysign(1, value) if abs(value) > row[0] else value * row[1]
            expected = expected + (scaled + row[3]) * row[4:]
        yield (
            "",
            module("nn.IndexLinear", weight=weight, bias=bias, offset=-11, normalize=4),
            [keys.astype(np.int64), values],
            expected,
        )


ROWS = named(
    *(linears, weight_norms, wrapped_weight_norms, partials, bilinears, euclideans, cosines, matrix_products),
    *(matrix_vectors, pairs, lookups, limited_lookups, sparse, normalized_index_linears),
)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


@pytest.mark.parametrize(
    ("net", "x"),
    [
        (module("nn.Linear", weight=np.ones((2, 3))), np.zeros((2, 2, 3))),
        (module("nn.Cosine", weight=np.ones((2, 3))), np.zeros((2, 2, 3))),
        (module("nn.MM"), [np.zeros((2, 3)), np.zeros((1, 3, 2))]),
        (module("nn.MM"), [np.zeros((2, 2, 2, 3)), np.zeros((2, 2, 3, 2))]),
        (module("nn.MV"), [np.zeros((2, 3)), np.zeros((2, 3))]),
        (module("nn.DotProduct"), [np.zeros((2, 3, 1)), np.zeros((2, 3, 1))]),
        (module("nn.IndexLinear", weight=np.ones((3, 2)), bias=np.ones(2)), [np.ones(2), np.ones(2), np.ones(1)]),
    ],
)
def test_what_torch_refuses_is_refused(net: Module, x: Any) -> None:
    with pytest.raises(UnsupportedError):
        net.forward(x)
    with pytest.raises(UnsupportedError):
        Row("", net, x, None).agrees_converted()


@pytest.mark.parametrize("x", [np.array([0.0, 1.0]), np.array([3.0])])
def test_looking_up_what_is_not_there_is_refused(x: np.ndarray) -> None:
    for net in (module("nn.LookupTable", weight=np.ones((2, 3))), module("nn.OneHot", outputSize=2)):
        with pytest.raises(UnsupportedError):
            net.forward(x)


def test_weight_norm_without_a_module_is_refused() -> None:
    net = module("nn.WeightNorm", modules=[], v=np.ones((2, 2)), g=np.ones(2), viewOut=(2, 2))
    assert "no module" in str(net.problems[0])


def test_tied_weights_are_one_blob() -> None:
    storage = np.arange(12, dtype=np.float32).reshape(4, 3)
    storage.flags.writeable = False
    tied = storage[:]
    inside = [torch_object("nn.LookupTable", weight=tied), torch_object("nn.Linear", weight=tied.view())]
    net = module("nn.Sequential", modules=inside)
    x = np.array([1, 4], np.int64)
    expected = np.array(
        [
            [math.fsum(float(p) * float(q) for p, q in zip(storage[i], row, strict=True)) for row in storage]
            for i in (0, 3)
        ]
    )
    row = Row("", net, x, expected)
    row.agrees_by_formula()
    row.agrees_converted()
    weights = retorch.convert(net, x, fold=False).model.graph.initializers.values()
    assert [w.name for w in weights if tuple(w.shape or ()) == (4, 3)] == ["lookup1_w"]
