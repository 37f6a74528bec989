"""Operators that move elements without changing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.graph import NeedsShapeError, RefusalError, axis_of, constant_of, dims, rank, size


def _list(call: Call, name: str) -> tuple[int, ...]:
    """A list argument of dimensions, which Caffe2 wants non-negative."""
    listed = call.ints(name)
    if any(axis < 0 for axis in listed):
        raise RefusalError(f"{name} {listed}: Caffe2 refuses negative dimensions here")
    return listed


def fixed(call: Call, index: int, what: str) -> tuple[int, ...]:
    """Integers that an input blob holds; a refusal where they come out of a calculation."""
    numbers = constant_of(call.input(index))
    if numbers is None:
        raise RefusalError(f"{what} comes from a blob that the network calculates")
    return tuple(int(number) for number in numbers.ravel())


def _known(x: ir.Value) -> Sequence[int]:
    """The integers of a blob, none where they come out of a calculation."""
    numbers = constant_of(x)
    return () if numbers is None else numbers.ravel().tolist()


def coalesce(call: Call) -> Results:
    """The inputs as they are, then all of their numbers after each other."""
    g = call.graph
    flat = [g.reshape(x, (-1,)) for x in call.inputs]
    return (*call.inputs, g.op("Concat", *flat, axis=0))


def reshape(call: Call) -> Results:
    """x in another shape: 0 keeps a size, -1 is the rest; the second output is the old shape."""
    g, x = call.graph, call.x
    if len(call.inputs) > 1:
        shape = g.cast(call.inputs[1], ir.DataType.INT64)
        if constant_of(call.inputs[1]) is not None:
            shape = g.constant(fixed(call, 1, "shape"))
        y = g.op("Reshape", x, shape)
    else:
        if not call.has("shape"):
            raise RefusalError("Reshape without shape")
        y = g.reshape(x, call.ints("shape"))
    return (y, _old_shape(call) if call.wants(1) else None)


def _old_shape(call: Call) -> ir.Value:
    """The sizes of x, in the type of the shape that is asked for."""
    g, sizes = call.graph, call.graph.shape_of(call.x)
    if len(call.inputs) < 2 or call.inputs[1].dtype != ir.DataType.INT32:
        return sizes
    known = constant_of(sizes)
    return g.cast(sizes, ir.DataType.INT32) if known is None else g.constant(known.astype(np.int32))


def flatten(call: Call) -> ir.Value:
    """A matrix: dimensions before ``axis`` are its rows."""
    return call.graph.op("Flatten", call.x, axis=call.int("axis", 1))


def flatten_to_vec(call: Call) -> ir.Value:
    """All elements in one dimension."""
    return call.graph.reshape(call.x, (-1,))


def resize_like(call: Call) -> ir.Value:
    """x in the shape of the second input."""
    return call.graph.reshape_like(call.x, call.input(1))


def transpose(call: Call) -> ir.Value:
    """The dimensions in the order ``axes``; reversed where it is missing."""
    axes = _list(call, "axes") or tuple(reversed(range(rank(call.x))))
    if len(axes) != rank(call.x):
        raise RefusalError(f"axes {axes} for {rank(call.x)} dimensions")
    return call.graph.op("Transpose", call.x, perm=axes)


def nchw2nhwc(call: Call) -> ir.Value:
    """Channels from dimension 1 to the end."""
    return call.graph.op("Transpose", call.x, perm=(0, *range(2, rank(call.x)), 1))


def nhwc2nchw(call: Call) -> ir.Value:
    """Channels from the end to dimension 1."""
    last = rank(call.x) - 1
    return call.graph.op("Transpose", call.x, perm=(0, last, *range(1, last)))


def expand_dims(call: Call) -> ir.Value:
    """New dimensions of size 1 at ``dims``."""
    return call.graph.unsqueeze(call.x, *sorted(set(_list(call, "dims"))))


def squeeze(call: Call) -> ir.Value:
    """x without its dimensions ``dims``, of size 1."""
    return call.graph.squeeze(call.x, *sorted(set(_list(call, "dims"))))


def _channel_axis(call: Call, default: int = -1) -> int:
    if call.has("axis"):
        if call.has("order"):
            raise RefusalError("axis together with order")
        return call.int("axis", default)
    return 3 if call.channels_last() else 1


def concat(call: Call) -> Results:
    """The inputs after each other along ``axis``, or side by side in a new one with ``add_axis``."""
    g, axis = call.graph, _channel_axis(call)
    added = bool(call.has("axis") and call.int("add_axis", 0))
    total = rank(call.x) + added
    if not -total <= axis < total:
        raise RefusalError(f"axis {axis} of {total} dimensions")
    parts = [g.unsqueeze(value, axis % total) for value in call.inputs] if added else list(call.inputs)
    y = g.op("Concat", *parts, axis=axis % total)
    return (y, _split_info(call, parts, axis % total) if call.wants(1) else None)


def _split_info(call: Call, parts: Sequence[ir.Value], axis: int) -> ir.Value:
    g = call.graph
    lengths = [g.shape_of(part, axis, axis + 1) for part in parts]
    return g.cast(g.op("Concat", *lengths, axis=0), ir.DataType.INT32)


def split(call: Call) -> Results:
    """x cut along ``axis``: into the sizes of ``split``, or equally."""
    g, x, pieces = call.graph, call.x, call.outputs
    axis = axis_of(x, _channel_axis(call))
    given = call.inputs[1] if len(call.inputs) > 1 else None
    sizes = call.ints("split") if given is None else tuple(_known(given))
    if sizes and len(sizes) != pieces:
        raise RefusalError(f"{len(sizes)} sizes for {pieces} outputs")
    if pieces == 1:
        parts: Sequence[ir.Value] = [x]
    elif sizes:
        parts = g.ops("Split", [x, g.constant(sizes)], pieces, axis=axis)
    elif given is not None:
        parts = g.ops("Split", [x, g.cast(given, ir.DataType.INT64)], pieces, axis=axis)
        for part in parts:
            part.shape = ir.Shape([None if at == axis else length for at, length in enumerate(dims(x))])
    else:
        if size(x, axis) % pieces:
            raise RefusalError(f"{size(x, axis)} does not divide into {pieces} equal parts")
        parts = g.ops("Split", [x], pieces, axis=axis, num_outputs=pieces)
    if call.has("axis") and call.int("add_axis", 0):
        parts = [g.squeeze(part, axis) for part in parts]
    return tuple(parts)


def slice_(call: Call) -> ir.Value:
    """x[starts:ends] in the leading dimensions; a negative number counts from one past the end."""
    g, x = call.graph, call.x
    if len(call.inputs) > 1 and any(constant_of(call.input(at)) is None for at in (1, 2)):
        return _slice_at(call)
    if len(call.inputs) > 1:
        starts, ends = fixed(call, 1, "starts"), fixed(call, 2, "ends")
    else:
        starts, ends = call.ints("starts"), call.ints("ends")
    if len(starts) != len(ends) or len(starts) > rank(x):
        raise RefusalError(f"starts {starts} and ends {ends} for {rank(x)} dimensions")
    whole = [
        (end == -1 or end == length) and not start for start, end, length in zip(starts, ends, dims(x), strict=False)
    ]
    cut = [axis for axis, everything in enumerate(whole) if not everything]
    if not cut:
        return x
    begin, end = ([_python_index(places[axis]) for axis in cut] for places in (starts, ends))
    return g.op("Slice", x, g.constant(begin), g.constant(end), g.constant(cut))


def _slice_at(call: Call) -> ir.Value:
    """The same, from where to where being calculated."""
    g, x = call.graph, call.x
    lengths = dims(call.input(1))[0]
    count = rank(x) if lengths is None else lengths
    sizes, zero = g.shape_of(x, 0, count), g.constant([0])
    bounds: list[ir.Value] = []
    for at in (1, 2):
        places = g.cast(call.input(at), ir.DataType.INT64)
        behind = g.op("Add", g.op("Add", places, sizes), g.constant([1]))
        bounds.append(g.op("Where", g.op("Less", places, zero), behind, places))
    y = g.op("Slice", x, *bounds, g.constant(list(range(count))))
    y.shape = ir.Shape([None] * count + list(dims(x)[count:]))
    return y


def _python_index(index: int) -> int:
    """Caffe2's -1 is one past the last element: for Python, as far as it goes."""
    if index >= 0:
        return index
    return 2**31 - 1 if index == -1 else index + 1


def tile(call: Call) -> ir.Value:
    """x repeated ``tiles`` times along ``axis``; inputs go before arguments."""
    g, x = call.graph, call.x
    if any(constant_of(value) is None for value in call.inputs[1:3]):
        return _tile_at(call)
    tiles = fixed(call, 1, "tiles")[0] if len(call.inputs) > 1 else call.int("tiles", 1)
    axis = axis_of(x, fixed(call, 2, "axis")[0] if len(call.inputs) > 2 else call.int("axis", 0))
    return g.op("Tile", x, g.constant([tiles if at == axis else 1 for at in range(rank(x))]))


def _tile_at(call: Call) -> ir.Value:
    """The same, how often or along which dimension being calculated."""
    g, x = call.graph, call.x
    tiles = g.reshape(g.cast(call.input(1), ir.DataType.INT64), (1,))
    axis = g.constant([call.int("axis", 0)])
    if len(call.inputs) > 2:
        axis = g.reshape(g.cast(call.inputs[2], ir.DataType.INT64), (1,))
    place = g.op("Mod", axis, g.constant([rank(x)]))
    chosen = g.op("Equal", g.constant(list(range(rank(x)))), place)
    y = g.op("Tile", x, g.op("Where", chosen, tiles, g.constant([1])))
    y.shape = ir.Shape([None] * rank(x))
    return y


def numpy_tile(call: Call) -> ir.Value:
    """x repeated along every dimension, as the second input says."""
    return call.graph.op("Tile", call.x, call.graph.cast(call.input(1), ir.DataType.INT64))


def expand(call: Call) -> ir.Value:
    """x broadcast against the shape in the second input, where anything below 1 keeps x's size."""
    g, shape = call.graph, call.input(1)
    known = constant_of(shape)
    if known is not None:
        return g.op("Expand", call.x, g.constant([max(int(length), 1) for length in known.ravel()]))
    return g.op("Expand", call.x, g.op("Max", g.cast(shape, ir.DataType.INT64), g.constant([1])))


def shape(call: Call) -> ir.Value:
    """The sizes of x, or of its ``axes``, as int64."""
    sizes = call.graph.shape_of(call.x)
    axes = call.ints("axes")
    return call.graph.op("Gather", sizes, call.graph.constant(axes)) if axes else sizes


def size_of(call: Call) -> ir.Value:
    """How many elements x has, as int64."""
    return call.graph.op("Size", call.x)


def prepend_dim(call: Call) -> ir.Value:
    """The first dimension as two, the first of them ``dim_size``."""
    count = call.int("dim_size", 0)
    if count < 1:
        raise RefusalError(f"dim_size {count}")
    length = dims(call.x)[0]
    if length is not None and length % count:
        raise RefusalError(f"dim_size {count} does not divide {length}")
    rest = [size(call.x, axis) for axis in range(1, rank(call.x))]
    return call.graph.reshape(call.x, (count, -1, *rest))


def merge_dim(call: Call) -> ir.Value:
    """The first two dimensions as one."""
    rest = dims(call.x)[2:]
    if None in rest:
        raise NeedsShapeError("MergeDim keeps sizes that are not known")
    return call.graph.reshape(call.x, (-1, *(length for length in rest if length is not None)))


RULES: Mapping[str, Rule] = {
    "Reshape": reshape,
    "Flatten": flatten,
    "FlattenToVec": flatten_to_vec,
    "ResizeLike": resize_like,
    "Transpose": transpose,
    "NCHW2NHWC": nchw2nhwc,
    "NHWC2NCHW": nhwc2nchw,
    "ExpandDims": expand_dims,
    "Squeeze": squeeze,
    "Concat": concat,
    "DepthConcat": concat,
    "Split": split,
    "UnsafeCoalesce": coalesce,
    "DepthSplit": split,
    "Slice": slice_,
    "Tile": tile,
    "NumpyTile": numpy_tile,
    "Expand": expand,
    "Shape": shape,
    "Size": size_of,
    "PrependDim": prepend_dim,
    "MergeDim": merge_dim,
}
