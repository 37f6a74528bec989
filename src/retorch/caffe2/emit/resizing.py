"""Resize: repetition where it is one, else the matrix of each axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import floor

import numpy as np
from numpy.typing import NDArray

from retorch.caffe2.emit.indexing import gather_axis
from retorch.caffe2.emit.op import Blob, Op, RefusalError, Result, Rule, size
from retorch.caffe2.emit.primitives import around, back
from retorch.caffe2.emit.reduction import along

Places = NDArray[np.float64]

_ROUNDING: Mapping[str, Callable[[Places], Places]] = {
    "round_prefer_floor": lambda at: np.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: np.floor(at + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def resize(op: Op) -> Result:
    x, mode = op.blob(0), op.string("mode", "nearest")
    coordinates = op.string("coordinate_transformation_mode", "half_pixel")
    rounding = op.string("nearest_mode", "round_prefer_floor")
    cubic = op.float("cubic_coeff_a", -0.75)
    _refuse_rare(op)
    axes, scales = _scales(op, x)
    times = (
        _whole_scales(x, scales) if mode == "nearest" and (coordinates, rounding) == ("asymmetric", "floor") else None
    )
    if times is not None:
        return op.make("ResizeNearest", [x], op.out_dims(), height_scale=times[0], width_scale=times[1])
    if mode == "linear" and coordinates == "align_corners" and x.rank == 4 and set(axes) <= {2, 3}:
        return _bilinear(op, x, scales)
    places = {axis: _places(size(x.dims[axis]), size(op.out_dims()[axis]), scales[axis], coordinates) for axis in axes}
    if mode == "nearest":
        return _nearest(op, x, {axis: _ROUNDING[rounding](at) for axis, at in places.items()})
    for axis, at in places.items():
        length = size(x.dims[axis])
        x = along(op, x, axis, _linear(at, length) if mode == "linear" else _cubic(at, length, cubic))
    return x


def _whole_scales(x: Blob, scales: Mapping[int, float]) -> tuple[int, int] | None:
    """How often each pixel of an image is repeated, where its size is not known; None for anything else."""
    whole = all(scale == int(scale) for scale in scales.values())
    if (
        x.rank != 4
        or not whole
        or not set(scales) <= {2, 3}
        or not any(isinstance(x.dims[axis], str) for axis in scales)
    ):
        return None
    return int(scales.get(2, 1)), int(scales.get(3, 1))


def _refuse_rare(op: Op) -> None:
    if op.int("antialias", 0) or op.int("exclude_outside", 0):
        raise RefusalError("Resize with antialias or exclude_outside")
    if op.string("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise RefusalError("Resize that keeps the aspect ratio")
    op.float("extrapolation_value", 0.0)


def _scales(op: Op, x: Blob) -> tuple[list[int], dict[int, float]]:
    """The axes that change, and the scale of each as ONNX knows it."""
    listed = op.ints("axes", range(x.rank))
    given = op.known(2, "the scales of a Resize") if op.has(2) else np.zeros(0)
    if op.has(3):
        op.known(3, "the sizes of a Resize")
    out = op.out_dims()
    scales = {axis: float(number) for axis, number in zip(listed, given.astype(np.float64), strict=False)}
    axes = [axis for axis in listed if (scales[axis] != 1.0 if axis in scales else out[axis] != x.dims[axis])]
    return axes, {axis: scales.get(axis, 0.0) or size(out[axis]) / size(x.dims[axis]) for axis in axes}


def _places(length: int, out: int, scale: float, coordinates: str) -> Places:
    """Where in the input each output element lies."""
    at = np.arange(out, dtype=np.float64)
    match coordinates:
        case "align_corners":
            return at * (length - 1) / (out - 1) if out > 1 else at * 0
        case "asymmetric":
            return at / scale
        case "half_pixel":
            return (at + 0.5) / scale - 0.5
        case "pytorch_half_pixel":
            return (at + 0.5) / scale - 0.5 if out > 1 else at * 0
        case "half_pixel_symmetric":
            middle = length / 2 * (1 - out / (scale * length))
            return middle + (at + 0.5) / scale - 0.5
        case _:
            raise RefusalError(f"coordinate_transformation_mode {coordinates}")


def _nearest(op: Op, x: Blob, places: Mapping[int, Places]) -> Blob:
    picked = {axis: np.clip(at, 0, size(x.dims[axis]) - 1).astype(np.int32) for axis, at in places.items()}
    times = {axis: _repetition(at, size(x.dims[axis])) for axis, at in picked.items()}
    if x.rank == 4 and set(picked) <= {2, 3} and all(times.values()):
        tall, wide = times.get(2, 1), times.get(3, 1)
        dims = (*x.dims[:2], size(x.dims[2]) * tall, size(x.dims[3]) * wide)
        return op.make("ResizeNearest", [x], dims, height_scale=tall, width_scale=wide)
    for axis, at in picked.items():
        if times[axis]:
            view = around(op, x, axis)
            dims = (*view.dims[:2], len(at), view.dims[3])
            made = op.make("ResizeNearest", [view], dims, height_scale=times[axis], width_scale=1)
            x = back(op, made, x, axis)
        else:
            x = gather_axis(op, x, op.param(at, "places"), axis)
    return x


def _repetition(at: NDArray[np.int32], length: int) -> int:
    """How often every element is repeated, 0 where they are not all repeated alike."""
    times = len(at) // length
    return times if times and np.array_equal(at, np.repeat(np.arange(length), times)) else 0


def _bilinear(op: Op, x: Blob, scales: Mapping[int, float]) -> Blob:
    """UpsampleBilinear aligns corners; half an element more keeps its truncation off the size below."""
    height, width = op.out_dims()[2:]
    times = _whole_scales(x, {axis: scales.get(axis, 1.0) for axis in (2, 3)})
    tall, wide = times or ((size(height) + 0.5) / size(x.dims[2]), (size(width) + 0.5) / size(x.dims[3]))
    return op.make("UpsampleBilinear", [x], (*x.dims[:2], height, width), height_scale=tall, width_scale=wide)


def _linear(places: Places, length: int) -> NDArray[np.float32]:
    """The matrix that interpolates between the two neighbours; the ends go on beyond the edge."""
    matrix = np.zeros((len(places), length))
    for row, at in enumerate(np.clip(places, 0, length - 1)):
        low = min(floor(at), length - 1)
        matrix[row, low] += 1 - (at - low)
        matrix[row, min(low + 1, length - 1)] += at - low
    return matrix.astype(np.float32)


def _cubic(places: Places, length: int, a: float) -> NDArray[np.float32]:
    """The matrix of Keys' cubic convolution over four neighbours."""
    matrix = np.zeros((len(places), length))
    for row, at in enumerate(places):
        low = floor(at)
        t = at - low
        near = [((a + 2) * d - (a + 3)) * d * d + 1 for d in (t, 1 - t)]
        far = [((a * d - 5 * a) * d + 8 * a) * d - 4 * a for d in (t + 1, 2 - t)]
        for column, weight in zip(range(low - 1, low + 3), (far[0], *near, far[1]), strict=True):
            matrix[row, min(max(column, 0), length - 1)] += weight
    return matrix.astype(np.float32)


RULES: Mapping[str, Rule] = {"Resize": resize}
