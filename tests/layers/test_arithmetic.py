"""Elementwise arithmetic, trained offsets and factors, softmaxes, and what dropout leaves at evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from building import module, reference, through_caffe2, through_onnx, torch_object
from golden_cases import check
from layers.rows import named, noise, random_shape, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module
from retorch.torch7 import LuaFunction

Rows = Iterator[tuple[str, Module, Any, Any]]

#: Class, fields, the formula for one number, and whether it takes positive numbers only.
POINTWISE: list[tuple[str, dict[str, Any], Callable[[float], float], bool]] = [
    ("nn.Abs", {}, abs, False),
    ("nn.Square", {}, lambda x: x * x, False),
    ("nn.Sqrt", {"eps": 0}, math.sqrt, True),
    ("nn.Power", {"pow": 2}, lambda x: x * x, False),
    ("nn.Power", {"pow": 3}, lambda x: x * x * x, False),
    ("nn.Power", {"pow": 0.5}, math.sqrt, True),
    ("nn.Power", {"pow": -1.5}, lambda x: 1 / (x * math.sqrt(x)), True),
    ("nn.Exp", {}, math.exp, False),
    ("nn.Log", {}, math.log, True),
    ("nn.Minus", {}, lambda x: -x, False),
    ("nn.MulConstant", {"constant_scalar": -2.5, "inplace": False}, lambda x: -2.5 * x, False),
    ("nn.MulConstant", {"constant_scalar": 3}, lambda x: 3 * x, False),
    ("nn.AddConstant", {"constant_scalar": 0.25, "inplace": False}, lambda x: x + 0.25, False),
    ("nn.AddConstant", {"constant_scalar": -7}, lambda x: x - 7, False),
    ("nn.Mul", {"weight": np.array([1.75])}, lambda x: 1.75 * x, False),
    ("nn.Add", {"bias": np.array([-0.5], np.float32), "scalar": True}, lambda x: x - 0.5, False),
    ("nn.Identity", {}, lambda x: x, False),
    ("nn.GradientReversal", {"lambda": 1}, lambda x: x, False),
    ("nn.ZeroGrad", {}, lambda x: x, False),
    ("nn.L1Penalty", {"l1weight": 1, "sizeAverage": False, "provideOutput": True}, lambda x: x, False),
    ("nn.PrintSize", {"prefix": "here"}, lambda x: x, False),
    ("nn.Contiguous", {}, lambda x: x, False),
    ("nn.Copy", {"output": np.zeros(0, np.float64)}, lambda x: x, False),
    ("nn.Copy", {"updateOutput": LuaFunction(b""), "updateGradInput": LuaFunction(b"")}, lambda x: x, False),
    ("nn.Dropout", {"p": 0.3, "v2": True, "inplace": False}, lambda x: x, False),
    ("nn.Dropout", {"p": 0.25, "v2": False, "inplace": False}, lambda x: 0.75 * x, False),
    ("nn.Dropout", {"p": 0.25}, lambda x: 0.75 * x, False),
    ("nn.Dropout", {"p": 0}, lambda x: x, False),
    ("nn.SeqDropout", {"p": 0.3, "v2": True}, lambda x: x, False),
    ("nn.SpatialDropout", {"p": 0.25, "stochastic_inference": False}, lambda x: 0.75 * x, False),
    ("nn.VolumetricDropout", {"p": 0.1}, lambda x: 0.9 * x, False),
    ("nn.TotalDropout", {"p": 0.5}, lambda x: x, False),
    ("nn.SpatialRegionDropout", {"p": 0.2}, lambda x: x, False),
    ("nn.SimpleColorTransform", {"inputChannels": 3}, lambda x: x, False),
    ("nn.PCAColorTransform", {"inputChannels": 3, "std": 0.1}, lambda x: x, False),
    ("nn.WhiteNoise", {"mean": 0, "std": 0.1}, lambda x: x, False),
    ("nn.WhiteNoise", {"mean": 0.5, "std": 0.1}, lambda x: x + 0.5, False),
]


def pointwise(rng: np.random.Generator) -> Rows:
    for typename, fields, scalar, positive in POINTWISE:
        for rank in (1, 2, 3, 4, 5):
            x = 2 * noise(rng, *random_shape(rng, rank))
            x = np.abs(x) + np.float32(0.01) if positive else x
            expected = np.array([scalar(float(v)) for v in x.ravel()]).reshape(x.shape)
            yield typename, module(typename, **fields), x, expected


def not_a_number(_: np.random.Generator) -> Rows:
    x = np.array([[-4, 0, 4]], np.float32)
    yield "sqrt", module("nn.Sqrt"), x, np.array([[math.nan, 0, 2]])
    yield "power", module("nn.Power", pow=1.5), x, np.array([[math.nan, 0, 8]])
    yield "log", module("nn.Log"), np.array([-1, 1, math.e], np.float32), np.array([math.nan, 0, 1])


#: The sizes of a trained array and of inputs that CMul.lua and CAdd.lua take with it.
TRAINED = [
    *(
        ((3,), (3,)),
        ((3,), (2, 3)),
        ((3,), (1, 3)),
        ((2, 3), (2, 3)),
        ((2, 3), (5, 2, 3)),
    ),
    *(((1, 3), (4, 3)), ((4, 1), (4, 3)), ((4, 1), (4, 4)), ((1, 3, 1, 1), (2, 3, 4, 5)), ((1, 3, 1, 1), (1, 3, 4, 5))),
    *(((1, 1, 4, 5), (2, 3, 4, 5)), ((3, 4, 5), (2, 3, 4, 5)), ((3, 4, 5), (1, 3, 4, 5)), ((60,), (2, 3, 4, 5))),
    *(((1, 3, 4, 5), (2, 3, 4, 5)), ((2, 1, 4), (2, 3, 4)), ((3, 1, 1), (3, 1, 1)), ((1, 3, 1, 1), (1, 3, 1, 1))),
    *(((1,), (2, 3)), ((1,), (1,)), ((3, 2, 2, 2), (4, 3, 2, 2, 2))),
]


def spread(weight: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The trained array in full, element by element as the Lua sources lay it out."""
    full = np.empty(shape)
    for flat, index in enumerate(np.ndindex(*shape)):
        if weight.size == full.size:
            full[index] = weight.ravel()[flat]
        elif weight.ndim == len(shape):
            full[index] = weight[tuple(i % s for i, s in zip(index, weight.shape, strict=True))]
        else:
            full[index] = weight.ravel()[flat % (full.size // shape[0]) % weight.size]
    return full


def trained(rng: np.random.Generator) -> Rows:
    for size, shape in TRAINED:
        x, weight = noise(rng, *shape), noise(rng, *size)
        full = spread(weight, shape)
        yield f"cmul-{size}", module("nn.CMul", weight=weight, size=size), x, x.astype(np.float64) * full
        yield f"cadd-{size}", module("nn.CAdd", bias=weight, size=size), x, x.astype(np.float64) + full
        if len(size) == 1:
            yield f"add-{size}", module("nn.Add", bias=weight, scalar=False), x, x.astype(np.float64) + full
            yield f"add-old-{size}", module("nn.Add", bias=weight), x, x.astype(np.float64) + full


def vectors(rng: np.random.Generator) -> Rows:
    for shape in ((4,), (1, 4), (3, 4)):
        x, constant = noise(rng, *shape), noise(rng, 4)
        expected = [[a + b for a, b in zip(row, constant.tolist(), strict=True)] for row in x.reshape(-1, 4).tolist()]
        yield "", module("nn.AddConstant", constant_scalar=constant), x, np.reshape(expected, shape)


def constants(rng: np.random.Generator) -> Rows:
    for dims, size, shape in [
        *((None, (2, 3), (4, 5)), (2, (1, 5), (3, 4)), (2, (1, 5), (3, 4, 2)), (2, (5,), (1, 4, 2)), (1, (1,), (3, 2))),
        *((3, (2, 2), (2, 3, 4, 5)), (1, (2, 3), (7,))),
    ]:
        x, value = noise(rng, *shape), noise(rng, *size)
        x.flat[0] = np.inf
        fields = {} if dims is None else {"nInputDim": dims}
        batched = dims is not None and len(shape) > dims
        expected = np.array([value.tolist()] * shape[0]) if batched else value
        yield f"{dims}-{shape}", module("nn.Constant", value=value, **fields), x, expected


def normalized(column: list[float]) -> list[float]:
    most = max(column)
    powers = [math.exp(v - most) for v in column]
    return [p / math.fsum(powers) for p in powers]


#: Class, fields, which dimensions one distribution spans for each rank, and what is done before and after.
SOFTMAX: list[tuple[str, dict[str, Any], dict[int, tuple[int, ...]], Callable[[float], float], bool]] = [
    ("nn.SoftMax", {}, {1: (0,), 2: (1,), 3: (0,), 4: (1,)}, lambda x: x, False),
    ("nn.SpatialSoftMax", {}, {1: (0,), 2: (1,), 3: (0,), 4: (1,)}, lambda x: x, False),
    ("nn.LogSoftMax", {}, {1: (0,), 2: (1,), 3: (0,), 4: (1,)}, lambda x: x, True),
    ("nn.SpatialLogSoftMax", {}, {1: (0,), 2: (1,), 3: (0,), 4: (1,)}, lambda x: x, True),
    ("nn.SoftMin", {}, {1: (0,), 2: (1,), 3: (0,), 4: (1,)}, lambda x: -x, False),
    ("nn.MultiSoftMax", {}, {2: (1,), 3: (2,)}, lambda x: x, False),
    ("cudnn.SpatialSoftMax", {}, {1: (0,), 2: (1,), 3: (0,), 4: (1,)}, lambda x: x, False),
    ("cudnn.SpatialSoftMax", {"algorithm": "CUDNN_SOFTMAX_LOG"}, {3: (0,), 4: (1,)}, lambda x: x, True),
    ("cudnn.SpatialLogSoftMax", {}, {1: (0,), 2: (1,), 3: (0,), 4: (1,)}, lambda x: x, True),
    ("cudnn.VolumetricSoftMax", {"ssm": None}, {4: (0,), 5: (1,)}, lambda x: x, False),
    ("cudnn.VolumetricLogSoftMax", {}, {4: (0,), 5: (1,)}, lambda x: x, True),
    ("cudnn.SoftMax", {}, {1: (0,), 2: (1,), 3: (0, 1, 2), 4: (1, 2, 3)}, lambda x: x, False),
    ("cudnn.LogSoftMax", {}, {1: (0,), 2: (1,), 3: (0, 1, 2), 4: (1, 2, 3)}, lambda x: x, True),
]


def softmaxes(rng: np.random.Generator) -> Rows:
    for typename, fields, spans, before, logarithm in SOFTMAX:
        for rank, axes in [*spans.items()] * 2:
            x = 3 * noise(rng, *random_shape(rng, rank))
            back = [*(i for i in range(rank) if i not in axes), *axes]
            rows = x.transpose(back).reshape(-1, math.prod(x.shape[i] for i in axes))
            made = [normalized([before(v) for v in row]) for row in rows.tolist()]
            values = np.log(made) if logarithm else np.array(made)
            expected = values.reshape([x.shape[i] for i in back]).transpose(np.argsort(back))
            yield f"{typename}-{rank}", module(typename, **fields), x, expected


def far_apart(_: np.random.Generator) -> Rows:
    x = np.array([[0, -1000, 500], [88, 89, 90]], np.float32)
    yield "softmax", module("nn.SoftMax"), x, np.array([normalized(row) for row in x.tolist()])
    expected = [[-500, -1500, 0], np.log(normalized([88, 89, 90])).tolist()]
    yield "logsoftmax", module("nn.LogSoftMax"), x, np.array(expected)


ROWS = named(pointwise, not_a_number, trained, vectors, constants, softmaxes, far_apart)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


#: What others see of a module's input afterwards: the module's own output, or still the input.
SHARED = [
    ("nn.MulConstant", {"constant_scalar": 2, "inplace": True}, 2, True),
    ("nn.MulConstant", {"constant_scalar": 2, "inplace": False}, 2, False),
    ("nn.Dropout", {"p": 0.5, "inplace": True}, 0.5, True),
    ("nn.Dropout", {"p": 0.5, "v2": True, "inplace": True}, 1, True),
    ("nn.Dropout", {"p": 0.5, "inplace": False}, 0.5, False),
]


@pytest.mark.parametrize(("typename", "fields", "factor", "shared"), SHARED)
def test_in_place_is_seen_by_others(typename: str, fields: dict[str, Any], factor: float, shared: bool) -> None:
    x = np.array([[1, -2], [3, 4]], np.float32)
    net = module("nn.ConcatTable", modules=[torch_object("nn.Identity"), torch_object(typename, **fields)])
    expected = [x * factor if shared else x, x * factor]
    for got in (reference(net, x), through_onnx(net, x), through_caffe2(net, x)):
        check(expected, got, 1e-6)


@pytest.mark.parametrize(
    ("typename", "fields", "is_x"),
    [
        ("nn.Identity", {}, True),
        ("nn.GradientReversal", {}, True),
        ("nn.L1Penalty", {}, True),
        ("nn.Contiguous", {}, True),
        ("nn.Copy", {"updateOutput": LuaFunction(b"")}, True),
        ("nn.Copy", {}, False),
        ("nn.Dropout", {"v2": True}, False),
        ("nn.Dropout", {"v2": True, "inplace": True}, True),
        ("nn.TotalDropout", {}, False),
    ],
)
def test_what_hands_its_input_on_shares_it(typename: str, fields: dict[str, Any], is_x: bool) -> None:
    """A later module in place changes what came out of the first branch as well, if that is x itself."""
    x = np.array([[1, -2], [3, 4]], np.float32)
    doubling = torch_object("nn.MulConstant", constant_scalar=2, inplace=True)
    net = module("nn.ConcatTable", modules=[torch_object(typename, **fields), doubling])
    expected = [2 * x if is_x else x, 2 * x]
    for got in (reference(net, x), through_onnx(net, x), through_caffe2(net, x)):
        check(expected, got, 1e-6)


@pytest.mark.parametrize(("dimension", "copied"), [(1, False), (2, True)])
def test_contiguous_copies_what_is_not_in_order(dimension: int, copied: bool) -> None:
    x = np.array([[1, -2, 5], [3, 4, 6]], np.float32)
    parts = [torch_object("nn.SplitTable", dimension=dimension), torch_object("nn.SelectTable", index=1)]
    doubling = torch_object("nn.MulConstant", constant_scalar=2, inplace=True)
    branches = torch_object("nn.ConcatTable", modules=[torch_object("nn.Contiguous"), doubling])
    net = module("nn.Sequential", modules=[*parts, branches])
    first = x[0] if dimension == 1 else x[:, 0]
    for got in (reference(net, x), through_onnx(net, x), through_caffe2(net, x)):
        check([first if copied else 2 * first, 2 * first], got, 1e-6)


def test_copy_to_whole_numbers_cuts() -> None:
    net = module("nn.Copy", output=np.zeros(0, np.int64))
    x = np.array([1.75, -1.75, 3], np.float32)
    assert reference(net, x)[0].tolist() == [1, -1, 3]
    assert through_onnx(net, x)[0].tolist() == [1, -1, 3]


@pytest.mark.parametrize(("size", "shape"), [((2, 3), (5, 6)), ((3,), (4,)), ((4,), (2, 3)), ((5,), (5, 3))])
def test_trained_arrays_that_do_not_fit_are_refused(size: tuple[int, ...], shape: tuple[int, ...]) -> None:
    net = module("nn.CMul", weight=np.ones(size, np.float32), size=size)
    with pytest.raises(UnsupportedError, match="do not fit"):
        net.forward(np.zeros(shape))


def test_softmax_takes_four_dimensions_at_most() -> None:
    with pytest.raises(UnsupportedError, match="1 to 4 dimensions, not 5"):
        module("nn.SoftMax").forward(np.zeros((1, 2, 3, 4, 5)))


def test_a_batch_of_any_size_gets_its_constant() -> None:
    import retorch

    net = module("nn.Constant", value=np.array([[1.5, 2.5]], np.float32), nInputDim=1)
    network = retorch.convert(net, (2, 3), fold=False)
    for batch in (1, 2, 5):
        (y,) = network.run(np.zeros((batch, 3), np.float32))
        assert y.tolist() == [[[1.5, 2.5]]] * batch
