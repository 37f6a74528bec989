"""Convolutions: PyTorch's own where every window is one of theirs."""

from __future__ import annotations

from typing import Any

import numpy as np

from retorch.layers.base.layer import Array
from retorch.layers.convolution import full, spatial, temporal, volumetric
from retorch.layers.convolution.spatial import Convolution
from retorch.layers.projects.xnor_net import SpatialBinaryConvolution
from retorch.pytorch.part import Part, State
from retorch.pytorch.rule import Run, kept, rule, trained


def one(values: tuple[int, ...]) -> object:
    """``3`` for (3, 3), else (3, 5)."""
    return values[0] if len(set(values)) == 1 else values


def options(**given: tuple[tuple[int, ...], int]) -> dict[str, Any]:
    """The arguments of each axis that are not PyTorch's default."""
    return {name: one(values) for name, (values, default) in given.items() if any(v != default for v in values)}


def parameters(weight: Array, bias: Array | None) -> dict[str, State]:
    """The states of a module with a weight and perhaps a bias."""
    states = {"weight": trained(weight, "weight")}
    return states if bias is None else {**states, "bias": trained(bias.reshape(-1), "bias")}


@rule(spatial.SpatialConvolution, volumetric.VolumetricConvolution, says="nn.Conv2d, nn.Conv3d")
def convolution(layer: spatial.SpatialConvolution | volumetric.VolumetricConvolution, at: Run) -> Part | None:
    if isinstance(layer, SpatialBinaryConvolution):
        # it does not convolve with the weights that it stores
        return None
    return _convolution(layer, at, parameters(layer.weight, layer.offsets()))


def _convolution(layer: Convolution, at: Run, states: dict[str, State], name: str = "nn.Conv{}d") -> Part | None:
    rank = len(layer.axes)
    windows = layer.windows(at.sized())
    if at.rank != rank + 2 or not all(window.plain for window in windows):
        return None
    weight, groups = layer.dense()
    named = options(
        stride=(tuple(w.stride for w in windows), 1),
        padding=(tuple(w.pad for w in windows), 0),
        dilation=(tuple(w.dilation for w in windows), 1),
    )
    if groups != 1:
        named["groups"] = groups
    if layer.offsets() is None:
        named["bias"] = False
    channels = weight.shape[1] * groups, weight.shape[0]
    return at.module(name.format(rank), *channels, one(weight.shape[2:]), states=states, **named)


@rule(spatial.SpatialConvolutionMap, says="MaskedConv2d")
def convolution_map(layer: spatial.SpatialConvolutionMap, at: Run) -> Part | None:
    if at.rank == 4 and at.shape()[1] != layer.nInputPlane:
        return None
    dense, _ = layer.dense()
    pairs = layer.connTable.astype(np.int64) - 1
    if len({tuple(pair) for pair in pairs.tolist()}) != len(pairs):
        return None
    mask = np.zeros(dense.shape[:2], np.float32)
    mask[pairs[:, 1], pairs[:, 0]] = 1
    states = {
        "weight": trained(dense, "weight"),
        "bias": trained(layer.bias.reshape(-1), "bias"),
        "mask": kept(mask[:, :, None, None]),
    }
    return _convolution(layer, at, states, "MaskedConv2d")


@rule(spatial.SpatialSubSampling)
def sub_sampling(layer: spatial.SpatialSubSampling, at: Run) -> Part | None:
    if at.rank != 4 or not all(window.plain for window in layer.windows(at.sized())):
        return None
    states = parameters(layer.weight.reshape(-1), layer.bias)
    stride = one((layer.dH, layer.dW))
    return at.module("SubSampling", layer.weight.size, one((layer.kH, layer.kW)), stride, states=states)


@rule(spatial.SpatialDepthWiseConvolution, says="nn.Conv2d with groups")
def depth_wise(layer: spatial.SpatialDepthWiseConvolution, at: Run) -> Part | None:
    shape = at.shape()
    if shape[-1] != shape[-2]:
        return None
    dense, _ = layer.dense()
    return _convolution(layer, at, parameters(dense, layer.offsets()))


@rule(full.SpatialFullConvolution, full.VolumetricFullConvolution, says="nn.ConvTranspose2d, nn.ConvTranspose3d")
def full_convolution(layer: full.FullConvolution, at: Run) -> Part | None:
    rank = len(layer.axes)
    if isinstance(at.given, tuple) or at.rank != rank + 2 or min(layer.per_axis("pad")) < 0:
        return None
    stride, dilation, adj = layer.per_axis("d", 1), layer.per_axis("dilation", 1), layer.per_axis("adj")
    if any(a >= max(s, d) for a, s, d in zip(adj, stride, dilation, strict=True)):
        return None
    named = options(
        stride=(stride, 1),
        padding=(layer.per_axis("pad"), 0),
        output_padding=(adj, 0),
        dilation=(dilation, 1),
    )
    if layer.bias is None:
        named["bias"] = False
    weight = layer.dense()
    channels = weight.shape[:2]
    name = f"nn.ConvTranspose{rank}d"
    return at.module(name, *channels, one(weight.shape[2:]), states=parameters(weight, layer.bias), **named)


@rule(temporal.TemporalConvolution)
def temporal_convolution(layer: temporal.TemporalConvolution, at: Run) -> Part | None:
    kernel, stride, pad = layer.taps()
    weight = layer.weight.reshape(layer.weight.shape[0], kernel, -1).transpose(0, 2, 1)
    named = options(stride=((stride,), 1), padding=((pad,), 0))
    if layer.bias is None:
        named["bias"] = False
    channels = weight.shape[1], weight.shape[0]
    return at.module("TemporalConvolution", *channels, kernel, states=parameters(weight, layer.bias), **named)


@rule(temporal.TemporalSubSampling)
def temporal_sub_sampling(layer: temporal.TemporalSubSampling, at: Run) -> Part | None:
    states = parameters(layer.weight.reshape(-1), layer.bias)
    return at.module("TemporalSubSampling", layer.weight.size, layer.kW, layer.dW, states=states)
