"""Convolution, its transpose, and matrix products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from retorch.caffe2.emit.arithmetic import binary, broadcast, scale
from retorch.caffe2.emit.op import Blob, Dims, Op, RefusalError, Result, Rule, size
from retorch.caffe2.emit.primitives import (
    concat,
    cut,
    expand_dims,
    normal,
    repeat,
    reshape,
    squeeze,
    transpose,
    volume,
)

Floats = NDArray[np.float32]


def window(op: Op, rank: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Strides, pads (begins, then ends) and dilations of a node over ``rank`` spatial dimensions."""
    if op.string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise RefusalError("auto_pad is not supported: give the pads")
    strides = op.ints("strides", (1,) * rank)
    pads = op.ints("pads", (0,) * (2 * rank))
    return strides, pads, op.ints("dilations", (1,) * rank)


def conv(op: Op) -> Result:
    x, inputs = op.blob(0), op.blobs()
    rank = x.rank - 2
    kernels = op.ints("kernel_shape", [size(dim) for dim in op.dims(1)[2:]])
    strides, pads, dilations = window(op, rank)
    group = op.int("group", 1)
    extra: dict[str, int | Sequence[int]] = {}
    if any(dilation != 1 for dilation in dilations):
        extra["dilations"] = dilations
    if group != 1:
        extra["group"] = group
    return op.make("Conv", inputs, op.out_dims(), kernels=kernels, strides=strides, pads=pads, **extra)


def conv_transpose(op: Op) -> Result:
    x = op.blob(0)
    rank = x.rank - 2
    if op.ints("output_shape", ()):
        raise RefusalError("output_shape is not supported: give the pads")
    kernel = op.floats(1, "the kernel")
    op.ints("kernel_shape", kernel.shape[2:])
    strides, pads, dilations = window(op, rank)
    adjs = op.ints("output_padding", (0,) * rank)
    group = op.int("group", 1)
    wide = widened(kernel, dilations)
    if rank == 3:
        return _stuffed(op, x, wide, group, strides, pads, adjs)
    # Caffe2 wants adjs below the stride; a kernel that goes on with zeros makes the result longer just as well.
    beyond = tuple(adj if adj >= stride else 0 for adj, stride in zip(adjs, strides, strict=True))
    wide = np.pad(wide, [(0, 0), (0, 0), *((0, extra) for extra in beyond)])
    adjs = tuple(adj - extra for adj, extra in zip(adjs, beyond, strict=True))
    if rank == 1:
        wide, strides, adjs = wide[:, :, None, :], (1, *strides), (0, *adjs)
        pads = (0, pads[0], 0, pads[1])
        image = expand_dims(op, x, [2])
        return squeeze(op, _planar(op, image, wide, group, strides, pads, adjs), [2])
    return _planar(op, x, wide, group, strides, pads, adjs)


def widened(kernel: Floats, dilations: Sequence[int]) -> Floats:
    """The kernel with ``dilation - 1`` zeros between its elements."""
    if all(dilation == 1 for dilation in dilations):
        return kernel
    spread = [(k - 1) * d + 1 for k, d in zip(kernel.shape[2:], dilations, strict=True)]
    wide = np.zeros((*kernel.shape[:2], *spread), np.float32)
    wide[(slice(None), slice(None), *(slice(None, None, d) for d in dilations))] = kernel
    return wide


def _planar(
    op: Op,
    x: Blob,
    kernel: Floats,
    group: int,
    strides: Sequence[int],
    pads: Sequence[int],
    adjs: Sequence[int],
) -> Blob:
    """The 2-D ConvTranspose; groups one by one where the old Caffe2 must understand."""
    args: Mapping[str, Sequence[int]] = {"kernels": kernel.shape[2:], "strides": strides, "pads": pads}
    args = {**args, "adjs": adjs} if any(adjs) else args
    tall, wide = (
        _transposed(x.dims[2 + i], kernel.shape[2 + i], strides[i], pads[i] + pads[2 + i], adjs[i], op)
        for i in range(2)
    )
    if group == 1 or op.options.release == "1.10":
        weight = op.blob(1) if kernel is op.constant(1) else op.weight(1, kernel, "wide")
        extra = {} if group == 1 else {"group": group}
        dims = (x.dims[0], kernel.shape[1] * group, tall, wide)
        return op.make("ConvTranspose", [x, weight, *op.blobs()[2:]], dims, **args, **extra)
    each = kernel.shape[0] // group
    bias = op.floats(2, "the bias") if op.has(2) else None
    parts = op.many("Split", [x], [(x.dims[0], each, *x.dims[2:])] * group, axis=1, split=[each] * group)
    made: list[Blob] = []
    for index, part in enumerate(parts):
        inputs = [part, op.param(kernel[index * each : (index + 1) * each], f"w{index + 1}")]
        if bias is not None:
            inputs.append(op.param(bias.reshape(group, -1)[index], f"b{index + 1}"))
        made.append(op.make("ConvTranspose", inputs, (x.dims[0], kernel.shape[1], tall, wide), **args))
    return concat(op, made, 1)


def _transposed(dim: int | str, kernel: int, stride: int, pads: int, adj: int, op: Op) -> int | str:
    """The length of a transposed convolution's result."""
    return (dim - 1) * stride + kernel - pads + adj if isinstance(dim, int) else f"{op.y}.long"


def _stuffed(
    op: Op,
    x: Blob,
    kernel: Floats,
    group: int,
    strides: Sequence[int],
    pads: Sequence[int],
    adjs: Sequence[int],
) -> Blob:
    """3-D: zeros between the elements, then a convolution with the turned kernel. Caffe2 has no such operator."""
    spread = stuff(op, x, strides)
    turned = kernel.reshape(group, kernel.shape[0] // group, *kernel.shape[1:]).swapaxes(1, 2)
    turned = turned.reshape(-1, kernel.shape[0] // group, *kernel.shape[2:])[:, :, ::-1, ::-1, ::-1]
    begins = [k - 1 - p for k, p in zip(kernel.shape[2:], pads[:3], strict=True)]
    ends = [k - 1 - p + adj for k, p, adj in zip(kernel.shape[2:], pads[3:], adjs, strict=True)]
    for axis, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        if begin < 0 or end < 0:  # padding beyond the kernel takes elements away
            spread = cut(op, spread, axis + 2, max(-begin, 0), -1 - max(-end, 0))
    pads = [max(pad, 0) for pad in (*begins, *ends)]
    weight = op.weight(1, np.ascontiguousarray(turned), "turned")
    extra = {} if group == 1 else {"group": group}
    inputs = [spread, weight, *op.blobs()[2:]]
    return op.make("Conv", inputs, op.out_dims(), kernels=kernel.shape[2:], strides=[1, 1, 1], pads=pads, **extra)


def stuff(op: Op, x: Blob, strides: Sequence[int]) -> Blob:
    """(N, C, T, H, W) with ``stride - 1`` zeros between the elements of each spatial axis.

    A transposed 1x1 convolution with a kernel of one 1 does it for two axes at a time.
    """
    if all(stride == 1 for stride in strides):
        return x
    one = op.param(np.ones((1, 1, 1, 1), np.float32), "one")
    depth, height, width = (size(dim) for dim in x.dims[2:])
    deep, tall, wide = ((n - 1) * s + 1 for n, s in zip((depth, height, width), strides, strict=True))

    def spread(image: Blob, pair: tuple[int, int], dims: Dims) -> Blob:
        args = {"kernels": [1, 1], "strides": pair, "pads": [0, 0, 0, 0]}
        return op.make("ConvTranspose", [image, one], dims, **args)

    channels = volume(x.dims[:3], f"{op.y}.channels")
    image = spread(reshape(op, x, (channels, 1, height, width)), (strides[1], strides[2]), (channels, 1, tall, wide))
    maps = volume(x.dims[:2], f"{op.y}.maps")
    lines = reshape(op, image, (maps, 1, depth, tall * wide))
    full = spread(lines, (strides[0], 1), (maps, 1, deep, tall * wide))
    return reshape(op, full, (*x.dims[:2], deep, tall, wide))


def gemm(op: Op) -> Result:
    """alpha * A @ B + beta * C: a fully connected layer where B and C are constant."""
    x = op.blob(0)
    alpha, beta = op.float("alpha", 1.0), op.float("beta", 1.0)
    trans_b = op.int("transB", 0)
    if op.int("transA", 0):
        x = transpose(op, x, [1, 0])
    bias = op.constant(2)
    if op.constant(1) is None or (op.has(2) and not _is_row(bias, op.out_dims()[1])):
        product = op.make("MatMul", [x, op.blob(1)], op.out_dims(), **({"trans_b": 1} if trans_b else {}))
        product = scale(op, product, alpha)
        return binary(op, "Add", product, scale(op, op.blob(2), beta)) if op.has(2) else product
    matrix = op.floats(1, "the weight")
    rows = matrix if trans_b else matrix.T
    kept = trans_b and alpha == 1.0
    weight = op.blob(1) if kept else op.weight(1, np.ascontiguousarray(rows * np.float32(alpha)), "rows")
    return op.make("FC", [x, weight, _bias(op, rows.shape[0], beta)], op.out_dims())


def _is_row(bias: NDArray[np.generic] | None, width: int | str) -> bool:
    return bias is not None and (bias.ndim < 2 or bias.shape[0] == 1) and bias.size in (1, width)


def _bias(op: Op, width: int, beta: float) -> Blob:
    """FC demands a bias: zeros where there is none."""
    if not op.has(2):
        return op.param(np.zeros(width, np.float32), "b")
    bias = op.floats(2, "the bias")
    if bias.shape == (width,) and beta == 1.0:
        return op.blob(2)
    row = np.broadcast_to(bias.reshape(-1) * np.float32(beta), (width,))
    return op.weight(2, np.ascontiguousarray(row), "row")


def matmul(op: Op) -> Result:
    a, b = op.blob(0), op.blob(1)
    if a.rank == 1 or b.rank == 1:
        return _with_vector(op, a, b)
    return product(op, a, b)


def _with_vector(op: Op, a: Blob, b: Blob) -> Blob:
    """A vector is a matrix of one row on the left, of one column on the right; that dimension goes afterwards."""
    left = expand_dims(op, a, [0]) if a.rank == 1 else a
    right = expand_dims(op, b, [1]) if b.rank == 1 else b
    made = product(op, left, right)
    gone = [made.rank - 2] if a.rank == 1 else []
    return squeeze(op, made, [*gone, made.rank - 1] if b.rank == 1 else gone)


def product(op: Op, a: Blob, b: Blob) -> Blob:
    """a @ b for two ranks of at least 2. BatchMatMul repeats a whole operand, not single batch dimensions."""
    if a.rank == 2 and b.rank == 2:
        return op.make("MatMul", [a, b], (a.dims[0], b.dims[1]))
    batch = broadcast(op, a.dims[:-2], b.dims[:-2])
    dims = (*batch, a.dims[-2], b.dims[-1])
    if a.dims[:-2] == b.dims[:-2]:
        return op.make("BatchMatMul", [a, b], dims)
    a, b = _batched(op, a, batch), _batched(op, b, batch)
    if a.rank == b.rank == 2:
        return reshape(op, product(op, a, b), dims)
    kept = (*broadcast(op, a.dims[:-2], b.dims[:-2]), *dims[-2:])
    return reshape(op, op.make("BatchMatMul", [a, b], kept, broadcast=1), dims)


def _batched(op: Op, x: Blob, batch: Dims) -> Blob:
    """The operand with the batch dimensions that it has, repeated where they are 1 and should not be."""
    own = x.dims[:-2]
    first = next((place for place, dim in enumerate(own) if dim != 1), len(own))
    if batch[len(batch) - len(own) + first :] == own[first:]:  # only leading 1s: those may go
        return reshape(op, x, x.dims[first:])
    for axis in range(len(own)):
        wanted = batch[len(batch) - len(own) + axis]
        if own[axis] != wanted:
            x = repeat(op, x, axis, size(wanted))
    return x


RULES: Mapping[str, Rule] = {"Conv": conv, "ConvTranspose": conv_transpose, "Gemm": gemm, "MatMul": matmul}
__all__ = ["RULES", "normal", "product", "window"]
