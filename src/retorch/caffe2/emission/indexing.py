"""Elements picked by index."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from retorch.caffe2.emission.op import INT32, Blob, Op, RefusalError, Result, Rule
from retorch.caffe2.emission.shaping import normal, reshape, volume


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
        dim = x.dims[axis]
        if isinstance(dim, str):
            raise RefusalError("negative indices into a size that is unknown")
        return gather_axis(op, x, op.weight(1, np.where(whole < 0, whole + dim, whole), "places"), axis)
    return gather_axis(op, x, op.blob(1), axis)


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


RULES: Mapping[str, Rule] = {"ArgMax": arg("ArgMax"), "ArgMin": arg("ArgMin"), "Gather": gather, "TopK": top_k}
