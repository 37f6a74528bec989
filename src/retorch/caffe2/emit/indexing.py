"""Elements picked by index, and put there."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from retorch.caffe2.emit.arithmetic import binary, fill, reduce, scale, shift
from retorch.caffe2.emit.op import FLOAT32, INT32, Blob, Dims, Op, RefusalError, Result, Rule, size
from retorch.caffe2.emit.primitives import cut, expand_dims, normal, reshape, squeeze, volume


def gather_axis(op: Op, x: Blob, indices: Blob, axis: int) -> Blob:
    """x with its ``axis`` replaced by what ``indices`` pick: Gather on the first axis, BatchGather on the second."""
    dims = (*x.dims[:axis], *indices.dims, *x.dims[axis + 1 :])
    if axis == 0:
        return op.make("Gather", [x, indices], dims)
    if axis == 1:
        return op.make("BatchGather", [x, indices], dims)
    before = volume(x.dims[:axis], f"{op.y}.before")
    view = reshape(op, x, (before, *x.dims[axis:]))
    made = op.make("BatchGather", [view, indices], (before, *indices.dims, *x.dims[axis + 1 :]))
    return reshape(op, made, dims)


def gather(op: Op) -> Result:
    x = op.blob(0)
    axis = normal(op.int("axis", 0), x.rank)
    known = op.constant(1)
    if known is None:
        return gather_axis(op, x, op.blob(1), axis)
    whole = known.astype(np.int32)
    if (whole < 0).any():
        dim = size(x.dims[axis])
        return gather_axis(op, x, op.weight(1, np.where(whole < 0, whole + dim, whole), "places"), axis)
    return gather_axis(op, x, op.blob(1), axis)


def counted(op: Op, x: Blob) -> Blob:
    """0, 1, 2, ... along the first axis of ``x``, with 1s for its other axes: the ids of segments of length 1."""
    if isinstance(x.dims[0], int):
        return op.param(np.arange(x.dims[0], dtype=np.int32).reshape(-1, *(1,) * (x.rank - 1)), "numbers")
    line = reduce(op, "ReduceMax", x, range(1, x.rank), keep=False)
    numbers = op.map("LengthsToSegmentIds", fill(op, line, 1, "int"))
    return reshape(op, numbers, (x.dims[0], *(1,) * (x.rank - 1)))


def linear(op: Op, indices: Blob, data: Dims, axis: int) -> Blob:
    """Where in the flattened data the elements lie at the places of the indices, but along ``axis`` where these say."""
    strides = [prod(size(dim) for dim in data[at + 1 :]) for at in range(len(data))]
    places = np.zeros((1, *(size(dim) for dim in indices.dims[1:])), np.int32)
    for at in range(1, len(data)):
        if at != axis:
            shape = [-1 if other == at else 1 for other in range(len(data))]
            places = places + (np.arange(size(indices.dims[at]), dtype=np.int32) * strides[at]).reshape(shape)
    found = _times(op, indices, strides[axis])
    if places.any():
        found = binary(op, "Add", found, op.param(places, "offsets"))
    if axis != 0:
        found = binary(op, "Add", found, _times(op, counted(op, indices), strides[0]))
    return found


def _times(op: Op, x: Blob, factor: int) -> Blob:
    return x if factor == 1 else binary(op, "Mul", x, op.param(np.array([factor], np.int32), "stride"))


def compress(op: Op) -> Result:
    """What stands where the condition is true, along the first axis; without an axis, of all elements in order."""
    x, chosen = op.blob(0), op.blob(1)
    axis = op.int("axis", x.rank)
    if axis == x.rank:
        x, axis = reshape(op, x, (volume(x.dims, f"{op.y}.all"),)), 0
    if normal(axis, x.rank) != 0:
        raise RefusalError(f"Compress along axis {axis}")
    if x.dims[0] != chosen.dims[0] and size(x.dims[0]) != size(chosen.dims[0]):
        raise RefusalError(f"a condition of {chosen.dims[0]} for {x.dims[0]} entries")
    return op.make("BooleanMask", [x, chosen], op.out_dims())


def gather_elements(op: Op) -> Result:
    x, indices = op.blob(0), op.blob(1)
    axis = normal(op.int("axis", 0), x.rank)
    flat = reshape(op, x, (volume(x.dims, f"{op.y}.all"),))
    return op.make("Gather", [flat, linear(op, indices, x.dims, axis)], indices.dims)


def scatter_elements(op: Op) -> Result:
    data, indices, updates = op.blobs()
    axis = normal(op.int("axis", 0), data.rank)
    return _scattered(op, data, linear(op, indices, data.dims, axis), updates)


def _scattered(op: Op, data: Blob, places: Blob, updates: Blob) -> Blob:
    """A flat copy of the data, written into at ``places``."""
    if op.string("reduction", "none") != "none":
        raise RefusalError("a scatter that reduces")
    count = volume(places.dims, f"{op.y}.count")
    copy = op.make("Reshape", [data], (volume(data.dims, f"{op.y}.all"),), shape=[-1])
    op.assign(copy, reshape(op, places, (count,)), reshape(op, updates, (count,)))
    return op.make("Reshape", [copy], data.dims, shape=[-1 if isinstance(dim, str) else dim for dim in data.dims])


def _rows(op: Op, x: Blob, indices: Blob) -> tuple[Blob, int]:
    """The rows that the last axis of ``indices`` names, numbered through; and over how many axes of ``x`` they run."""
    if op.int("batch_dims", 0):
        raise RefusalError("batch_dims")
    depth = size(indices.dims[-1])
    strides = [prod(size(dim) for dim in x.dims[at + 1 : depth]) for at in range(depth)]
    row: Blob | None = None
    for at, stride in enumerate(strides):
        term = _times(op, cut(op, indices, indices.rank - 1, at, at + 1), stride)
        row = term if row is None else binary(op, "Add", row, term)
    if row is None:
        raise RefusalError("indices of no axes")
    return squeeze(op, row, [indices.rank - 1]), depth


def gather_nd(op: Op) -> Result:
    x = op.blob(0)
    row, depth = _rows(op, x, op.blob(1))
    table = reshape(op, x, (volume(x.dims[:depth], f"{op.y}.rows"), *x.dims[depth:]))
    return op.make("Gather", [table, row], (*row.dims, *x.dims[depth:]))


def scatter_nd(op: Op) -> Result:
    data, indices, updates = op.blobs()
    row, depth = _rows(op, data, indices)
    length = prod(size(dim) for dim in data.dims[depth:])
    lines = reshape(op, row, (volume(row.dims, f"{op.y}.lines"), 1))
    inner = op.param(np.arange(length, dtype=np.int32).reshape(1, -1), "inner")
    return _scattered(op, data, binary(op, "Add", _times(op, lines, length), inner), updates)


def one_hot(op: Op) -> Result:
    """on where the index says so, off elsewhere; negative indices count from the end."""
    indices, depth, values = op.blob(0), op.number(1, "the depth"), op.floats(2, "the values of a OneHot")
    if depth is None:
        raise RefusalError("OneHot without a depth")
    axis = normal(op.int("axis", -1), indices.rank + 1)
    wide = expand_dims(op, indices, [axis])
    if op.is_float():
        wide = op.map("Cast", wide, to=INT32)
    shape = [-1 if at == axis else 1 for at in range(wide.rank)]
    numbers = np.arange(int(depth), dtype=np.int32).reshape(shape)
    ahead = binary(op, "EQ", wide, op.param(numbers, "classes"))
    back = binary(op, "EQ", wide, op.param(numbers - int(depth), "classes"))
    chosen = op.map("Cast", binary(op, "Or", ahead, back), to=FLOAT32)
    return shift(op, scale(op, chosen, float(values[1] - values[0])), float(values[0]))


def arg(kind: str) -> Rule:
    def rule(op: Op) -> Result:
        x = op.blob(0)
        axis, keep = normal(op.int("axis", 0), x.rank), op.int("keepdims", 1)
        if op.int("select_last_index", 0):
            raise RefusalError("select_last_index")
        found = op.make(kind, [x], op.out_dims(), axis=axis, keepdims=keep)
        return op.map("Cast", found, to=INT32)

    return rule


def top_k(op: Op) -> Result:
    x = op.blob(0)
    axis, count = normal(op.int("axis", -1), x.rank), op.number(1, "k")
    largest = op.int("largest", 1)
    op.int("sorted", 1)
    source = x if largest else op.map("Negative", x)
    dims = [op.out_dims(0), op.out_dims(1)]
    values, places = op.many("TopK", [source], dims, k=int(count or 1), axis=axis)
    if not largest:
        values = op.map("Negative", values)
    return values, op.map("Cast", places, to=INT32)


RULES: Mapping[str, Rule] = {
    "ArgMax": arg("ArgMax"),
    "ArgMin": arg("ArgMin"),
    "Compress": compress,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "OneHot": one_hot,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "TopK": top_k,
}
