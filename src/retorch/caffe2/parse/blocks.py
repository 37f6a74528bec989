"""Pictures as blocks: spread over the batch and back, windows summed up, and channels normalised."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import RefusalError, rank, size
from retorch.caffe2.parse.window import back, first


def _setting(call: Call) -> tuple[int, list[int]]:
    """The size of a block, and top, left, bottom and right of the padding: only the top has an argument of its own."""
    if call.channels_last() or rank(call.x) != 4:
        raise RefusalError("blocks of anything but 4-D input, NCHW")
    pad = call.int("pad", 0)
    pads = [call.int("pad_t", pad), pad, pad, pad]
    if min(pads) < 0:
        raise RefusalError(f"padding {pads}")
    return call.count("block_size", 2, 1 << 12), pads


def space_to_batch(call: Call) -> ir.Value:
    """Each place of the blocks of a picture as a picture of its own, places first: (block², N) pictures."""
    g, (block, pads) = call.graph, _setting(call)
    x = g.op("Pad", call.x, g.constant([0, 0, *pads[:2], 0, 0, *pads[2:]])) if any(pads) else call.x
    channels = size(call.x, 1)
    length = [size(x, axis) for axis in (2, 3)]
    if any(each % block for each in length):
        raise RefusalError(f"{length} does not divide into blocks of {block}")
    split = g.reshape(x, (-1, channels, length[0] // block, block, length[1] // block, block))
    return g.reshape(g.transpose(split, (3, 5, 0, 1, 2, 4)), (-1, channels, *(each // block for each in length)))


def batch_to_space(call: Call) -> ir.Value:
    """The way back, without the padding."""
    g, (block, pads) = call.graph, _setting(call)
    channels, height, width = (size(call.x, axis) for axis in (1, 2, 3))
    split = g.reshape(call.x, (block, block, -1, channels, height, width))
    whole = g.reshape(g.transpose(split, (2, 3, 4, 0, 5, 1)), (-1, channels, height * block, width * block))
    rows = g.slice(whole, 2, pads[0], height * block - pads[2])
    return g.slice(rows, 3, pads[1], width * block - pads[3])


def _pair(call: Call, name: str, default: int) -> Sequence[int]:
    return [call.int(f"{name}_{side}", call.int(name, default)) for side in "hw"]


def col2im(call: Call) -> ir.Value:
    """What the windows of a picture see, added up at their places. The second input has the picture's shape."""
    g, kernel, like = call.graph, _pair(call, "kernel", 0), call.input(1)
    stride, dilation, pad = _pair(call, "stride", 1), _pair(call, "dilation", 1), call.int("pad", 0)
    if min(*kernel, *stride, *dilation) < 1 or math.prod(kernel) > 1 << 12 or pad < 0 or rank(like) != 4:
        raise RefusalError(f"a kernel of {list(kernel)} for a picture of {rank(like)} dimensions")
    picture = first(call, like)
    channels, lengths = size(picture, 1), g.shape_of(picture, 2, 4)
    if call.channels_last():
        # Channels vary faster than the places of the kernel there.
        split = g.reshape(call.x, (0, -1, math.prod(kernel), channels))
        rows = g.reshape(g.transpose(split, (0, 3, 2, 1)), (0, channels * math.prod(kernel), -1))
    else:
        rows = g.reshape(call.x, (0, channels * math.prod(kernel), -1))
    y = g.op("Col2Im", rows, lengths, g.constant(kernel), dilations=dilation, strides=stride, pads=[pad] * 4)
    if y.shape is None:
        y.shape = ir.Shape([None] * 4)
    return back(call, y)


def normalize_planar_yuv(call: Call) -> ir.Value:
    """(x - mean) / deviation of each channel. Inputs: pictures (N,C,H,W), means (1,C), deviations (1,C)."""
    g = call.graph
    mean, deviation = (g.reshape(g.slice(call.input(at), 0, 0, 1), (-1, 1, 1)) for at in (1, 2))
    return g.op("Div", g.op("Sub", call.x, mean), deviation)


RULES: Mapping[str, Rule] = {
    "SpaceToBatch": space_to_batch,
    "BatchToSpace": batch_to_space,
    "Col2Im": col2im,
    "NormalizePlanarYUV": normalize_planar_yuv,
}
