"""Elementwise activations, against one formula per class for a single number, in every shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from building import module, reference, sequential, through_caffe2, through_onnx, torch_object
from golden_cases import check
from layers.rows import Row, named, noise, random_shape, row_tests
from retorch.errors import UnsupportedError
from retorch.graph.lowering import lower
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]

#: Class, fields, and the formula for one number, from the sources in THNN/generic and nn.
POINTWISE: list[tuple[str, dict[str, Any], Callable[[float], float]]] = [
    ("nn.ReLU", {}, lambda x: x if x > 0 else 0),
    ("nn.ReLU", {"threshold": 0, "val": 0, "inplace": False}, lambda x: x if x > 0 else 0),
    ("cudnn.ReLU", {"mode": "CUDNN_ACTIVATION_RELU", "nElem": 7}, lambda x: x if x > 0 else 0),
    ("nn.ReLU6", {"inplace": False}, lambda x: 0 if x < 0 else min(x, 6)),
    ("cudnn.ClippedReLU", {"ceiling": 1.5}, lambda x: 0 if x < 0 else min(x, 1.5)),
    ("nn.Threshold", {}, lambda x: x if x > 1e-6 else 0),
    ("nn.Threshold", {"threshold": 0.5, "val": 0.5}, lambda x: x if x > 0.5 else 0.5),
    ("nn.Threshold", {"threshold": -0.5, "val": 0}, lambda x: x if x > -0.5 else 0),
    ("nn.Threshold", {"threshold": 0.25, "val": -3.0, "inplace": False}, lambda x: x if x > 0.25 else -3),
    ("nn.Threshold", {"threshold": 0, "val": 1.0}, lambda x: x if x > 0 else 1),
    ("nn.LeakyReLU", {}, lambda x: x if x > 0 else 0.01 * x),
    ("nn.LeakyReLU", {"negval": 0.3, "inplace": False}, lambda x: x if x > 0 else 0.3 * x),
    ("nn.LeakyReLU", {"negval": -2}, lambda x: x if x > 0 else -2 * x),
    ("nn.RReLU", {"lower": 0.1, "upper": 0.5, "channelwise": False}, lambda x: x if x > 0 else 0.3 * x),
    ("nn.RReLU", {}, lambda x: x if x > 0 else 11 / 48 * x),
    ("nn.ELU", {}, lambda x: x if x > 0 else math.exp(x) - 1),
    ("nn.ELU", {"alpha": 0.7}, lambda x: x if x > 0 else 0.7 * (math.exp(x) - 1)),
    ("nn.ELU", {"alpha": 2}, lambda x: x if x > 0 else 2 * (math.exp(x) - 1)),
    ("nn.HardTanh", {}, lambda x: -1 if x < -1 else min(x, 1)),
    ("nn.HardTanh", {"min_val": -0.25, "max_val": 2, "inplace": False}, lambda x: -0.25 if x < -0.25 else min(x, 2)),
    ("nn.Clamp", {"min_val": 0.5, "max_val": 1}, lambda x: 0.5 if x < 0.5 else min(x, 1)),
    ("nn.Clip", {"minval": -0.1, "maxval": 0.2}, lambda x: -0.1 if x < -0.1 else min(x, 0.2)),
    ("nn.HardShrink", {}, lambda x: x if x > 0.5 or x < -0.5 else 0),
    ("nn.HardShrink", {"lambda": 1}, lambda x: x if x > 1 or x < -1 else 0),
    ("nn.SoftShrink", {}, lambda x: x - 0.5 if x > 0.5 else x + 0.5 if x < -0.5 else 0),
    ("nn.SoftShrink", {"lambda": 0.25}, lambda x: x - 0.25 if x > 0.25 else x + 0.25 if x < -0.25 else 0),
    ("nn.TanhShrink", {}, lambda x: x - math.tanh(x)),
    ("nn.Sigmoid", {}, lambda x: 1 / (1 + math.exp(-x))),
    ("cudnn.Sigmoid", {"inplace": False}, lambda x: 1 / (1 + math.exp(-x))),
    ("nn.Tanh", {}, math.tanh),
    ("cudnn.Tanh", {}, math.tanh),
    ("nn.SoftPlus", {}, lambda x: math.log1p(math.exp(x))),
    ("nn.SoftPlus", {"beta": 2, "threshold": 20}, lambda x: math.log1p(math.exp(2 * x)) / 2),
    ("nn.SoftPlus", {"beta": 0.5, "threshold": 1}, lambda x: x if x > 2 else 2 * math.log1p(math.exp(x / 2))),
    ("nn.SoftPlus", {"beta": -1, "threshold": 0.5}, lambda x: x if x < -0.5 else -math.log1p(math.exp(-x))),
    ("nn.SoftSign", {}, lambda x: x / (1 + abs(x))),
    ("nn.LogSigmoid", {}, lambda x: math.log(1 / (1 + math.exp(-x)))),
]
#: Classes that may write into their input, and the fields to try them with.
IN_PLACE: dict[str, dict[str, Any]] = {
    "nn.ReLU": {},
    "cudnn.ReLU": {},
    "nn.ReLU6": {},
    "nn.Threshold": {"threshold": 0.25, "val": -3.0},
    "nn.LeakyReLU": {"negval": 0.3},
    "nn.RReLU": {"lower": 0.1, "upper": 0.5},
    "nn.ELU": {"alpha": 0.7},
    "nn.HardTanh": {"min_val": -0.25, "max_val": 2},
    "nn.Clamp": {"min_val": 0.5, "max_val": 1},
    "cudnn.Sigmoid": {},
    "cudnn.Tanh": {},
    "cudnn.ClippedReLU": {"ceiling": 1.5},
}


def formula(typename: str) -> Callable[[float], float]:
    """That of a class with the fields of :data:`IN_PLACE`."""
    return next(
        scalar for name, fields, scalar in POINTWISE if name == typename and {**fields, **IN_PLACE[name]} == fields
    )


def each(scalar: Callable[[float], float], x: np.ndarray) -> np.ndarray:
    return np.array([scalar(float(v)) for v in x.ravel()]).reshape(x.shape)


def pointwise(rng: np.random.Generator) -> Rows:
    for typename, fields, scalar in POINTWISE:
        for rank in (1, 2, 3, 4, 5):
            x = 2 * noise(rng, *random_shape(rng, rank))
            yield typename, module(typename, **fields), x, each(scalar, x)


def far_from_zero(_: np.random.Generator) -> Rows:
    x = np.array([[-90, -30, -16.5, -5, -0.5, 0, 0.5, 1, 6, 16.5, 20, 30, 90]], np.float32)
    for typename, fields, scalar in POINTWISE:
        if typename != "nn.LogSigmoid":
            yield typename, module(typename, **fields), x, each(scalar, x)
    # log(1 / (1 + exp(90))) is −90 to seven digits
    yield "nn.LogSigmoid", module("nn.LogSigmoid"), np.array([-90, 90], np.float32), np.array([-90, -math.exp(-90)])


def prelu(rng: np.random.Generator) -> Rows:
    for shape, channels in [
        *(((4,), 0), ((3, 4), 0), ((2, 3, 4), 0), ((1, 2, 3, 4), 0)),
        *(((4,), 4), ((3, 4), 4), ((1, 4), 4), ((2, 4, 3), 4), ((4, 5, 6), 4), ((4, 4, 6), 4)),
        *(((1, 4, 5, 6), 4), ((3, 4, 2, 1), 4), ((4, 4, 4, 4), 4), ((2, 4, 3, 2, 2), 4)),
    ]:
        x, weight = noise(rng, *shape), noise(rng, max(channels, 1))
        # the second of several dimensions counts channels, but for images of older versions, where it is the first
        axis = None if not channels else 0 if len(shape) == 1 or shape[1] != channels else 1
        expected = x.astype(np.float64)
        for index in np.ndindex(*shape):
            if x[index] < 0:
                expected[index] *= weight[0 if axis is None else index[axis]]
        yield f"{shape}-{channels}", module("nn.PReLU", weight=weight, nOutputPlane=channels), x, expected


def crelu(rng: np.random.Generator) -> Rows:
    for dims, shape, axis in [
        *((None, (3, 4, 5), 0), (None, (2, 3, 4, 5), 1)),
        *((3, (3, 4, 5), 0), (3, (2, 3, 4, 5), 1), (1, (6,), 0), (1, (3, 6), 1), (4, (2, 3, 4, 5), 0)),
    ]:
        x = noise(rng, *shape)
        fields = {} if dims is None else {"nInputDims": dims}
        halves = [each(lambda v: max(v, 0.0), x), each(lambda v: max(-v, 0.0), x)]
        yield f"{shape}", module("nn.CReLU", modules=[], **fields), x, np.concatenate(halves, axis)


def gated(rng: np.random.Generator) -> Rows:
    for dim, shape in [(None, (6,)), (None, (3, 4)), (1, (4, 3)), (2, (1, 4, 3)), (2, (3, 6, 2, 2)), (3, (2, 3, 4))]:
        x = noise(rng, *shape)
        axis = len(shape) - 1 if dim is None else dim - 1
        a, b = np.moveaxis(x, axis, 0).reshape(2, -1)
        expected = [p / (1 + math.exp(-q)) for p, q in zip(a.tolist(), b.tolist(), strict=True)]
        moved = np.moveaxis(np.empty(shape), axis, 0)[: shape[axis] // 2]
        fields = {} if dim is None else {"dim": dim}
        glu = module("nn.GatedLinearUnit", sigmoid=torch_object("nn.Sigmoid"), **fields)
        yield f"{shape}", glu, x, np.moveaxis(np.reshape(expected, moved.shape), 0, axis)


ROWS = named(pointwise, far_from_zero, prelu, crelu, gated)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


@pytest.mark.parametrize("typename", IN_PLACE)
@pytest.mark.parametrize("inplace", [True, False])
def test_in_place_is_seen_by_others(typename: str, inplace: bool) -> None:
    x = np.array([[-2.5, -0.75, 0.25], [0.5, 1.25, 7]], np.float32)
    identity = torch_object("nn.Identity")
    branches = [identity, torch_object(typename, inplace=inplace, **IN_PLACE[typename]), identity]
    net = module("nn.ConcatTable", modules=branches)
    after = each(formula(typename), x)
    expected = [after] * 3 if inplace else [x, after, x]
    check(expected, reference(net, x), 1e-6)
    check(expected, through_onnx(net, x), 1e-6)
    check(expected, through_caffe2(net, x), 1e-6)


@pytest.mark.parametrize(("typename", "fields"), [(name, fields) for name, fields, _ in POINTWISE])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_is_the_inputs(typename: str, fields: dict[str, Any], dtype: type) -> None:
    y = module(typename, **fields).forward(np.linspace(-3, 3, 12, dtype=dtype))
    assert isinstance(y, np.ndarray)
    assert y.dtype == dtype


@pytest.mark.parametrize(
    ("typename", "fields", "nan"),
    [
        ("nn.ReLU", {}, 0.0),
        ("nn.ReLU", {"inplace": True}, math.nan),
        ("cudnn.ReLU", {}, math.nan),
        ("nn.Threshold", {"threshold": 0, "val": 0}, 0.0),
        ("nn.Threshold", {"threshold": 0.5, "val": 0.5}, 0.5),
        ("nn.Threshold", {"threshold": 0.5, "val": 7}, 7.0),
        ("nn.Threshold", {"threshold": 0.5, "val": 7, "inplace": True}, math.nan),
        ("nn.Threshold", {"threshold": 0.5, "val": 0.5, "inplace": True}, math.nan),
        ("nn.HardTanh", {"min_val": -1, "max_val": 3}, 3.0),
        ("nn.HardTanh", {"min_val": -1, "max_val": 3, "inplace": True}, math.nan),
        ("nn.Clamp", {"min_val": -1, "max_val": 3}, 3.0),
        ("nn.ReLU6", {}, 6.0),
        ("nn.ReLU6", {"inplace": True}, math.nan),
        ("nn.HardShrink", {"lambda": 1.5}, 0.0),
    ],
)
def test_what_becomes_of_nan(typename: str, fields: dict[str, Any], nan: float) -> None:
    """THNN asks whether x is above the threshold, in place whether it is not; the root of -1 and a weight are NaN."""
    rectifier = torch_object(typename, **fields)
    x = np.array([[-1.0, 4.0]], np.float32)
    expected = np.array([[nan, 2.0]])
    Row("root", sequential(torch_object("nn.Sqrt"), rectifier), x, expected).agrees_converted()
    weight = torch_object("nn.CMul", weight=np.array([[math.nan, 0.5]], np.float32), size=(1, 2))
    net = sequential(weight, rectifier)
    Row("weight", net, x, expected).agrees_converted()
    assert np.array_equal(net.forward(x), expected, equal_nan=True)


def test_a_soft_shrinkage_makes_nothing_of_nan() -> None:
    net = sequential(torch_object("nn.Sqrt"), torch_object("nn.SoftShrink", **{"lambda": 0.5}))
    Row("root", net, np.array([[-1.0, 4.0]], np.float32), np.array([[0.0, 1.5]])).agrees_converted()


def test_a_threshold_in_place_leaves_nan_among_the_inputs_as_it_is() -> None:
    x = np.array([[math.nan, 0.25, 4.0]], np.float32)
    net = sequential(torch_object("nn.Threshold", threshold=0.5, val=7, inplace=True))
    Row("threshold", net, x, np.array([[math.nan, 7.0, 4.0]])).agrees_converted()


@pytest.mark.parametrize("inplace", [False, True])
def test_of_a_vector_hardtanh_makes_the_maximum_of_nan_in_place_too(inplace: bool) -> None:
    """THNN's HardTanh for one dimension: after the loop in place comes the one that is not."""
    net = sequential(torch_object("nn.Sqrt"), torch_object("nn.HardTanh", min_val=-1, max_val=3, inplace=inplace))
    x = np.array([-1.0, 4.0], np.float32)
    Row("vector", net, x, np.array([3.0, 2.0])).agrees_by_formula()
    Row("vector", net, x, np.array([3.0, 2.0])).agrees_converted()


@pytest.mark.parametrize(("dimension", "nan"), [(1, math.nan), (2, 3.0), (3, 3.0)])
def test_of_nan_out_of_order_hardtanh_makes_the_maximum_in_place_too(dimension: int, nan: float) -> None:
    """THNN goes over a tensor that is not in one piece once more."""
    split, first = torch_object("nn.SplitTable", dimension=dimension), torch_object("nn.SelectTable", index=1)
    clamp = torch_object("nn.HardTanh", min_val=-1, max_val=3, inplace=True)
    x = np.stack([np.array([[-1, 16, 4], [0.25, -1, 1]], np.float32)] * 2, dimension - 1)
    net = sequential(torch_object("nn.Sqrt"), split, first, clamp)
    row = Row("out of order", net, x, np.array([[nan, 3, 2], [0.5, nan, 1]]))
    row.agrees_by_formula()
    row.agrees_converted()


def test_a_relu_behind_finite_weights_is_one_operator() -> None:
    weight = torch_object("nn.Linear", weight=np.eye(2, dtype=np.float32), bias=np.zeros(2, np.float32))
    model = lower(sequential(weight, torch_object("nn.ReLU")).layer, (1, 2))
    assert [node.op_type for node in model.graph] == ["Gemm", "Relu"]


def test_the_relu_of_2014_is_always_in_place() -> None:
    x = np.array([[-1, 2]], np.float32)
    branches = [torch_object("nn.Identity"), torch_object("cudnn.ReLUInPlace", mode="CUDNN_ACTIVATION_RELU")]
    net = module("nn.ConcatTable", modules=branches)
    for got in (reference(net, x), through_onnx(net, x)):
        assert [y.tolist() for y in got] == [[[0, 2]], [[0, 2]]]


def test_an_input_is_not_written_to() -> None:
    x = np.array([-1.0, 1.0], np.float32)
    net = sequential(torch_object("nn.ReLU", inplace=True))
    assert [y.tolist() for y in reference(net, x)] == [[0, 1]]
    net.forward(x)
    assert x.tolist() == [-1, 1]


def test_planes_that_do_not_fit_are_refused() -> None:
    net = module("nn.PReLU", weight=np.ones(4, np.float32), nOutputPlane=4)
    with pytest.raises(UnsupportedError, match="4 channels"):
        net.forward(np.ones((2, 3, 5, 5), np.float32))
