"""Networks of known shapes with random weights, as Torch would have saved them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from retorch import LuaTable, TorchObject
from retorch.torch7 import StorageFacts, TorchStorage

VGG = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)  # output channels; 0 is a pooling
LEVEL = (8, 32, 64, 32, 16, 2)
RESNET = ((64, 3), (128, 4), (256, 6), (512, 3))  # channels and number of bottleneck blocks

_random = np.random.default_rng(0)


def _weight(*shape: int, fan: int) -> np.ndarray:
    """Weights by the rule of He, for outputs that are sums of ``fan`` products."""
    return _random.standard_normal(shape, np.float32) * np.float32((2 / fan) ** 0.5)


def _bias(outputs: int) -> np.ndarray:
    return _random.standard_normal(outputs, np.float32) * np.float32(0.1)


def conv(
    inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1, *, bias: bool = True, dilation: int = 1
) -> TorchObject:
    """A convolution, square unless ``kernel`` is (height, width), that keeps the size at stride 1."""
    high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
    fields: dict[str, Any] = {"nInputPlane": inputs, "nOutputPlane": outputs, "kW": wide, "kH": high}
    fields |= {"dW": stride, "dH": stride, "padW": wide // 2 * dilation, "padH": high // 2 * dilation}
    fields["weight"] = _weight(outputs, inputs, high, wide, fan=inputs * high * wide)
    if bias:
        fields["bias"] = _bias(outputs)
    if dilation == 1:
        return TorchObject("nn.SpatialConvolution", fields)
    return TorchObject("nn.SpatialDilatedConvolution", {**fields, "dilationW": dilation, "dilationH": dilation})


def full_conv(inputs: int, outputs: int, kernel: int) -> TorchObject:
    """A transposed convolution that doubles height and width."""
    pad = kernel // 2 if kernel % 2 else 0
    fields: dict[str, Any] = {"nInputPlane": inputs, "nOutputPlane": outputs, "kW": kernel, "kH": kernel}
    fields |= {"dW": 2, "dH": 2, "padW": pad, "padH": pad, "adjW": kernel % 2, "adjH": kernel % 2}
    fields["weight"] = _weight(inputs, outputs, kernel, kernel, fan=inputs * kernel * kernel // 4)
    return TorchObject("nn.SpatialFullConvolution", {**fields, "bias": _bias(outputs)})


def linear(inputs: int, outputs: int, *, bias: bool = True) -> TorchObject:
    weight = _random.standard_normal((outputs, inputs), np.float32) * np.float32((1 / inputs) ** 0.5)
    return TorchObject("nn.Linear", {"weight": weight} | ({"bias": np.zeros(outputs, np.float32)} if bias else {}))


def batch_norm(channels: int, eps: float = 1e-5) -> TorchObject:
    ones, noise = np.ones(channels, np.float32), _random.standard_normal((3, channels), np.float32) * np.float32(0.1)
    fields = {"eps": eps, "momentum": 0.1, "affine": True, "weight": ones + noise[0], "bias": noise[1]}
    return TorchObject("nn.SpatialBatchNormalization", {**fields, "running_mean": noise[2], "running_var": ones})


def relu() -> TorchObject:
    return TorchObject("nn.ReLU", {"inplace": True, "threshold": 0, "val": 0})


def prelu(channels: int) -> TorchObject:
    return TorchObject("nn.PReLU", {"nOutputPlane": channels, "weight": np.full(channels, 0.25, np.float32)})


def pool(kind: str, kernel: int, stride: int, pad: int = 0) -> TorchObject:
    fields = {"kW": kernel, "kH": kernel, "dW": stride, "dH": stride, "padW": pad, "padH": pad, "ceil_mode": False}
    average = {"count_include_pad": True, "divide": True} if kind == "Average" else {}
    return TorchObject(f"nn.Spatial{kind}Pooling", {**fields, **average})


def row(*modules: TorchObject) -> TorchObject:
    return TorchObject("nn.Sequential", {"train": False, "modules": LuaTable.of(*modules)})


def view(size: int) -> TorchObject:
    sizes = np.array([size]).view(TorchStorage).named(StorageFacts("torch.LongStorage"))
    return TorchObject("nn.View", {"size": sizes, "numElements": size, "numInputDims": 3})


def vgg16() -> TorchObject:
    """The shape of VGG-16 for 3x224x224: 138 million parameters, 553 MB."""
    modules: list[TorchObject] = []
    channels = 3
    for outputs in VGG:
        modules += [conv(channels, outputs, 3), relu()] if outputs else [pool("Max", 2, 2)]
        channels = outputs or channels
    drop = TorchObject("nn.Dropout", {"p": 0.5, "v2": True})
    head = [view(25088), linear(25088, 4096), relu(), drop, linear(4096, 4096), relu(), drop, linear(4096, 1000)]
    return row(*modules, *head, TorchObject("nn.SoftMax", {}))


def level() -> TorchObject:
    """One level of SpyNet: five 7x7 convolutions with ReLUs between them."""
    modules = [module for inputs, outputs in pairwise(LEVEL) for module in (conv(inputs, outputs, 7), relu())]
    return row(*modules[:-1])


def _bottleneck(inputs: int, channels: int, stride: int) -> list[TorchObject]:
    outputs = 4 * channels
    body = [conv(inputs, channels, 1, bias=False), batch_norm(channels), relu()]
    body += [conv(channels, channels, 3, stride, bias=False), batch_norm(channels), relu()]
    body += [conv(channels, outputs, 1, bias=False), batch_norm(outputs)]
    shortcut = TorchObject("nn.Identity", {})
    if inputs != outputs:
        shortcut = row(conv(inputs, outputs, 1, stride, bias=False), batch_norm(outputs))
    both = TorchObject("nn.ConcatTable", {"modules": LuaTable.of(row(*body), shortcut)})
    return [both, TorchObject("nn.CAddTable", {"inplace": True}), relu()]


def resnet50() -> TorchObject:
    """The shape of ResNet-50 for 3x224x224: bottleneck blocks with batch normalization."""
    modules = [conv(3, 64, 7, 2, bias=False), batch_norm(64), relu(), pool("Max", 3, 2, 1)]
    inputs = 64
    for stage, (channels, blocks) in enumerate(RESNET):
        for block in range(blocks):
            modules += _bottleneck(inputs, channels, 2 if stage and not block else 1)
            inputs = 4 * channels
    return row(*modules, pool("Average", 7, 1), view(inputs), linear(inputs, 1000))
