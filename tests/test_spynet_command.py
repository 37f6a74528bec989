"""SpyNet around its numbers: files, colours, pictures, and the command."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples.spynet import SpyNet, read_flo, write_flo
from examples.spynet.__main__ import main
from examples.spynet.colors import colored, disc, wheel
from examples.spynet.pictures import flow_picture, overview, read_frame
from examples.spynet.sequence import frames_of
from PIL import Image

from retorch.errors import FormatError, UsageError

GOLDEN = Path(__file__).parent / "golden" / "pyramid"
CLOSE = 1e-3  # pixels
Array = np.ndarray[Any, np.dtype[Any]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Converted levels, kept for all tests here."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def frames() -> list[Array]:
    return [read_frame(GOLDEN / f"frame{i}.png") for i in (1, 2)]


@pytest.fixture(scope="module")
def flows() -> list[Array]:
    """The flow of each level; the last is the result."""
    with np.load(GOLDEN / "flow.npz") as stored:
        return [stored["flow_level1"], stored["flow_level2"], stored["flow"]]


def apart(got: Array, wanted: Array) -> float:
    assert got.shape == wanted.shape
    return float(np.abs(got - wanted).max())


# files


def test_flo_is_middleburys_format(tmp_path: Path) -> None:
    flow = np.array([[[1.0, -2.0, 0.5]], [[0.0, 4.0, -0.25]]], np.float32)  # u, then v, of 3 × 1 pixels
    write_flo(tmp_path / "x.flo", flow)
    data = (tmp_path / "x.flo").read_bytes()
    assert data[:4] == b"PIEH"
    assert struct.unpack("<f", data[:4]) == (202021.25,)
    assert struct.unpack("<ii", data[4:12]) == (3, 1)
    assert struct.unpack("<6f", data[12:]) == (1.0, 0.0, -2.0, 4.0, 0.5, -0.25)
    np.testing.assert_array_equal(read_flo(tmp_path / "x.flo"), flow)


@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 5, 3), (2, 64, 96)])
def test_flo_round_trips(shape: tuple[int, ...], tmp_path: Path) -> None:
    flow = np.random.default_rng(5).normal(0, 1e3, shape).astype(np.float32)
    write_flo(tmp_path / "x.flo", flow)
    assert read_flo(tmp_path / "x.flo").tobytes() == flow.tobytes()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "not a .flo file"),
        (b"PIEH", "not a .flo file"),
        (b"HEIP" + struct.pack("<ii", 1, 1) + bytes(8), "not a .flo file"),
        (b"PIEH" + struct.pack("<ii", 1, 1) + bytes(7), "would take 20 bytes; the file has 19"),
        (b"PIEH" + struct.pack("<ii", 1, 1) + bytes(9), "would take 20 bytes; the file has 21"),
        (b"PIEH" + struct.pack("<ii", 0, 1), "0 × 1 pixels"),
        (b"PIEH" + struct.pack("<ii", -1, -1) + bytes(8), "-1 × -1 pixels"),
    ],
)
def test_broken_flo_files_are_refused(data: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "x.flo").write_bytes(data)
    with pytest.raises(FormatError, match=what):
        read_flo(tmp_path / "x.flo")


def test_levels_are_converted_once_for_the_same_bytes(frames: list[Array], tmp_path: Path) -> None:
    models, kept = tmp_path / "models", tmp_path / "kept"
    shutil.copytree(GOLDEN, models)
    first = SpyNet(models, cache=kept).flow(*frames)
    made = {path: path.stat().st_mtime_ns for path in kept.rglob("*.pb")}
    assert len(made) == 6
    assert apart(SpyNet(models, cache=kept).flow(*frames), first) == 0
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*.pb")} == made
    shutil.copy(models / "modelL2.t7", models / "modelL1.t7")
    assert apart(SpyNet(models, cache=kept).flow(*frames), first) > CLOSE
    assert len(list(kept.rglob("*.pb"))) == 8


# colours


@pytest.mark.parametrize(
    ("hue", "rgb"),
    [
        *((0, (255, 0, 0)), (1, (255, 17, 0)), (15, (255, 255, 0)), (16, (213, 255, 0)), (21, (0, 255, 0))),
        *((25, (0, 255, 255)), (36, (0, 0, 255)), (49, (255, 0, 255)), (54, (255, 0, 43))),
    ],
)
def test_the_wheel_is_middleburys(hue: int, rgb: tuple[int, int, int]) -> None:
    assert wheel().shape == (55, 3)
    assert tuple(wheel()[hue]) == rgb


@pytest.mark.parametrize(
    ("uv", "rgb"),
    [
        ((0, 0), (255, 255, 255)),  # nothing moves: white
        ((2, 0), (255, 0, 0)),  # to the right: red
        ((1, 0), (255, 127, 127)),  # half as far: half as much colour
        ((4, 0), (191, 0, 0)),  # further than the scale: darker
        ((-2, 0), (0, 209, 255)),  # to the left: place 27 of 54, two elevenths of the way from cyan to blue
        ((1e10, 0), (0, 0, 0)),  # unknown: black
        ((float("nan"), 0), (0, 0, 0)),
    ],
)
def test_a_flow_has_its_colour(uv: tuple[float, float], rgb: tuple[int, int, int]) -> None:
    assert tuple(colored(np.array(uv, np.float32).reshape(2, 1, 1), 2.0)[0, 0]) == rgb


def test_the_key_shows_the_directions() -> None:
    key = disc(101)
    assert tuple(key[0, 0]) == tuple(key[50, 50]) == (255, 255, 255)
    assert tuple(key[50, 100]) == (255, 0, 0)
    red, green, blue = key[100, 50].astype(int)  # down: yellow
    assert red > 200 and green > 200 and blue < 50


def test_pictures_hold_the_flow_and_the_frames(frames: list[Array], flows: list[Array]) -> None:
    still = np.zeros((2, 200, 300), np.float32)
    picture = flow_picture(still)
    assert picture.shape[0] == 200 and picture.shape[1] > 300
    assert (picture[:, :300] == 255).all() and (picture[:, 300:] != 255).any()
    sheet = overview(frames[0], frames[1], flows[-1])
    # the first tile: frame 1, each pixel three times three
    np.testing.assert_array_equal(sheet[33 : 33 + 192 : 3, 11 : 11 + 288 : 3], frames[0])


def test_frames_of_all_kinds(tmp_path: Path) -> None:
    Image.new("L", (3, 2), 51).save(tmp_path / "grey.png")
    Image.new("RGBA", (3, 2), (1, 2, 3, 4)).save(tmp_path / "alpha.png")
    Image.fromarray(np.full((2, 3), 13107, np.uint16)).save(tmp_path / "deep.png")
    assert read_frame(tmp_path / "grey.png").tolist() == [[[51] * 3] * 3] * 2
    assert read_frame(tmp_path / "alpha.png").tolist() == [[[1, 2, 3]] * 3] * 2
    np.testing.assert_allclose(read_frame(tmp_path / "deep.png"), np.full((2, 3, 3), 0.2), rtol=1e-6)


# the command


def command(*arguments: object, cache: Path) -> int:
    return main([*map(str, arguments), "--cache", str(cache)])


def test_the_command_writes_a_flow_and_its_pictures(flows: list[Array], cache: Path, tmp_path: Path) -> None:
    code = command(GOLDEN, GOLDEN / "frame1.png", GOLDEN / "frame2.png", "-o", tmp_path, cache=cache)
    assert code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"flow.flo", "flow.png", "overview.png"}
    assert apart(read_flo(tmp_path / "flow.flo"), flows[-1]) < CLOSE


@pytest.mark.parametrize(("to", "name"), [("onnx", "spynet.onnx"), ("caffe2", "caffe2")])
def test_the_command_writes_one_network_and_tries_it(
    to: str, name: str, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = (GOLDEN / "frame1.png", GOLDEN / "frame2.png")
    assert command(GOLDEN, *frames, "-o", tmp_path / "a", "--to", to, cache=cache) == 0
    assert "px of the levels one by one" in capsys.readouterr().out
    assert command(GOLDEN, "-o", tmp_path / "b", "--to", to, "--size", "96x64", cache=cache) == 0
    for path in (tmp_path / "a" / name).rglob("*"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
    assert (tmp_path / "b" / name).exists()


def test_a_sequence(flows: list[Array], cache: Path, tmp_path: Path) -> None:
    for number, frame in ((8, 1), (9, 2), (10, 2)):
        shutil.copy(GOLDEN / f"frame{frame}.png", tmp_path / f"f{number:04}.png")
    assert command(GOLDEN, "--video", tmp_path / "f%04d.png", "-o", tmp_path / "out", cache=cache) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "f0008.flo",
        "f0008.png",
        "f0009.flo",
        "f0009.png",
    ]
    assert apart(read_flo(tmp_path / "out" / "f0008.flo"), flows[-1]) < CLOSE


def test_a_flow_takes_two_frames(tmp_path: Path) -> None:
    (tmp_path / "1.png").touch()
    with pytest.raises(UsageError, match="found 1 frames"):
        frames_of(str(tmp_path / "%d.png"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures and models that do not go together."""
    Image.new("RGB", (300, 20)).save(tmp_path / "long.png")
    Image.new("RGB", (20, 30)).save(tmp_path / "small.png")
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.png")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes((GOLDEN / "frame1.png").read_bytes()[:5000])
    for name in ("modelL1_F.t7", "modelL1_C.t7"):
        shutil.copy(GOLDEN / "modelL1.t7", tmp_path / name)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "modelL1.t7").write_bytes(b"\x04\x00\x00\x00")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        ("{golden} long.png long.png", 2, "5 levels are needed and these are missing: modelL4.t7, modelL5.t7"),
        ("{golden} small.png turned.png", 2, "the frames differ in size: 20 × 30 and 30 × 20"),
        ("{golden} small.png", 2, "two frames, not 1"),
        ("{golden}", 2, "nothing to do"),
        ("{golden} --to onnx", 2, "nothing to do"),
        ("{golden} --to onnx --size 3", 2, "not a width and a height"),
        ("{golden} --to onnx --size 0x3", 2, "not a width and a height"),
        ("{golden} small.png text.png", 3, "text.png: not a picture"),
        ("{golden} small.png cut.png", 3, "cut.png: not a picture"),
        ("{golden} small.png none.png", 3, "none.png: No such file"),
        ("none small.png small.png", 2, "none: no such folder"),
        (". small.png small.png", 2, "holds several sets"),
        (". small.png small.png --set K", 2, "missing: modelL1_K.t7"),
        ("broken small.png small.png", 3, "modelL1.t7: the file is cut off"),
        ("{golden} small.png small.png --levels 7", 2, "1 to 6 levels, not 7"),
        ("{golden} small.png small.png --engine lua", 2, "no engine 'lua'"),
        ("{golden} small.png small.png --engine caffe2 --to onnx", 2, "not ONNX"),
        ("{golden} small.png small.png --max-flow 0", 2, "more than 0"),
        ("{golden} small.png small.png --video %d.png", 2, "neither frames"),
    ],
)
def test_errors_say_what_is_wrong(
    arguments: str,
    code: int,
    what: str,
    folder: Path,
    cache: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    words = arguments.format(golden=GOLDEN).split()
    assert command(*words, "-o", "out", cache=cache) == code
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert what in said


def test_a_set_is_chosen(folder: Path, cache: Path) -> None:
    still = np.zeros((20, 30, 3), np.uint8)
    assert SpyNet(folder, family="F", cache=cache).flow(still, still).shape == (2, 20, 30)


def test_the_chairs_have_five_files_for_six_levels(tmp_path: Path) -> None:
    for level in range(1, 6):
        (tmp_path / f"modelL{level}_4.t7").touch()
    assert [path.name[6:8] for path in SpyNet(tmp_path).files(6)] == ["1_", "2_", "3_", "4_", "5_", "5_"]


@pytest.mark.parametrize(
    "frame", [np.zeros((2, 2)), np.zeros((2, 2, 4)), np.zeros((0, 2, 3)), np.zeros((2, 2, 3), int)]
)
def test_frames_that_are_none_are_refused(frame: Array, cache: Path) -> None:
    with pytest.raises(UsageError, match="a frame "):
        SpyNet(GOLDEN, cache=cache).flow(frame, frame)
