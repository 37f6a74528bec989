"""Pooling of every kind, against loops over windows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import retorch
from building import module, reference, sequential, through_caffe2, through_onnx, torch_object
from golden_cases import check
from layers.loops import named_fields, pick, pooled_sizes, windowed
from layers.rows import Row, every, named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]

#: A maximum over nothing, in THNN's floats.
LOWEST = float(np.finfo(np.float32).min)


def largest(values: np.ndarray, _: tuple[int, ...]) -> np.ndarray:
    return values.max(axis=-1, initial=LOWEST)


def average(
    x: np.ndarray, out: list[int], kernel: list[int], stride: list[int], pad: list[int], include: bool
) -> np.ndarray:
    """SpatialAveragePooling.c: sums, divided by sizes that are cut at the trailing padding, or at the image."""
    sizes = x.shape[-len(kernel) :]

    def mean(values: np.ndarray, at: tuple[int, ...]) -> np.ndarray:
        count = 1
        for i, n, k, s, p in zip(at, sizes, kernel, stride, pad, strict=True):
            start, end = i * s - p, min(i * s - p + k, n + p)
            count *= end - start if include else min(end, n) - max(start, 0)
        return values.sum(axis=-1) / count

    return windowed(x, len(kernel), out, kernel, stride, pad, mean)


def settings(rng: np.random.Generator, rank: int) -> tuple[list[int], list[int], list[int]]:
    kernel = pick(rng, 1, 4, rank)
    return kernel, pick(rng, 1, 4, rank), [int(rng.integers(0, k // 2 + 1)) for k in kernel]


def maxima(rng: np.random.Generator) -> Rows:
    """Odd sizes, stride above the kernel, pads on one axis only, dilation; rounded up and down."""
    for i in range(80):
        kernel, stride, pad = settings(rng, 2)
        dilation = pick(rng, 1, 3) if i % 4 == 0 else [1, 1]
        sizes = [(k - 1) * d + 1 + n for k, d, n in zip(kernel, dilation, pick(rng, 0, 7), strict=True)]
        ceil = i % 2 == 0
        out = pooled_sizes(sizes, kernel, stride, pad, ceil, dilation)
        x = noise(rng, 3 if i % 3 else 1, 2, *sizes)
        expected = windowed(x, 2, out, kernel, stride, pad, largest, dilation)
        fields = named_fields("kH kW dH dW padH padW", [*kernel, *stride, *pad]) | {"ceil_mode": ceil}
        kind = "nn.SpatialMaxPooling"
        if dilation != [1, 1]:
            kind, fields = "nn.SpatialDilatedMaxPooling", fields | named_fields("dilationH dilationW", dilation)
        label = f"k{kernel}s{stride}p{pad}in{sizes}{'c' if ceil else ''}"
        yield label, module(kind, **fields), *((x, expected) if i % 5 else (x[0], expected[0]))


def averages(rng: np.random.Generator) -> Rows:
    for i in range(80):
        kernel, stride, pad = settings(rng, 2)
        sizes = [k + n for k, n in zip(kernel, pick(rng, 0, 7), strict=True)]
        ceil, include = i % 2 == 0, i % 4 < 2
        out = pooled_sizes(sizes, kernel, stride, pad, ceil)
        x = noise(rng, 3 if i % 3 else 1, 2, *sizes)
        if any((o - 1) * s - p >= n for o, s, p, n in zip(out, stride, pad, sizes, strict=True)):
            continue
        expected = average(x, out, kernel, stride, pad, include)
        fields = named_fields("kH kW dH dW padH padW", [*kernel, *stride, *pad])
        fields |= {"ceil_mode": ceil, "count_include_pad": include, "divide": True}
        label = f"k{kernel}s{stride}p{pad}in{sizes}{'c' if ceil else ''}{'i' if include else ''}"
        net = module("nn.SpatialAveragePooling", **fields)
        yield label, net, *((x, expected) if i % 5 else (x[0], expected[0]))


def cropped(rng: np.random.Generator) -> Rows:
    """Negative padding: windows begin inside, and the mean's size is cut at the cropped end."""
    for i in range(12):
        kernel, stride, pad = pick(rng, 2, 3), pick(rng, 1, 3), pick(rng, -2, 1)
        sizes = [k + 4 + n for k, n in zip(kernel, pick(rng, 0, 3), strict=True)]
        ceil, include = i % 2 == 0, i % 4 < 2
        out = pooled_sizes(sizes, kernel, stride, pad, ceil)
        x = noise(rng, 2, 2, *sizes)
        fields = named_fields("kH kW dH dW padH padW", [*kernel, *stride, *pad]) | {"ceil_mode": ceil}
        expected = windowed(x, 2, out, kernel, stride, pad, largest)
        yield f"max{sizes}p{pad}", module("nn.SpatialMaxPooling", **fields), x, expected
        expected = cropped_average(x, out, kernel, stride, pad, include)
        net = module("nn.SpatialAveragePooling", divide=True, count_include_pad=include, **fields)
        yield f"mean{sizes}p{pad}", net, x, expected


def cropped_average(
    x: np.ndarray, out: list[int], kernel: list[int], stride: list[int], pad: list[int], include: bool
) -> np.ndarray:
    """SpatialAveragePooling.c with windows that end where the padding does."""
    y = np.zeros((*x.shape[:2], *out))
    for at in np.ndindex(*out):
        cut, counts = [], []
        for i, n, k, s, p in zip(at, x.shape[2:], kernel, stride, pad, strict=True):
            start, end = i * s - p, min(i * s - p + k, n + p)
            cut.append(slice(max(start, 0), min(end, n)))
            counts.append(end - start if include else min(end, n) - max(start, 0))
        y[(..., *at)] = x[(..., *cut)].astype(np.float64).sum(axis=(2, 3)) / math.prod(counts)
    return y


def volumes(rng: np.random.Generator) -> Rows:
    for i in range(30):
        kernel, stride, pad = settings(rng, 3)
        sizes = [k + n for k, n in zip(kernel, pick(rng, 0, 3, 3), strict=True)]
        ceil, include = i % 2 == 0, i % 4 < 2
        out = pooled_sizes(sizes, kernel, stride, pad, ceil)
        if any((o - 1) * s - p >= n for o, s, p, n in zip(out, stride, pad, sizes, strict=True)):
            continue
        x = noise(rng, 2, 2, *sizes)
        fields = named_fields("kT kH kW dT dH dW padT padH padW", [*kernel, *stride, *pad]) | {"ceil_mode": ceil}
        if i % 3:
            expected = windowed(x, 3, out, kernel, stride, pad, largest)
            net = module("nn.VolumetricMaxPooling", **fields)
        else:
            expected = average(x, out, kernel, stride, pad, include)
            net = module("nn.VolumetricAveragePooling", count_include_pad=include, **fields)
        yield f"k{kernel}s{stride}p{pad}in{sizes}", net, *((x, expected) if i % 5 else (x[0], expected[0]))


def dilated_volumes(rng: np.random.Generator) -> Rows:
    for _ in range(4):
        kernel, stride, dilation = pick(rng, 1, 3, 3), pick(rng, 1, 2, 3), pick(rng, 1, 2, 3)
        x = noise(rng, 1, 2, 6, 5, 7)
        out = pooled_sizes(x.shape[2:], kernel, stride, [0, 0, 0], False, dilation)
        values = [*kernel, *stride, *dilation]
        fields = named_fields("kT kH kW dT dH dW dilationT dilationH dilationW", values)
        expected = windowed(x, 3, out, kernel, stride, [0, 0, 0], largest, dilation)
        yield f"d{dilation}", module("nn.VolumetricDilatedMaxPooling", **fields), x, expected


def other_libraries(rng: np.random.Generator) -> Rows:
    """Old files hold sums and no padding; inn rounds up and divides by what is there; cuDNN always divides."""
    x = noise(rng, 2, 3, 7, 8)
    geometry = named_fields("kH kW dH dW", [3, 2, 2, 2])
    yield (
        "old-max",
        module("nn.SpatialMaxPooling", **named_fields("kH kW", [3, 2])),
        x,
        windowed(x, 2, [2, 4], [3, 2], [3, 2], [0, 0], largest),
    )
    mean = average(x, [3, 4], [3, 2], [2, 2], [0, 0], True)
    yield "old-sum", module("nn.SpatialAveragePooling", padW=1, padH=1, **geometry), x, mean * 6
    yield "cudnn", module("cudnn.SpatialAveragePooling", mode="…", **geometry), x, mean
    square = named_fields("kH kW dH dW", [2, 3, 2, 2])
    yield (
        "cudnn-max",
        module("cudnn.SpatialMaxPooling", ceil_mode=False, **square),
        x,
        windowed(x, 2, [3, 3], [2, 3], [2, 2], [0, 0], largest),
    )
    yield (
        "inn-max",
        module("inn.SpatialMaxPooling", **square),
        x,
        windowed(x, 2, [4, 4], [2, 3], [2, 2], [0, 0], largest),
    )
    clipped = average(x, [4, 4], [2, 3], [2, 2], [0, 0], True)
    yield "inn", module("inn.SpatialAveragePooling", **square), x, clipped
    inside = average(x, [4, 5], [2, 3], [2, 2], [0, 1], False)
    told = {"ceil_mode": True, "count_include_pad": False, "divide": True, "padH": 0, "padW": 1}
    yield "inn-inside", module("inn.SpatialAveragePooling", **square, **told), x, inside
    yield "cudnn-inside", module("cudnn.SpatialAveragePooling", **square, **told), x, inside


def cudnn_volumes(rng: np.random.Generator) -> Rows:
    volume, cube = (
        noise(rng, 2, 2, 4, 5, 6),
        named_fields("kT kH kW dT dH dW padT padH padW", [2, 3, 2, 2, 2, 1, 1, 0, 1]),
    )
    out, sides = [3, 2, 7], ([2, 3, 2], [2, 2, 1], [1, 0, 1])
    yield (
        "cudnn-volume-max",
        module("cudnn.VolumetricMaxPooling", **cube),
        volume,
        windowed(volume, 3, out, *sides, largest),
    )
    mean = average(volume, out, *sides, True)
    yield "cudnn-volume", module("cudnn.VolumetricAveragePooling", **cube), volume, mean


def sequences(rng: np.random.Generator) -> Rows:
    for i in range(16):
        kernel, stride, features = pick(rng, 1, 3, 3)
        x = noise(rng, 2, kernel + i % 6, features)
        starts = range(0, x.shape[1] - kernel + 1, stride)
        expected = np.stack([x[:, t : t + kernel].max(axis=1) for t in starts], axis=1)
        net = module("nn.TemporalMaxPooling", kW=kernel, dW=stride)
        yield f"{x.shape}", net, *((x, expected) if i % 2 else (x[0], expected[0]))


def top_frames(rng: np.random.Generator) -> Rows:
    for i in range(10):
        x = noise(rng, 2, 6 + i % 3, 3)
        least, factor = int(rng.integers(1, 6)), [0, 0.3, 0.8][i % 3]
        k = max(least, math.ceil(factor * x.shape[1]))
        expected = np.zeros((2, k, 3))
        for n in range(2):
            for c in range(3):
                kept = sorted(sorted(range(x.shape[1]), key=lambda t: -x[n, t, c])[:k])
                expected[n, :, c] = x[n, kept, c]
        net = module("nn.TemporalDynamicKMaxPooling", minK=least, factor=factor)
        yield f"{x.shape}k{k}", net, *((x, expected) if i % 2 else (x[0], expected[0]))


def features(rng: np.random.Generator) -> Rows:
    for i in range(18):
        width, stride, power = int(rng.integers(2, 5)), int(rng.integers(1, 4)), [2, 3, 1.5][i % 3]
        batch, rest = i % 2 == 0, [3, 2][: i % 3]
        shape = [*([2] if batch else []), width + i % 7, *rest]
        x = np.abs(noise(rng, *shape)) + 0.1
        axis = 1 if batch else 0
        moved = np.moveaxis(x.astype(np.float64), axis, 0)
        starts = range(0, len(moved) - width + 1, stride)
        expected = np.stack([(moved[s : s + width] ** power).sum(axis=0) ** (1 / power) for s in starts])
        net = module("nn.FeatureLPPooling", width=width, stride=stride, power=power, batch_mode=batch)
        yield f"{shape}", net, x, np.moveaxis(expected, 0, axis)


def unpooled(rng: np.random.Generator) -> Rows:
    """A pooling layer and the one that undoes it: sizes that leave a rest, padding, volumes; ties go to the first."""
    for i in range(18):
        rank = 3 if i % 3 == 2 else 2
        kernel = pick(rng, 2, 3, rank)
        pad = [int(rng.integers(0, k // 2 + 1)) if i % 2 else 0 for k in kernel]
        sizes = [2 * k + n for k, n in zip(kernel, pick(rng, 0, 2, rank), strict=True)]
        x = np.round(noise(rng, 2, 2, *sizes) * 2) / 2 + np.float32(0.125)
        out = pooled_sizes(sizes, kernel, kernel, pad, i % 4 > 1)
        expected = np.zeros(x.shape)
        for outer in np.ndindex(2, 2):
            for at in np.ndindex(*out):
                cut = [slice(max(j * k - p, 0), j * k - p + k) for j, k, p in zip(at, kernel, pad, strict=True)]
                seen = x[outer][tuple(cut)]
                first = np.unravel_index(np.argmax(seen), seen.shape)
                there = tuple(c.start + f for c, f in zip(cut, first, strict=True))
                expected[(*outer, *there)] = 2 * seen.max()
        letters, family = "THW"[-rank:], "Volumetric" if rank == 3 else "Spatial"
        names = " ".join(stem + a for stem in ("k", "d", "pad") for a in letters)
        fields = named_fields(names, [*kernel, *kernel, *pad])
        pool = torch_object(f"nn.{family}MaxPooling", ceil_mode=i % 4 > 1, **fields)
        double = torch_object("nn.MulConstant", constant_scalar=2, inplace=False)
        undone = "nn.VolumetricMaxUnpooling" if rank == 3 else "nn.SpatialMaxUnpooling"
        undo = torch_object(undone, pooling=pool)
        net = sequential(pool, double, undo)
        yield f"{sizes}k{kernel}p{pad}", net, *((x, expected) if i % 5 else (x[0], expected[0]))


ROWS = named(
    maxima,
    averages,
    cropped,
    volumes,
    dilated_volumes,
    other_libraries,
    cudnn_volumes,
    sequences,
    features,
    top_frames,
    unpooled,
)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


@every([row for row in ROWS if row.x.ndim == 4 and not row.name.startswith(("volumes", "unpooled", "features"))][::2])
def test_a_network_made_for_one_takes_any_batch(row: Row) -> None:
    network = retorch.convert(row.net, row.x[:1], fold=False)
    check(row.flat, network.run(row.x), 1e-5)


def test_a_mean_over_nothing_is_what_thnn_divides() -> None:
    """The last window starts one past the input (0 / 0), or two (0 / -1)."""
    fields = {"kW": 1, "kH": 1, "dH": 1, "ceil_mode": True, "divide": True, "count_include_pad": True}
    x = np.ones((1, 1, 1, 6), np.float32)
    for stride, last in ((2, math.nan), (3, math.nan), (7, -0.0)):
        net = module("nn.SpatialAveragePooling", dW=stride, **fields)
        (by_formula,) = reference(net, x)
        assert np.array_equal(by_formula[0, 0, 0, -1], last, equal_nan=True)
        check([by_formula], through_onnx(net, x))


def test_a_sum_of_two_windows_with_the_same_maximum_is_not_undone() -> None:
    pool = torch_object("nn.SpatialMaxPooling", kW=3, kH=3, dW=2, dH=2)
    net = sequential(pool, torch_object("nn.SpatialMaxUnpooling", pooling=pool))
    with pytest.raises(UnsupportedError, match="overlap"):
        through_onnx(net, np.zeros((1, 1, 7, 7), np.float32))


def test_a_pooling_undone_before_it_ran_is_refused() -> None:
    pool = torch_object("nn.SpatialMaxPooling", kW=2, kH=2)
    net = sequential(torch_object("nn.SpatialMaxUnpooling", pooling=pool), pool)
    with pytest.raises(UnsupportedError, match="before its pooling layer"):
        through_onnx(net, np.zeros((1, 1, 4, 4), np.float32))


def test_what_was_pooled_is_remembered_before_it_is_overwritten() -> None:
    """An in-place layer after the pooling changes the pooled image, but not where its maxima were."""
    x = np.array([[[[3, -1, -7, -2], [-4, 5, -9, -8]]]], np.float32)
    pool = torch_object("nn.SpatialMaxPooling", kW=2, kH=2)
    flip = torch_object("nn.MulConstant", constant_scalar=-1, inplace=True)
    branches = module("nn.ConcatTable", modules=[pool, flip]).layer.raw
    pick_first = torch_object("nn.SelectTable", index=1)
    net = sequential(branches, pick_first, torch_object("nn.SpatialMaxUnpooling", pooling=pool))
    expected = [np.array([[[[0, 0, 0, -2], [0, 5, 0, 0]]]])]
    check(expected, reference(net, x))
    check(expected, through_onnx(net, x))
    check(expected, through_caffe2(net, x))


def test_cudnn_has_no_result_for_a_window_in_the_padding() -> None:
    net = module("cudnn.SpatialMaxPooling", kW=2, kH=2, dW=3, dH=3, padW=1, padH=1, ceil_mode=True)
    with pytest.raises(UnsupportedError, match="cuDNN"):
        through_onnx(net, np.zeros((1, 1, 5, 5), np.float32))


def test_a_volumes_windows_with_gaps_that_reach_far_over_the_edge_are_refused() -> None:
    fields = named_fields("kT kH kW padT padH padW dilationT dilationH dilationW", [1, 4, 1, 0, 2, 0, 1, 2, 1])
    assert "leaves out" in module("nn.VolumetricDilatedMaxPooling", **fields).problems[0].reason


def test_sums_are_not_cudnns() -> None:
    net = module("cudnn.SpatialAveragePooling", kW=2, kH=2, divide=False)
    assert "sums" in net.problems[0].reason


def test_a_window_that_sees_nothing_gives_the_lowest_number_of_torchs_type() -> None:
    """Taps at -1 and 3 of three columns: SpatialDilatedMaxPooling.c keeps the -THInf that it began with."""
    fields = named_fields("kH kW dH dW padH padW dilationH dilationW", [1, 2, 1, 1, 0, 1, 1, 4]) | {"ceil_mode": False}
    x = np.arange(3.0).reshape(1, 1, 3)
    for typename, dtype in (("torch.DoubleTensor", np.float64), ("torch.FloatTensor", np.float32)):
        net = module("nn.SpatialDilatedMaxPooling", _type=typename, **fields)
        assert net.forward(x)[0, 0, 0] == np.finfo(dtype).min
        assert net.forward(x.astype(np.float32))[0, 0, 0] == np.finfo(np.float32).min
