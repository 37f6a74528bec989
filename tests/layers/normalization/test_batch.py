"""Normalization by stored and measured statistics, channels and rows, against loops over single numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import retorch
from building import module, sequential, torch_object
from layers.rows import Row, named, noise, row_tests
from retorch.errors import UnsupportedError, UsageError
from retorch.module import Module
from retorch.torch7 import TorchObject

Rows = Iterator[tuple[str, Module, Any, Any]]
Stored = dict[str, Any]


def by_plane(x: np.ndarray, axis: int, stored: Stored, eps: float) -> np.ndarray:
    """THNN's BatchNormalization.c at evaluation, number by number."""
    y = np.empty(x.shape)
    for index, value in np.ndenumerate(x):
        channel = index[axis]
        inverse = 1 / math.sqrt(float(stored["running_var"][channel]) + eps)
        centered = float(value) - float(stored["running_mean"][channel])
        weight = float(stored["weight"][channel]) if "weight" in stored else 1.0
        bias = float(stored["bias"][channel]) if "bias" in stored else 0.0
        y[index] = centered * inverse * weight + bias
    return y


BATCHES = {
    "nn.BatchNormalization": [(3, 4), (1, 5), (4,), (7, 1)],
    "cudnn.BatchNormalization": [(2, 3)],
    "fbnn.BatchNormalization": [(3, 2)],
    "nn.SpatialBatchNormalization": [(3, 4, 5, 2), (1, 3, 4, 5), (2, 5, 1, 1), (4, 3, 5), (3, 3, 3, 3)],
    "cudnn.SpatialBatchNormalization": [(2, 3, 4, 5)],
    "fbnn.SpatialBatchNormalization": [(1, 2, 3, 4)],
    "nn.VolumetricBatchNormalization": [(2, 3, 2, 4, 5), (1, 4, 1, 2, 3), (3, 2, 4, 5)],
    "cudnn.VolumetricBatchNormalization": [(1, 2, 2, 2, 2)],
}
#: Which of these are samples without a batch.
ALONE = {
    ("nn.BatchNormalization", 1),
    ("nn.SpatialBatchNormalization", 3),
    ("nn.VolumetricBatchNormalization", 4),
}


def batch(rng: np.random.Generator) -> Rows:
    for typename, shapes in BATCHES.items():
        for shape in shapes:
            axis = 0 if (typename, len(shape)) in ALONE else 1
            channels = shape[axis]
            for kind, eps in (("affine", 1e-5), ("plain", 1e-3), ("old", 1e-3), ("old", 0.1), ("eps0", 0.0)):
                stored: Stored = {"running_mean": noise(rng, channels), "running_var": rng.uniform(0.5, 2, channels)}
                if kind != "plain":
                    stored |= {"weight": noise(rng, channels), "bias": noise(rng, channels)}
                fields = dict(stored)
                if kind == "old":
                    # before version 2: the inverse of the deviation, eps included
                    fields["running_std"] = 1 / np.sqrt(fields.pop("running_var") + eps)
                x = noise(rng, *shape)
                # a sample on its own becomes a batch of one, and stays one
                expected = by_plane(x, axis, stored, eps).reshape(x.shape if axis else (1, *shape))
                net = module(typename, eps=eps, momentum=0.1, affine=kind != "plain", **fields)
                yield f"{typename}-{kind}", net, x, expected


def beside(rng: np.random.Generator) -> Rows:
    """BatchNormalization.lua gives its own input the sizes of a batch: all who read it later see them, none before."""
    identity = torch_object("nn.Identity")
    twice = torch_object("nn.MulConstant", constant_scalar=2, inplace=False)
    for shape in ((2, 3, 4), (3, 1, 1)):
        x, mean = noise(rng, *shape), noise(rng, shape[0])
        norm = torch_object(
            "nn.SpatialBatchNormalization", running_mean=mean, running_var=np.ones(shape[0], np.float32), eps=0
        )
        y = (x - mean[:, None, None])[None]

        def chain(*modules: TorchObject) -> TorchObject:
            return torch_object("nn.Sequential", modules=list(modules))

        def table(*modules: TorchObject) -> TorchObject:
            return torch_object("nn.ConcatTable", modules=list(modules))

        yield "later", sequential(table(norm, identity)), x, [y, x[None]]
        yield "earlier", sequential(table(identity, norm)), x, [x[None], y]
        yield "copied-before", sequential(table(twice, norm)), x, [2 * x, y]
        summed = torch_object("nn.CAddTable", inplace=False)
        yield "summed", sequential(table(identity, chain(norm, twice)), summed), x, x + 2 * y
        written = torch_object("nn.MulConstant", constant_scalar=2, inplace=True)
        yield "written", sequential(table(chain(norm, twice), written, identity)), x, [2 * y, 2 * x[None], 2 * x[None]]
        # a copy of what is not contiguous gets the sizes instead
        spread = torch_object("nn.Replicate", nfeatures=shape[0], dim=1)
        same = np.stack([x[0]] * shape[0])
        y = (same - mean[:, None, None])[None]
        yield "in-pieces", sequential(spread, table(norm, identity)), x[0], [y, same]


def of_fbnn(rng: np.random.Generator) -> Rows:
    x, inverse = noise(rng, 2, 3, 2, 2), rng.uniform(0.5, 2, 3)
    empty = np.zeros(0, np.float32)
    expected = (x - 0.5) * inverse[:, None, None]
    fields = {"running_mean": np.full(3, 0.5), "running_std": inverse, "weight": empty, "bias": empty}
    yield "", module("fbnn.SpatialBatchNormalization", affine=False, eps=1e-5, **fields), x, expected


def by_instance(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float) -> np.ndarray:
    channels = x.shape[-3]
    y = np.empty((x.size // math.prod(x.shape[-2:]), math.prod(x.shape[-2:])))
    for i, values in enumerate(x.reshape(y.shape).tolist()):
        mean = math.fsum(values) / len(values)
        variance = math.fsum((v - mean) ** 2 for v in values) / len(values)
        scale = float(weight[i % channels]) / math.sqrt(variance + eps)
        y[i] = [(v - mean) * scale + float(bias[i % channels]) for v in values]
    return y.reshape(x.shape)


def instance(rng: np.random.Generator) -> Rows:
    for shape in ((2, 3, 4, 5), (1, 4, 7, 6), (3, 1, 2, 9), (3, 4, 5), (1, 6, 6)):
        for mean, eps in ((0, 1e-5), (30, 1e-3)):
            x = noise(rng, *shape) + np.float32(mean)
            weight, bias = noise(rng, shape[-3]), noise(rng, shape[-3])
            expected = by_instance(x, weight, bias, eps)
            fields: Stored = {"weight": weight, "bias": bias, "nOutput": shape[-3], "prev_N": 1}
            yield f"affine-{mean}", module("nn.InstanceNormalization", eps=eps, **fields), x, expected
            # an inner module that has measured has moved
            moved = torch_object(
                "nn.SpatialBatchNormalization",
                running_mean=noise(rng, shape[-3]),
                running_var=np.ones(shape[-3], np.float32),
                weight=weight,
                momentum=0.1,
            )
            yield f"moved-{mean}", module("nn.InstanceNormalization", eps=eps, bn=moved, **fields), x, expected
            plain = by_instance(x, np.ones(shape[-3]), np.zeros(shape[-3]), eps)
            yield f"plain-{mean}", module("nn.InstanceNormalization", eps=eps, affine=False), x, plain
        yield "disabled", module("nn.InstanceNormalization", disabled=True, weight=weight, bias=bias), x, x
        # no momentum, so that nothing moves (texture_nets); and not a word of momentum
        told = {"running_mean": np.zeros(shape[-3]), "running_var": np.ones(shape[-3]), "weight": weight}
        quiet = torch_object("nn.SpatialBatchNormalization", momentum=0, **told)
        yield "quiet", module("nn.InstanceNormalization", eps=eps, bn=quiet, **fields), x, expected
        still = torch_object("nn.SpatialBatchNormalization", momentum=0.1, **told)
        stored = by_plane(x, len(shape) - 3, {**told, "bias": bias}, eps)
        yield "still", module("nn.InstanceNormalization", eps=eps, bn=still, **fields), x, stored


def test_the_age_of_nn_decides_whether_instance_norms_measure() -> None:
    rng = np.random.default_rng(7)
    x, weight, bias = noise(rng, 2, 3, 4, 5), noise(rng, 3), noise(rng, 3)
    mean, variance = noise(rng, 6), np.abs(noise(rng, 6)) + np.float32(0.5)
    inner = torch_object("nn.SpatialBatchNormalization", running_mean=mean, running_var=variance, momentum=0.1)
    stored = torch_object("nn.InstanceNormalization", weight=weight, bias=bias, eps=1e-5, bn=inner, prev_N=2)
    measured = by_instance(x, weight, bias, 1e-5)
    by_stored = np.zeros(x.shape)
    for n, c in np.ndindex(2, 3):
        root = math.sqrt(float(variance[3 * n + c]) + 1e-5)
        by_stored[n, c] = (x[n, c] - float(mean[3 * n + c])) / root * float(weight[c]) + float(bias[c])
    for age, expected in (("old", measured), ("new", by_stored), (None, measured)):
        net = retorch.load(stored, nn_age=age)
        Row(f"{age}", net, x, expected).agrees_by_formula()
        Row(f"{age}", net, x, expected).agrees_converted()
        assert [("919eeca" in note, "--nn-age new" in note) for note in net.notes] == [(True, True)] * (age is None)
    # for one image, of which nothing is stored, the inner module is made anew
    fresh = (x[:1].astype(float) / math.sqrt(1 + 1e-5)) * weight.reshape(-1, 1, 1) + bias.reshape(-1, 1, 1)
    Row("one", retorch.load(stored, nn_age="new"), x[:1], fresh).agrees_converted()


def test_an_age_that_is_none() -> None:
    with pytest.raises(UsageError, match="old or new"):
        retorch.load(torch_object("nn.Identity"), nn_age="2017")


def across_planes(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    """SpatialCrossMapLRN.lua for odd sizes; cuDNN's lookBehind and lookAhead for even ones."""
    behind, ahead = (size - 1) // 2, size - 1 - (size - 1) // 2
    y = np.empty(x.shape)
    for index, value in np.ndenumerate(x):
        *front, channel, row, column = index
        total = 0.0
        for other in range(channel - behind, channel + ahead + 1):
            if 0 <= other < x.shape[-3]:
                total += float(x[(*front, other, row, column)]) ** 2
        y[index] = float(value) * (k + alpha / size * total) ** -beta
    return y


def local_response(rng: np.random.Generator) -> Rows:
    for typename in ("nn.SpatialCrossMapLRN", "cudnn.SpatialCrossMapLRN", "inn.SpatialCrossResponseNormalization"):
        for shape in ((2, 7, 3, 2), (1, 4, 2, 3), (6, 3, 4), (1, 2, 2)):
            for size, alpha, beta, k in [(5, 1e-4, 0.75, 1), (3, 1, 0.5, 2), (1, 0.5, 1, 1), (7, 2, 0.75, 0.5)]:
                x = 3 * noise(rng, *shape)
                net = module(typename, size=size, alpha=alpha, beta=beta, k=k)
                yield f"{typename}-{size}", net, x, across_planes(x, size, alpha, beta, k)
    for size, shape in ((2, (2, 5, 3, 2)), (4, (1, 6, 2, 3)), (4, (7, 3, 4)), (6, (2, 3, 1, 1))):
        x = noise(rng, *shape)
        net = module("cudnn.SpatialCrossMapLRN", size=size, alpha=0.5, beta=0.75, K=2)
        yield f"even-{size}", net, x, across_planes(x, size, 0.5, 0.75, 2)


def rows_of(rng: np.random.Generator) -> Rows:
    for p in (1, 2, 3, 2.7, 4, math.inf):
        for shape in ((5,), (1, 4), (3, 6), (4, 1)):
            for eps in (1e-10, 1e-3):
                x = noise(rng, *shape)
                y = []
                for row in x.reshape(-1, shape[-1]).tolist():
                    sizes = [abs(v) for v in row]
                    norm = max(sizes) + eps if p == math.inf else (math.fsum(s**p for s in sizes) + eps) ** (1 / p)
                    y.append([v / norm for v in row])
                yield f"{p}-{shape}", module("nn.Normalize", p=p, eps=eps), x, np.reshape(y, shape)
    for shape in ((3, 5), (1, 4)):
        x = noise(rng, *shape)
        y = [[v / math.sqrt(math.fsum(w * w for w in row)) for v in row] for row in x.tolist()]
        yield "l2", module("nn.L2Normalize", buffer=x, normSquared=x[:, :1]), x, np.array(y)
        whole = math.sqrt(math.fsum(w * w for w in x.ravel().tolist()))
        yield "l2-whole", module("nn.L2Normalize", normSquared=1.5), x, x.astype(np.float64) / whole
    zeros = np.zeros((2, 3), np.float32)
    yield "zeros", module("nn.Normalize", p=2), zeros, zeros


def planes_given(rng: np.random.Generator) -> Rows:
    for shape in ((2, 3, 4, 5), (1, 2, 1, 1), (3, 4, 2)):
        x, mean, deviation = noise(rng, *shape), noise(rng, shape[-3]), rng.uniform(0.5, 2, shape[-3])
        expected = np.empty(shape)
        for index, value in np.ndenumerate(x):
            expected[index] = (float(value) - float(mean[index[-3]])) / float(deviation[index[-3]])
        net = module("nn.SpatialFeatNormalization", mean=mean, std=deviation, noOfFeats=shape[-3])
        yield f"{shape}", net, x, expected


def spelt_out(rng: np.random.Generator) -> Rows:
    x, weight, bias = noise(rng, 3, 6), noise(rng, 6), noise(rng, 6)
    mean = torch_object("nn.Mean", dimension=2, sizeAverage=True, squeeze=True)
    repeated = torch_object("nn.Sequential", modules=[mean, torch_object("nn.Replicate", nfeatures=6, dim=2)])
    modules = [
        torch_object("nn.ConcatTable", modules=[torch_object("nn.Identity"), repeated]),
        torch_object("nn.CSubTable"),
        torch_object("nn.Normalize", p=2, eps=1e-10),
        torch_object("nn.MulConstant", constant_scalar=math.sqrt(6)),
        torch_object("nn.CMul", weight=weight),
        torch_object("nn.Add", bias=bias),
    ]
    expected = by_instance(x.reshape(3, 1, 1, 6), np.ones(1), np.zeros(1), 1e-10 / 6).reshape(3, 6) * weight + bias
    for typename in ("nn.LayerNormalization", "onmt.LayerNormalization"):
        yield typename, module(typename, modules=modules), x, expected


def same_response(rng: np.random.Generator) -> Rows:
    for size, shape in ((3, (2, 3, 5, 4)), (5, (1, 2, 6, 6))):
        x, pad = noise(rng, *shape), size // 2
        pooling = {"kW": size, "kH": size, "dW": 1, "dH": 1, "padW": pad, "padH": pad}
        below = [
            torch_object("nn.Square"),
            torch_object("nn.SpatialAveragePooling", **pooling, ceil_mode=False, count_include_pad=True, divide=True),
            torch_object("nn.MulConstant", constant_scalar=0.5, inplace=True),
            torch_object("nn.AddConstant", constant_scalar=1, inplace=True),
            torch_object("nn.Power", pow=0.75),
        ]
        branches = [torch_object("nn.Identity"), torch_object("nn.Sequential", modules=below)]
        modules = [torch_object("nn.ConcatTable", modules=branches), torch_object("nn.CDivTable")]
        expected = np.empty(shape)
        for n, c, row, column in np.ndindex(*shape):
            square = x[n, c, max(row - pad, 0) : row + pad + 1, max(column - pad, 0) : column + pad + 1]
            mean = math.fsum(float(v) ** 2 for v in square.ravel()) / size**2
            expected[n, c, row, column] = float(x[n, c, row, column]) / (1 + 0.5 * mean) ** 0.75
        fields = {"size": size, "alpha": 0.5, "beta": 0.75}
        yield f"{size}", module("inn.SpatialSameResponseNormalization", modules=modules, **fields), x, expected


ROWS = named(batch, beside, instance, local_response, rows_of, of_fbnn, planes_given, spelt_out, same_response)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


@pytest.mark.parametrize("shape", [(2, 3, 4), (5,), (2, 3), (2, 4, 3, 3)])
def test_batches_of_other_planes_are_refused(shape: tuple[int, ...]) -> None:
    net = module(
        "nn.SpatialBatchNormalization",
        running_mean=np.zeros(3, np.float32),
        running_var=np.ones(3, np.float32),
    )
    with pytest.raises(UnsupportedError, match="takes 4 dimensions and 3 channels"):
        net.forward(np.zeros(shape))


def test_statistics_that_lack_are_named() -> None:
    net = module("nn.BatchNormalization", running_mean=np.zeros(3, np.float32))
    assert "lacks its field 'running_var'" in str(net.problems[0])


def test_rows_have_two_dimensions_at_most() -> None:
    with pytest.raises(UnsupportedError, match="1 or 2 dimensions, not 3"):
        module("nn.Normalize", p=2).forward(np.zeros((2, 3, 4)))


def test_a_mean_that_is_large_against_what_is_left_comes_off_first() -> None:
    """As THNN does: (x - mean) * (1 / sqrt(var + eps)) * weight in float32."""
    rng = np.random.default_rng(7)
    mean, var = (1e4 + rng.standard_normal(4)).astype(np.float32), np.full(4, 2, np.float32)
    net = module(
        "nn.SpatialBatchNormalization",
        running_mean=mean,
        running_var=var,
        weight=np.full(4, 1.3, np.float32),
        bias=np.zeros(4, np.float32),
        eps=1e-5,
    )
    x = (1e4 + rng.standard_normal((2, 4, 5, 5))).astype(np.float32)
    expected = 1.3 * (x.astype(np.float64) - mean.reshape(-1, 1, 1)) / np.sqrt(2 + 1e-5)
    np.testing.assert_allclose(net.forward(x), expected, rtol=1e-6, atol=1e-6)
