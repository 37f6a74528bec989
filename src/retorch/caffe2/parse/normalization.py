"""Normalisation over batches, channels and neighbours, as it is at evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.graph import RefusalError, axis_of, dims, rank, size
from retorch.caffe2.parse.window import back, first


def spatial_bn(call: Call) -> ir.Value:
    """(x - mean) / sqrt(var + epsilon) * scale + bias, one of each per channel."""
    if not call.int("is_test", 0):
        raise RefusalError("SpatialBN in training mode (is_test is not set)")
    x = first(call, call.x)
    epsilon = call.float("epsilon", 1e-5)
    return back(call, call.graph.op("BatchNormalization", x, *call.inputs[1:5], epsilon=epsilon))


def instance_norm(call: Call) -> Results:
    """(x - mean) / sqrt(var + epsilon) * scale + bias, mean and variance of each channel of each image.

    Then the mean and 1/deviation.
    """
    x, epsilon = first(call, call.x), call.float("epsilon", 1e-5)
    y = call.graph.op("InstanceNormalization", x, call.input(1), call.input(2), epsilon=epsilon)
    return (back(call, y), *_instance_moments(call, x, epsilon))


def _instance_moments(call: Call, x: ir.Value, epsilon: float) -> Sequence[ir.Value | None]:
    if not call.wants(1) and not call.wants(2):
        return ()
    return _moments(call, call.graph.reshape(x, (0, 0, -1)), epsilon)


def group_norm(call: Call) -> Results:
    """As InstanceNorm, over ``group`` groups of channels; gamma and beta are per channel. Then mean and 1/deviation."""
    g, x = call.graph, first(call, call.x)
    group, epsilon = call.int("group", 32), call.float("epsilon", 1e-5)
    y = g.op("GroupNormalization", x, call.input(1), call.input(2), num_groups=group, epsilon=epsilon)
    # ONNX's inference stops at this operator.
    y.shape, y.type = x.shape, x.type
    return (back(call, y), *_group_moments(call, x, group, epsilon))


def _group_moments(call: Call, x: ir.Value, group: int, epsilon: float) -> Sequence[ir.Value | None]:
    if not call.wants(1) and not call.wants(2):
        return ()
    return _moments(call, call.graph.reshape(x, (0, group, -1)), epsilon)


def _moments(call: Call, rows: ir.Value, epsilon: float) -> Sequence[ir.Value | None]:
    """The mean over the last of three dimensions, and 1/deviation."""
    g, last = call.graph, call.graph.constant([2])
    mean = g.op("ReduceMean", rows, last, keepdims=1)
    centred = g.op("Sub", rows, mean)
    variance = g.op("ReduceMean", g.op("Mul", centred, centred), last, keepdims=0)
    deviation = g.op("Sqrt", g.op("Add", variance, g.scalar(epsilon, rows)))
    return (g.squeeze(mean, 2), g.op("Reciprocal", deviation))


def layer_norm(call: Call) -> Results:
    """(x - mean) / sqrt(var + epsilon) over all dimensions from ``axis`` on; then mean and deviation."""
    g, x = call.graph, call.x
    axis = axis_of(x, call.int("axis", 1))
    rest = g.constant(list(range(axis, rank(x))))
    mean = g.op("ReduceMean", x, rest, keepdims=1)
    centred = g.op("Sub", x, mean)
    variance = g.op("ReduceMean", g.op("Mul", centred, centred), rest, keepdims=1)
    deviation = g.op("Sqrt", g.op("Add", variance, g.scalar(call.float("epsilon", 1e-5), x)))
    y = g.op("Div", centred, deviation)
    if call.int("elementwise_affine", 0):
        gamma, beta = (g.op("Reshape", value, g.shape_of(x, axis, rank(x))) for value in call.inputs[1:3])
        y = g.op("Add", g.op("Mul", y, gamma), beta)
    trimmed = [g.squeeze(value, *range(axis + 1, rank(x))) for value in (mean, deviation)]
    return (y, *trimmed)


def lrn(call: Call) -> Results:
    """x / (bias + alpha / size * sum of squares over ``size`` neighbouring channels)^beta"""
    length = call.int("size", 0)
    if length < 1 or length % 2 == 0:
        raise RefusalError(f"LRN over {length} channels: Caffe2 is defined for odd sizes only")
    x = first(call, call.x)
    alpha, beta, bias = call.float("alpha", 0.0), call.float("beta", 0.0), call.float("bias", 1.0)
    y = call.graph.op("LRN", x, size=length, alpha=alpha, beta=beta, bias=bias)
    scale = _lrn_scale(call, x, length, alpha, bias) if call.wants(1) else None
    return (back(call, y), None if scale is None else back(call, scale))


def _lrn_scale(call: Call, x: ir.Value, length: int, alpha: float, bias: float) -> ir.Value:
    """bias + alpha / size * sum of squares over ``size`` neighbouring channels"""
    g = call.graph
    square = g.reshape(g.op("Mul", x, x), (0, 1, size(x, 1), -1))
    half = length // 2
    mean = g.op("AveragePool", square, kernel_shape=(length, 1), pads=(half, 0, half, 0), count_include_pad=1)
    y = g.op("Add", g.op("Mul", mean, g.scalar(alpha, x)), g.scalar(bias, x))
    return g.reshape_like(y, x)


def affine_channel(call: Call) -> ir.Value:
    """x * scale + bias, one of each per channel; what there is more of them is not read."""
    g, x = call.graph, call.x
    channel = rank(x) - 1 if call.channels_last() else 1
    shape = (-1, *(1,) * (rank(x) - channel - 1))
    scale, bias = (g.reshape(_of_channels(call, value, channel), shape) for value in call.inputs[1:3])
    return g.op("Add", g.op("Mul", x, scale), bias)


def _of_channels(call: Call, numbers: ir.Value, channel: int) -> ir.Value:
    """As many of the numbers as x has channels. Weights whose x is not known yet are taken to fit."""
    g, (given,), wanted = call.graph, dims(numbers), dims(call.x)[channel]
    if given is not None and (wanted is None or given == wanted):
        return numbers
    if given is not None and wanted is not None and given < wanted:
        raise RefusalError(f"{given} numbers for {wanted} channels")
    return g.op("Slice", numbers, g.constant([0]), g.shape_of(call.x, channel, channel + 1))


def channel_shuffle(call: Call) -> ir.Value:
    """Channels seen as (group, K), written as (K, group)."""
    g, x = call.graph, first(call, call.x)
    group, channels = call.int("group", 1), size(x, 1)
    if group < 1 or channels % group:
        raise RefusalError(f"{channels} channels in {group} groups")
    order = np.arange(channels).reshape(group, -1).T.ravel()
    return back(call, g.op("Gather", x, g.constant(order), axis=1))


def normalize(call: Call) -> ir.Value:
    """x over its Euclidean length along ``axis``, which is taken to be at least 1e-12."""
    g, x = call.graph, call.x
    axis = axis_of(x, call.int("axis", -1))
    norm = g.op("ReduceL2", x, g.constant([axis]), keepdims=1)
    return g.op("Div", x, g.op("Max", norm, g.scalar(1e-12, x)))


def normalize_l1(call: Call) -> ir.Value:
    """x over the sum of its absolute values along ``axis``."""
    g, x = call.graph, call.x
    return g.op("Div", x, g.op("ReduceL1", x, g.constant([axis_of(x, call.int("axis", -1))]), keepdims=1))


def moments(call: Call) -> Results:
    """Mean and variance over ``axes``."""
    g, x = call.graph, call.x
    axes = g.constant([axis_of(x, axis) for axis in call.ints("axes")] or list(range(rank(x))))
    keep = int(bool(call.int("keepdims", 1)))
    mean = g.op("ReduceMean", x, axes, keepdims=1)
    centred = g.op("Sub", x, mean)
    variance = g.op("ReduceMean", g.op("Mul", centred, centred), axes, keepdims=keep)
    return (g.op("ReduceMean", x, axes, keepdims=keep), variance)


RULES: Mapping[str, Rule] = {
    "SpatialBN": spatial_bn,
    "InstanceNorm": instance_norm,
    "GroupNorm": group_norm,
    "LayerNorm": layer_norm,
    "C10LayerNorm_DontUseThisOpYet": layer_norm,
    "LRN": lrn,
    "AffineChannel": affine_channel,
    "ChannelShuffle": channel_shuffle,
    "Normalize": normalize,
    "NormalizeL1": normalize_l1,
    "Moments": moments,
}
