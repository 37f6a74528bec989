"""Twins of single layers against numbers written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.pytorch.conftest import Judge

import retorch
from building import module, sequential, torch_object
from retorch.module import Module
from retorch.pytorch.source import number

LOWEST = float(np.finfo(np.float32).min)


def ramp(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def signs() -> tuple[Module, np.ndarray, np.ndarray]:
    """A convolution with the signs of its weights, times their mean size."""
    weight = np.array([[[[0.5, -1.5]]]], np.float32)
    sizes = {"nInputPlane": 1, "nOutputPlane": 1, "kW": 2, "kH": 1}
    return (
        module("nn.SpatialBinaryConvolution", weight=weight, **sizes),
        ramp(1, 1, 1, 3) ** 2,
        np.array([[[[-1, -3]]]]),
    )


def nearest() -> tuple[Module, np.ndarray, np.ndarray]:
    centres, x = np.array([[0, 0], [4, 4]], np.float32), np.array([[1, 1], [3, 4], [2, 2]], np.float32)
    return module("nn.Kmeans", weight=centres), x, np.array([1, 2, 1])


def padded_maximum() -> tuple[Module, np.ndarray, np.ndarray]:
    """Windows of two taps, two apart, from one before the input on: (-, -2), (-2, -4), (-4, -)."""
    fields = {"kW": 2, "kH": 1, "dW": 2, "dH": 1, "padW": 1, "padH": 0, "dilationW": 2, "dilationH": 1}
    net = module("nn.SpatialDilatedMaxPooling", **fields, ceil_mode=True)
    return net, -ramp(1, 1, 1, 4) - 1, np.array([[[[-2, -2, -4]]]])


def repeated_edges() -> tuple[Module, np.ndarray, np.ndarray]:
    """Two more in front along the last dimension, one less behind."""
    fields = {"pleft": 2, "pright": -1, "ptop": 0, "pbottom": 0, "pfront": 0, "pback": 0}
    return module("nn.VolumetricReplicationPadding", **fields), ramp(1, 1, 1, 1, 3), np.array([[[[[0, 0, 0, 1]]]]])


def fewer_channels() -> tuple[Module, np.ndarray, np.ndarray]:
    """A table of one channel for an input of two: the second image begins in the first."""
    fields = {"kW": 1, "kH": 1, "nInputPlane": 1, "nOutputPlane": 1, "connTable": np.array([[1.0, 1.0]])}
    weight, bias = np.array([[[2]]], np.float32), np.array([1], np.float32)
    net = module("nn.SpatialConvolutionMap", **fields, weight=weight, bias=bias)
    return net, ramp(2, 2, 1, 1), np.array([[[[1]]], [[[3]]]])


def one_pixel() -> tuple[Module, np.ndarray, np.ndarray]:
    """An image brought to one pixel stays an image."""
    return module("nn.SpatialReSamplingEx", oheight=1, owidth=1), ramp(2, 3, 4), np.array([[[0]], [[12]]])


def both_signs() -> tuple[Module, np.ndarray, np.ndarray]:
    """A rectifier of what is below zero in the first half of the columns, above in the other."""
    return module("nn.BReLU"), np.array([[-2, 3, -1, 2]], np.float32), np.array([[-2, 0, 0, 2]])


def of_twice_the_input(typename: str, **fields: Any) -> Module:
    copies = torch_object("nn.ConcatTable", modules=[torch_object("nn.Identity"), torch_object("nn.Identity")])
    return sequential(copies, torch_object(typename, **fields))


def scaled_sum() -> tuple[Module, np.ndarray, np.ndarray]:
    return of_twice_the_input("nn.CAddTableMulConstant", constant_scalar=0.25), ramp(1, 3), np.array([[0, 0.5, 1]])


def shaken_sum() -> tuple[Module, np.ndarray, np.ndarray]:
    return of_twice_the_input("w2nn.ShakeShakeTable"), ramp(1, 3), np.array([[0, 2, 4]])


CASES: list[Any] = [
    *(signs, nearest, padded_maximum, repeated_edges, fewer_channels, one_pixel),
    *(both_signs, scaled_sum, shaken_sum),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_twin_computes_what_torch_does(case: Any, judge: Judge, tmp_path: Path) -> None:
    net, x, expected = case()
    np.testing.assert_allclose(net.forward(x), expected)
    retorch.convert(net, x, to="pytorch").save(tmp_path)
    npz = tmp_path / "case.npz"
    np.savez(npz, input_0=x, output_0=expected, input_nesting=json.dumps(0))
    assert judge(tmp_path / "model.py", npz) == []


def test_the_lowest_float32_is_said_in_full() -> None:
    """Fewer digits would say a number below all of them, which PyTorch refuses."""
    assert float(number(LOWEST)) == LOWEST
