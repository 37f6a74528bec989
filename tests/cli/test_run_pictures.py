"""Pictures into a network by one command: pictures, labels, distances and arrays out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import retorch
from building import torch_object
from retorch.apply.lab import lab_of
from retorch.cli import main
from retorch.torch7 import LuaTable, TorchObject

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (40, 56, 3), dtype=np.uint8)
DIGITS = str(Path(__file__).parents[2] / "examples" / "digits" / "digits.t7")


def swapped_planes() -> TorchObject:
    """A network that gives the picture with red and blue exchanged: a convolution of 3x3 that looks at its middle."""
    weight = np.zeros((3, 3, 3, 3), np.float32)
    for channel in range(3):
        weight[channel, 2 - channel, 1, 1] = 1
    sizes = {"nInputPlane": 3, "nOutputPlane": 3, "kW": 3, "kH": 3, "dW": 1, "dH": 1, "padW": 1, "padH": 1}
    bias = np.zeros(3, np.float32)
    convolution = torch_object("nn.SpatialConvolution", weight=weight, bias=bias, **sizes)
    return torch_object("nn.Sequential", modules=[convolution])


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.fromarray(PIXELS).save(tmp_path / "x.png")
    return tmp_path / "x.png"


@pytest.fixture
def network(tmp_path: Path) -> Path:
    retorch.write(tmp_path / "net.t7", swapped_planes())
    return tmp_path / "net.t7"


@pytest.mark.parametrize("options", [[], ["--preprocess", "tanh"], ["--tile", "16"], ["--engine", "reference"]])
def test_a_picture_becomes_a_picture(network: Path, picture: Path, tmp_path: Path, options: list[str]) -> None:
    assert main(["run", str(network), "--input", str(picture), "-o", str(tmp_path / "y.png"), *options]) == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "y.png")), PIXELS[:, :, ::-1])


def test_what_was_written_runs_on_pictures(network: Path, picture: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out.onnx")
    assert main(["convert", str(network), "-o", out, "--input", "1x3x40x56"]) == 0
    assert main(["run", out, "--input", str(picture), "-o", str(tmp_path / "y.png")]) == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "y.png")), PIXELS[:, :, ::-1])


def test_folders_and_sequences_are_run_whole(network: Path, picture: Path, tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    for i in (1, 2, 3):
        Image.fromarray(np.roll(PIXELS, i, axis=1)).save(frames / f"{i:05}.png")
    assert main(["run", str(network), "--input", str(frames), "-o", f"{tmp_path}/one/"]) == 0
    pattern = str(frames / "%05d.png")
    assert main(["run", str(network), "--input", pattern, "-o", str(tmp_path / "two" / "y%d.png")]) == 0
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == ["00001.png", "00002.png", "00003.png"]
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == ["y1.png", "y2.png", "y3.png"]
    # a sequence keeps its numbers, wherever it begins
    (frames / "00001.png").unlink()
    assert main(["run", str(network), "--input", pattern, "-o", str(tmp_path / "three" / "%03d.png")]) == 0
    assert sorted(p.name for p in (tmp_path / "three").iterdir()) == ["002.png", "003.png"]
    last = np.asarray(Image.open(tmp_path / "two" / "y3.png"))
    assert np.array_equal(last, np.roll(PIXELS, 3, axis=1)[:, :, ::-1])


def test_the_likeliest_classes_have_names_and_bars(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join("zero one two three four five six seven eight nine".split()))
    call = ["run", DIGITS, "--input", str(picture), "--size", "32x32", "--labels", str(names)]
    assert main(call) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert "%" in lines[0]
    assert main([*call, "--json"]) == 0
    likely = [label["probability"] for label in json.loads(capsys.readouterr().out)["labels"]]
    assert likely == sorted(likely, reverse=True)


def test_two_pictures_give_their_distance(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["run", DIGITS, "--input", str(picture), "--input", str(picture), "--size", "32x32"]
    assert main(call) == 0
    assert capsys.readouterr().out == "squared distance 0.0000\n"


def test_an_output_goes_to_an_array(picture: Path, tmp_path: Path) -> None:
    call = ["run", DIGITS, "--input", str(picture), "--size", "32x32", "-o", str(tmp_path / "y.npy")]
    assert main(call) == 0
    assert np.load(tmp_path / "y.npy").shape == (1, 10)


def test_the_checkpoint_says_how_its_pictures_are(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mean = LuaTable({1: 0.1, 2: 0.2, 3: 0.3})
    checkpoint = LuaTable({"model": swapped_planes(), "transform": LuaTable({"mean": mean, "std": 2})})
    retorch.write(tmp_path / "net.t7", checkpoint)
    assert main(["run", str(tmp_path / "net.t7"), "--input", str(picture), "-o", str(tmp_path / "y.npy")]) == 0
    want = (np.moveaxis(PIXELS / 255, -1, 0) - np.reshape([0.1, 0.2, 0.3], (3, 1, 1)))[::-1] / 2
    assert np.abs(np.load(tmp_path / "y.npy")[0] - want).max() < 1e-6
    assert "transform in the file" in capsys.readouterr().out


def test_the_checkpoint_names_its_classes(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = LuaTable.of(*(f"digit {i}" for i in range(10)))
    retorch.write(tmp_path / "net.t7", LuaTable({"model": retorch.read(DIGITS), "classes": names}))
    assert main(["run", str(tmp_path / "net.t7"), "--input", str(picture), "--size", "32x32"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("digit ")
    assert "classes are named by classes" in said.err


def test_bars_fit_into_a_narrow_screen(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"class {i}, {'also known by many other names, ' * 5}" for i in range(10)))
    assert main(["run", DIGITS, "--input", str(picture), "--size", "32x32", "--labels", str(names)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert max(map(len, lines)) <= 80
    assert all("%" in line for line in lines)


def test_a_network_that_colours_leaves_the_brightness(picture: Path, tmp_path: Path) -> None:
    """It gives a = 0.3 and b = -0.2 everywhere: each pixel keeps its L."""
    weight = np.zeros((2, 1, 1, 1), np.float32)
    sizes = {"nInputPlane": 1, "nOutputPlane": 2, "kW": 1, "kH": 1, "dW": 1, "dH": 1, "padW": 0, "padH": 0}
    bias = np.array([0.3, -0.2], np.float32)
    convolution = torch_object("nn.SpatialConvolution", weight=weight, bias=bias, **sizes)
    retorch.write(tmp_path / "net.t7", torch_object("nn.Sequential", modules=[convolution]))
    grey = np.linspace(100, 180, 40 * 56).astype(np.uint8).reshape(40, 56)
    Image.fromarray(grey).save(picture)
    call = ["run", str(tmp_path / "net.t7"), "--input", str(picture), "-o", str(tmp_path / "y.png")]
    assert main([*call, "--preprocess", "lab"]) == 0
    with Image.open(tmp_path / "y.png") as made:
        lab = lab_of(np.asarray(made) / 255)
    assert np.abs(lab[..., 0] - lab_of(np.repeat(grey[..., None], 3, axis=2) / 255)[..., 0]).max() < 0.5
    assert np.abs(lab[..., 1:] - [33, -22]).max() < 1


def test_a_border_that_is_cut_off_is_made_up_for(picture: Path, tmp_path: Path) -> None:
    """As waifu2x's networks, which do not pad: the picture that comes out is as large as the one that went in."""
    net = swapped_planes()
    convolution = net["modules"][1]
    convolution["padW"] = convolution["padH"] = 0
    net["w2nn_offset"], net["w2nn_scale_factor"] = 1, 1
    retorch.write(tmp_path / "net.t7", net)
    for tile in ("0", "16"):
        call = ["run", str(tmp_path / "net.t7"), "--input", str(picture), "-o", str(tmp_path / "y.png")]
        assert main([*call, "--tile", tile, "--preprocess", "waifu2x"]) == 0
        assert np.array_equal(np.asarray(Image.open(tmp_path / "y.png")), PIXELS[:, :, ::-1])


def test_one_picture_that_comes_out_as_several_is_scaled(picture: Path, tmp_path: Path) -> None:
    """A view that counts on 32 x 32 makes two rows of a picture of twice the size."""
    view = torch_object("nn.View", size=np.array([-1, 3 * 32 * 32]), numElements=3 * 32 * 32)
    weight = np.random.default_rng(0).normal(size=(4, 3 * 32 * 32)).astype(np.float32)
    linear = torch_object("nn.Linear", weight=weight, bias=np.zeros(4, np.float32))
    retorch.write(tmp_path / "net.t7", torch_object("nn.Sequential", modules=[swapped_planes(), view, linear]))
    Image.fromarray(np.zeros((32, 64, 3), np.uint8)).save(tmp_path / "wide.png")
    call = ["run", str(tmp_path / "net.t7"), "--input", str(tmp_path / "wide.png"), "-o", str(tmp_path / "y.npy")]
    assert main(call) == 0
    assert np.load(tmp_path / "y.npy").shape == (1, 4)


def test_a_size_that_the_network_does_not_take_is_scaled_and_said(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", DIGITS, "--input", str(picture), "-o", str(tmp_path / "own.npy")]) == 0
    assert "scaled to 32x32: the network does not take 40x56" in capsys.readouterr().out
    assert main(["run", DIGITS, "--input", str(picture), "--size", "32x32", "-o", str(tmp_path / "asked.npy")]) == 0
    assert np.array_equal(np.load(tmp_path / "own.npy"), np.load(tmp_path / "asked.npy"))


def test_classes_are_drawn_in_the_colours_of_a_palette(network: Path, picture: Path, tmp_path: Path) -> None:
    """The network swaps red and blue: where the picture's blue is strongest, the first class is likeliest."""
    (tmp_path / "palette.txt").write_text("1 2 3\n40, 50, 60\n200 201 202\n")
    call = ["run", str(network), "--input", str(picture), "-o", str(tmp_path / "y.png")]
    assert main([*call, "--palette", str(tmp_path / "palette.txt")]) == 0
    colours = np.array([[1, 2, 3], [40, 50, 60], [200, 201, 202]])
    want = colours[np.argmax(PIXELS[:, :, ::-1], axis=2)]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "y.png")), want)


def test_a_palette_has_three_numbers_a_line(
    network: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "palette.txt").write_text("1 2 3\n4 5\n")
    call = ["run", str(network), "--input", str(picture), "-o", str(tmp_path / "y.png")]
    assert main([*call, "--palette", str(tmp_path / "palette.txt")]) == 2
    assert "line 2 is not three numbers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--preprocess", "vgg"], "there are unit, imagenet"),
        (["--size", "40"], "height and width joined by x"),
        (["--preprocess", "tanh", "--bgr"], "names what --mean"),
        (["--mean", "1,2"], "has 2 numbers; the network takes 3 channels"),
    ],
)
def test_what_makes_no_sense_is_refused(
    network: Path, picture: Path, tmp_path: Path, options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(network), "--input", str(picture), "-o", str(tmp_path / "y.png"), *options]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "y.png").exists()
