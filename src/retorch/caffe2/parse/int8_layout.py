"""Blobs of bytes with a scale, joined, cut and put in another order."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import RefusalError, axis_of, rank, size
from retorch.caffe2.parse.int8 import (
    blob_of,
    quantised,
)


def moved(rule: Rule) -> Rule:
    """A rule that moves bytes as ``rule`` moves numbers."""

    def run(call: Call) -> ir.Value:
        scales = [blob_of(call, at)[1] for at in range(len(call.inputs))]
        if any(scale != scales[0] for scale in scales):
            raise RefusalError("inputs of different scales")
        result = rule(call)
        y = result if isinstance(result, ir.Value) else result[0]
        if y is None:
            raise RefusalError("makes nothing")
        return quantised(call.graph.op("Identity", y) if y in call.inputs else y, scales[0])

    return run


def concat(call: Call) -> ir.Value:
    """Blobs of one scale after each other."""
    axis = axis_of(call.x, call.int("axis", 0))
    return call.graph.op("Concat", *call.inputs, axis=axis)


def resize_nearest(call: Call) -> ir.Value:
    """NHWC images, of which each pixel is the one at its place divided by the scale, rounded down."""
    g, x, wanted_sizes = call.graph, call.x, call.ints("output_size")
    for axis, name in ((1, "height_scale"), (2, "width_scale")):
        length, by = size(x, axis), np.float32(call.float(name, 1.0))
        if wanted_sizes:
            # Caffe2 divides whole numbers, so only multiples of the input's size come out as they are asked for.
            by = np.float32(wanted_sizes[axis - 1] // length)
            if by < 1:
                raise RefusalError(f"output_size {wanted_sizes} is less than the input, of which Caffe2 leaves nothing")
        wanted = int(np.float32(length) * by)
        places = np.minimum((np.arange(wanted).astype(np.float32) / by).astype(np.int64), length - 1)
        x = g.op("Gather", x, g.constant(places), axis=axis)
    return x


def channel_shuffle(call: Call) -> ir.Value:
    """The channels of ``group`` groups, dealt out in turn."""
    g, groups = call.graph, call.count("group", 1, 1 << 20)
    if rank(call.x) != 4:
        raise RefusalError(f"Int8ChannelShuffle of {rank(call.x)} dimensions")
    channels = size(call.x, 3)
    if channels % groups:
        raise RefusalError(f"{channels} channels in {groups} groups")
    order = np.arange(channels).reshape(groups, -1).T.ravel()
    return g.op("Gather", call.x, g.constant(order), axis=3)


def flatten(call: Call) -> ir.Value:
    """A matrix: what is before ``axis``, and what is from there on."""
    return call.graph.op("Flatten", call.x, axis=call.int("axis", 1))


def transpose(call: Call) -> ir.Value:
    """The dimensions in another order, reversed by default."""
    return call.graph.transpose(call.x, call.ints("axes") or tuple(reversed(range(rank(call.x)))))


def reshape(call: Call) -> ir.Value:
    """The same bytes in ``shape``: 0 is as before, -1 the rest."""
    return call.graph.reshape(call.x, call.ints("shape"))


def cut(call: Call) -> ir.Value:
    """From ``starts`` up to ``ends``, or along one ``dim`` from ``start_idx`` to ``end_idx``; -1 is the end."""
    starts, ends = call.ints("starts"), call.ints("ends")
    if all(call.has(name) for name in ("dim", "start_idx", "end_idx")):
        axis = axis_of(call.x, call.int("dim", 0))
        starts, ends = ((0,) * axis + (call.int("start_idx", 0),), (-1,) * axis + (call.int("end_idx", -1),))
    if not starts:
        raise RefusalError("no starts")
    if len(starts) != len(ends) or len(starts) > rank(call.x) or min(starts, default=0) < 0:
        raise RefusalError(f"starts {starts} with ends {ends}")
    y = call.x
    for axis, (start, end) in enumerate(zip(starts, ends, strict=True)):
        # Caffe2 counts negative ends from one behind the last
        y = call.graph.slice(y, axis, start, 2**31 - 1 if end == -1 else end + 1 if end < 0 else end)
    return y


RULES: Mapping[str, Rule] = {
    "Int8Concat": moved(concat),
    "Int8ResizeNearest": moved(resize_nearest),
    "Int8ChannelShuffle": moved(channel_shuffle),
    "Int8Flatten": moved(flatten),
    "Int8Transpose": moved(transpose),
    "Int8Reshape": moved(reshape),
    "Int8Slice": moved(cut),
}
