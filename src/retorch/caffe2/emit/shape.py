"""Operators that move elements and change none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from retorch.caffe2.emit.indexing import gather_axis
from retorch.caffe2.emit.op import BOOL, INT32, INT64, Blob, Op, RefusalError, Result, Rule, size
from retorch.caffe2.emit.pooling import every
from retorch.caffe2.emit.primitives import (
    concat,
    cut,
    expand_dims,
    last,
    normal,
    pad_axis,
    pad_image,
    repeat,
    reshape,
    squeeze,
    transpose,
)
from retorch.files.protobuf import Array


def identity(op: Op) -> Result:
    for name in ("seed", "training_mode"):
        op.int(name, 0)
    return op.blob(0)


def reshape_rule(op: Op) -> Result:
    x, shape = op.blob(0), op.integers(1, "the shape of a Reshape")
    if shape is None or op.int("allowzero", 0):
        raise RefusalError("Reshape with allowzero")
    return op.make("Reshape", [x], op.out_dims(), shape=shape)


def flatten(op: Op) -> Result:
    x = op.blob(0)
    return op.make("Flatten", [x], op.out_dims(), axis=normal(op.int("axis", 1), x.rank))


def transpose_rule(op: Op) -> Result:
    x = op.blob(0)
    return transpose(op, x, op.ints("perm", range(x.rank - 1, -1, -1)))


def squeeze_rule(op: Op) -> Result:
    x = op.blob(0)
    axes = op.integers(1, "the axes of a Squeeze")
    if axes is None:
        axes = tuple(axis for axis, dim in enumerate(x.dims) if size(dim) == 1)
    return squeeze(op, x, [normal(axis, x.rank) for axis in axes])


def unsqueeze(op: Op) -> Result:
    x, axes = op.blob(0), op.integers(1, "the axes of an Unsqueeze") or ()
    return expand_dims(op, x, [normal(axis, x.rank + len(axes)) for axis in axes])


def concat_rule(op: Op) -> Result:
    blobs = op.blobs()
    return concat(op, blobs, normal(op.int("axis", 0), blobs[0].rank))


def split(op: Op) -> Result:
    x = op.blob(0)
    axis = normal(op.int("axis", 0), x.rank)
    op.int("num_outputs", 0)
    sizes = op.integers(1, "the sizes of a Split")
    dims = [op.out_dims(index) for index in range(len(op.node.outputs))]
    if sizes is None:
        sizes = tuple(size(each[axis]) for each in dims)
    if len(sizes) == 1:
        return x
    return op.many("Split", [x], dims, axis=axis, split=sizes)


def slice_rule(op: Op) -> Result:
    x = op.blob(0)
    starts, ends = op.integers(1, "the starts of a Slice") or (), op.integers(2, "the ends of a Slice") or ()
    axes = op.integers(3, "the axes of a Slice") or tuple(range(len(starts)))
    steps = op.integers(4, "the steps of a Slice") or (1,) * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        x = _slice_axis(op, x, normal(axis, x.rank), (start, end, step))
    return x


def _slice_axis(op: Op, x: Blob, axis: int, span: tuple[int, int, int]) -> Blob:
    start, end, step = span
    dim = x.dims[axis]
    if isinstance(dim, str) and step > 0 and start >= 0 and (end < 0 or end > 1 << 30):
        x = cut(op, x, axis, start, end - 1 if end < 0 else -1)
        return _every(op, x, axis, step)
    if isinstance(dim, str) and step == 1 and start < 0 and end > 1 << 30:
        return last(op, x, axis, -start)
    if isinstance(dim, str) and step == 1 and 0 <= start < end:
        return cut(op, x, axis, start, end)
    places = range(size(dim))[start:end:step]
    if not places:
        raise RefusalError("a Slice of nothing")
    low, high = min(places), max(places) + 1
    x = cut(op, x, axis, low, high)
    return _every(op, x, axis, step)


def _every(op: Op, x: Blob, axis: int, step: int) -> Blob:
    if step > 0 and (step == 1 or op.is_float()):
        return every(op, x, axis, step)
    places = range(size(x.dims[axis]))
    return pick(op, x, axis, list(places[::step]))


def pick(op: Op, x: Blob, axis: int, places: Sequence[int]) -> Blob:
    """The elements at constant ``places`` along ``axis``."""
    return gather_axis(op, x, op.param(np.array(places, np.int32), "places"), axis)


def shape_rule(op: Op) -> Result:
    """The sizes, in the type of index arithmetic here."""
    x = op.blob(0)
    axes = range(x.rank)[op.int("start", 0) : op.int("end", x.rank)]
    if all(isinstance(x.dims[axis], int) for axis in axes):
        return op.param(np.array([x.dims[axis] for axis in axes], np.int32), "sizes")
    return op.map("Cast", op.make("Shape", [x], (len(axes),), axes=axes), to=INT32)


def expand(op: Op) -> Result:
    number = op.constant(0)
    if number is not None and number.ndim == 0 and op.constant(1) is None:
        return _filled_at_run(op, number)
    x, shape = op.blob(0), op.integers(1, "the shape of an Expand") or ()
    x = expand_dims(op, x, range(max(len(shape) - x.rank, 0)))
    for axis, wanted in zip(range(x.rank - 1, -1, -1), reversed(shape), strict=False):
        if x.dims[axis] == 1:
            x = repeat(op, x, axis, wanted)
    return x


def _filled_at_run(op: Op, number: Array) -> Result:
    """One number in a shape that the network calculates."""
    types = {ir.DataType.FLOAT: {}, ir.DataType.BOOL: {"dtype": BOOL}}
    dtype = types.get(op.value(0).dtype or ir.DataType.FLOAT, {"dtype": INT32})
    value = int(number) if dtype else float(number)
    shape = op.map("Cast", op.blob(1), to=INT64)
    return op.make("ConstantFill", [shape], op.out_dims(), input_as_shape=1, value=value, **dtype)


def filled(op: Op) -> Result:
    """A constant; its shape is known."""
    shape = op.integers(0, "the shape of a ConstantOfShape") or ()
    value = op.tensor("value", np.zeros(1, np.float32))
    return op.param(np.full(shape, value.ravel()[0]), "fill")


def tile(op: Op) -> Result:
    x, repeats = op.blob(0), op.integers(1, "the repeats of a Tile") or ()
    for axis, times in enumerate(repeats):
        x = repeat(op, x, axis, times)
    return x


def pad(op: Op) -> Result:
    x, mode = op.blob(0), op.string("mode", "constant")
    pads = op.integers(1, "the pads of a Pad") or ()
    value = op.number(2, "the value of a Pad") or 0.0
    axes = op.integers(3, "the axes of a Pad") or tuple(range(len(pads) // 2))
    if not op.is_float():
        raise RefusalError("padding of integers")
    ends = {normal(axis, x.rank): (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    ends = {axis: both for axis, both in ends.items() if any(both)}
    known = [(x.dims[axis], max(both)) for axis, both in ends.items() if max(both) > 0]
    if mode == "reflect" and any(isinstance(dim, int) and most >= dim for dim, most in known):
        raise RefusalError("a reflection of more than there is")  # Caffe2 would read beyond the image
    if mode == "wrap":
        for axis, (before, after) in ends.items():
            x = _wrap(op, x, axis, before, after)
        return x
    if x.rank == 4 and ends and set(ends) <= {2, 3}:
        (top, bottom), (left, right) = ends.get(2, (0, 0)), ends.get(3, (0, 0))
        return pad_image(op, x, (top, left, bottom, right), mode, value)
    for axis, (before, after) in ends.items():
        x = pad_axis(op, x, axis, before, after, mode, value)
    return x


def _wrap(op: Op, x: Blob, axis: int, before: int, after: int) -> Blob:
    """The other end goes on at each end; below 0 crops."""
    length = size(x.dims[axis])
    if max(before, after) > length:
        raise RefusalError("wrapping more than once around")
    body = cut(op, x, axis, max(-before, 0), length - max(-after, 0))
    parts = [cut(op, x, axis, length - before, length)] if before > 0 else []
    tail = [cut(op, x, axis, 0, after)] if after > 0 else []
    return concat(op, [*parts, body, *tail], axis)


def depth_to_space(op: Op) -> Result:
    x, block = op.blob(0), op.int("blocksize", 1)
    batch, channels, height, width = x.dims
    rest, columns_first = size(channels) // block**2, op.string("mode", "DCR") == "DCR"
    if isinstance(height, str) or isinstance(width, str):
        places = _places(rest, block, columns_first=columns_first)
        args = {"kernels": [block] * 2, "strides": [block] * 2, "pads": [0] * 4}
        return op.make("ConvTranspose", [x, op.param(places, "places")], op.out_dims(), **args)
    if columns_first:
        apart = reshape(op, x, (batch, block, block, rest, height, width))
        moved = transpose(op, apart, [0, 3, 4, 1, 5, 2])
    else:
        apart = reshape(op, x, (batch, rest, block, block, height, width))
        moved = transpose(op, apart, [0, 1, 4, 2, 5, 3])
    return reshape(op, moved, (batch, rest, size(height) * block, size(width) * block))


def _places(channels: int, block: int, *, columns_first: bool) -> NDArray[np.float32]:
    """Where each channel goes, as the kernels of a transposed convolution: for images of any size."""
    identity = np.eye(channels * block**2, dtype=np.float32)
    if columns_first:
        return identity.reshape(-1, block, block, channels).transpose(0, 3, 1, 2).copy()
    return identity.reshape(-1, channels, block, block)


def space_to_depth(op: Op) -> Result:
    x, block = op.blob(0), op.int("blocksize", 1)
    batch, channels, height, width = x.dims
    tall, wide = size(height) // block, size(width) // block
    apart = reshape(op, x, (batch, channels, tall, block, wide, block))
    moved = transpose(op, apart, [0, 3, 5, 1, 2, 4])
    return reshape(op, moved, (batch, size(channels) * block**2, tall, wide))


RULES: Mapping[str, Rule] = {
    "Concat": concat_rule,
    "ConstantOfShape": filled,
    "DepthToSpace": depth_to_space,
    "Dropout": identity,
    "Expand": expand,
    "Flatten": flatten,
    "Identity": identity,
    "Pad": pad,
    "Reshape": reshape_rule,
    "Shape": shape_rule,
    "Slice": slice_rule,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": squeeze_rule,
    "Tile": tile,
    "Transpose": transpose_rule,
    "Unsqueeze": unsqueeze,
}
