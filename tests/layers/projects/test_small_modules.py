"""Classes of a few lines that projects brought along; several share a name, and their fields tell them apart."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import retorch
from building import module, sequential, torch_object
from layers.rows import named, noise, random_shape, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def embedded(rng: np.random.Generator) -> Rows:
    weight = noise(rng, 5, 3)
    x = np.array([2, 5, 1, 2], np.float32)
    y = np.array([weight[1], weight[4], weight[0], weight[1]])
    yield "learning_to_execute", module("Embedding", weight=weight, outputSize=3), x, y
    yield "not updated", module("Embedding", weight=weight, outputSize=3, unUpdateVocab=[]), x, y


def given_more_dimensions(rng: np.random.Generator) -> Rows:
    for rank, pos, wanted in ((2, 1, 3), (2, 3, 3), (1, 2, 2), (3, 1, 3), (2, 2, 4)):
        x = noise(rng, *random_shape(rng, rank))
        y = x if rank >= wanted else x.reshape([*x.shape[: pos - 1], 1, *x.shape[pos - 1 :]])
        yield f"{rank}-{pos}", module("nn.MinDim", pos=pos, numInputDims=wanted), x, y
    x = noise(rng, 2, 3)
    scale = torch_object("nn.MulConstant", constant_scalar=2)
    both = torch_object("nn.ConcatTable", modules=[torch_object("nn.Identity"), min_dim()])
    # the input itself gets the dimension, for all who hold it
    yield "its input", sequential(scale, both), x, [2 * x[None], 2 * x[None]]


def min_dim() -> Any:
    return torch_object("nn.MinDim", pos=1, numInputDims=3)


def left_of_training(rng: np.random.Generator) -> Rows:
    x = noise(rng, 3, 4)
    yield "StochasticDrop", module("nn.StochasticDrop", deathRate=0.25, gate=False, train=True), x, 0.75 * x
    yield "fbnn.Dropout", module("fbnn.Dropout", p=0.25, noise=np.zeros(0)), x, 0.75 * x
    yield "NestedDropout", module("fbnn.NestedDropout", p=0.25, logp=-1.4, log1p=-0.3), x, x
    yield "IndividualDropout", module("fbnn.IndividualDropout", p=np.full(4, 0.5, np.float32)), x, x
    yield "gradient", module("fbnn.ProjectiveGradientNormalization", eps=1e-5), x, x
    yield "printed", module("w2nn.PrintTable", id="seen"), [x, 2 * x], [x, 2 * x]


def rows_added(rng: np.random.Generator) -> Rows:
    x, v = noise(rng, 3, 4), noise(rng, 4)
    y = np.array([[x[i, j] + v[j] for j in range(4)] for i in range(3)])
    for name in ("treelstm.CRowAddTable", "classifier.CRowAddTable"):
        yield name, module(name), [x, v], y
    yield "later", module("treelstm.CRowAddTable", outputTensors=[]), [x, v], y
    x, v = noise(rng, 2, 3, 4), noise(rng, 2, 4)
    y = np.array([[[x[n, i, j] + v[n, j] for j in range(4)] for i in range(3)] for n in range(2)])
    yield "a row each", module("treelstm.CRowAddTable", outputTensors=[]), [x, v], y
    x, v = noise(rng, 2, 3, 4), noise(rng, 12)
    y = np.array([[[x[n, i, j] + v[4 * i + j] for j in range(4)] for i in range(3)] for n in range(2)])
    yield "a table", module("treelstm.CRowAddTable"), [x, v], y


def diagonals(rng: np.random.Generator) -> Rows:
    weight = noise(rng, 4)
    for sizes in ((4,), (3,), (4, 2), (3, 2, 2)):
        x = noise(rng, *sizes)
        y = np.array([x[i] * float(weight[i]) for i in range(sizes[0])])
        yield "rows", module("nn.Diag", weight=weight), x, y
    weight = noise(rng, 2, 3)
    for sizes in ((2, 3), (4, 2, 3)):
        x = noise(rng, *sizes)
        y = np.array([weight[at[-2:]] * x[at] for at in np.ndindex(*sizes)]).reshape(sizes)
        yield "product", module("nn.Diag", weight=weight), x, y
    x = noise(rng, 2, 3, 3)
    y = np.array([[x[n, i, i] for i in range(3)] for n in range(2)])
    yield "diagonals", module("nn.Diag"), x, y
    yield "diagonal", module("nn.Diag"), x[0], y[0]


def tensor_products(rng: np.random.Generator) -> Rows:
    weight, bias = noise(rng, 2, 3, 4), noise(rng, 2)
    a, b = noise(rng, 5, 3), noise(rng, 5, 4)
    y = np.zeros((5, 2))
    for n, o in np.ndindex(5, 2):
        products = [float(a[n, i]) * float(weight[o, i, j]) * float(b[n, j]) for i, j in np.ndindex(3, 4)]
        y[n, o] = float(bias[o]) + sum(products)
    fields = {"weight": weight, "bias": bias}
    yield "rows", module("nn.TensorProd", **fields, tmp=np.zeros(0)), [a, b], y
    yield "vectors", module("nn.TensorProd", **fields), [a[0], b[0]], y[0]


def constants(rng: np.random.Generator) -> Rows:
    held, x = noise(rng, 2, 3), noise(rng, 4, 5)
    yield "nn", module("nn.Constant", value=held), x, held
    yield "weight", module("nn.Constant", weight=held, gradWeight=0 * held, output=held), x, held
    yield "output", module("nn.Constant", output=held), x, held


def vgg_pictures(rng: np.random.Generator) -> Rows:
    x = rng.uniform(-1, 1, (2, 3, 2, 2)).astype(np.float32)
    y = np.array(
        [[(x[n, c].astype(float) + 1) * 127.5 - (103.939, 116.779, 123.68)[c] for c in range(3)] for n in (0, 1)]
    )
    yield "", module("nn.VGG_postprocess"), x, y
    both = torch_object("nn.ConcatTable", modules=[torch_object("nn.VGG_postprocess"), torch_object("nn.Identity")])
    yield "in place", sequential(torch_object("nn.Copy"), both), x, [y, y]


def binary_weights(rng: np.random.Generator) -> Rows:
    x, weight = noise(rng, 2, 4, 5), rng.integers(-1, 2, (3, 2, 2, 2)).astype(np.float32)
    y = np.zeros((3, 3, 4))
    for o, i, j in np.ndindex(3, 3, 4):
        y[o, i, j] = sum(float(weight[o][at]) * float(x[at[0], i + at[1], j + at[2]]) for at in np.ndindex(2, 2, 2))
    sizes = {"nInputPlane": 2, "nOutputPlane": 3, "kW": 2, "kH": 2, "dW": 1, "dH": 1, "padW": 0, "padH": 0}
    for name in ("nn", "cudnn", "w2nn"):
        yield name, module(f"{name}.RandomBinaryConvolution", weight=weight, kSparsity=0.9, **sizes), x, y


def length_one(rng: np.random.Generator) -> Rows:
    x = np.array([[3, 4], [6, 8]], np.float32)
    rows, whole = np.array([[0.6, 0.8], [0.6, 0.8]]), x / np.sqrt(125)
    yield "rows", module("nn.L2Normalize", buffer=np.array([[5], [10]]), normSquared=np.array([[25], [100]])), x, rows
    yield "rows, kept nowhere", module("nn.L2Normalize"), x, rows
    yield "all", module("nn.L2Normalize", buffer=5.0, normSquared=25.0), x, whole


def elementwise(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 3)
    x[0, 0] = 0
    values = [float(v) for v in x.ravel()]
    root = [math.copysign(math.sqrt(abs(v)), v) for v in values]
    inside = torch_object("nn.Sequential", modules=[torch_object("nn.Abs"), torch_object("nn.Sqrt")])
    yield "root", module("nn.SignedSquareRoot", module=inside), x, np.array(root).reshape(x.shape)
    yield "sine", module("nn.Sin"), x, np.array([math.sin(v) for v in values]).reshape(x.shape)
    rows = np.array([[3, 4], [6, 8]], np.float32)
    yield "L2Norm", module("nn.L2Norm", p=2, eps=0.5), rows, np.array([[2.1, 2.8], [3.6, 4.8]])
    yield "L2Norm", module("nn.L2Norm", p=2, eps=0.5), rows[0], np.array([2.1, 2.8])


def changed_in_training(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 3, 4, 4)
    padding = torch_object("nn.SpatialZeroPadding", pad_l=2, pad_r=2, pad_t=2, pad_b=2)
    yield "RandomCrop", module("nn.RandomCrop", pad=2, module=padding, train=True), x, x
    for name in ("BatchRotate", "BatchScale", "BatchColor", "PrintModule", "PrintDimensions"):
        yield name, module(f"nn.{name}"), x, x
    yield "ScaleGrad", module("nn.ScaleGrad", factor=0.5), x, x
    yield "GradientScale", module("nn.GradientScale", g_scale=0.5), x, x
    for fields in ({"std": 1.0, "inplace": False}, {"std": 1.0, "inplace": True}, {"p": 0.05}, {"v": 0.1}):
        yield f"GaussianNoise {fields}", module("nn.GaussianNoise", **fields), x, x
    # a copy is not written into by who writes into the copy
    twice = torch_object("nn.MulConstant", constant_scalar=2, inplace=True)
    for inplace in (False, True):
        noisy = torch_object("nn.GaussianNoise", std=1.0, inplace=inplace)
        both = torch_object("nn.ConcatTable", modules=[row_of(noisy, twice), torch_object("nn.Identity")])
        yield (
            "in place",
            sequential(torch_object("nn.MulConstant", constant_scalar=1), both),
            x,
            [
                2 * x,
                2 * x if inplace else x,
            ],
        )


def row_of(*modules: Any) -> Any:
    return torch_object("nn.Sequential", modules=list(modules))


def by_other_names(rng: np.random.Generator) -> Rows:
    x, weight = noise(rng, 2, 3), noise(rng, 2, 3)
    y = np.array([[sum(float(a) * float(b) for a, b in zip(w, r, strict=True)) for w in weight] for r in x])
    for name in ("nn.LinearWP", "nn.LinearVA"):
        yield name, module(name, weight=weight, bias=np.ones(2, np.float32)), x, y + 1
    scale = [torch_object("nn.MulConstant", constant_scalar=2), torch_object("nn.MulConstant", constant_scalar=3)]
    for name in ("nn.HighwayLayer", "nn.LayerNorm"):
        yield name, module(name, modules=scale), x, 6 * x
    image, kernel = noise(rng, 1, 2, 3), noise(rng, 2, 1, 1, 1)
    sizes = {"nInputPlane": 1, "nOutputPlane": 2, "kW": 1, "kH": 1, "dW": 1, "dH": 1}
    expected = np.array([image[0] * float(k) for k in kernel.ravel()])
    yield "SpatialConvWP", module("cudnn.SpatialConvWP", weight=kernel, **sizes), image, expected
    a, b, c = noise(rng, 3, 2), noise(rng, 2), noise(rng, 2)
    total = np.array([[a[i, j] + b[j] + c[j] for j in range(2)] for i in range(3)])
    yield "CAddRepTable", module("nn.CAddRepTable"), [a, b, c], total


def masked(rng: np.random.Generator) -> Rows:
    words = np.array([[3, 0, 1], [0, 0, 2]], np.float32)
    x = noise(rng, 3, 2)
    y = np.array([[x[n] if words[t, n] else [0, 0] for n in range(3)] for t in range(2)])
    yield "time", module("nn.MaskTime", featSize=2), [words, x], y
    later = np.triu(np.ones((3, 3), np.float32), 1)[None]
    x = noise(rng, 2, 3, 3)
    y = np.array([[[x[n, i, j] if j <= i else 0 for j in range(3)] for i in range(3)] for n in range(2)])
    yield "future", module("nn.MaskFuture", mask=later), x, y


def depth_from_few_samples(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 3, 2, 4)
    y = np.zeros((2, 3, 4, 8))
    for n, c, i, j in np.ndindex(*x.shape):
        y[n, c, 2 * i, 2 * j] = x[n, c, i, j]
    nearest = torch_object("nn.SpatialUpSamplingNearest", scale_factor=2)
    yield "Unpool", module("nn.Unpool", nInputPlane=3, k=2, oheight=4, owidth=8, upsample=nearest), x, y
    yield "ChannelDropout", module("nn.ChannelDropout", p=0.5, nChannels=3, stochastic_inference=False), x, x
    yield "Calibrate", module("nn.Calibrate", gram=x, calibrator=torch_object("nn.GramMatrix")), x, x


def pictures(rng: np.random.Generator) -> Rows:
    x = rng.uniform(0, 1, (3, 2, 3)).astype(np.float32)
    mean, std, swap = [102.9801, 115.9465, 122.7717], [2.0, 4.0, 5.0], [3, 2, 1]
    y = np.array([(255 * x[2 - c].astype(float) - mean[c]) / std[c] for c in range(3)])
    yield "all", module("fbcoco.ImageTransformer", mean=mean, std=std, scale=255, swap=swap), x, y
    y = np.array([x[c].astype(float) - mean[c] for c in range(3)])
    yield "mean", module("fbcoco.ImageTransformer", mean=mean, scale=1), x, y


ROWS = named(
    depth_from_few_samples,
    pictures,
    embedded,
    elementwise,
    changed_in_training,
    by_other_names,
    masked,
    given_more_dimensions,
    left_of_training,
    rows_added,
    diagonals,
    tensor_products,
    constants,
    vgg_pictures,
    binary_weights,
    length_one,
)
test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


@pytest.mark.parametrize(
    ("net", "x"),
    [
        (module("nn.Diag", weight=np.ones(2, np.float32)), np.ones((3, 2), np.float32)),
        (module("nn.Diag", weight=np.ones((2, 2), np.float32)), np.ones((3, 2), np.float32)),
        (module("nn.Diag"), np.ones((3, 2), np.float32)),
        (module("treelstm.CRowAddTable"), [np.ones((3, 2), np.float32), np.ones(3, np.float32)]),
        (module("nn.MinDim", pos=4, numInputDims=3), np.ones((3, 2), np.float32)),
        (module("nn.VGG_postprocess"), np.ones((3, 2, 2), np.float32)),
        (module("nn.Constant"), np.ones(3, np.float32)),
        (module("nn.Unpool", nInputPlane=1, k=2, oheight=4, owidth=4), np.ones((1, 1, 2, 3), np.float32)),
        (module("nn.ChannelDropout", nChannels=1, stochastic_inference=True), np.ones((1, 1, 2, 3), np.float32)),
        (module("fbcoco.ImageTransformer", mean=[1, 2]), np.ones((3, 2, 2), np.float32)),
        (module("nn.GaussianNoise", mean=0.0, std=1.0), np.ones(3, np.float32)),
        (module("nn.GaussianSampler", keep_long=False), np.ones((3, 2), np.float32)),
        (module("nn.LayerNorm", affine=False), np.ones((3, 2), np.float32)),
        (module("nn.MaskTime", featSize=3), [np.ones((2, 3), np.float32), np.ones((3, 2), np.float32)]),
        (module("nn.MaskFuture", mask=np.ones((1, 2, 2), np.float32)), np.ones((1, 3, 3), np.float32)),
    ],
)
def test_what_torch_refuses_is_refused(net: Module, x: Any) -> None:
    for run in net.forward, lambda x: retorch.convert(net, x):
        with pytest.raises(UnsupportedError):
            run(x)
