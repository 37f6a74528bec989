"""Putting maxima back where they came from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.base.window import LOWEST, Window
from retorch.layers.convolution.spatial import pad_to_windows
from retorch.layers.pooling.window import MaxPooling

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


class MaxUnpooling(Layer):
    """Zeros, with x's elements where the maxima of the pooling layer were; the size of that layer's input."""

    pooling: Layer

    def source(self) -> MaxPooling:
        """The pooling layer, which is asked to remember."""
        if not isinstance(self.pooling, MaxPooling):
            raise Refusal(f"undoes a {self.pooling.typename}, which is not a max pooling")
        return self.pooling

    def setup(self, bind: Binder) -> None:
        self.source().asked = True

    def forward(self, x: Array) -> Array:
        found = self.source().found
        if found is None or found[0].shape != x.shape:
            raise Refusal("runs before its pooling layer, or on another size")
        where, sizes = found
        outer = x.shape[: -len(sizes)]
        y = np.zeros((math.prod(outer), math.prod(sizes)), x.dtype)
        np.put_along_axis(y, where.reshape(len(y), -1), x.reshape(len(y), -1), axis=1)
        return y.reshape(*outer, *sizes)

    def lower(self, op: Builder, x: Value) -> Value:
        lowered = self.source().lowered
        if lowered is None or lowered[0] is not op:
            raise Refusal("runs before its pooling layer")
        _, pooled, windows = lowered
        if x.shape[-len(windows) :] != tuple(w.out for w in windows):
            raise Refusal("its input is not of the size that its pooling layer gave")
        if any(w.kernel != w.stride or w.dilation != 1 for w in windows):
            raise Refusal("undoes a pooling whose windows overlap")
        seen = self._taps(op, pooled, windows)
        first = op.ArgMax(seen, axis=1, keepdims=1)
        here = op.Equal(first, np.arange(seen.shape[1]).reshape(-1, *(1,) * len(windows)))
        spread = op.Where(here, op.Unsqueeze(op.Reshape(x, [-1, *x.shape[-len(windows) :]]), [1]), 0.0)
        return self._image(op, spread, windows, x.shape[1 : -len(windows)])

    def _taps(self, op: Builder, x: Value, windows: Sequence[Window]) -> Value:
        """(channels, taps, *out): what each window of ``x`` sees, in the order in which THNN looks.

        The taps stand before the sizes: engines are slow where the last axis is short.
        """
        rank = len(windows)
        if any(w.pad or w.tail for w in windows):
            x = pad_to_windows(op, x, windows, LOWEST)
        x = op.Reshape(x, [-1, *(size for w in windows for size in (w.out, w.kernel))])
        x = op.Transpose(x, perm=[0, *range(2, 2 * rank + 1, 2), *range(1, 2 * rank, 2)])
        return op.Reshape(x, [0, math.prod(w.kernel for w in windows), *(w.out for w in windows)])

    def _image(self, op: Builder, x: Value, windows: Sequence[Window], channels: Sequence[int]) -> Value:
        """The inverse of :meth:`_taps`, with zeros where no window reached."""
        rank = len(windows)
        x = op.Reshape(x, [0, *(w.kernel for w in windows), *(w.out for w in windows)])
        x = op.Transpose(x, perm=[0, *(at for i in range(1, rank + 1) for at in (i + rank, i))])
        x = op.Reshape(x, [-1, *channels, *(w.out * w.kernel for w in windows)])
        if any(w.pad or w.tail for w in windows):
            rest = [0] * (x.rank - rank)
            x = op.Pad(x, [*rest, *(-w.pad for w in windows), *rest, *(-w.tail for w in windows)], 0.0)
        return x


@layer("nn.SpatialMaxUnpooling", kind="unpool")
class SpatialMaxUnpooling(MaxUnpooling):
    """Zeros, with x's elements where the maxima of ``pooling`` (a module elsewhere in the network) were"""

    pooling: Layer
    ignored = frozenset({"indices", "owidth", "oheight"})


@layer("nn.VolumetricMaxUnpooling", kind="unpool")
class VolumetricMaxUnpooling(MaxUnpooling):
    """Zeros, with x's elements where the maxima of ``pooling`` (a module elsewhere in the network) were"""

    pooling: Layer
    ignored = frozenset("indices otime owidth oheight dT dW dH padT padW padH".split())
