"""Sums, means and extremes over axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from retorch.caffe2.emit.arithmetic import binary, reduce
from retorch.caffe2.emit.op import FLOAT32, INT32, Blob, Op, RefusalError, Result, Rule, size
from retorch.caffe2.emit.primitives import concat, cut, normal, reshape, squeeze, volume

# Caffe2 adds one float after the other. From so many on, sums go in stages, whose errors are those of short sums.
LONG = 4096


def _axes(op: Op, x: Blob) -> tuple[int, ...]:
    """The axes from the second input (from the attribute in older operator sets); all of them where there are none."""
    axes = op.integers(1, "the axes of a reduction") if op.has(1) else op.ints("axes", ())
    if not axes:
        return () if op.int("noop_with_empty_axes", 0) else tuple(range(x.rank))
    op.int("noop_with_empty_axes", 0)
    return tuple(sorted(normal(axis, x.rank) for axis in axes))


def summed(op: Op, x: Blob, axes: Sequence[int], *, keep: bool) -> Blob:
    """The sum over ``axes``, in stages where it is long."""
    lengths = [dim for axis in axes if isinstance(dim := x.dims[axis], int)]
    if prod(lengths) < LONG or len(lengths) < len(axes):
        return reduce(op, "ReduceSum", x, axes, keep=keep)
    whole = x
    for axis in sorted(axes, reverse=True):
        whole = _staged(op, whole, axis)
    return whole if keep else squeeze(op, whole, axes)


def _staged(op: Op, x: Blob, axis: int) -> Blob:
    """The sum over one axis, kept as a 1: a long one as a table, its rows first."""
    length = size(x.dims[axis])
    width = next((w for w in range(int(length**0.5), 1, -1) if length % w == 0), 1)
    if length < LONG or width < 16:
        return reduce(op, "ReduceSum", x, [axis], keep=True)
    table = reshape(op, x, (*x.dims[:axis], width, length // width, *x.dims[axis + 1 :]))
    rows = reduce(op, "ReduceSum", table, [axis + 1], keep=False)
    return reduce(op, "ReduceSum", rows, [axis], keep=True)


def _reduction(op: Op) -> tuple[Blob, tuple[int, ...], bool]:
    x = op.blob(0)
    return x, _axes(op, x), bool(op.int("keepdims", 1))


def reduce_sum(op: Op) -> Result:
    x, axes, keep = _reduction(op)
    return summed(op, x, axes, keep=keep)


def mean(op: Op, x: Blob, axes: Sequence[int], *, keep: bool) -> Blob:
    """The mean over ``axes``, in stages where they are long."""
    lengths = [x.dims[axis] for axis in axes]
    if any(isinstance(length, str) for length in lengths) or prod(map(size, lengths)) < LONG:
        return reduce(op, "ReduceMean", x, axes, keep=keep)
    return op.map("Scale", summed(op, x, axes, keep=keep), scale=1 / prod(map(size, lengths)))


def reduce_mean(op: Op) -> Result:
    x, axes, keep = _reduction(op)
    return mean(op, x, axes, keep=keep)


def extreme(kind: str) -> Rule:
    def rule(op: Op) -> Result:
        x, axes, keep = _reduction(op)
        return reduce(op, kind, x, axes, keep=keep)

    return rule


def reduce_l1(op: Op) -> Result:
    x, axes, keep = _reduction(op)
    return summed(op, op.map("Abs", x), axes, keep=keep)


def reduce_l2(op: Op) -> Result:
    x, axes, keep = _reduction(op)
    return op.map("Sqrt", summed(op, op.map("Sqr", x), axes, keep=keep))


def sum_square(op: Op) -> Result:
    x, axes, keep = _reduction(op)
    return summed(op, op.map("Sqr", x), axes, keep=keep)


def log_sum(op: Op) -> Result:
    x, axes, keep = _reduction(op)
    return op.map("Log", summed(op, x, axes, keep=keep))


def log_sum_exp(op: Op) -> Result:
    """The largest goes in front: log sum exp x = m + log sum exp(x - m)."""
    x, axes, keep = _reduction(op)
    largest = reduce(op, "ReduceMax", x, axes, keep=True)
    sums = op.map("Log", summed(op, op.map("Exp", binary(op, "Sub", x, largest)), axes, keep=True))
    whole = binary(op, "Add", sums, largest)
    return whole if keep else squeeze(op, whole, axes)


def reduce_prod(op: Op) -> Result:
    """Halves times halves: Caffe2 has no product over an axis."""
    x, axes, keep = _reduction(op)
    if not op.is_float():
        x = op.map("Cast", x, to=FLOAT32)
    for axis in axes:
        while (length := size(x.dims[axis])) > 1:
            half = length // 2
            pairs = binary(op, "Mul", cut(op, x, axis, 0, half), cut(op, x, axis, half, 2 * half))
            x = concat(op, [pairs, cut(op, x, axis, length - 1, length)], axis) if length % 2 else pairs
    whole = x if keep else squeeze(op, x, axes)
    return whole if op.is_float() else op.map("Cast", whole, to=INT32)


def cumulative(op: Op) -> Result:
    """Running sums: a product with a triangle of ones."""
    x = op.blob(0)
    axis = normal(int(op.number(1, "the axis of a CumSum") or 0), x.rank)
    length = size(x.dims[axis])
    triangle = np.tri(length, length, -op.int("exclusive", 0), dtype=np.float32)
    if op.int("reverse", 0):
        triangle = triangle.T
    if not op.is_float():
        raise RefusalError("running sums of integers")
    return along(op, x, axis, np.ascontiguousarray(triangle))


def along(op: Op, x: Blob, axis: int, matrix: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Blob:
    """matrix @ x along ``axis``."""
    weight = op.param(matrix, "matrix")
    dims = (*x.dims[:axis], matrix.shape[0], *x.dims[axis + 1 :])
    after = volume(x.dims[axis + 1 :], f"{op.y}.after")
    before = volume(x.dims[:axis], f"{op.y}.before")
    view = reshape(op, x, (before, x.dims[axis], after))
    made = op.make("BatchMatMul", [weight, view], (before, matrix.shape[0], after), broadcast=1)
    return reshape(op, made, dims)


RULES: Mapping[str, Rule] = {
    "CumSum": cumulative,
    "ReduceL1": reduce_l1,
    "ReduceL2": reduce_l2,
    "ReduceLogSum": log_sum,
    "ReduceLogSumExp": log_sum_exp,
    "ReduceMax": extreme("ReduceMax"),
    "ReduceMean": reduce_mean,
    "ReduceMin": extreme("ReduceMin"),
    "ReduceProd": reduce_prod,
    "ReduceSum": reduce_sum,
    "ReduceSumSquare": sum_square,
}
