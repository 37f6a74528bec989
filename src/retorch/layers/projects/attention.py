"""What the examples of rnn and dpnn save: glimpses of recurrent attention, scores of words by noise contrast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.convolution.spatial import check_rank
from retorch.layers.upsampling import interpolated, lower_interpolated
from retorch.torch7 import TorchObject

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value

#: How ONNX counts its element types.
_FLOAT, _INT64 = 1, 7


@layer("nn.SpatialGlimpse", kind="glimpse")
class SpatialGlimpse(Layer):
    """{x, place}: ``depth`` square patches of x about a place in -1 … 1 (down, across), each brought to size x size

    x is (N, C, H, W) and place (N, 2), or both without the batch; the result (N, depth · C, size, size). Each patch is
    ``scale`` times as large as the one before, and zero beyond the image. With a scale of 2 the means of squares are
    taken, else (and in old files) it is linear between pixels, corners on corners.
    """

    # height and width in files of the last dpnn
    size: int = 0
    height: int | None = None
    width: int | None = None
    depth: int = 3
    scale: float = 2.0
    module: object = None
    ignored = frozenset({"modules", "_crop", "_pad"})

    def setup(self, bind: Binder) -> None:
        self.size = self.size or self.height or 0
        if self.size < 1 or (self.height or self.size) != (self.width or self.size):
            raise Refusal(f"takes patches of {self.height or self.size}x{self.width or self.size} pixels")
        inside = self.module.typename if isinstance(self.module, TorchObject) else ""
        if inside not in ("nn.SpatialAveragePooling", "nn.SpatialReSampling"):
            raise Refusal(f"brings its patches to one size by {inside or 'no module'}")
        self._averages = inside == "nn.SpatialAveragePooling"
        old = not self._averages and "modules" not in self.raw
        if old and self.depth > (3 if self.scale == 2 else 2):
            raise Refusal(f"is of a version of which it is not known how large its {self.depth} patches are")
        sizes = [self.size * self.scale**i for i in range(self.depth)]
        if any(size != int(size) for size in sizes):
            raise Refusal(f"takes patches of {self.scale} times {self.size} pixels")
        self._sizes = [int(size) for size in sizes]

    def check(self, x: list[Array] | list[Value]) -> None:
        if len(x) < 2:
            raise Refusal("takes an image and a place in it")
        image, place = x[0], x[1]
        check_rank(image, 3, 4)
        if place.shape != (*image.shape[:-3], 2) or min(image.shape[-2:]) < 2:
            raise Refusal(f"cannot look into an image of {image.shape} at {place.shape}")

    @staticmethod
    def room(length: int, patch: int) -> tuple[int, int]:
        """How far a patch can move along one side of the image, and how much of it lies before the image."""
        before = (patch - 1) // 2
        return length + 2 * before - patch, before

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        image, place = (x[0], x[1]) if x[0].ndim == 4 else (x[0][None], x[1][None])
        seen: list[Array] = []
        for patch in self._sizes:
            y = image
            for axis in (2, 3):
                room, before = self.room(image.shape[axis], patch)
                start = np.floor(np.clip((place[:, axis - 2].astype(np.float64) + 1) / 2 * room, 0, room))
                y = self.cropped(y, start.astype(np.int64) - before, patch, axis)
            seen.append(self.shrunk(y))
        y = np.concatenate(seen, axis=1)
        return y if x[0].ndim == 4 else y[0]

    def cropped(self, x: Array, starts: Array, patch: int, axis: int) -> Array:
        """The patch from each image's own start along one axis."""
        at = starts[:, None] + np.arange(patch, dtype=np.int64)
        shape = (len(x), 1, -1, 1) if axis == 2 else (len(x), 1, 1, -1)
        inside = ((at >= 0) & (at < x.shape[axis])).reshape(shape)
        return np.take_along_axis(x, np.clip(at, 0, x.shape[axis] - 1).reshape(shape), axis=axis) * inside

    def shrunk(self, x: Array) -> Array:
        if not self._averages:
            return interpolated(x, (self.size, self.size))
        n, c, patch, _ = x.shape
        times = patch // self.size
        return x.reshape(n, c, self.size, times, self.size, times).mean(axis=(3, 5))

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        batched = x[0].rank == 4
        image, place = (x[0], x[1]) if batched else (op.Unsqueeze(x[0], [0]), op.Unsqueeze(x[1], [0]))
        seen: list[Value] = []
        for patch in self._sizes:
            down, across = (self.lower_choice(op, place, i, image.shape[i + 2], patch) for i in (0, 1))
            y = op.MatMul(op.MatMul(down, image), op.Transpose(across, perm=[0, 1, 3, 2]))
            seen.append(self.lower_shrunk(op, y, patch))
        y = op.Concat(*seen, axis=1) if len(seen) > 1 else seen[0]
        return y if batched else op.Squeeze(y, [0])

    def lower_choice(self, op: Builder, place: Value, which: int, length: int, patch: int) -> Value:
        """A matrix (N, 1, patch, length) of ones and zeros that picks a patch, or nothing beyond the image."""
        room, before = self.room(length, patch)
        share = op.Div(op.Add(op.Slice(place, [which], [which + 1], [1]), 1.0), 2.0)
        start = op.Cast(op.Floor(op.Clip(op.Mul(share, float(room)), 0.0, float(room))), to=_INT64)
        wanted = op.Add(op.Reshape(start, [-1, 1, 1, 1]), op.constant(np.arange(-before, patch - before)[:, None]))
        return op.Cast(op.Equal(wanted, op.constant(np.arange(length, dtype=np.int64))), to=_FLOAT)

    def lower_shrunk(self, op: Builder, x: Value, patch: int) -> Value:
        if patch == self.size:
            return x
        if not self._averages:
            return lower_interpolated(op, x, (self.size, self.size))
        times = patch // self.size
        return op.AveragePool(x, kernel_shape=[times, times], strides=[times, times])


@layer("nn.NCEModule", kind="fc")
class NCEModule(Layer):
    """{x, …}: softmax(x · weightᵀ + bias), or its logarithm (``logsoftmax``), where ``normalized``

    Otherwise it compares the words asked for with others that it draws, which is refused.
    """

    weight: Array
    bias: Array | None = None
    normalized: bool = False
    logsoftmax: bool = False
    ignored = frozenset(
        """k unigrams sampleidx sampleprob linout testedtargets _noiseidx _noiseprob _noisesamples _sampleidx _score
        _weight _bias batchnoise Z normalize rownoise dpnn_mediumEmpty""".split()
    )

    def setup(self, bind: Binder) -> None:
        if not self.normalized:
            raise Refusal("compares words with others that it draws at every pass; set its field `normalized`")

    def forward(self, x: list[Array]) -> Array:
        check_rank(x[0], 2)
        y = x[0] @ self.weight.T
        y = y if self.bias is None else y + self.bias
        y = y - y.max(axis=1, keepdims=True)
        total = np.exp(y).sum(axis=1, keepdims=True)
        return y - np.log(total) if self.logsoftmax else np.exp(y) / total

    def lower(self, op: Builder, x: list[Value]) -> Value:
        check_rank(x[0], 2)
        bias = None if self.bias is None else op.weight(self.bias, "b")
        y = op.Gemm(x[0], op.weight(self.weight, "w"), bias, transB=1)
        return op.LogSoftmax(y, axis=1) if self.logsoftmax else op.Softmax(y, axis=1)
