"""nnx's layers of single images (C, H, W), which map colours and change sizes, and its balance of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, layer
from retorch.layers.convolution.spatial import check_rank, stable_copy
from retorch.layers.linear import Linear

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.SpatialLinear", kind="conv")
class SpatialLinear(Layer):
    """weight · x + bias for each pixel; x is (C, H, W), weight (out, C)"""

    weight: Array
    bias: Array
    ignored = frozenset({"fanin", "fanout"})

    def reads(self) -> tuple[int | None, ...] | None:
        return (self.weight.shape[1], None, None)

    def check(self, x: Array | Value) -> None:
        check_rank(x, 3)
        if x.shape[0] != self.weight.shape[1]:
            raise Refusal(f"takes {self.weight.shape[1]} channels, not {x.shape[0]}")

    def forward(self, x: Array) -> Array:
        self.check(x)
        return np.tensordot(self.weight, x, 1) + self.bias.reshape(-1, 1, 1)

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        weight = op.weight(stable_copy(self.weight[:, :, None, None]), "w")
        return op.Squeeze(op.Conv(op.Unsqueeze(x, [0]), weight, op.weight(self.bias, "b"), kernel_shape=[1, 1]), [0])


@layer("nn.SpatialColorTransform", kind="color")
class SpatialColorTransform(Layer):
    """linear(x): a change of colour space that is an nn.SpatialLinear (yuv2rgb, rgb2yuv, rgb2y)"""

    container = True
    linear: Layer
    ignored = frozenset({"transform", "islinear", "usage"})

    def children(self) -> tuple[Layer, ...]:
        return (self.linear,)

    def forward(self, x: Array) -> object:
        return self.linear(x)

    def lower(self, op: Builder, x: Value) -> object:
        return op.call(self.linear, x)


@layer("nn.SpatialDownSampling", kind="pool")
class SpatialDownSampling(Layer):
    """The mean of each rH x rW pixels of (C, H, W); what is left over at the end is dropped"""

    rW: int
    rH: int
    ignored = frozenset({"usage"})

    def check(self, x: Array | Value) -> tuple[int, int]:
        """The output's height and width."""
        check_rank(x, 3)
        height, width = x.shape[1] // self.rH, x.shape[2] // self.rW
        if not height or not width:
            raise Refusal(f"takes larger images than {x.shape[1]}x{x.shape[2]}")
        return height, width

    def forward(self, x: Array) -> Array:
        height, width = self.check(x)
        whole = x[:, : height * self.rH, : width * self.rW]
        return whole.reshape(len(x), height, self.rH, width, self.rW).mean(axis=(2, 4))

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        window = [self.rH, self.rW]
        return op.Squeeze(op.AveragePool(op.Unsqueeze(x, [0]), kernel_shape=window, strides=window), [0])


@layer("nn.SpatialUpSampling", kind="upsample")
class SpatialUpSampling(Layer):
    """Each pixel dH times down dimension yDim and dW times along xDim, both from 1"""

    dW: int
    dH: int
    yDim: int = 2
    xDim: int = 3
    ignored = frozenset({"usage"})

    def axes(self, x: Array | Value) -> tuple[tuple[int, int], ...]:
        """The axes, from 0, and how many times each of their entries is repeated."""
        if max(self.xDim, self.yDim) > len(x.shape) or min(self.dW, self.dH) < 1:
            raise Refusal(f"repeats dimensions {self.yDim} and {self.xDim} of {len(x.shape)}")
        return (self.yDim - 1, self.dH), (self.xDim - 1, self.dW)

    def forward(self, x: Array) -> Array:
        for axis, times in self.axes(x):
            x = np.repeat(x, times, axis=axis)
        return x.copy()

    def lower(self, op: Builder, x: Value) -> Value:
        y = x
        for axis, times in self.axes(x):
            y = op.Gather(y, np.repeat(np.arange(y.shape[axis]), times), axis=axis)
        return y


@layer("nn.SpatialMaxSampling", kind="pool")
class SpatialMaxSampling(Layer):
    """(C, H, W) brought to oheight x owidth, each pixel the largest of what it covers, of at least one"""

    owidth: int
    oheight: int
    ignored = frozenset({"usage"})

    @staticmethod
    def covered(size: int, wanted: int) -> Array:
        """(wanted, most): which entries each output entry covers, the last repeated to the same number."""
        step = np.float32(size) / np.float32(wanted)  # as nnx's C code divides
        spans: list[list[int]] = []
        for i in range(wanted):
            start, end = int(np.float32(i) * step), int(np.float32(i + 1) * step)
            spans.append(list(range(start, max(start + 1, end))))
        most = max(map(len, spans))
        return np.array([[*span, *([span[-1]] * (most - len(span)))] for span in spans])

    def check(self, x: Array | Value) -> tuple[Array, Array]:
        """What each output row and column covers."""
        check_rank(x, 3)
        if min(self.oheight, self.owidth) < 1:
            raise Refusal(f"cannot bring an image to {self.oheight}x{self.owidth}")
        return self.covered(x.shape[1], self.oheight), self.covered(x.shape[2], self.owidth)

    def forward(self, x: Array) -> Array:
        down, across = self.check(x)
        return x[:, down].max(axis=2)[:, :, across].max(axis=3)

    def lower(self, op: Builder, x: Value) -> Value:
        down, across = self.check(x)
        y = op.ReduceMax(op.Gather(x, down, axis=1), [2], keepdims=0)
        return op.ReduceMax(op.Gather(y, across, axis=2), [3], keepdims=0)


@layer("nn.Balance", kind="identity")
class Balance(Layer):
    """x, of two dimensions, a copy: only training balances classes"""

    ignored = frozenset({"nBatch", "inputCache", "prob", "sum", "batchSize", "startIdx"})

    def forward(self, x: Array) -> Array:
        check_rank(x, 2)
        return x.copy()

    def lower(self, op: Builder, x: Value) -> Value:
        check_rank(x, 2)
        return op.Identity(x)


class Matching(Layer):
    """What nnx's block matching shares: {x1, x2}, of (C, H, W), and which rows or columns of x2 each of x1 meets."""

    def met(self, size: int, most: int, reach: int, *, centred: bool = False) -> Array:
        """(size, most): the places in x2 that each place in x1 meets.

        Raises:
            Refusal: some of them lie outside.
        """
        first = np.arange(size) - (-(-most // 2) - 1 if centred else 0)
        places = first[:, None] + np.arange(most)
        if reach < (size if centred else size + most - 1):
            raise Refusal(f"matches {size} rows or columns to {size if centred else size + most - 1}, not {reach}")
        return places

    def check(self, x: list[Array] | list[Value]) -> None:
        if len(x) != 2:
            raise Refusal(f"takes 2 tensors, not {len(x)}")
        for image in x:
            check_rank(image, 3)
        if x[1].shape[0] < x[0].shape[0]:
            raise Refusal(f"matches {x[0].shape[0]} channels to {x[1].shape[0]}")


@layer("nn.SpatialMatching", kind="matching")
class SpatialMatching(Matching):
    """{x1, x2} ↦ y[h, w, i, j] = Σ_c (x1[c, h, w] − x2[c, h + i, w + j])²; i < maxh, j < maxw

    With ``full_output`` the window lies around (h, w), and what is outside of x1's size is 1e30.
    """

    maxh: int = 11
    maxw: int = 11
    full_output: bool = False
    ignored = frozenset({"gradInput1", "gradInput2"})

    def places(self, x: list[Array] | list[Value]) -> tuple[Array, Array]:
        """(H, maxh) and (W, maxw): what rows and columns meet."""
        self.check(x)
        (_, height, width), (_, rows, columns) = x[0].shape, x[1].shape
        centred = self.full_output
        return self.met(height, self.maxh, rows, centred=centred), self.met(width, self.maxw, columns, centred=centred)

    def inside(self, x: list[Array] | list[Value], down: Array, across: Array) -> Array:
        """(H, W, maxh, maxw): whether the place met lies in the image."""
        _, height, width = x[0].shape
        rows, columns = (down >= 0) & (down < height), (across >= 0) & (across < width)
        return rows[:, None, :, None] & columns[None, :, None, :]

    def forward(self, x: list[Array]) -> Array:
        down, across = self.places(x)
        inside = self.inside(x, down, across)
        (channels, height, width), dtype = x[0].shape, x[0].dtype
        y, other = np.zeros(inside.shape, dtype), x[1][:channels]
        if self.full_output:
            down, across = down.clip(0, height - 1), across.clip(0, width - 1)
        for i, j in np.ndindex(self.maxh, self.maxw):
            seen = other[:, down[:, i, None], across[:, j]]
            y[:, :, i, j] = np.square(x[0] - seen).sum(axis=0)
        return np.where(inside, y, np.asarray(1e30, dtype)) if self.full_output else y

    def lower(self, op: Builder, x: list[Value]) -> Value:
        down, across = self.places(x)
        inside = self.inside(x, down, across)
        channels, height, width = x[0].shape
        if self.full_output:
            down, across = down.clip(0, height - 1), across.clip(0, width - 1)
        other = x[1] if x[1].shape[0] == channels else op.Slice(x[1], [0], [channels], [0])
        seen = op.Gather(op.Gather(other, op.constant(down), axis=1), op.constant(across), axis=3)
        off = op.Sub(op.Reshape(x[0], [channels, height, 1, width, 1]), seen)
        y = op.Transpose(op.ReduceSum(op.Mul(off, off), [0], keepdims=0), perm=[0, 2, 1, 3])
        return op.Where(op.constant(inside), y, 1e30) if self.full_output else y


@layer("nn.SpatialRadialMatching", kind="matching")
class SpatialRadialMatching(Matching):
    """{x1, x2} ↦ y[h, w, i] = Σ_c (x1[c, h, w] − x2[c, h + i, w])², i < maxh"""

    maxh: int
    ignored = frozenset({"gradInput1", "gradInput2"})

    def places(self, x: list[Array] | list[Value]) -> Array:
        """(H, maxh): which rows meet."""
        self.check(x)
        if x[1].shape[2] < x[0].shape[2]:
            raise Refusal(f"matches {x[0].shape[2]} columns to {x[1].shape[2]}")
        return self.met(x[0].shape[1], self.maxh, x[1].shape[1])

    def forward(self, x: list[Array]) -> Array:
        down = self.places(x)
        channels, _, width = x[0].shape
        seen = x[1][:channels, :, :width]
        return np.stack([np.square(x[0] - seen[:, rows]).sum(axis=0) for rows in down.T], axis=-1)

    def lower(self, op: Builder, x: list[Value]) -> Value:
        down = self.places(x)
        channels, _, width = x[0].shape
        other = x[1]
        if (other.shape[0], other.shape[2]) != (channels, width):
            other = op.Slice(other, [0, 0], [channels, width], [0, 2])
        off = op.Sub(op.Unsqueeze(x[0], [2]), op.Gather(other, op.constant(down), axis=1))
        return op.Transpose(op.ReduceSum(op.Mul(off, off), [0], keepdims=0), perm=[0, 2, 1])


@layer("nn.SpatialGraph", kind="graph")
class SpatialGraph(Layer):
    """(C, H, W) ↦ (2, H, W): how far each pixel is from the one to its right and the one below, 0 at the edge

    ``dist`` 0: √Σ(a − b)², divided by √C if ``normalize``; 1, after adding 1e-12: 1 − a·b / (‖a‖ ‖b‖), or C − a·b.
    """

    dist: int = 0
    normalize: int = 1
    connex: int = 4
    ignored = frozenset({"usage"})

    def check(self, x: Array | Value) -> None:
        check_rank(x, 3)
        if self.connex != 4:
            raise Refusal(f"has {self.connex} neighbours, not 4")

    def forward(self, x: Array) -> Array:
        self.check(x)
        y = np.zeros((2, *x.shape[1:]), x.dtype)
        y[0, :, :-1] = self.distance(x[:, :, :-1], x[:, :, 1:])
        y[1, :-1] = self.distance(x[:, :-1], x[:, 1:])
        return y

    def distance(self, a: Array, b: Array) -> Array:
        """Between two images of (C, H, W), (H, W)."""
        if self.dist == 0:
            return np.sqrt(np.square(a - b).sum(axis=0)) / (np.sqrt(len(a)) if self.normalize == 1 else 1)
        a, b = a + 1e-12, b + 1e-12
        dot = (a * b).sum(axis=0)
        if not self.normalize:
            return len(a) - dot
        return 1 - dot / (np.sqrt(np.square(a).sum(axis=0)) * np.sqrt(np.square(b).sum(axis=0)))

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        _, height, width = x.shape
        maps: list[Value] = []
        for axis, size, pads in ((2, width, [0, 0, 0, 0, 0, 1]), (1, height, [0, 0, 0, 0, 1, 0])):
            if size == 1:
                maps.append(op.constant(np.zeros((1, height, width), np.float32)))
                continue
            a, b = op.Slice(x, [0], [size - 1], [axis]), op.Slice(x, [1], [size], [axis])
            maps.append(op.Pad(self.lower_distance(op, a, b), pads))
        return op.Concat(*maps, axis=0)

    def lower_distance(self, op: Builder, a: Value, b: Value) -> Value:
        """The same in ONNX, (1, H, W)."""
        if self.dist == 0:
            length = op.ReduceL2(op.Sub(a, b), [0], keepdims=1)
            return op.Mul(length, float(1 / np.sqrt(a.shape[0]))) if self.normalize == 1 else length
        dot = op.ReduceSum(op.Mul(op.Add(a, 1e-12), op.Add(b, 1e-12)), [0], keepdims=1)
        if not self.normalize:
            return op.Sub(float(a.shape[0]), dot)
        lengths = [op.ReduceL2(op.Add(image, 1e-12), [0], keepdims=1) for image in (a, b)]
        return op.Sub(1.0, op.Div(dot, op.Mul(*lengths)))


@layer("nnx.QDRiemaNNLinear", kind="fc")
class QDRiemaNNLinear(Linear):
    """x · weightᵀ + bias: an nn.Linear that is trained by another metric"""

    weight: Array
    bias: Array | None = None
    ignored = frozenset({"gamma", "qdFlag", "matReg", "initMetric", "Mii", "M0i", "M00"})
