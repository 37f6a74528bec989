"""Heights, widths and lengths stay free where the network allows it: one file, run at several sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import retorch
from building import sequential, torch_object
from graph.test_input_shape import classifier, convolution, lookup
from retorch.module import Module


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def padding(kind: str, by: int) -> Any:
    return torch_object(kind, pad_l=by, pad_r=by, pad_t=by, pad_b=by)


UP = torch_object("nn.SpatialUpSamplingNearest", scale_factor=2)
IMAGES: dict[str, Module] = {
    "convolutions": sequential(convolution(3, 4, stride=2), convolution(4, 2)),
    "reflections": sequential(padding("nn.SpatialReflectionPadding", 2), convolution(3, 2)),
    "circles": sequential(padding("nn.SpatialCircularPadding", 2), convolution(3, 2)),
    "repetitions": sequential(convolution(3, 2), UP),
    "interpolation": sequential(convolution(3, 2), torch_object("nn.SpatialUpSamplingBilinear", scale_factor=2)),
    "pixels from channels": sequential(convolution(3, 8), torch_object("nn.PixelShuffle", upscaleFactor=2)),
}


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("target", ["model.onnx", "caffe2"])
def test_one_file_runs_at_any_size(name: str, target: str, tmp_path: Path) -> None:
    net = IMAGES[name]
    retorch.convert(net).save(tmp_path / target)
    written = retorch.Network.load(tmp_path / target)
    for shape in ((1, 3, 16, 16), (2, 3, 21, 34)):
        x = pixels(*shape)
        np.testing.assert_allclose(written.run(x)[0], net.forward(x), atol=1e-4)


def test_what_varies_has_a_name() -> None:
    made = retorch.convert(IMAGES["repetitions"])
    assert made.inputs[0].shape == ("N", 3, "H", "W")
    assert made.outputs[0].shape == ("N", 2, "2*H-4", "2*W-4")


def test_what_a_view_counts_does_not_vary() -> None:
    made = retorch.convert(sequential(convolution(3, 4, stride=2), *classifier(4 * 15 * 15)))
    assert made.inputs[0].shape == ("N", 3, 32, 32)
    assert not made.sizes_are_free


def test_an_encoder_and_a_decoder_say_in_which_steps() -> None:
    down = [convolution(3, 3, 2, stride=2) for _ in range(2)]
    up = [torch_object("nn.SpatialUpSamplingNearest", scale_factor=2) for _ in range(2)]
    inside = torch_object("nn.Sequential", modules=[*down, *up])
    both = torch_object("nn.ConcatTable", modules=[torch_object("nn.Identity"), inside])
    made = retorch.convert(sequential(both, torch_object("nn.CAddTable")))
    assert any("stay free, in steps of 4" in note for note in made.notes)


def test_a_sequence_may_be_longer() -> None:
    weight = np.ones((5, 3 * 4), np.float32)
    temporal = torch_object("nn.TemporalConvolution", weight=weight, bias=np.zeros(5, np.float32), kW=3, dW=1)
    net = sequential(lookup(9, 4), temporal, torch_object("nn.Max", dimension=2))
    made = retorch.convert(net)
    assert made.inputs[0].shape == ("N", "T")
    for steps in (3, 11):
        x = np.random.default_rng(1).integers(1, 10, (2, steps))
        np.testing.assert_allclose(made.run(x)[0], net.forward(x.astype(np.float32)), rtol=1e-6)
