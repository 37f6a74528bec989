"""A network in the form of ENet (Paszke et al., 2016; its blocks as in e-lab's ENet-training), smaller, untrained."""

from __future__ import annotations

import numpy as np

from examples.torch_modules import Maker, container, module, sequential
from retorch import TorchObject

#: Of ENet's batch norms.
EPS = 1e-3


def enet(classes: int, seed: int = 1) -> TorchObject:
    """From pictures in 0…1 (N, 3, H, W) to scores (N, classes, H, W); H and W are multiples of 8."""
    make = Maker(np.random.default_rng(seed))
    first, second = (module("nn.SpatialMaxPooling", **_POOLED) for _ in range(2))
    return sequential(
        *_initial(make, 3, 8),
        *_bottleneck(make, 8, 16, pool=first),
        *_bottleneck(make, 16, 16),
        *_bottleneck(make, 16, 32, pool=second),
        *_bottleneck(make, 32, 32),
        *_bottleneck(make, 32, 32, dilation=2),
        *_bottleneck(make, 32, 32, asymmetric=5),
        *_bottleneck(make, 32, 32, dilation=4),
        *_upsampling(make, 32, 16, second),
        *_bottleneck(make, 16, 16, drop=0.0),
        *_upsampling(make, 16, 8, first),
        make.full_convolution(8, classes),
    )


_POOLED = {"kW": 2, "kH": 2, "dW": 2, "dH": 2, "padW": 0, "padH": 0, "ceil_mode": False}


def _initial(make: Maker, planes: int, outputs: int) -> list[TorchObject]:
    """A convolution and a pooling side by side, both of half the size."""
    convolution = make.convolution(planes, outputs - planes, (3, 3), 2, pad=(1, 1))
    both = container("nn.ConcatTable", convolution, module("nn.SpatialMaxPooling", **_POOLED))
    joined = module("nn.JoinTable", dimension=1, nInputDims=3)
    return [both, joined, make.batch_norm(outputs, EPS), make.prelu(outputs)]


def _bottleneck(
    make: Maker,
    inputs: int,
    outputs: int,
    *,
    pool: TorchObject | None = None,
    dilation: int = 1,
    asymmetric: int = 0,
    drop: float = 0.02,
) -> list[TorchObject]:
    """The input, pooled where ``pool`` says and widened with zeros, plus what three convolutions make of it."""
    inner = outputs // 2
    step = 1 if pool is None else 2
    if asymmetric:
        pad = asymmetric // 2
        middle = [
            make.convolution(inner, inner, (asymmetric, 1), pad=(pad, 0), bias=False),
            make.convolution(inner, inner, (1, asymmetric), pad=(0, pad)),
        ]
    else:
        middle = [make.convolution(inner, inner, (3, 3), pad=(dilation, dilation), dilation=dilation)]
    main = sequential(
        make.convolution(inputs, inner, (step, step), step, bias=False),
        make.batch_norm(inner, EPS),
        make.prelu(inner),
        *middle,
        make.batch_norm(inner, EPS),
        make.prelu(inner),
        make.convolution(inner, outputs, (1, 1), bias=False),
        make.batch_norm(outputs, EPS),
        module("nn.SpatialDropout", p=drop),
    )
    other = [module("nn.Identity")] if pool is None else [pool]
    if inputs != outputs:
        other.append(module("nn.Padding", dim=1, pad=outputs - inputs, nInputDim=3, value=0, index=1))
    return _summed(make, main, sequential(*other), outputs)


def _upsampling(make: Maker, inputs: int, outputs: int, pool: TorchObject) -> list[TorchObject]:
    """Twice the size: each number goes back to where ``pool`` took the largest of four from, in as many planes."""
    inner = outputs // 2
    main = sequential(
        make.convolution(inputs, inner, (1, 1), bias=False),
        make.batch_norm(inner, EPS),
        module("nn.ReLU", inplace=False, threshold=0, val=0),
        make.full_convolution(inner, inner),
        make.batch_norm(inner, EPS),
        module("nn.ReLU", inplace=False, threshold=0, val=0),
        make.convolution(inner, outputs, (1, 1), bias=False),
        make.batch_norm(outputs, EPS),
    )
    other = sequential(
        make.convolution(inputs, outputs, (1, 1), bias=False),
        make.batch_norm(outputs, EPS),
        module("nn.SpatialMaxUnpooling", pooling=pool),
    )
    return _summed(make, main, other, outputs)


def _summed(make: Maker, main: TorchObject, other: TorchObject, planes: int) -> list[TorchObject]:
    return [container("nn.ConcatTable", main, other), module("nn.CAddTable", inplace=False), make.prelu(planes)]
