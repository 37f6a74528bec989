"""Shape-only steps that many rules share: each writes operators for an ``Op`` and returns the new blob."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from retorch.caffe2.emit.op import Blob, Dim, Dims, Op, SizeRefusalError, size


def target(x: Dims, dims: Dims) -> list[int]:
    """``dims`` as Caffe2's Reshape takes them: 0 copies the dimension at the same place, one -1 is worked out."""
    found: list[int] = []
    for place, dim in enumerate(dims):
        if isinstance(dim, int):
            found.append(dim)
        elif place < len(x) and x[place] == dim:
            found.append(0)
        else:
            found.append(-1)
    if found.count(-1) > 1:
        raise SizeRefusalError("more than one size is unknown")
    return found


def reshape(op: Op, x: Blob, dims: Dims) -> Blob:
    return x if x.dims == dims else op.make("Reshape", [x], dims, shape=target(x.dims, dims))


def expand_dims(op: Op, x: Blob, axes: Sequence[int]) -> Blob:
    """New dimensions of size 1; ``axes`` count in the result."""
    dims = list(x.dims)
    for axis in sorted(axes):
        dims.insert(axis, 1)
    return op.make("ExpandDims", [x], tuple(dims), dims=sorted(axes)) if axes else x


def squeeze(op: Op, x: Blob, axes: Sequence[int]) -> Blob:
    dims = tuple(dim for axis, dim in enumerate(x.dims) if axis not in axes)
    return op.make("Squeeze", [x], dims, dims=sorted(axes)) if axes else x


def transpose(op: Op, x: Blob, axes: Sequence[int]) -> Blob:
    if list(axes) == list(range(x.rank)):
        return x
    return op.make("Transpose", [x], tuple(x.dims[axis] for axis in axes), axes=axes)


def concat(op: Op, blobs: Sequence[Blob], axis: int) -> Blob:
    """Joined along ``axis``; a single blob stays what it is."""
    if len(blobs) == 1:
        return blobs[0]
    dims = list(blobs[0].dims)
    sizes = [blob.dims[axis] for blob in blobs]
    dims[axis] = (
        sum(known) if len(known := [s for s in sizes if isinstance(s, int)]) == len(sizes) else f"{op.y}.{axis}"
    )
    return op.make("Concat", blobs, tuple(dims), axis=axis)


def cut(op: Op, x: Blob, axis: int, start: int, end: int) -> Blob:
    """x[start:end] along ``axis``, 0 <= start < end; ``end`` below 0 counts from the end, with -1 the end itself.

    That is how Caffe2 counts.
    """
    dim = x.dims[axis]
    if isinstance(dim, int):
        end = dim if end == -1 else end + 1 + dim if end < 0 else min(end, dim)
        if (start, end) == (0, dim):
            return x
        end, length = -1 if end == dim else end, end - start
    elif end > 0:
        length: Dim = end - start
    elif (start, end) == (0, -1):
        return x
    else:
        length = f"{op.y}.{axis}"
    starts, ends = [0] * x.rank, [-1] * x.rank
    starts[axis], ends[axis] = start, end
    return op.make("Slice", [x], (*x.dims[:axis], length, *x.dims[axis + 1 :]), starts=starts, ends=ends)


def last(op: Op, x: Blob, axis: int, count: int) -> Blob:
    """x[-count:] along an axis whose size is not known: Caffe2 counts from one past the end."""
    starts, ends = [0] * x.rank, [-1] * x.rank
    starts[axis] = -count - 1
    return op.make("Slice", [x], (*x.dims[:axis], count, *x.dims[axis + 1 :]), starts=starts, ends=ends)


def volume(dims: Sequence[Dim], name: str) -> Dim:
    """The product; ``name`` where a factor is unknown."""
    known = [dim for dim in dims if isinstance(dim, int)]
    if len(known) == len(dims):
        return prod(known)
    return dims[0] if len(dims) == 1 else name


def around(op: Op, x: Blob, axis: int) -> Blob:
    """``x`` as (before, 1, dim, after): images whose height is the one axis, for operators that know images only."""
    before = volume(x.dims[:axis], f"{op.y}.before")
    after = volume(x.dims[axis + 1 :], f"{op.y}.after")
    return reshape(op, x, (before, 1, x.dims[axis], after))


def back(op: Op, view: Blob, x: Blob, axis: int) -> Blob:
    """Undoes ``around``: the dimensions of ``x`` with the ``axis`` of the view."""
    return reshape(op, view, (*x.dims[:axis], view.dims[2], *x.dims[axis + 1 :]))


def pad_axis(op: Op, x: Blob, axis: int, before: int, after: int, mode: str = "constant", value: float = 0.0) -> Blob:
    """Padding (below 0: cropping) along any axis; modes constant, edge and reflect."""
    if not before and not after:
        return x
    view = around(op, x, axis)
    made = pad_image(op, view, (before, 0, after, 0), mode, value)
    return back(op, made, x, axis)


def pad_image(op: Op, x: Blob, pads: tuple[int, int, int, int], mode: str = "constant", value: float = 0.0) -> Blob:
    """Padding of a 4-D blob: ``pads`` top, left, bottom, right; below 0: cropping."""
    top, left, bottom, right = pads
    height, width = x.dims[2], x.dims[3]
    tall = height if top == bottom == 0 else longer(op, height, top + bottom, "height")
    wide = width if left == right == 0 else longer(op, width, left + right, "width")
    fill = {"value": value} if mode == "constant" and value else {}
    return op.make("PadImage", [x], (x.dims[0], x.dims[1], tall, wide), pads=pads, mode=mode, **fill)


def longer(op: Op, dim: Dim, extra: int, name: str) -> Dim:
    return dim + extra if isinstance(dim, int) else f"{op.y}.{name}"


def normal(axis: int, rank: int) -> int:
    return axis + rank if axis < 0 else axis


def repeat(op: Op, x: Blob, axis: int, times: int) -> Blob:
    """The blob ``times`` times behind itself along ``axis``."""
    if times == 1:
        return x
    dim = x.dims[axis] * times if isinstance(x.dims[axis], int) else f"{op.y}.{axis}"
    if times == 0:
        size(f"{op.y}.{axis}")
    return op.make("Tile", [x], (*x.dims[:axis], dim, *x.dims[axis + 1 :]), tiles=times, axis=axis)
