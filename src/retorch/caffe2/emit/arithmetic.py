"""Arithmetic between blobs with NumPy's broadcasting, in the forms that every Caffe2 since 2017 computes right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retorch.caffe2.emit.op import BOOL, INT32, Blob, Dims, Op


def broadcast(op: Op, a: Dims, b: Dims) -> Dims:
    """The dimensions of a result of ``a`` and ``b``."""
    rank = max(len(a), len(b))
    left, right = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    return tuple(y if x == 1 else x for x, y in zip(left, right, strict=True))


def binary(op: Op, kind: str, a: Blob, b: Blob) -> Blob:
    """``kind`` of two blobs; a constant second operand that covers whole axes goes as Caffe2's older rule wants it."""
    dims = broadcast(op, a.dims, b.dims)
    if a.dims == b.dims:
        return op.make(kind, [a, b], dims)
    if kind in ("Add", "Mul") and dims != a.dims and dims == b.dims:
        a, b = b, a
    legacy = _legacy(op, a, b) if dims == a.dims else None
    if legacy is None:
        return op.make(kind, [a, b], dims)
    block, axis = legacy
    return op.make(kind, [a, block], dims, broadcast=1, **({} if axis is None else {"axis": axis}))


def _legacy(op: Op, a: Blob, b: Blob) -> tuple[Blob, int | None] | None:
    """A parameter ``b`` as one block of the axes of ``a``, and where it starts; None where it is no such thing."""
    stored = op.draft.params.get(b.name)
    if stored is None:
        return None
    shape = (1,) * (a.rank - b.rank) + stored.shape
    long = [axis for axis, dim in enumerate(shape) if dim != 1]
    if not long:
        return _stored(op, b, (1,)), None
    first, last = long[0], long[-1] + 1
    if shape[first:last] != a.dims[first:last]:
        return None
    return _stored(op, b, shape[first:last]), first


def _stored(op: Op, b: Blob, shape: tuple[int, ...]) -> Blob:
    """The parameter in another shape: in place while it is read by this node only, else as another parameter."""
    array = op.draft.params[b.name]
    if array.shape == shape:
        return b
    if op.owns(b.name):
        op.draft.params[b.name] = array.reshape(shape)
        return Blob(b.name, shape)
    return op.param(array.reshape(shape), "operand")


def scale(op: Op, x: Blob, factor: float) -> Blob:
    """x * factor, for floats."""
    return x if factor == 1.0 else op.map("Scale", x, scale=factor)


def shift(op: Op, x: Blob, term: float) -> Blob:
    """x + term, for floats."""
    return x if term == 0.0 else binary(op, "Add", x, op.param(np.array([term], np.float32), "term"))


def fill(op: Op, x: Blob, value: float, kind: str = "float") -> Blob:
    """A blob of the dimensions of ``x`` with the same value everywhere; ``kind``: float, int or bool."""
    dtype = {"float": {}, "int": {"dtype": INT32}, "bool": {"dtype": BOOL}}[kind]
    return op.map("ConstantFill", x, value=value, **dtype)


def total(op: Op, kind: str, blobs: Sequence[Blob]) -> Blob:
    """Sum, Max or Min of any number of floats; Caffe2's own take equal dimensions only."""
    if len(blobs) == 1:
        return blobs[0]
    if all(blob.dims == blobs[0].dims for blob in blobs):
        return op.make(kind, blobs, blobs[0].dims)
    if kind == "Sum":
        sum_ = blobs[0]
        for blob in blobs[1:]:
            sum_ = binary(op, "Add", sum_, blob)
        return sum_
    dims = blobs[0].dims
    for blob in blobs[1:]:
        dims = broadcast(op, dims, blob.dims)
    return op.make(kind, [spread(op, blob, blobs, dims) for blob in blobs], dims)


def spread(op: Op, x: Blob, others: Sequence[Blob], dims: Dims) -> Blob:
    """``x`` broadcast to ``dims``, which the zeros of the others give it without a number."""
    for other in others:
        if x.dims != dims and broadcast(op, x.dims, other.dims) != x.dims:
            x = binary(op, "Add", fill(op, other, 0.0), x)
    return x


def reduce(op: Op, kind: str, x: Blob, axes: Sequence[int], *, keep: bool) -> Blob:
    """Reduce{Sum,Mean,Max,Min,L1,L2} over ``axes``."""
    if not axes:
        return x
    dims = tuple(1 if axis in axes else dim for axis, dim in enumerate(x.dims) if keep or axis not in axes)
    return op.make(kind, [x], dims, axes=sorted(axes), keepdims=int(keep))
