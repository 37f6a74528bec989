"""Layers that draw at evaluation: what they draw is given to them, and their formulas are Torch's Lua code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import retorch
from building import module, sequential, torch_object
from layers.rows import named, noise, random_shape, row_tests
from retorch.cli import main
from retorch.errors import UnsupportedError, UsageError
from retorch.graph.input_shape import assume
from retorch.graph.input_shape.tensors import flat
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def images(rng: np.random.Generator, least: int = 1) -> Iterator[np.ndarray]:
    for _ in range(4):
        n, c, h, w = random_shape(rng, 4)
        yield noise(rng, n, c + least - 1, h, w)


def new_planes(rng: np.random.Generator) -> Rows:
    for channels in (1, 4):
        for x in images(rng):
            drawn = noise(rng, len(x), channels, *x.shape[2:])
            yield f"{channels}", module("nn.GenNoise", num_planes=channels, mult=0.5), [x, drawn], drawn


def first_planes(rng: np.random.Generator) -> Rows:
    for least in (1, 3, 6):
        for x in images(rng, least):
            drawn = noise(rng, len(x), min(3, x.shape[1]), *x.shape[2:])
            y = np.array([[*fresh, *image[len(fresh) :]] for image, fresh in zip(x, drawn, strict=True)])
            yield f"{x.shape[1]}", module("nn.GenNoise"), [x, drawn], y
            both = module("nn.ConcatTable", modules=[torch_object(f"nn.{name}") for name in ("GenNoise", "Identity")])
            yield f"{x.shape[1]}-in-place", both, [x, drawn], [y, y]


def last_planes(rng: np.random.Generator) -> Rows:
    versions: dict[str, tuple[dict[str, Any], bool]] = {"in-place": ({}, True), "copied": ({"mult": 0.1}, False)}
    for name, (fields, inplace) in versions.items():
        for count in (1, 3):
            for x in images(rng, count):
                drawn = noise(rng, len(x), count, *x.shape[2:])
                y = np.array([[*a[: len(a) - count], *b] for a, b in zip(x, drawn, strict=True)])
                fill = torch_object("nn.NoiseFill", num_noise_channels=count, **fields)
                both = module("nn.ConcatTable", modules=[fill, torch_object("nn.Identity")])
                yield f"{name}-{count}", both, [x, drawn], [y, y if inplace else x]


def appended_planes(rng: np.random.Generator) -> Rows:
    for count in (1, 3):
        for x in images(rng):
            drawn = noise(rng, len(x), count, *x.shape[2:])
            y = np.array([[*a, *b] for a, b in zip(x, drawn, strict=True)])
            net = module("nn.NoiseFill", num_noise_channels=count, mult=2.0, buffer=np.zeros(0))
            yield f"{count}", net, [x, drawn], y


def masked_planes(rng: np.random.Generator) -> Rows:
    for times, count in ((1, 0), (2, 3), (0, 2)):
        for x in images(rng):
            n, colors, h, w = x.shape
            drawn = noise(rng, n, times * colors + count, h, w)
            y = np.zeros((n, colors + drawn.shape[1], h, w))
            y[:, :colors] = x
            for i, k, a, b in np.ndindex(*drawn.shape):
                mask = float(x[i, k % colors, a, b]) if k < times * colors else 1.0
                y[i, colors + k, a, b] = mask * float(drawn[i, k, a, b])
            fields = {"n_colors": colors, "out_size": y.shape[1], "mult_noise": 1.0, "mult_noise_mask": 1.0}
            net = module("nn.NoiseFill", num_mask_noise_times=times, num_noise_channels=count, **fields)
            yield f"{times}-{count}", net, [x, drawn], y


def dropouts(rng: np.random.Generator) -> Rows:
    for v2 in (False, True):
        for inplace in (False, True):
            x = noise(rng, *random_shape(rng, 3))
            kept = (rng.random(x.shape) > 0.3).astype(np.float32) / np.float32(0.7 if v2 else 1)
            y = np.array([a * b for a, b in zip(x.ravel().tolist(), kept.ravel().tolist(), strict=True)])
            fields = {"p": 0.3, "v2": v2, "inplace": inplace, "stochastic_inference": True}
            drop = torch_object("nn.Dropout", **fields)
            both = module("nn.ConcatTable", modules=[drop, torch_object("nn.Identity")])
            y = y.reshape(x.shape)
            yield f"{v2}-{inplace}", both, [x, kept], [y, y if inplace else x]
    for name, space in (("Spatial", 2), ("Volumetric", 3)):
        for rank in (space + 1, space + 2):
            x = noise(rng, *random_shape(rng, rank))
            kept = rng.integers(0, 2, (*x.shape[:-space], *(1,) * space)).astype(np.float32)
            y = np.zeros(x.shape)
            for at in np.ndindex(*x.shape[:-space]):
                y[at] = x[at] if kept[at].item() else 0
            yield f"{name}-{rank}", module(f"nn.{name}Dropout", p=0.5, stochastic_inference=True), [x, kept], y


ROWS = named(new_planes, first_planes, last_planes, appended_planes, masked_planes, dropouts)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


def noisy_network() -> Module:
    """Two scales of noise, the second of them on an image and behind a convolution's weights that say its size."""
    weight = np.ones((2, 6, 1, 1), np.float32)
    pool = torch_object("nn.SpatialAveragePooling", kW=2, kH=2, dW=2, dH=2)
    convolution = torch_object("nn.SpatialConvolution", weight=weight, bias=np.zeros(2), kW=1, kH=1, dW=1, dH=1)
    channels = torch_object("nn.GenNoise", num_planes=6, mult=0.25)
    return sequential(torch_object("nn.GenNoise"), pool, channels, convolution)


def test_says_what_torch_draws() -> None:
    assert [note for note in noisy_network().notes if "draws" in note] == [
        "draws random numbers at every pass: here it takes them in a table, after its own input (2)",
        "input 2 is what modules[1] nn.GenNoise draws: in Torch, uniform numbers from 0 to 1, which it writes over the"
        " first 3 channels of its input",
        "input 3 is what modules[3] nn.GenNoise draws: in Torch, normal numbers times 0.25",
    ]


@pytest.mark.parametrize(
    ("net", "what"),
    [
        (module("nn.GenNoise", num_planes=3), "normal numbers times 1"),
        (module("nn.GenNoise", num_planes=3, mult=1.0 / 255 / 2), "(2 n - 1) / 510 for normal numbers n"),
        (module("nn.NoiseFill", num_noise_channels=1), "uniform numbers from 0 to 1"),
        (module("nn.NoiseFill", num_noise_channels=1, mult=0.5), "uniform numbers from 0 to 1, times 0.5"),
        (
            module("nn.NoiseFill", num_noise_channels=1, mult=0.5, buffer=np.zeros(0)),
            "uniform numbers from -1 to 1, times 0.5",
        ),
        (
            module("nn.NoiseFill", num_noise_channels=1, num_mask_noise_times=0, n_colors=3, mult_noise=2.0),
            "uniform numbers from 0 to 1, times 2",
        ),
        (
            module("nn.NoiseFill", num_noise_channels=1, num_mask_noise_times=1, n_colors=3, mult_noise=2.0),
            "uniform numbers from 0 to 1, times 1 where x is a mask, times 2 after that",
        ),
        (
            module("nn.Dropout", p=0.75, v2=True, stochastic_inference=True),
            "0 with probability 0.75, else 4, by which it multiplies",
        ),
    ],
    ids=["normal", "shifted", "fill", "scaled fill", "appended", "coloured", "masked", "dropout"],
)
def test_names_the_distribution(net: Module, what: str) -> None:
    assert net.notes[-1].endswith(f"draws: in Torch, {what}")


@pytest.mark.parametrize(
    "example",
    [(2, 3, 4, 6), [(2, 3, 4, 6), (2, 3, 4, 6), (2, 6, 2, 3)]],
    ids=["without the noise", "with the noise"],
)
def test_inputs_are_completed(example: Any) -> None:
    made = retorch.convert(noisy_network(), example, fold=False)
    assert [str(port) for port in made.inputs] == [
        "data_1 float32 N×3×4×6",
        "data_2 float32 N×3×4×6",
        "data_3 float32 N×6×2×3",
    ]
    assert made.input_nesting == [0, 1, 2]


def test_a_table_keeps_its_nesting() -> None:
    net = sequential(torch_object("nn.CAddTable"), torch_object("nn.Dropout", p=0.5, stochastic_inference=True))
    made = retorch.convert(net, [[(1, 3), (1, 3)], (1, 3)], fold=False)
    assert made.input_nesting == [[0, 1], 2]
    a, b, kept = np.array([[1.0, 2.0, 3.0]]), np.array([[4.0, 0.0, 1.0]]), np.array([[0.0, 1.0, 2.0]])
    assert made.run([a, b], kept)[0].tolist() == [[0.0, 2.0, 8.0]]
    assert np.array_equal(net.forward([[a, b], kept]), [[0.0, 2.0, 8.0]])


def test_the_shape_is_still_found_out() -> None:
    weight = np.ones((2, 3, 4, 4), np.float32)
    convolution = torch_object("nn.SpatialConvolution", weight=weight, bias=np.zeros(2), kW=4, kH=4, dW=1, dH=1)
    linear = torch_object("nn.Linear", weight=np.ones((1, 8), np.float32), bias=np.zeros(1))
    view = torch_object("nn.View", size=(8,), numElements=8)
    net = sequential(torch_object("nn.GenNoise"), convolution, view, linear)
    assert [tensor.shape for tensor in flat(assume(net.layer, {}).input)] == [(1, 3, 5, 5)]


def test_a_missing_table_is_asked_for() -> None:
    with pytest.raises(UsageError, match=r"draw random numbers: give \[x, 2x3x4x6, 2x6x2x3\]"):
        noisy_network().forward(np.zeros((2, 3, 4, 6)))
    assert noisy_network().noise_shapes(np.zeros((2, 3, 4, 6))) == [(2, 3, 4, 6), (2, 6, 2, 3)]


def test_noise_of_the_wrong_shape_is_refused() -> None:
    given = [(2, 3, 4, 6), (2, 3, 4, 6), (2, 6, 4, 6)]
    with pytest.raises(UsageError, match=r"modules\[3\] nn.GenNoise: draws a tensor of \(2, 6, 2, 3\), not"):
        retorch.convert(noisy_network(), list(given), fold=False)
    with pytest.raises(UnsupportedError, match=r"modules\[3\] nn.GenNoise: draws a tensor of \(2, 6, 2, 3\), but is"):
        noisy_network().forward([np.zeros(shape) for shape in given])


def test_the_commands_know_the_layers_by_their_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out, page = tmp_path / "noisy.t7", tmp_path / "out", tmp_path / "page.md"
    retorch.write(file, noisy_network().layer.raw)
    assert main(["inspect", str(file)]) == 0
    assert "would not convert" not in capsys.readouterr().out
    assert main(["convert", str(file), "-o", str(out), "--input", "2x3x4x6"]) == 0
    assert main(["verify", str(file), str(out), "--layers", "--report", str(page)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "note: input 3 is what modules[3] nn.GenNoise draws" in said
    assert "modules[4] nn.SpatialConvolution" in said
    assert "| modules[4] | nn.SpatialConvolution |" in page.read_text(encoding="utf-8")


def test_a_layer_that_runs_twice_is_refused() -> None:
    drop = torch_object("nn.Dropout", p=0.5, stochastic_inference=True)
    net = sequential(drop, drop)
    with pytest.raises(UnsupportedError, match="runs more than once, and draws new"):
        retorch.convert(net, (2, 3), fold=False)
    with pytest.raises(UnsupportedError, match="runs more than once, and draws new"):
        net.forward([np.zeros((2, 3)), np.zeros((2, 3))])


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (module("nn.GenNoise", action="fix"), "as its author's program says (action 'fix')"),
        (module("nn.NoiseFill", num_noise_channels=3, buffer=np.zeros(0)), "is of a version that is not known"),
        (module("nn.NoiseFill", num_noise_channels=3, num_mask_noise_times=1), "is of a version that is not known"),
        (module("nn.Dropout", p=0.5, stochastic_inference=True, lazy=True), "the same for several steps"),
    ],
    ids=["action", "buffer", "mask", "lazy"],
)
def test_noise_that_is_not_known_is_refused(net: Module, reason: str) -> None:
    assert [reason in problem.reason for problem in net.problems] == [True]


@pytest.mark.parametrize(
    ("net", "shape", "reason"),
    [
        (module("nn.GenNoise"), (3, 4, 4), "takes 4-D inputs, not 3-D"),
        (module("nn.NoiseFill", num_noise_channels=3), (1, 2, 4, 4), "cannot write over 3 channels of 2"),
        (module("nn.NoiseFill", num_noise_channels=3, n_colors=2), (1, 3, 4, 4), "takes 2 channels, not 3"),
        (module("nn.SpatialDropout", stochastic_inference=True), (1, 2), "3-D or 4-D inputs, not 2-D"),
    ],
    ids=["rank", "channels", "colours", "dropout"],
)
def test_inputs_that_do_not_fit(net: Module, shape: tuple[int, ...], reason: str) -> None:
    with pytest.raises(UnsupportedError, match=reason):
        retorch.convert(net, shape, fold=False)
    with pytest.raises(UnsupportedError, match=reason):
        net.noise_shapes(np.zeros(shape))
