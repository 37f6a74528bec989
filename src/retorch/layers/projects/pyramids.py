"""fbnn's pyramid of differences between Gaussians."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.base.window import Window, convolve, slide
from retorch.layers.convolution.spatial import check_rank, lower_convolution

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.DifferenceOfGaussian", kind="gaussians")
class DifferenceOfGaussian(Layer):
    """A table of ``nOctaves`` tensors: filter[n] ⋆ x[c] - filter[n + 1] ⋆ x[c] for each channel c and scale n

    The next octave sees each second pixel (from the second) of filter[last] ⋆ x[c]. x is (N, C, H, W) or (C, H, W),
    ``filter`` (nScalesPerOctave + 1, k, k) with k odd; outside of x are zeros.
    """

    nInputPlane: int
    nOctaves: int
    filter: Array
    ignored = frozenset({"nScalesPerOctave", "nOutputPlane", "sigma", "kH", "kW", "dH", "dW", "padH", "padW"})
    ignored |= {"outputBuf"}

    def setup(self, bind: Binder) -> None:
        if self.filter.ndim != 3 or len(self.filter) < 2 or any(k % 2 == 0 for k in self.filter.shape[1:]):
            raise Refusal(f"has filters of the shape {self.filter.shape}")

    def windows(self, x: Array | Value) -> tuple[Window, ...]:
        """How the filters go over x, (N, C, H, W), or Refusal: each octave must leave a pixel for the next."""
        if x.shape[1] != self.nInputPlane or min(x.shape[2:]) < 2:
            raise Refusal(f"takes {self.nInputPlane} channels of 2x2 pixels or more in each octave, not {x.shape[1:]}")
        kernel = self.filter.shape[1:]
        return slide(x.shape[2:], kernel, (1, 1), [k // 2 for k in kernel])

    def forward(self, x: Array) -> list[Array]:
        check_rank(x, 3, 4)
        images = x[None] if x.ndim == 3 else x
        made: list[Array] = []
        for _ in range(self.nOctaves):
            n, channels, *sizes = images.shape
            planes = images.reshape(-1, 1, *sizes)
            blurred = convolve(planes, self.filter[:, None].astype(x.dtype), None, self.windows(images))
            octave = (blurred[:, :-1] - blurred[:, 1:]).reshape(n, -1, *sizes)
            made.append(octave[0] if x.ndim == 3 else octave)
            images = blurred[:, -1].reshape(n, channels, *sizes)[:, :, 1::2, 1::2]
        return made

    def lower(self, op: Builder, x: Value) -> list[Value]:
        check_rank(x, 3, 4)
        images = op.unsqueeze(x, 0) if x.rank == 3 else x
        made: list[Value] = []
        weight, scales = op.weight(np.ascontiguousarray(self.filter[:, None]), "filter"), len(self.filter)
        for _ in range(self.nOctaves):
            windows, (channels, *sizes) = self.windows(images), images.shape[1:]
            blurred = lower_convolution(op, op.Reshape(images, [-1, 1, *sizes]), weight, None, windows)
            less, more = op.Slice(blurred, [0], [scales - 1], [1]), op.Slice(blurred, [1], [scales], [1])
            octave = op.Reshape(op.Sub(less, more), [-1, channels * (scales - 1), *sizes])
            made.append(op.Squeeze(octave, [0]) if x.rank == 3 else octave)
            last = op.Reshape(op.Slice(blurred, [scales - 1], [scales], [1]), [-1, channels, *sizes])
            images = op.Slice(last, [1, 1], sizes, [2, 3], [2, 2])
        return made
