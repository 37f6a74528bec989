"""Normalisation over batches, instances, layers, channels and neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from retorch.caffe2.emit.arithmetic import binary, fill, reduce, scale, shift
from retorch.caffe2.emit.op import Blob, Op, RefusalError, Result, Rule, size
from retorch.caffe2.emit.primitives import expand_dims, normal, pad_image, reshape, squeeze, volume
from retorch.caffe2.emit.reduction import mean


def batch_norm(op: Op) -> Result:
    """SpatialBN refuses an epsilon of 0, and on the old Caffe2 a batch of vectors."""
    x, epsilon = op.blob(0), op.float("epsilon", 1e-5)
    op.float("momentum", 0.9)
    if op.int("training_mode", 0):
        raise RefusalError("a batch normalisation that is training")
    if epsilon <= 0:
        return _folded(op, x)
    image = expand_dims(op, x, [2]) if x.rank == 2 and op.options.release == "1.0" else x
    made = op.make("SpatialBN", [image, *op.blobs()[1:]], image.dims, is_test=1, epsilon=epsilon)
    return squeeze(op, made, [2]) if image is not x else made


def _folded(op: Op, x: Blob) -> Blob:
    """x * s + (b - mean * s), s = scale / sqrt(variance): worked out here, in float64."""
    gain, bias, middle, variance = (op.known(index, "a statistic").astype(np.float64) for index in range(1, 5))
    factor = gain / np.sqrt(variance + op.float("epsilon", 1e-5))
    shape = (-1, *(1,) * (x.rank - 2))
    scaled = binary(op, "Mul", x, op.param(factor.astype(np.float32).reshape(shape), "factor"))
    term = (bias - middle * factor).astype(np.float32).reshape(shape)
    return binary(op, "Add", scaled, op.param(term, "term"))


def standardized(op: Op, x: Blob, axes: Sequence[int], epsilon: float) -> Blob:
    """(x - mean) / sqrt(variance + epsilon) in two passes: Caffe2's own take E x^2 - (E x)^2, wrong at large means."""
    centred = binary(op, "Sub", x, mean(op, x, axes, keep=True))
    variance = mean(op, op.map("Sqr", centred), axes, keep=True)
    return binary(op, "Div", centred, op.map("Sqrt", shift(op, variance, epsilon)))


def _per_channel(op: Op, x: Blob, index: int) -> Blob:
    """The (C,) input in a shape that broadcasts over channels."""
    known = op.constant(index)
    shape = (size(op.dims(index)[0]), *(1,) * (x.rank - 2))
    return reshape(op, op.blob(index), shape) if known is None else op.weight(index, known.reshape(shape), "channels")


def instance_norm(op: Op) -> Result:
    x = op.blob(0)
    made = standardized(op, x, range(2, x.rank), op.float("epsilon", 1e-5))
    scaled = binary(op, "Mul", made, _per_channel(op, x, 1))
    return binary(op, "Add", scaled, _per_channel(op, x, 2))


def group_norm(op: Op) -> Result:
    x, groups = op.blob(0), op.int("num_groups", 1)
    op.int("stash_type", 1)
    rest = volume(x.dims[1:], f"{op.y}.rest")
    apart = reshape(op, x, (x.dims[0], groups, size(rest) // groups))
    made = reshape(op, standardized(op, apart, [2], op.float("epsilon", 1e-5)), x.dims)
    scaled = binary(op, "Mul", made, _per_channel(op, x, 1))
    return binary(op, "Add", scaled, _per_channel(op, x, 2))


def layer_norm(op: Op) -> Result:
    x = op.blob(0)
    axis = normal(op.int("axis", -1), x.rank)
    op.int("stash_type", 1)
    made = standardized(op, x, range(axis, x.rank), op.float("epsilon", 1e-5))
    scaled = binary(op, "Mul", made, op.blob(1))
    return binary(op, "Add", scaled, op.blob(2)) if op.has(2) else scaled


def lp_norm(op: Op) -> Result:
    x = op.blob(0)
    axis, p = normal(op.int("axis", -1), x.rank), op.int("p", 2)
    return binary(op, "Div", x, reduce(op, f"ReduceL{p}", x, [axis], keep=True))


def mean_variance(op: Op) -> Result:
    """(x - mean) / standard deviation; ONNX adds 1e-9 to the deviation."""
    x, axes = op.blob(0), op.ints("axes", (0, 2, 3))
    centred = binary(op, "Sub", x, mean(op, x, axes, keep=True))
    variance = mean(op, op.map("Sqr", centred), axes, keep=True)
    return binary(op, "Div", centred, shift(op, op.map("Sqrt", variance), 1e-9))


def lrn(op: Op) -> Result:
    """x / (bias + alpha / size * sum of the squares of neighbouring channels) ** beta."""
    x, width = op.blob(0), op.int("size", 1)
    alpha, beta, bias = op.float("alpha", 1e-4), op.float("beta", 0.75), op.float("bias", 1.0)
    if width % 2 == 0:
        return _even_lrn(op, x, width, (alpha, beta, bias))
    image = x
    if x.rank != 4:
        image = reshape(op, x, (*x.dims[:2], volume(x.dims[2:], f"{op.y}.rest"), 1))
    made = op.map("LRN", image, size=width, alpha=alpha, beta=beta, bias=bias)
    return reshape(op, made, x.dims)


def _even_lrn(op: Op, x: Blob, width: int, factors: tuple[float, float, float]) -> Blob:
    """Caffe2's own, with an even size, aborts (1.0) or shifts (1.10). One neighbour more stands behind."""
    alpha, beta, bias = factors
    rest = volume(x.dims[2:], f"{op.y}.rest")
    squares = reshape(op, op.map("Sqr", x), (x.dims[0], 1, x.dims[1], rest))
    padded = pad_image(op, squares, ((width - 1) // 2, 0, width // 2, 0))
    args = {"kernels": [width, 1], "strides": [1, 1], "pads": [0, 0, 0, 0]}
    averages = reshape(op, op.make("AveragePool", [padded], squares.dims, **args), x.dims)
    base = binary(op, "Add", scale(op, averages, alpha), fill(op, averages, bias))
    return binary(op, "Mul", x, op.map("Pow", base, exponent=-beta))


RULES: Mapping[str, Rule] = {
    "BatchNormalization": batch_norm,
    "GroupNormalization": group_norm,
    "InstanceNormalization": instance_norm,
    "LayerNormalization": layer_norm,
    "LpNormalization": lp_norm,
    "LRN": lrn,
    "MeanVarianceNormalization": mean_variance,
}
