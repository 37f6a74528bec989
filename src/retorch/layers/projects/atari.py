"""What DeepMind's Atari player (DQN) and Kaixhin's put before, into and behind a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, layer
from retorch.layers.convolution.spatial import check_rank, stable_copy
from retorch.layers.noise import Identity

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value

#: The shares of red, green and blue in the brightness that the package image computes.
BRIGHTNESS = (0.299, 0.587, 0.114)


def resampling(size: int, wanted: int) -> Array:
    """(wanted, size): how the package image brings a row of pixels to another length.

    A longer row is linear between pixels, ends on ends; in a shorter one each pixel is the mean of what it covers.
    """
    matrix = np.zeros((wanted, size))
    if wanted == size:
        return np.eye(size)
    if wanted > size:
        step = np.float32(size - 1) / np.float32(wanted - 1)
        for i in range(wanted - 1):
            place = np.float32(i) * step
            left = int(place)
            share = float(place - np.float32(left))
            matrix[i, left] += 1 - share
            if size > 1:
                matrix[i, left + 1] += share
        matrix[-1, -1] = 1
        return matrix
    step, start = np.float32(size) / np.float32(wanted), np.float32(0)
    for i in range(wanted):
        end = np.float32(i + 1) * step
        for j in range(size):
            matrix[i, j] = max(0.0, min(float(end), j + 1) - max(float(start), j))
        matrix[i] /= matrix[i].sum()
        start = end
    return matrix


@layer("nn.Scale", kind="scale")
class Scale(Layer):
    """The brightness of an image (3, H, W), or of the first of a batch, brought to (1, height, width)"""

    height: int
    width: int

    def check(self, x: Array | Value) -> tuple[Array, Array]:
        """How rows and columns are brought to their new lengths."""
        check_rank(x, 3, 4)
        if x.shape[-3] < len(BRIGHTNESS):
            raise Refusal(f"takes red, green and blue, not {x.shape[-3]} channels")
        return resampling(x.shape[-2], self.height), resampling(x.shape[-1], self.width)

    def forward(self, x: Array) -> Array:
        down, across = self.check(x)
        image = x[0] if x.ndim == 4 else x
        grey = sum(share * image[i] for i, share in enumerate(BRIGHTNESS))
        return (down @ grey @ across.T)[None].astype(x.dtype)

    def lower(self, op: Builder, x: Value) -> Value:
        down, across = (m.astype(np.float32) for m in self.check(x))
        image = op.Slice(x, [0], [1], [0]) if x.rank == 4 else op.Unsqueeze(x, [0])
        weight = np.zeros((1, image.shape[1], 1, 1), np.float32)
        weight[0, : len(BRIGHTNESS), 0, 0] = BRIGHTNESS
        grey = op.Conv(image, op.weight(stable_copy(weight), "w"), None, kernel_shape=[1, 1])
        return op.MatMul(op.MatMul(op.constant(down), op.Squeeze(grey, [0])), op.constant(across.T.copy()))


@layer("nn.BatchTopK", kind="identity")
class BatchTopK(Identity):
    """x: in training, only the largest of each column"""

    ignored = frozenset({"k", "flag"})


@layer("nn.Rectifier", kind="relu")
class Rectifier(Layer):
    """max(x, 0), of DQN"""

    def forward(self, x: Array) -> Array:
        return np.maximum(x, 0)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Relu(x)
