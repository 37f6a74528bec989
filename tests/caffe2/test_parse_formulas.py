"""What the parser makes of the main Caffe2 operators, against formulas in NumPy: no Caffe2 needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from caffe2.nets import Array, Row, row
from retorch.caffe2.parse.net import parse
from retorch.network import Network

Blobs = dict[str, Array]
Formula = Callable[[Blobs], Array]


def windows(x: Array, kernel: int, stride: int, pads: tuple[int, int]) -> Iterator[tuple[int, int, Array]]:
    """Every window of pictures (N, C, H, W), without the part that lies in the padding; ``pads`` are head and tail."""
    head, tail = pads
    height, width = ((size + head + tail - kernel) // stride + 1 for size in x.shape[2:])
    for i in range(height):
        for j in range(width):
            top, left = i * stride - head, j * stride - head
            yield i, j, x[:, :, max(top, 0) : max(top + kernel, 0), max(left, 0) : max(left + kernel, 0)]


def pooled(b: Blobs, function: Callable[[Array], Array], kernel: int, stride: int, pads: tuple[int, int]) -> Array:
    values = {(i, j): function(window) for i, j, window in windows(b["X"], kernel, stride, pads)}
    rows, columns = (max(place[axis] for place in values) + 1 for axis in (0, 1))
    return np.stack([np.stack([values[i, j] for j in range(columns)], -1) for i in range(rows)], -2)


def maximum(kernel: int, stride: int, pads: tuple[int, int]) -> Formula:
    return lambda b: pooled(b, lambda w: w.max((2, 3)), kernel, stride, pads)


def mean(kernel: int, stride: int, pads: tuple[int, int]) -> Formula:
    return lambda b: pooled(b, lambda w: w.mean((2, 3)), kernel, stride, pads)


def mean_with_padding(kernel: int, stride: int, pads: tuple[int, int]) -> Formula:
    return lambda b: pooled(b, lambda w: w.sum((2, 3)) / kernel**2, kernel, stride, pads)


def convolved(stride: int, pad: int) -> Formula:
    def formula(b: Blobs) -> Array:
        kernel = b["w"].shape[2]
        x = np.pad(b["X"], ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        parts = {"X": x.astype(np.float64)}
        y = pooled(parts, lambda w: np.einsum("nchw,ochw->no", w, b["w"].astype(np.float64)), kernel, stride, (0, 0))
        return y + b["b"][:, None, None]

    return formula


def transposed(b: Blobs) -> Array:
    """Every input element adds its kernel to the output: stride 2, padding 1, adj 1."""
    x, w = b["X"].astype(np.float64), b["w"].astype(np.float64)
    n, _, height, width = x.shape
    kernel = w.shape[2]
    y = np.zeros((n, w.shape[1], (height - 1) * 2 + kernel + 1, (width - 1) * 2 + kernel + 1))
    for i in range(height):
        for j in range(width):
            part = np.einsum("nc,cohw->nohw", x[:, :, i, j], w)
            y[:, :, 2 * i : 2 * i + kernel, 2 * j : 2 * j + kernel] += part
    return y[:, :, 1:-1, 1:-1] + b["b"][:, None, None]


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def normalised(b: Blobs, epsilon: float) -> Array:
    x, s, bias, m, v = (b[name] for name in ("X", "s", "b", "m", "v"))
    shape = (-1, 1, 1)
    return (x - m.reshape(shape)) / np.sqrt(v.reshape(shape) + epsilon) * s.reshape(shape) + bias.reshape(shape)


def instance_normalised(b: Blobs) -> Array:
    x = b["X"].astype(np.float64)
    centred = x - x.mean((2, 3), keepdims=True)
    y = centred / np.sqrt((centred**2).mean((2, 3), keepdims=True) + 1e-5)
    return y * b["s"][:, None, None] + b["b"][:, None, None]


def local_response(b: Blobs) -> Array:
    """size 5, alpha 0.1, beta 0.75, bias 2"""
    x = b["X"].astype(np.float64)
    channels = x.shape[1]
    squares = np.stack([(x[:, max(c - 2, 0) : c + 3] ** 2).sum(1) for c in range(channels)], 1)
    return x / (2 + 0.1 / 5 * squares) ** 0.75


def bilinear(b: Blobs) -> Array:
    """Twice the size, corners on corners."""
    x = b["X"].astype(np.float64)
    for axis in (2, 3):
        size = x.shape[axis]
        place = np.arange(2 * size) * (size - 1) / (2 * size - 1)
        low = np.minimum(place.astype(int), size - 2)
        share = (place - low).reshape([-1 if at == axis else 1 for at in range(4)])
        x = np.take(x, low, axis) * (1 - share) + np.take(x, low + 1, axis) * share
    return x


def nearest(b: Blobs) -> Array:
    """Height by 1.5, width by 2."""
    rows = (np.arange(int(b["X"].shape[2] * 1.5)) / 1.5).astype(int)
    return b["X"][:, :, rows].repeat(2, 3)


V = np.array([0.5, 1.5, 2.5], np.float32)
X = (2, 3, 7, 7)
CASES: list[tuple[Row, Formula]] = [
    (row("Conv X w b -> Y | kernel=3", X=X, w=(4, 3, 3, 3), b=(4,)), convolved(1, 0)),
    (row("Conv X w b -> Y | kernel=3 stride=2 pad=1", X=X, w=(4, 3, 3, 3), b=(4,)), convolved(2, 1)),
    (row("ConvTranspose X w b -> Y | kernel=3 stride=2 pad=1 adj=1", X=X, w=(3, 4, 3, 3), b=(4,)), transposed),
    (row("MaxPool X -> Y | kernel=3 stride=2", X=X), maximum(3, 2, (0, 0))),
    (row("MaxPool X -> Y | kernel=3 stride=2 pad=1", X=X), maximum(3, 2, (1, 1))),
    # (7 − 2) / 3 is not whole: Caffe rounds up and looks at what is left.
    (row("MaxPool X -> Y | kernel=2 stride=3 legacy_pad=3", X=(1, 2, 7, 7)), maximum(2, 3, (0, 1))),
    (row("MaxPool X -> Y | kernel=2 stride=2 legacy_pad=3", X=X), maximum(2, 2, (0, 1))),
    # With padding a window that would begin in the tail is left out.
    (row("MaxPool X -> Y | kernel=2 stride=2 pad=1 legacy_pad=3", X=X), maximum(2, 2, (1, 0))),
    (row("MaxPool X -> Y | kernel=3 stride=2 legacy_pad=2", X=(1, 2, 8, 8)), maximum(3, 2, (0, 1))),
    (row("MaxPool X -> Y | kernel=3 stride=2 legacy_pad=1", X=(1, 2, 8, 8)), maximum(3, 2, (0, 0))),
    (row("AveragePool X -> Y | kernel=3 stride=2 pad=1", X=X), mean(3, 2, (1, 1))),
    (row("AveragePool X -> Y | kernel=2 stride=2 legacy_pad=3", X=X), mean(2, 2, (0, 1))),
    (row("AveragePool X -> Y | kernel=3 stride=2 pad=1 count_include_pad=1", X=X), mean_with_padding(3, 2, (1, 1))),
    (row("AveragePool X -> Y | global_pooling=1", X=X), lambda b: b["X"].mean((2, 3), keepdims=True)),
    (row("Softmax X -> Y", X=(2, 3, 4)), lambda b: softmax(b["X"].reshape(2, 12)).reshape(2, 3, 4)),
    (row("Softmax X -> Y | axis=2", X=(2, 3, 4)), lambda b: softmax(b["X"])),
    (row("FC X w b -> Y", X=(2, 3, 4), w=(5, 12), b=(5,)), lambda b: b["X"].reshape(2, 12) @ b["w"].T + b["b"]),
    (row("FC X w b -> Y | axis=2", X=(2, 3, 4), w=(5, 4), b=(5,)), lambda b: b["X"] @ b["w"].T + b["b"]),
    (row("MatMul A B -> Y | trans_b=1", A=(2, 3, 2), B=(4, 6)), lambda b: b["A"].reshape(2, 6) @ b["B"].T),
    (row("BatchMatMul A B -> Y | trans_a=1", A=(2, 4, 3), B=(2, 4, 5)), lambda b: b["A"].transpose(0, 2, 1) @ b["B"]),
    (row("SpatialBN X s b m v -> Y | is_test=1", X=X, s=(3,), b=(3,), m=(3,), v=V), lambda b: normalised(b, 1e-5)),
    (
        row("SpatialBN X s b m v -> Y | is_test=1 epsilon=0.5", X=X, s=(3,), b=(3,), m=(3,), v=V),
        lambda b: normalised(b, 0.5),
    ),
    (row("InstanceNorm X s b -> Y", X=X, s=(3,), b=(3,)), instance_normalised),
    (row("LRN X -> Y S | size=5 alpha=0.1 beta=0.75 bias=2.0", X=(2, 8, 3, 3)), local_response),
    (row("UpsampleBilinear X -> Y | width_scale=2.0 height_scale=2.0", X=X), bilinear),
    (row("ResizeNearest X -> Y | width_scale=2.0 height_scale=1.5", X=X), nearest),
    (row("Add A B -> Y | broadcast=1 axis=1", A=X, B=(3,)), lambda b: b["A"] + b["B"][:, None, None]),
    (row("Sub A B -> Y | broadcast=1", A=(2, 3, 4), B=(3, 4)), lambda b: b["A"] - b["B"]),
    (row("Mul A B -> Y", A=(3, 1), B=(2, 1, 4)), lambda b: b["A"] * b["B"]),
    (row("Slice X -> Y | starts=0,1 ends=-1,-2", X=(3, 6)), lambda b: b["X"][:, 1:5]),
    (row("Slice X -> Y | starts=-3, ends=-1,", X=(6,)), lambda b: b["X"][4:]),
    (row("Transpose X -> Y", X=(2, 3, 4)), lambda b: b["X"].T),
    (row("Concat A B -> Y I | axis=1 add_axis=1", A=(2, 3), B=(2, 3)), lambda b: np.stack([b["A"], b["B"]], 1)),
    (row("Reshape X -> Y O | shape=0,-1", X=(2, 3, 4)), lambda b: b["X"].reshape(2, 12)),
    (row("Split X -> A Y | axis=1 split=1,3", "Y", X=(2, 4)), lambda b: b["X"][:, 1:]),
    (row("Tile X -> Y | tiles=3 axis=1", X=(2, 3)), lambda b: np.tile(b["X"], (1, 3))),
    (
        row("PadImage X -> Y | pads=1,2,3,0 mode=reflect", X=X),
        lambda b: np.pad(b["X"], ((0, 0), (0, 0), (1, 3), (2, 0)), "reflect"),
    ),
    (
        row("PadImage X -> Y | pads=-1,2,1,-3 value=0.5", X=X),
        lambda b: np.pad(b["X"][:, :, 1:, :-3], ((0, 0), (0, 0), (0, 1), (2, 0)), constant_values=0.5),
    ),
    (row("PRelu X w -> Y", X=X, w=(3,)), lambda b: np.where(b["X"] > 0, b["X"], b["w"][:, None, None] * b["X"])),
    (row("LeakyRelu X -> Y", X=X), lambda b: np.where(b["X"] > 0, b["X"], 0.01 * b["X"])),
    (row("Elu X -> Y | alpha=0.5", X=X), lambda b: np.where(b["X"] > 0, b["X"], 0.5 * np.expm1(b["X"]))),
    (row("Clip X -> Y | min=-0.5 max=0.25", X=X), lambda b: b["X"].clip(-0.5, 0.25)),
    (row("ThresholdedRelu X -> Y | alpha=-0.5", X=X), lambda b: np.where(b["X"] > -0.5, b["X"], 0)),
    (row("ReduceMean X -> Y | axes=1,2 keepdims=0", X=(2, 3, 4)), lambda b: b["X"].mean((1, 2))),
    (row("ReduceBackSum X -> Y | num_reduce_dim=2", X=(2, 3, 4)), lambda b: b["X"].sum((1, 2))),
    (row("Gather X I -> Y", X=(5, 3), I=[[4, 0], [2, 2]]), lambda b: b["X"][b["I"]]),
    (row("TopK X -> Y I | k=2", "Y", X=(3, 5)), lambda b: -np.sort(-b["X"], 1)[:, :2]),
    (row("Glu X -> Y | dim=1", X=(2, 4)), lambda b: b["X"][:, :2] / (1 + np.exp(-b["X"][:, 2:]))),
    (row("ChannelShuffle X -> Y | group=2 kernel=1", X=(1, 6, 2, 2)), lambda b: b["X"][:, [0, 3, 1, 4, 2, 5]]),
]


@pytest.mark.parametrize(("case", "formula"), CASES, ids=[str(case) for case, _ in CASES])
def test_formula(case: Row, formula: Formula) -> None:
    expected = formula(case.arrays())
    (got,) = Network(parse(case.net(), {name: array.shape for name, array in case.feeds().items()})).run(case.feeds())
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5 * max(1.0, float(np.abs(expected).max())))
