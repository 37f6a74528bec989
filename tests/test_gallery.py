"""The networks of the gallery: what they write, see and paint, and the circle from a .t7 to PyTorch and back."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples import circle
from examples.circle import EXAMPLES, HERE
from examples.scenes import CLASSES, PALETTE, SKY, scene
from PIL import Image
from safetensors.numpy import load_file

import retorch
from retorch.cli import main
from retorch.engines import environments
from retorch.engines.caffe2_runtime import Runtime

Array = np.ndarray[Any, np.dtype[Any]]
#: As in ``examples/enet/train.py``: scenes that were not trained on.
UNSEEN = (1_000_001, 1_000_002, 1_000_003, 1_000_004)


def bundled(name: str) -> Path:
    return HERE / name / f"{name}.t7"


def picture(file: Path) -> Array:
    return np.asarray(Image.open(file).convert("RGB"))


# the character model


@pytest.mark.parametrize("engine", ["reference", "embedded"])
def test_it_writes_what_its_twin_wrote(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = json.loads((HERE / "charnn" / "expected.json").read_text())["greedy"]
    call = ["sample", str(bundled("charnn")), "--start", "JULIET:\n", "--length", str(len(wanted)), "--greedy"]
    assert main([*call, "--engine", engine]) == 0
    assert capsys.readouterr().out == wanted + "\n"
    assert len(wanted) == 240


def test_it_guesses_lines_that_it_has_not_seen() -> None:
    text = (HERE / "charnn" / "romeo.txt").read_bytes()
    tokens = sorted(set(text))
    unseen = [tokens.index(byte) + 1 for byte in text[-1500:]]
    step = retorch.convert(retorch.load(bundled("charnn")), EXAMPLES["charnn"].sizes)
    states = [np.zeros((1, 128), np.float32)] * 2
    bits = []
    for token, following in pairwise(unseen):
        *states, scores = step.run(np.array([token]), *states)
        bits.append(-scores[0, following - 1])
    # a guess without knowledge has as many choices as there are characters
    assert np.exp(np.mean(bits)) < 6 < len(tokens) / 8


# the segmenter


def overlap(seen: Array, wanted: Array) -> float:
    """The mean over the classes of intersection over union."""
    shares = [np.sum((seen == k) & (wanted == k)) / np.sum((seen == k) | (wanted == k)) for k in range(len(CLASSES))]
    return float(np.mean(shares))


def test_it_sees_roads_trees_houses_and_cars(tmp_path: Path) -> None:
    scenes, palette = HERE / "enet" / "scenes", HERE / "enet" / "palette.txt"
    call = ["run", str(bundled("enet")), "--input", str(scenes), "-o", f"{tmp_path}/seen/"]
    assert main([*call, "--palette", str(palette)]) == 0
    made = [scene(np.random.default_rng(seed)) for seed in UNSEEN]
    for i, (pixels, _) in enumerate(made, 1):
        assert np.array_equal(picture(scenes / f"{i}.png"), pixels)
    drawn = np.stack([picture(tmp_path / "seen" / f"{i}.png") for i in range(1, 5)])
    seen = np.argmax(np.all(drawn[..., None, :] == np.array(PALETTE), axis=-1), axis=-1)
    wanted = np.stack([classes for _, classes in made])
    assert np.mean(seen == wanted) > 0.95
    assert overlap(seen, wanted) > 0.8
    with np.load(HERE / "enet" / "expected.npz") as stored:
        assert np.mean(seen == stored["classes"]) > 0.9999  # the twin's; two classes may be all but equally likely
    assert tuple(drawn[0, 0, 0]) == PALETTE[SKY]


# the style


def patterns(pixels: Array) -> Array:
    """How the answers of random 5x5 filters, blind to plain colours, go together over a picture: its Gram matrix."""
    filters = np.random.default_rng(0).normal(size=(24, 5, 5, 3))
    filters -= filters.mean((1, 2), keepdims=True)
    windows = np.lib.stride_tricks.sliding_window_view(pixels / 255, (5, 5), (0, 1))  # (h, w, 3, 5, 5)
    answers = np.maximum(np.einsum("hwcij,kijc->khw", windows, filters), 0).reshape(24, -1)
    return answers @ answers.T / answers.shape[1]


def test_it_paints_in_the_style(tmp_path: Path) -> None:
    photo, out = HERE / "style" / "photo.png", tmp_path / "painted.png"
    assert main(["run", str(bundled("style")), "--input", str(photo), "-o", str(out)]) == 0
    painted, twins = picture(out).astype(int), picture(HERE / "style" / "expected.png").astype(int)
    assert np.abs(painted - twins).max() <= 1
    style = patterns(picture(HERE / "style" / "style.png"))
    before, after = (np.linalg.norm(patterns(p) - style) for p in (picture(photo), painted))
    assert after < 0.5 * before
    grey = [np.ravel(p.mean(axis=2).reshape(24, 10, 32, 10).mean(axis=(1, 3))) for p in (picture(photo), painted)]
    assert np.corrcoef(*grey)[0, 1] > 0.5  # it still shows the village


def test_the_checkpoint_says_how_the_picture_is_fed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = str(HERE / "style" / "photo.png")
    assert main(["run", str(bundled("style")), "--input", photo, "-o", str(tmp_path / "a.png")]) == 0
    assert "opt.preprocessing" in capsys.readouterr().out
    call = ["run", str(bundled("style")), "--input", photo, "-o", str(tmp_path / "b.png")]
    assert main([*call, "--preprocess", "caffe-bgr"]) == 0
    assert np.array_equal(picture(tmp_path / "a.png"), picture(tmp_path / "b.png"))


# the circle


@pytest.mark.caffe2
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_trained_file_is_the_same_in_caffe2(name: str, caffe2: Runtime, tmp_path: Path) -> None:
    net = retorch.load(bundled(name))
    retorch.convert(net, EXAMPLES[name].sizes).save(tmp_path / "out")
    report = retorch.verify(net, tmp_path / "out", engines=[f"caffe2-{caffe2.version}"])
    assert report.ok, str(report)


@pytest.mark.pytorch
@pytest.mark.parametrize("name", EXAMPLES)
def test_it_trains_and_comes_back(name: str, tmp_path: Path) -> None:
    if not [*environments.named_interpreters("pytorch"), *environments.installed_interpreters("pytorch")]:
        pytest.skip("PyTorch is not installed (make pytorch)")
    trained = circle.train(EXAMPLES[name], tmp_path, steps=2)
    start, now = retorch.load(tmp_path / "start.t7").state_dict(), retorch.load(trained).state_dict()
    twins = load_file(tmp_path / "twin" / "model.safetensors")
    assert any(not np.array_equal(start[key], now[key]) for key in now)
    for key, array in now.items():
        np.testing.assert_array_equal(array, twins[key])
    assert circle.check(EXAMPLES[name], trained, tmp_path)
