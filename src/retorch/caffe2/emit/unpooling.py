"""Max unpooling: Caffe2 has neither it nor the places of maxima on a CPU, so both are composed.

The taps of the pooling's windows become channels (a convolution with kernels of one 1); a tap that equals the maximum,
and before which none does, is where the maximum stood; a transposed convolution with the same kernels puts values back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir as ir

from retorch.caffe2.emit.arithmetic import binary
from retorch.caffe2.emit.convolution import Floats, widened
from retorch.caffe2.emit.op import FLOAT32, Blob, Op, RefusalError, Result, Rule, size
from retorch.caffe2.emit.pooling import LOWEST, PASSED_ON, Window, pool_window
from retorch.caffe2.emit.primitives import pad_image, reshape, volume


@dataclass(frozen=True, slots=True)
class _Pooling:
    """The pooling whose maxima are undone: its input and output as images of one channel, and its window."""

    source: Blob
    maxima: Blob
    window: Window
    kernel: Floats

    @property
    def taps(self) -> int:
        return prod(self.window.kernels)


def max_unpool(op: Op) -> Result:
    x = op.blob(0)
    for name in ("kernel_shape", "pads", "strides"):
        op.ints(name, ())
    pooling = _pooling(op, op.value(1))
    if x.rank != 4 or pooling.source.dims[2:] != op.out_dims()[2:]:
        raise RefusalError("an unpooling to another size than the pooling had, or not of images")
    firsts = _firsts(op, pooling)
    channels = volume(x.dims[:2], f"{op.y}.channels")
    values = reshape(op, x, (channels, 1, *x.dims[2:]))
    placed = binary(op, "Mul", firsts, values)
    w = pooling.window
    overlapping = any(k > s for k, s in zip(w.kernels, w.strides, strict=True)) or any(d != 1 for d in w.dilations)
    image = _overlaid(op, placed, firsts, pooling) if overlapping else _put_back(op, placed, pooling.kernel, pooling)
    return reshape(op, image, (*x.dims[:2], *pooling.source.dims[2:]))


def _pooling(op: Op, indices: ir.Value) -> _Pooling:
    node = indices.producer()
    while node is not None and node.op_type in PASSED_ON:
        before = node.inputs[0]
        node = before.producer() if before is not None else None
    if node is None or node.op_type != "MaxPool":
        raise RefusalError("an unpooling whose indices come from elsewhere than a max pooling")
    pool = Op(op.draft, node)
    source, maxima = pool.blob(0), op.draft.blob(node.outputs[0])
    if source.rank != 4:
        raise RefusalError("an unpooling not of images")
    window = pool_window(pool, source)
    channels = volume(source.dims[:2], f"{op.y}.channels")
    return _Pooling(
        reshape(op, source, (channels, 1, *source.dims[2:])),
        reshape(op, maxima, (channels, 1, *maxima.dims[2:])),
        window,
        np.eye(prod(window.kernels), dtype=np.float32).reshape(-1, 1, *window.kernels),
    )


def _firsts(op: Op, pooling: _Pooling) -> Blob:
    """(channels, taps, height, width): 1 where the tap is the first that equals the maximum, else 0."""
    w, taps = pooling.window, pooling.taps
    dims = (pooling.source.dims[0], taps, *w.sizes)
    (top, left), (bottom, right) = w.begins, w.tails
    padded = pooling.source
    if any(w.pads):
        padded = pad_image(op, padded, (top, left, bottom, right), value=LOWEST)
    kernel = op.param(pooling.kernel, "taps")
    extra = {} if all(d == 1 for d in w.dilations) else {"dilations": w.dilations}
    args = {"kernels": w.kernels, "strides": w.strides, "pads": [0] * 4, **extra}
    columns = op.make("Conv", [padded, kernel], dims, **args)
    equal = op.map("Cast", binary(op, "GE", columns, pooling.maxima), to=FLOAT32)
    before = op.param(np.tri(taps, k=-1, dtype=np.float32).reshape(taps, taps, 1, 1), "before")
    count = op.make("Conv", [equal, before], dims, kernels=[1, 1], strides=[1, 1], pads=[0] * 4)
    first = binary(op, "LT", count, op.param(np.array([0.5], np.float32), "half"))
    return binary(op, "Mul", equal, op.map("Cast", first, to=FLOAT32))


def _put_back(op: Op, taps: Blob, kernel: Floats, pooling: _Pooling) -> Blob:
    """The taps as one image again, of the size of the pooling's input."""
    w = pooling.window
    wide = widened(kernel, w.dilations)
    channels, height, width = pooling.source.dims[0], size(pooling.source.dims[2]), size(pooling.source.dims[3])
    full = [(size(n) - 1) * s + k for n, s, k in zip(w.sizes, w.strides, wide.shape[2:], strict=True)]
    args = {"kernels": wide.shape[2:], "strides": w.strides, "pads": [0] * 4}
    image = op.make("ConvTranspose", [taps, op.param(wide, "places")], (channels, 1, *full), **args)
    (top, left) = w.begins
    missing = (-top, -left, height + top - full[0], width + left - full[1])
    return pad_image(op, image, missing) if any(missing) else image


def _overlaid(op: Op, values: Blob, marks: Blob, pooling: _Pooling) -> Blob:
    """Where several windows chose one place, the last window wins: that of the earliest tap, which goes on top."""
    parts = [
        op.many("Split", [blob], [(blob.dims[0], 1, *blob.dims[2:])] * pooling.taps, axis=1, split=[1] * pooling.taps)
        for blob in (values, marks)
    ]
    image: Blob | None = None
    for tap in range(pooling.taps - 1, -1, -1):
        kernel = pooling.kernel[tap : tap + 1]
        value = _put_back(op, parts[0][tap], kernel, pooling)
        if image is None:
            image = value
            continue
        mark = _put_back(op, parts[1][tap], kernel, pooling)
        image = binary(op, "Add", binary(op, "Sub", image, binary(op, "Mul", image, mark)), value)
    if image is None:
        raise RefusalError("an unpooling without taps")
    return image


RULES: Mapping[str, Rule] = {"MaxUnpool": max_unpool}
