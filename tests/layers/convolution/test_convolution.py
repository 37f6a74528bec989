"""Convolutions of every kind, against loops over taps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import retorch
from building import module, through_onnx, torch_object
from golden_cases import check
from layers.loops import convolved, named_fields, pick, scattered
from layers.rows import Row, every, named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def maybe_batched(x: np.ndarray, y: np.ndarray, batched: bool) -> tuple[np.ndarray, np.ndarray]:
    return (x, y) if batched else (x[0], y[0])


def images(rng: np.random.Generator) -> Rows:
    """SpatialConvolution and its relatives: stride above the kernel, pads, dilation, groups, 2-D weights, no bias."""
    kinds = ["nn.SpatialConvolution", "nn.SpatialConvolutionMM", "cudnn.SpatialConvolution"]
    for i in range(48):
        kernel, stride, pad = pick(rng, 1, 4), pick(rng, 1, 4), pick(rng, 0, 2)
        groups = int(rng.choice([1, 2, 3])) if i % 3 == 2 else 1
        channels = [groups * n for n in pick(rng, 1, 3)]
        sizes = [k + n for k, n in zip(kernel, pick(rng, 0, 5), strict=True)]
        x = noise(rng, 1 if i % 2 else 3, channels[0], *sizes)
        weight, bias = noise(rng, channels[1], channels[0] // groups, *kernel), noise(rng, channels[1])
        fields: dict[str, Any] = {"kH": kernel[0], "kW": kernel[1], "dH": stride[0], "dW": stride[1]}
        fields |= {"padH": pad[0], "padW": pad[1], "groups": groups, "nInputPlane": channels[0]}
        flat = kinds[i % 3] == "nn.SpatialConvolutionMM"
        fields["weight"] = weight.reshape(channels[1], -1) if flat else weight
        if i % 5:
            fields["bias"] = bias
        expected = convolved(x, weight, bias if i % 5 else None, stride, pad, groups=groups)
        yield f"{x.shape}", module(kinds[i % 3], **fields), *maybe_batched(x, expected, i % 4 != 3)


def dilated(rng: np.random.Generator) -> Rows:
    for i in range(16):
        kernel, stride, pad, dilation = pick(rng, 1, 3), pick(rng, 1, 3), pick(rng, 0, 3), pick(rng, 1, 3)
        sizes = [(k - 1) * d + 1 + n for k, d, n in zip(kernel, dilation, pick(rng, 0, 4), strict=True)]
        x, weight, bias = noise(rng, 2, 3, *sizes), noise(rng, 2, 3, *kernel), noise(rng, 2)
        fields = named_fields("kH kW dH dW padH padW dilationH dilationW", [*kernel, *stride, *pad, *dilation])
        kind = "nn.SpatialDilatedConvolution" if i % 2 else "cudnn.SpatialDilatedConvolution"
        net = module(kind, weight=weight, bias=bias, **fields)
        expected = convolved(x, weight, bias, stride, pad, dilation)
        yield f"{dilation}", net, *maybe_batched(x, expected, i % 3 != 0)


def cropped(rng: np.random.Generator) -> Rows:
    """Negative padding crops at both ends; unfolded_copy, where nothing is padded, crops twice as much at the end."""
    settings = [
        ("nn.SpatialConvolution", [-1, 2], [1, 1]),
        ("nn.SpatialConvolutionMM", [-1, -2], [1, 2]),
        ("nn.SpatialConvolution", [0, -1], [2, 1]),
        ("cudnn.SpatialConvolution", [-1, -2], [1, 2]),
        ("nn.SpatialDilatedConvolution", [-1, -2], [2, 1]),
        ("nn.VolumetricConvolution", [-1, 0, -1], [1, 1, 2]),
        ("nn.VolumetricConvolution", [-1, 0, 1], [1, 1, 1]),
        ("nn.VolumetricDilatedConvolution", [-1, 0, -1], [1, 2, 1]),
    ]
    for kind, pad, stride in settings:
        axes = "THW"[-len(pad) :]
        x, weight, bias = noise(rng, 2, 3, *[8] * len(pad)), noise(rng, 2, 3, *[3, 2, 3][-len(pad) :]), noise(rng, 2)
        fields = {f"k{a}": k for a, k in zip(axes, weight.shape[2:], strict=True)}
        fields |= {f"d{a}": s for a, s in zip(axes, stride, strict=True)}
        fields |= {f"pad{a}": p for a, p in zip(axes, pad, strict=True)}
        if kind.startswith("nn") and "Dilated" not in kind and max(pad) <= 0:
            seen = x[(..., *(slice(8 + 2 * p) for p in pad))]
            expected = convolved(seen, weight, bias, stride, [0] * len(pad))
        else:
            expected = convolved(x, weight, bias, stride, pad)
        yield f"{kind}{pad}", module(kind, weight=weight, bias=bias, **fields), x, expected


def one_window_of_little(rng: np.random.Generator) -> Rows:
    """C rounds -1 / 2 to 0: one window, which sees zeros where the input is not."""
    kernel, stride = [5, 3], [2, 2]
    for kind, pad in (("nn.SpatialConvolution", [1, 0]), ("nn.SpatialDilatedConvolution", [0, 0])):
        x, weight, bias = noise(rng, 2, 3, 2 if pad[0] else 4, 2), noise(rng, 2, 3, *kernel), noise(rng, 2)
        net = module(kind, weight=weight, bias=bias, **named_fields("kH kW dH dW padH padW", [*kernel, *stride, *pad]))
        expected = convolved(x, weight, bias, stride, pad)
        assert expected.shape[2:] == (1, 1)
        yield kind, net, x, expected


def grown(rng: np.random.Generator) -> Rows:
    """Transposed convolutions with negative padding: a border that holds the bias."""
    for i, pad in enumerate([[-1, 1], [-2, -1], [0, -1]]):
        x, weight, bias = noise(rng, 2, 3, 4, 5), noise(rng, 3, 2, 3, 3), noise(rng, 2)
        fields = named_fields("kH kW dH dW padH padW adjH adjW", [3, 3, 2, 3, *pad, 1, i])
        expected = scattered(x, weight, bias if i else None, [2, 3], pad, [1, i])
        net = module("nn.SpatialFullConvolution", weight=weight, **fields, **({"bias": bias} if i else {}))
        yield f"{pad}", net, *maybe_batched(x, expected, i > 0)


def old_files(rng: np.random.Generator) -> Rows:
    """Before padW there was ``padding``, and before that nothing."""
    x, weight, bias = noise(rng, 2, 3, 6, 5), noise(rng, 4, 27), noise(rng, 4)
    fields = {"kW": 3, "kH": 3, "dW": 2, "dH": 1, "weight": weight, "bias": bias}
    whole = weight.reshape(4, 3, 3, 3)
    expected = convolved(x, whole, bias, [1, 2], [0, 0])
    yield "nothing", module("nn.SpatialConvolutionMM", **fields), x, expected
    expected = convolved(x, whole, bias, [1, 2], [2, 2])
    yield "padding", module("nn.SpatialConvolutionMM", padding=2, **fields), x, expected
    # VolumetricFullConvolution.lua, backCompatibility: other names, and the weight's first dimensions swapped
    x, weight, bias = noise(rng, 2, 3, 4, 3, 5), noise(rng, 2, 3, 3, 2, 3), noise(rng, 2)
    fields = named_fields("kT kH kW dT dH dW pT pH pW", [3, 2, 3, 2, 1, 2, 1, 0, 1])
    expected = scattered(x, weight.swapaxes(0, 1), bias, [2, 1, 2], [1, 0, 1], [0, 0, 0])
    yield "full volume", module("nn.VolumetricFullConvolution", weight=weight, bias=bias, **fields), x, expected


def mapped(rng: np.random.Generator) -> Rows:
    """Connection tables, with repeated pairs, counted from 1."""
    for i in range(12):
        channels, kernel, stride = pick(rng, 1, 4), pick(rng, 1, 3), pick(rng, 1, 2)
        table = np.stack([rng.integers(1, n + 1, 7) for n in channels], axis=1)
        weight, bias, x = noise(rng, 7, *kernel), noise(rng, channels[1]), noise(rng, 2, channels[0], 6, 7)
        expected = 0
        for (first, second), each in zip(table, weight, strict=True):
            whole = np.zeros((channels[1], channels[0], *kernel))
            whole[second - 1, first - 1] = each
            expected = expected + convolved(x, whole, None, stride, [0, 0])
        fields = named_fields("kH kW dH dW nInputPlane nOutputPlane", [*kernel, *stride, *channels])
        net = module("nn.SpatialConvolutionMap", weight=weight, bias=bias, connTable=table.astype(np.float64), **fields)
        yield f"{channels}", net, *maybe_batched(x, expected + bias.reshape(-1, 1, 1), i % 2 == 0)


def mapped_by_fewer_planes(rng: np.random.Generator) -> Rows:
    """THNN steps from image to image by the channels that the table names: the second begins within the first."""
    for named_planes, given, batch in ((2, 3, 1), (1, 4, 2), (2, 3, 3)):
        table = np.array([[i, o] for i in range(1, named_planes + 1) for o in (1, 2)])
        weight, bias = noise(rng, len(table), 2, 3), noise(rng, 2)
        x = noise(rng, batch, given, 5, 6)
        flat = x.reshape(batch * given, 5, 6)
        seen = np.stack([flat[m * named_planes : (m + 1) * named_planes] for m in range(batch)])
        expected = bias.reshape(-1, 1, 1).astype(np.float64)
        for (first, second), each in zip(table, weight, strict=True):
            whole = np.zeros((2, named_planes, 2, 3))
            whole[second - 1, first - 1] = each
            expected = expected + convolved(seen, whole, None, [1, 1], [0, 0])
        fields = named_fields("kH kW dH dW nInputPlane nOutputPlane", [2, 3, 1, 1, named_planes, 2])
        net = module("nn.SpatialConvolutionMap", weight=weight, bias=bias, connTable=table.astype(np.float64), **fields)
        yield f"{given}-{batch}", net, x, expected
        yield f"{given}-3", net, x[0], expected[0]


def full_mapped(rng: np.random.Generator) -> Rows:
    for _ in range(8):
        channels, kernel, stride = pick(rng, 1, 4), pick(rng, 1, 3), pick(rng, 1, 3)
        table = np.stack([rng.integers(1, n + 1, 5) for n in channels], axis=1)
        weight, bias, x = noise(rng, 5, *kernel), noise(rng, channels[1]), noise(rng, 2, channels[0], 4, 3)
        expected = bias.reshape(-1, 1, 1).astype(np.float64)
        for (first, second), each in zip(table, weight, strict=True):
            whole = np.zeros((channels[0], channels[1], *kernel))
            whole[first - 1, second - 1] = each
            expected = expected + scattered(x, whole, None, stride, [0, 0], [0, 0])
        fields = named_fields("kH kW dH dW nInputPlane nOutputPlane", [*kernel, *stride, *channels])
        table = table.astype(np.float64)
        yield (
            f"{channels}",
            module("nn.SpatialFullConvolutionMap", weight=weight, bias=bias, connTable=table, **fields),
            x,
            expected,
        )


def depthwise(rng: np.random.Generator) -> Rows:
    """THNN's CPU code swaps rows and columns: the golden case shows it, square images do not."""
    for i in range(12):
        channels, times = pick(rng, 1, 3)
        kernel, stride, pad = pick(rng, 1, 3), pick(rng, 1, 2), pick(rng, 0, 1)
        x, weight, bias = (
            noise(rng, 2, channels, *pick(rng, 4, 6)),
            noise(rng, times, channels, *kernel),
            noise(rng, times, channels),
        )
        seen = x.reshape(2, channels, x.shape[3], x.shape[2])
        whole = np.stack([weight[m, c][None] for c in range(channels) for m in range(times)])
        expected = convolved(seen, whole, bias.T.ravel(), stride, pad, groups=channels)
        fields = named_fields(
            "kH kW dH dW padH padW nInputPlane nOutputPlane", [*kernel, *stride, *pad, channels, times]
        )
        flat = weight.reshape(times, -1) if i % 2 else weight
        net = module("nn.SpatialDepthWiseConvolution", weight=flat, bias=bias, **fields)
        yield f"{x.shape}", net, *maybe_batched(x, expected, i % 3 != 0)


def local(rng: np.random.Generator) -> Rows:
    for i in range(12):
        kernel, stride, pad = pick(rng, 1, 3), pick(rng, 1, 2), pick(rng, 0, 1)
        x = noise(rng, 2, 2, *pick(rng, 3, 5))
        out = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(x.shape[2:], kernel, stride, pad, strict=True)]
        weight, bias = noise(rng, *out, 3, 2, *kernel), noise(rng, 3, *out)
        wide = np.pad(x.astype(np.float64), [(0, 0), (0, 0), (pad[0], pad[0]), (pad[1], pad[1])])
        expected = np.zeros((2, 3, *out))
        for row in range(out[0]):
            for column in range(out[1]):
                top, left = row * stride[0], column * stride[1]
                seen = wide[:, :, top : top + kernel[0], left : left + kernel[1]].reshape(2, -1)
                expected[:, :, row, column] = seen @ weight[row, column].reshape(3, -1).T + bias[:, row, column]
        fields = named_fields("kH kW dH dW padH padW iH iW oH oW", [*kernel, *stride, *pad, *x.shape[2:], *out])
        net = module("nn.SpatialConvolutionLocal", weight=weight, bias=bias, **fields)
        yield f"{x.shape}", net, *maybe_batched(x, expected, i % 2 == 0)


def sums(rng: np.random.Generator) -> Rows:
    for i in range(10):
        channels, kernel, stride = int(rng.integers(1, 4)), pick(rng, 1, 3), pick(rng, 1, 4)
        x, weight, bias = noise(rng, 2, channels, 6, 7), noise(rng, channels), noise(rng, channels)
        whole = np.ones((channels, 1, *kernel)) * weight.reshape(-1, 1, 1, 1)
        expected = convolved(x, whole, bias, stride, [0, 0], groups=channels)
        fields = named_fields("kH kW dH dW", [*kernel, *stride])
        stored = weight.reshape(-1, 1, 1) if i % 3 == 0 else weight  # as in files of 2011
        net = module("nn.SpatialSubSampling", weight=stored, bias=bias.reshape(stored.shape), **fields)
        yield f"{channels}", net, *maybe_batched(x, expected, i % 2 == 0)


def sums_by_a_wide_weight(rng: np.random.Generator) -> Rows:
    """Of a weight (channels, kH, kW) THNN reads the first ``channels`` numbers."""
    x, weight, bias = noise(rng, 2, 3, 6, 7), noise(rng, 3, 2, 3), noise(rng, 3)
    whole = np.ones((3, 1, 2, 3)) * weight.ravel()[:3].reshape(-1, 1, 1, 1)
    fields = named_fields("kH kW dH dW", [2, 3, 2, 1])
    expected = convolved(x, whole, bias, [2, 1], [0, 0], groups=3)
    yield "wide", module("nn.SpatialSubSampling", weight=weight, bias=bias, **fields), x, expected


def full(rng: np.random.Generator) -> Rows:
    """Transposed convolutions: adj, asymmetric settings, no bias, dilation, and tables {x, target}."""
    kinds = ["nn.SpatialFullConvolution", "cudnn.SpatialFullConvolution", "nn.SpatialFullDilatedConvolution"]
    for i in range(30):
        kernel, stride = pick(rng, 1, 4), pick(rng, 1, 3)
        pad = [int(rng.integers(0, k)) for k in kernel]
        extra = [int(rng.integers(0, s)) for s in stride]
        dilation = pick(rng, 1, 3) if i % 3 == 2 else [1, 1]
        x, weight, bias = noise(rng, 2, 3, *pick(rng, 3, 5)), noise(rng, 3, 2, *kernel), noise(rng, 2)
        fields = named_fields("kH kW dH dW padH padW dilationH dilationW", [*kernel, *stride, *pad, *dilation])
        if i % 4:
            fields["bias"] = bias
        expected = scattered(x, weight, bias if i % 4 else None, stride, pad, extra, dilation)
        if i % 5 == 0 and dilation == [1, 1]:
            target = noise(rng, 2, 7, *expected.shape[2:])
            yield "table", module(kinds[i % 3], weight=weight, **fields), [x, target], expected
        net = module(kinds[i % 3], weight=weight, adjH=extra[0], adjW=extra[1], **fields)
        yield f"{x.shape}", net, *maybe_batched(x, expected, i % 2 == 0)


VOLUME = "kT kH kW dT dH dW padT padH padW"


def volumes(rng: np.random.Generator) -> Rows:
    for i in range(16):
        kernel, stride, pad = pick(rng, 1, 3, 3), pick(rng, 1, 2, 3), pick(rng, 0, 1, 3)
        dilation = pick(rng, 1, 2, 3) if i % 3 == 2 else [1, 1, 1]
        sizes = [(k - 1) * d + 1 + n for k, d, n in zip(kernel, dilation, pick(rng, 0, 2, 3), strict=True)]
        x, weight, bias = noise(rng, 2, 2, *sizes), noise(rng, 2, 2, *kernel), noise(rng, 2)
        fields = named_fields(VOLUME, [*kernel, *stride, *pad])
        kind = ["nn.VolumetricConvolution", "cudnn.VolumetricConvolution", "nn.VolumetricDilatedConvolution"][i % 3]
        if i % 3 == 2:
            kind = kind if i % 2 else "cudnn.VolumetricDilatedConvolution"
            fields |= named_fields("dilationT dilationH dilationW", dilation)
        net = module(kind, weight=weight, bias=bias, **fields)
        yield f"{x.shape}", net, *maybe_batched(x, convolved(x, weight, bias, stride, pad, dilation), i % 2 == 0)


def full_volumes(rng: np.random.Generator) -> Rows:
    for i in range(8):
        kernel, stride = pick(rng, 1, 3, 3), pick(rng, 1, 2, 3)
        pad, extra = [int(rng.integers(0, k)) for k in kernel], [int(rng.integers(0, s)) for s in stride]
        x, weight, bias = noise(rng, 2, 2, *pick(rng, 2, 3, 3)), noise(rng, 2, 3, *kernel), noise(rng, 3)
        expected = scattered(x, weight, bias, stride, pad, extra)
        if min(expected.shape) < 1:
            continue
        fields = named_fields(VOLUME + " adjT adjH adjW", [*kernel, *stride, *pad, *extra])
        kind = "nn.VolumetricFullConvolution" if i % 3 else "cudnn.VolumetricFullConvolution"
        net = module(kind, weight=weight, bias=bias, **fields)
        yield f"{x.shape}", net, *maybe_batched(x, expected, i % 2 == 0)


def frames(rng: np.random.Generator) -> Rows:
    """TemporalConvolution: weight rows are time-major; cuDNN's has kernel, stride and padding under H."""
    for i in range(18):
        features, out, kernel, stride = pick(rng, 1, 4, 4)
        pad = int(rng.integers(0, 3)) if i % 3 == 0 else 0
        x, weight, bias = noise(rng, 2, kernel + i % 4, features), noise(rng, out, kernel * features), noise(rng, out)
        wide = np.pad(x.astype(np.float64), [(0, 0), (pad, pad), (0, 0)])
        starts = range(0, wide.shape[1] - kernel + 1, stride)
        expected = np.stack([wide[:, t : t + kernel].reshape(2, -1) @ weight.T + bias for t in starts], axis=1)
        if i % 3 == 0:
            fields = {
                "kW": features,
                "kH": kernel,
                "dW": 1,
                "dH": stride,
                "padH": pad,
                "padW": 0,
                "inputFrameSize": features,
            }
            net = module("cudnn.TemporalConvolution", weight=weight, bias=bias, **fields)
        else:
            net = module(
                "nn.TemporalConvolution", weight=weight, bias=bias, kW=kernel, dW=stride, inputFrameSize=features
            )
        yield f"{x.shape}", net, *maybe_batched(x, expected, i % 2 == 0)


def feature_wise(rng: np.random.Generator) -> Rows:
    for i in range(16):
        features, kernel, stride = pick(rng, 1, 4, 3)
        x, weight, bias = noise(rng, 2, kernel + i % 5, features), noise(rng, features, 1, kernel), noise(rng, features)
        starts = range(0, x.shape[1] - kernel + 1, stride)
        windows = np.stack([x[:, t : t + kernel].astype(np.float64) for t in starts], axis=1)
        if i % 4 == 3:
            expected = windows.sum(axis=2) * weight[:, 0, 0] + bias
            net = module("nn.TemporalSubSampling", weight=weight[:, 0, 0].copy(), bias=bias, kW=kernel, dW=stride)
            yield f"{x.shape}", net, x[0], expected[0]
            continue
        expected = np.einsum("ntkc,ck->ntc", windows, weight[:, 0]) + (bias if i % 3 else 0)
        fields = {"weight": weight, "kW": kernel, "dW": stride} | ({"bias": bias} if i % 3 else {})
        first = i % 4 == 1
        net = module("nn.TemporalRowConvolution", featFirst=first, **fields)
        x, expected = (x.swapaxes(1, 2).copy(), expected.swapaxes(1, 2)) if first else (x, expected)
        yield f"{x.shape}", net, *maybe_batched(x, expected, i % 2 == 0)


def classifiers(rng: np.random.Generator) -> Rows:
    for spatial in (True, False):
        x, weight, bias = noise(rng, 3, 4, 5), noise(rng, 2, 3), noise(rng, 2)
        expected = np.einsum("oc,chw->ohw", weight.astype(np.float64), x) + bias.reshape(-1, 1, 1)
        inner = torch_object("nn.Linear", weight=weight, bias=bias)
        net = module("nn.SpatialClassifier", classifier=inner, modules=[inner], spatialOutput=spatial)
        yield f"{spatial}", net, x, expected if spatial else expected.reshape(2, -1).T


ROWS = named(
    images,
    dilated,
    cropped,
    one_window_of_little,
    grown,
    old_files,
    mapped,
    full_mapped,
    depthwise,
    local,
    sums,
    full,
    volumes,
    full_volumes,
    frames,
    feature_wise,
    classifiers,
    mapped_by_fewer_planes,
    sums_by_a_wide_weight,
)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


def any_batch(row: Row) -> bool:
    """Whether the images of a batch do not meet, as they do where a table names fewer channels than there are."""
    images = isinstance(row.x, np.ndarray) and row.x.ndim == 4 and "olume" not in row.name
    return images and "fewer_planes" not in row.name


@every([row for row in ROWS if any_batch(row)][::2])
def test_a_network_made_for_one_takes_any_batch(row: Row) -> None:
    network = retorch.convert(row.net, row.x[:1], fold=False)
    check(row.flat, network.run(row.x), 1e-5)


def test_a_large_image_is_convolved_in_blocks() -> None:
    rng = np.random.default_rng(3)
    x, weight = noise(rng, 1, 4, 300, 320), noise(rng, 2, 4, 7, 7)
    net = module("nn.SpatialConvolution", weight=weight, kW=7, kH=7, padW=3, padH=3)
    expected = np.zeros((1, 2, 300, 320))
    wide = np.pad(x.astype(np.float64), [(0, 0), (0, 0), (3, 3), (3, 3)])
    for i in range(7):
        for j in range(7):
            expected += np.einsum("oc,nchw->nohw", weight[:, :, i, j], wide[:, :, i : i + 300, j : j + 320])
    check([expected], [np.asarray(net.forward(x))], 1e-5)


@pytest.mark.parametrize(("shape", "why"), [((2, 4, 5, 5), "3 channels"), ((2, 3, 1, 5), "too small"), ((3, 5), "2-D")])
def test_an_input_that_does_not_fit_is_refused(shape: tuple[int, ...], why: str) -> None:
    net = module("nn.SpatialConvolution", weight=np.ones((2, 3, 3, 3), np.float32), kW=3, kH=3)
    with pytest.raises(UnsupportedError, match=why):
        net.forward(np.zeros(shape, np.float32))
    with pytest.raises(UnsupportedError, match=why):
        through_onnx(net, np.zeros(shape, np.float32))


def test_a_connection_table_that_names_no_plane_is_refused() -> None:
    weight, table = np.ones((1, 3, 3), np.float32), np.array([[1.0, 3.0]])
    sizes = {"kW": 3, "kH": 3, "nInputPlane": 1, "nOutputPlane": 2}
    net = module("nn.SpatialConvolutionMap", weight=weight, bias=np.zeros(2), connTable=table, **sizes)
    assert "connection table" in net.problems[0].reason
