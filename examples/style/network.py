"""The network of fast-neural-style (Johnson et al., 2016), smaller, untrained."""

from __future__ import annotations

import numpy as np

from examples.torch_modules import Maker, container, module, sequential
from retorch import LuaTable, TorchObject


def style_network(width: int = 8, blocks: int = 3, seed: int = 1) -> TorchObject:
    """From a picture (N, 3, H, W) in Caffe's numbers to another; height and width are multiples of 4."""
    make = Maker(np.random.default_rng(seed))
    wide = 4 * width
    return sequential(
        *_convolved(make, 3, width, 9),
        *_convolved(make, width, 2 * width, 3, 2),
        *_convolved(make, 2 * width, wide, 3, 2),
        *(_residual(make, wide) for _ in range(blocks)),
        make.full_convolution(wide, 2 * width),
        *_normal(make, 2 * width),
        make.full_convolution(2 * width, width),
        *_normal(make, width),
        _padding(4),
        make.convolution(width, 3, (9, 9)),
        module("nn.Tanh"),
        module("nn.MulConstant", constant_scalar=150, inplace=False),
    )


def checkpoint(network: TorchObject) -> LuaTable:
    """What fast-neural-style's ``train.lua`` saves: the network, and in ``opt`` how it wants its pictures."""
    return LuaTable({"model": network, "opt": LuaTable({"preprocessing": "vgg", "padding_type": "reflect"})})


def _padding(size: int) -> TorchObject:
    sides = dict.fromkeys(("pad_l", "pad_r", "pad_t", "pad_b"), size)
    return module("nn.SpatialReflectionPadding", **sides)


def _normal(make: Maker, planes: int) -> list[TorchObject]:
    return [make.batch_norm(planes), module("nn.ReLU", inplace=False, threshold=0, val=0)]


def _convolved(make: Maker, inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[TorchObject]:
    convolution = make.convolution(inputs, outputs, (kernel, kernel), stride)
    return [_padding(kernel // 2), convolution, *_normal(make, outputs)]


def _residual(make: Maker, planes: int) -> TorchObject:
    """The input, plus what two convolutions make of it."""
    path = sequential(
        *_convolved(make, planes, planes, 3),
        _padding(1),
        make.convolution(planes, planes, (3, 3)),
        make.batch_norm(planes),
    )
    both = container("nn.ConcatTable", path, module("nn.Identity"))
    return sequential(both, module("nn.CAddTable", inplace=False))
