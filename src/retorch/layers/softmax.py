"""Normalized exponentials, and which dimension each of Torch's classes runs them over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, layer

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


def softmax(x: Array, axis: int) -> Array:
    """exp(x) / Σ exp(x)"""
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def log_softmax(x: Array, axis: int) -> Array:
    """x − log Σ exp(x)"""
    z = x - x.max(axis, keepdims=True)
    return z - np.log(np.exp(z).sum(axis, keepdims=True))


class OverChannels(Layer):
    """Over the elements of a vector, the columns of a matrix, the channels of an image or of a batch of images."""

    def axis(self, rank: int) -> int:
        """The dimension, from 0.

        Raises:
            Refusal: more dimensions than Torch takes.
        """
        if not 1 <= rank <= 4:
            raise Refusal(f"takes 1 to 4 dimensions, not {rank}")
        return (0, 1, 0, 1)[rank - 1]


@layer("nn.SoftMax", "nn.SpatialSoftMax", kind="softmax")
class SoftMax(OverChannels):
    """exp(x) / Σ exp(x), over dimension 1 of a vector or an image, 2 of a batch"""

    def forward(self, x: Array) -> Array:
        return softmax(x, self.axis(x.ndim))

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Softmax(x, axis=self.axis(x.rank))


@layer("nn.LogSoftMax", "nn.SpatialLogSoftMax", kind="logsoftmax")
class LogSoftMax(OverChannels):
    """x − log Σ exp(x), over dimension 1 of a vector or an image, 2 of a batch"""

    def forward(self, x: Array) -> Array:
        return log_softmax(x, self.axis(x.ndim))

    def lower(self, op: Builder, x: Value) -> Value:
        return op.LogSoftmax(x, axis=self.axis(x.rank))


@layer("nn.SoftMin", kind="softmin")
class SoftMin(OverChannels):
    """exp(−x) / Σ exp(−x), over dimension 1 of a vector or an image, 2 of a batch"""

    ignored = frozenset({"mininput"})

    def forward(self, x: Array) -> Array:
        return softmax(-x, self.axis(x.ndim))

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Softmax(op.Neg(x), axis=self.axis(x.rank))


@layer("nn.MultiSoftMax", kind="softmax")
class MultiSoftMax(Layer):
    """exp(x) / Σ exp(x), over the last dimension of two or three, of nnx"""

    def forward(self, x: Array) -> Array:
        return softmax(x, x.ndim - 1)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Softmax(x, axis=x.rank - 1)


class CudnnOverChannels(Layer):
    """cuDNN's channel mode: over dimension 2 of a batch, 1 of one sample; samples have an odd number of dimensions

    ``algorithm`` says whether the logarithm is taken.
    """

    algorithm: str = "CUDNN_SOFTMAX_ACCURATE"
    logarithm = False

    def _log(self) -> bool:
        return self.logarithm or self.algorithm.endswith("_LOG")

    def _axis(self, rank: int) -> int:
        return (rank - 1) % 2

    def forward(self, x: Array) -> Array:
        return (log_softmax if self._log() else softmax)(x, self._axis(x.ndim))

    def lower(self, op: Builder, x: Value) -> Value:
        make = op.LogSoftmax if self._log() else op.Softmax
        return make(x, axis=self._axis(x.rank))


@layer("cudnn.SpatialSoftMax", kind="softmax")
class CudnnSpatialSoftMax(CudnnOverChannels):
    """exp(x) / Σ exp(x), over dimension 1 of a vector or an image, 2 of a batch"""


@layer("cudnn.SpatialLogSoftMax", kind="logsoftmax")
class CudnnSpatialLogSoftMax(CudnnOverChannels):
    """x − log Σ exp(x), over dimension 1 of a vector or an image, 2 of a batch"""

    logarithm = True


@layer("cudnn.VolumetricSoftMax", kind="softmax")
class CudnnVolumetricSoftMax(CudnnOverChannels):
    """exp(x) / Σ exp(x), over dimension 1 of a volume of (C, T, H, W), 2 of a batch of them"""

    ignored = frozenset({"ssm"})

    def _axis(self, rank: int) -> int:
        if rank not in (4, 5):
            raise Refusal(f"takes 4 or 5 dimensions, not {rank}")
        return rank - 4


@layer("cudnn.VolumetricLogSoftMax", kind="logsoftmax")
class CudnnVolumetricLogSoftMax(CudnnVolumetricSoftMax):
    """x − log Σ exp(x), over dimension 1 of a volume of (C, T, H, W), 2 of a batch of them"""

    logarithm = True


class CudnnInstance(CudnnOverChannels):
    """cuDNN's instance mode: over all elements of each sample"""

    def forward(self, x: Array) -> Array:
        rows = x.reshape(1 if self._axis(x.ndim) == 0 else len(x), -1)
        return (log_softmax if self._log() else softmax)(rows, 1).reshape(x.shape)

    def lower(self, op: Builder, x: Value) -> Value:
        make = op.LogSoftmax if self._log() else op.Softmax
        if x.rank <= 2:
            return make(x, axis=x.rank - 1)
        rows = op.Reshape(x, [1, -1] if x.rank % 2 else [0, -1])
        return op.Reshape(make(rows, axis=1), [-1, *x.shape[1:]])


@layer("cudnn.SoftMax", kind="softmax")
class CudnnSoftMax(CudnnInstance):
    """exp(x) / Σ exp(x), over all elements of each sample"""


@layer("cudnn.LogSoftMax", kind="logsoftmax")
class CudnnLogSoftMax(CudnnInstance):
    """x − log Σ exp(x), over all elements of each sample"""

    logarithm = True


@layer("nn.SparseMax", kind="sparsemax")
class SparseMax(OverChannels):
    """max(x − τ, 0), τ such that the elements sum up to 1; over the dimension of nn.SoftMax"""

    def forward(self, x: Array) -> Array:
        axis = self.axis(x.ndim)
        z = np.moveaxis(x - x.max(axis, keepdims=True), axis, -1)
        falling: Array = -np.sort(-z, axis=-1)
        size: int = x.shape[axis]
        places = np.arange(1, size + 1)
        kept: Array = np.greater(1 + places * falling, np.cumsum(falling, axis=-1))
        count = np.max(places * kept, axis=-1, keepdims=True)
        tau = (np.sum(falling * kept, axis=-1, keepdims=True) - 1) / count
        return np.ascontiguousarray(np.moveaxis(np.maximum(z - tau, 0), -1, axis))

    def lower(self, op: Builder, x: Value) -> Value:
        axis, size = self.axis(x.rank), x.shape[self.axis(x.rank)]
        last = [*(i for i in range(x.rank) if i != axis), axis]
        rows = x if axis == x.rank - 1 else op.Transpose(x, perm=last)
        end = x.rank - 1
        z = op.Sub(rows, op.ReduceMax(rows, [end], keepdims=1))
        falling, _ = op.many("TopK", 2, z, [size], axis=-1)
        places = op.constant(np.arange(1, size + 1, dtype=np.float32))
        # sums of what stands up to each place
        sums = op.MatMul(falling, op.constant(np.triu(np.ones((size, size), np.float32))))
        kept = op.Cast(op.Greater(op.Add(op.Mul(falling, places), 1.0), sums), to=1)
        count = op.ReduceMax(op.Mul(kept, places), [end], keepdims=1)
        tau = op.Div(op.Sub(op.ReduceSum(op.Mul(falling, kept), [end], keepdims=1), 1.0), count)
        y = op.Relu(op.Sub(z, tau))
        return y if rows is x else op.Transpose(y, perm=np.argsort(last).tolist())
