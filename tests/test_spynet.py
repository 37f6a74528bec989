"""SpyNet: the flow of three small levels, as an independent program computed it, by every route."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from examples.spynet import SpyNet, pyramid, whole
from examples.spynet.pictures import read_frame

import retorch
from building import torch_object
from retorch.caffe2.emit.net import EmitOptions
from retorch.engines.caffe2_runtime import Runtime

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


@pytest.fixture(scope="module")
def network() -> retorch.Network:
    """The golden pyramid as one network."""
    return whole.build([GOLDEN / f"modelL{level}.t7" for level in (1, 2, 3)], 64, 96)


def apart(got: Array, wanted: Array) -> float:
    assert got.shape == wanted.shape
    return float(np.abs(got - wanted).max())


def stacked(frame: Array) -> Array:
    """A frame of bytes as a network takes it."""
    return frame.transpose(2, 0, 1)[None].astype(np.float32) / 255


# the pyramid, level by level


def test_levels_one_by_one(frames: list[Array], flows: list[Array], cache: Path) -> None:
    with SpyNet(GOLDEN, cache=cache) as spynet:
        found = spynet.flows(frames[0], frames[1])
        assert [apart(got, wanted) < CLOSE for got, wanted in zip(found, flows, strict=True)] == [True] * 3
        assert apart(spynet.flow(frames[0], frames[1]), flows[-1]) < CLOSE


@pytest.mark.caffe2
@pytest.mark.parametrize("nnpack", [False, True])
def test_levels_in_the_real_caffe2(
    caffe2: Runtime, nnpack: bool, frames: list[Array], flows: list[Array], cache: Path
) -> None:
    with SpyNet(GOLDEN, engine=f"caffe2-{caffe2.version}", nnpack=nnpack, cache=cache) as spynet:
        assert apart(spynet.flow(frames[0], frames[1]), flows[-1]) < CLOSE


def test_floats_are_bytes_over_255(frames: list[Array], flows: list[Array], cache: Path) -> None:
    one, two = (frame / 255.0 for frame in frames)
    assert apart(SpyNet(GOLDEN, cache=cache).flow(one, two), flows[-1]) < CLOSE


def test_levels_for_several_gpus(frames: list[Array], flows: list[Array], tmp_path: Path) -> None:
    for level in (1, 2, 3):
        inner = retorch.read(GOLDEN / f"modelL{level}.t7")
        table = torch_object("nn.DataParallelTable", modules=[inner], gpuAssignments=[1], dimension=1)
        retorch.write(tmp_path / f"modelL{level}_F.t7", table)
    found = SpyNet(tmp_path, family="F", cache=tmp_path / "cache").flow(frames[0], frames[1])
    assert apart(found, flows[-1]) < CLOSE


# the pyramid as one network


def test_one_onnx_file(network: retorch.Network, frames: list[Array], flows: list[Array], tmp_path: Path) -> None:
    network.save(tmp_path / "spynet.onnx", "onnx")
    onnx.checker.check_model(str(tmp_path / "spynet.onnx"), full_check=True)
    session = onnxruntime.InferenceSession(tmp_path / "spynet.onnx", providers=["CPUExecutionProvider"])
    one, two = map(stacked, frames)
    (flow,) = session.run(["flow"], {"frame1": one, "frame2": two})
    assert apart(np.asarray(flow)[0], flows[-1]) < CLOSE
    kinds = {node.op_type for node in onnx.load(tmp_path / "spynet.onnx").graph.node}
    assert {"GridSample", "Resize"} <= kinds


def test_one_caffe2_net(network: retorch.Network, frames: list[Array], flows: list[Array], tmp_path: Path) -> None:
    network.save(tmp_path, "caffe2")
    assert {path.name for path in tmp_path.iterdir()} == {"init_net.pb", "predict_net.pb", "predict_net.pbtxt"}
    assert apart(SpyNet(GOLDEN).run_file(tmp_path, frames[0], frames[1]), flows[-1]) < CLOSE


@pytest.mark.caffe2
@pytest.mark.parametrize("nnpack", [False, True])
def test_one_net_in_the_real_caffe2(
    caffe2: Runtime, nnpack: bool, network: retorch.Network, frames: list[Array], flows: list[Array], tmp_path: Path
) -> None:
    network.save(tmp_path, "caffe2", options=EmitOptions(nnpack=nnpack, in_place=nnpack))
    one, two = map(stacked, frames)
    (flow,) = caffe2.run(tmp_path, {"frame1": one, "frame2": two})
    assert apart(flow[0], flows[-1]) < CLOSE
    (flow,) = caffe2.run(tmp_path, [one, two], predictor=True)
    assert apart(flow[0], flows[-1]) < CLOSE


# two levels whose networks hand on what they see: the warp alone, against loops


def picking(path: Path, weights: dict[tuple[int, int], float], bias: tuple[float, float]) -> None:
    """A level of one 1 × 1 convolution: output channel o gets ``weights[o, i]`` times input channel i."""
    weight = np.zeros((2, 8, 1, 1), np.float32)
    for at, value in weights.items():
        weight[at] = value
    sizes = {"nInputPlane": 8, "nOutputPlane": 2, "kW": 1, "kH": 1, "dW": 1, "dH": 1, "padW": 0, "padH": 0}
    retorch.write(path, torch_object("nn.SpatialConvolution", weight=weight, bias=np.array(bias, np.float32), **sizes))


def linear(line: Array, at: float) -> Any:
    """What lies at a place of a line of pixels, brought onto it."""
    at = min(max(at, 0.0), len(line) - 1.0)
    low = int(at)
    high = min(low + 1, len(line) - 1)
    return line[low] * (low + 1 - at) + line[high] * (at - low)


def warp_by_loops(one: Array, two: Array, gain: float, bias: tuple[float, float]) -> Array:
    """Red and green of frame 2, read where ``gain`` times red and green of frame 1 at half the size, plus bias, say."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    one, two = ((frame / 255.0 - mean) / std for frame in (one, two))
    height, width = one.shape[:2]
    half = (one[::2, ::2] + one[1::2, ::2] + one[::2, 1::2] + one[1::2, 1::2])[..., :2] / 4 * gain + bias
    found = np.zeros((2, height, width))
    for y in range(height):
        for x in range(width):
            across, down = x * (width // 2 - 1) / (width - 1), y * (height // 2 - 1) / (height - 1)
            u, v = 2 * linear(np.array([linear(row, across) for row in half]), down)
            found[:, y, x] = linear(np.array([linear(row, x + u) for row in two]), y + v)[:2]
    return found


FARAWAY = [(3.0, (0.0, 0.0)), (0.0, (-0.25, 40.0)), (30.0, (5.0, -8.0)), (0.0, (300.0, -300.0)), (0.0, (0.0, 0.0))]


@pytest.fixture(params=FARAWAY, ids=str)
def seeing(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[list[Array], Array, retorch.Network]:
    """Frames, what their warp is, and the network that says so; its levels and Caffe2 files are in ``tmp_path``."""
    gain, bias = request.param
    one, two = np.random.default_rng(7).integers(0, 256, (2, 32, 64, 3), np.uint8)
    picking(tmp_path / "modelL1.t7", {(0, 0): gain, (1, 1): gain}, bias)
    # channels 3 and 4 are warped red and green; 6 and 7 the flow from below, which is added afterwards
    picking(tmp_path / "modelL2.t7", {(0, 3): 1, (0, 6): -1, (1, 4): 1, (1, 7): -1}, (0, 0))
    network = whole.build([tmp_path / "modelL1.t7", tmp_path / "modelL2.t7"], 32, 64)
    network.save(tmp_path, "caffe2")
    return [one, two], warp_by_loops(one, two, gain, bias), network


def test_the_warp_is_right_at_borders_and_far_beyond(
    seeing: tuple[list[Array], Array, retorch.Network], tmp_path: Path
) -> None:
    (one, two), wanted, network = seeing
    spynet = SpyNet(tmp_path, cache=tmp_path / "cache")
    assert apart(spynet.flow(one, two), wanted) < CLOSE
    assert apart(spynet.run_file(tmp_path, one, two), wanted) < CLOSE
    assert apart(network.run(stacked(one), stacked(two))[0][0], wanted) < CLOSE


@pytest.mark.caffe2
def test_the_real_caffe2_warps_alike(
    caffe2: Runtime, seeing: tuple[list[Array], Array, retorch.Network], tmp_path: Path
) -> None:
    (one, two), wanted, _ = seeing
    assert apart(caffe2.run(tmp_path, [stacked(one), stacked(two)])[0][0], wanted) < CLOSE


# sizes


@pytest.mark.parametrize(
    ("height", "width", "levels"),
    [
        *((1, 1, 1), (32, 32, 1), (33, 8, 2), (64, 64, 2), (65, 1, 3), (64, 96, 3), (128, 5, 3), (129, 9, 4)),
        *((256, 256, 4), (384, 512, 5), (257, 3, 5), (512, 513, 6), (436, 1024, 6), (2160, 3840, 6)),
    ],
)
def test_the_longest_side_decides_how_many_levels(height: int, width: int, levels: int) -> None:
    assert pyramid.levels_for(height, width) == levels


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (50, 70), (33, 97)])
def test_any_size_comes_out_as_it_went_in(size: tuple[int, int], cache: Path) -> None:
    one, two = np.random.default_rng(3).integers(0, 256, (2, *size, 3), np.uint8)
    spynet = SpyNet(GOLDEN, cache=cache)
    flow = spynet.flow(one, two)
    assert flow.shape == (2, *size)
    assert np.isfinite(flow).all()
    network = whole.build(spynet.files(spynet.count(*size)), *size)
    assert apart(network.run(stacked(one), stacked(two))[0][0], flow) < CLOSE


def test_images_are_raised_with_corners_on_corners() -> None:
    image = np.array([[[0, 3], [6, 9]]], np.float32)
    wanted = [[[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [6, 7, 8, 9]]]
    np.testing.assert_allclose(pyramid.resized(image, 4, 4), wanted, atol=1e-6)
    np.testing.assert_array_equal(pyramid.resized(image[:, :1, :1] + 5, 2, 3), np.full((1, 2, 3), 5))


def test_flow_comes_back_in_pixels_of_the_frame() -> None:
    # 3 × 40 pixels were raised to 32 × 64: rows 0, 10 and 21 are those of the frame, and x shrinks to 40/64
    flow = np.zeros((2, 32, 64), np.float32)
    flow[0] = np.arange(64)
    flow[1] = np.arange(32)[:, None]
    found = pyramid.restored(flow, 3, 40)
    np.testing.assert_allclose(found[1, :, 0], np.array([0, 10, 21]) * 3 / 32, rtol=1e-6)
    np.testing.assert_allclose(found[0, 0, :6], np.array([0, 1, 3, 4, 6, 8]) * 40 / 64, rtol=1e-6)


# the demonstration: a ball that flies (5, -3) over a ground that glides (-2.5, 1), and a box that turns by five degrees

DEMO = Path(whole.__file__).parent / "demo"


def test_the_demonstration_sees_what_moves(cache: Path) -> None:
    one, two = (read_frame(DEMO / f"frame{i}.png") for i in (1, 2))
    spynet = SpyNet(DEMO, cache=cache)
    flow = spynet.flow(one, two)
    y, x = np.mgrid[:192, :256] + 0.5
    ball = np.hypot(x - 88, y - 92) < 30
    ground = (np.hypot(x - 88, y - 92) > 55) & (x > 16) & (x < 130) & (y > 16) & (y < 176)
    box = (np.abs(x - 186) < 26) & (np.abs(y - 100) < 36)
    angle = np.deg2rad(5)
    turn = [
        (np.cos(angle) - 1) * (x - 186) - np.sin(angle) * (y - 100),
        np.sin(angle) * (x - 186) + (np.cos(angle) - 1) * (y - 100),
    ]
    for where, truth in ((ball, [5, -3]), (ground, [-2.5, 1]), (box, turn)):
        error = np.hypot(flow[0] - truth[0], flow[1] - truth[1])[where]
        assert error.mean() < 0.25
    network = whole.build(spynet.files(4), 192, 256)
    assert apart(network.run(stacked(one), stacked(two))[0][0], flow) < CLOSE
