"""Numbers that networks draw without a seed: the law is Caffe2's, the numbers are nobody's, and that is said."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from caffe2.nets import Array, Row, row
from retorch.caffe2.proto.caffe2_pb2 import NetDef
from retorch.cli import main
from retorch.engines.caffe2_runtime import Runtime
from retorch.errors import UnsupportedError
from retorch.network import Network

X = np.zeros((500, 200), np.float32)


def stored(folder: Path, case: Row, init: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "predict_net.pb").write_bytes(case.net().predict.SerializeToString())
    (folder / "init_net.pb").write_bytes(text_format.Parse(init, NetDef(name="init")).SerializeToString())
    return folder


def fill(kind: str, name: str, *sizes: int) -> str:
    shape = " ".join(f"ints: {size}" for size in sizes)
    return f"op {{ output: '{name}' type: '{kind}' arg {{ name: 'shape' {shape} }} }}"


def moments(numbers: Array) -> tuple[float, float]:
    return float(numbers.mean()), float(numbers.std())


@pytest.mark.parametrize(
    ("text", "mean", "deviation", "low", "high"),
    [
        ("GaussianFill X -> N | mean=2.0 std=3.0", 2, 3, -math.inf, math.inf),
        ("GaussianFill X -> N | mean=2.0 std=0.0", 2, 0, 2, 2),
        ("UniformFill X -> N | min=-3.0 max=9.0", 3, 12 / math.sqrt(12), -3, 9),
        ("UniformFill X -> N", 0.5, 1 / math.sqrt(12), 0, 1),
        ("XavierFill X -> N", 0, math.sqrt(1 / 200), -math.sqrt(3 / 200), math.sqrt(3 / 200)),
        ("MSRAFill X -> N", 0, math.sqrt(2 / 500), -math.inf, math.inf),
    ],
)
def test_noise_follows_the_law_and_differs_from_run_to_run(
    text: str, mean: float, deviation: float, low: float, high: float, tmp_path: Path
) -> None:
    network = Network.load(stored(tmp_path, row(f"{text}; Add X N -> Y", X=(1,))))
    first, second = network.run(X)[0], network.run(X)[0]
    np.testing.assert_allclose(moments(first), (mean, deviation), atol=0.02 * deviation)
    assert low <= first.min()
    assert first.max() <= high
    assert first.dtype == np.float32
    assert np.array_equal(first, second) == (deviation == 0)
    assert any("no two runs agree" in note for note in network.notes)


def test_integers_are_drawn_with_both_ends(tmp_path: Path) -> None:
    case = row("UniformIntFill X -> N | min=-2 max=3; Relu X -> Y", "N", "Y", X=(1,))
    numbers = Network.load(stored(tmp_path, case)).run(X)[0]
    values, counts = np.unique(numbers, return_counts=True)
    assert numbers.dtype == np.int32
    assert values.tolist() == [-2, -1, 0, 1, 2, 3]
    np.testing.assert_allclose(counts, X.size / 6, rtol=0.05)


def test_halves_are_drawn_in_sixteen_bits(tmp_path: Path) -> None:
    case = row(
        "Float16UniformFill -> N | shape=500,200 min=-1.0 max=3.0; HalfToFloat N -> M; Add X M -> Y", "N", "Y", X=(1,)
    )
    numbers = Network.load(stored(tmp_path, case)).run(X)[0]
    assert numbers.dtype == np.float16
    np.testing.assert_allclose(moments(numbers.astype(np.float64)), (1, 4 / math.sqrt(12)), atol=0.02)


def test_a_shape_may_come_from_another_blob(tmp_path: Path) -> None:
    case = row("Shape X -> S; GaussianFill S -> N | input_as_shape=1 extra_shape=2,; Relu X -> Y", "N", "Y", X=(1, 1))
    network = Network.load(stored(tmp_path, case))
    assert network.run(X)[0].shape == (*X.shape, 2)
    assert network.run(X[:3])[0].shape == (3, 200, 2)


FC = row("FC X w b -> Y", X=(2, 200), w=(40, 200), b=(40,))
DRAWN = fill("XavierFill", "w", 40, 200) + fill("UniformFill", "b", 40)


def test_weights_are_drawn_once_at_each_load(tmp_path: Path) -> None:
    network = Network.load(stored(tmp_path, FC, DRAWN))
    np.testing.assert_array_equal(network.run(X)[0], network.run(X)[0])
    biases = network.run(X)[0][0]  # of an input of zeros
    assert 0 <= biases.min() < 0.2 < 0.8 < biases.max() <= 1
    assert not np.array_equal(Network.load(tmp_path).run(X)[0][0], biases)
    assert network.notes == ("drawn at random (w, b): the init net has no seed, and every load draws other weights",)


def test_drawn_weights_are_saved_as_they_were_drawn(tmp_path: Path) -> None:
    network, x = Network.load(stored(tmp_path / "from", FC, DRAWN)), X[:2] + 1
    for target in ("out", "out.onnx"):
        network.save(tmp_path / target)
        again = Network.load(tmp_path / target)
        np.testing.assert_array_equal(again.run(x)[0], network.run(x)[0])
        assert again.notes == ()


def test_a_network_that_draws_its_input_is_run(tmp_path: Path) -> None:
    case = row("GaussianFill -> Z | shape=4,200; FC Z w b -> Y", w=(40, 200), b=(40,))
    network = Network.load(stored(tmp_path, case, fill("ConstantFill", "w", 40, 200) + fill("UniformFill", "b", 40)))
    assert network.inputs == ()
    assert network.run()[0].shape == (4, 40)


@pytest.mark.parametrize("text", ["GaussianFill X -> Y", "UniformFill X -> Z; Sqr Z -> Y"])
def test_a_network_that_does_nothing_but_draw_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="Y output: nothing but numbers that every run draws anew"):
        Network.load(stored(tmp_path, row(text, X=(2, 3)))).run(np.zeros((2, 3), np.float32))


def test_the_seed_of_the_net_is_that_of_its_operators(tmp_path: Path) -> None:
    case = row("GaussianFill X -> N; Add X N -> Y", X=(2, 3))
    seeded = row("GaussianFill X -> N | random_seed=7; Add X N -> Y", X=(2, 3))
    folder, zeros = stored(tmp_path, case), np.zeros((2, 3), np.float32)
    net = case.net().predict
    net.device_option.random_seed = 7
    (folder / "predict_net.pb").write_bytes(net.SerializeToString())
    wanted = Network.load(stored(tmp_path / "seeded", seeded)).run(zeros)[0]
    np.testing.assert_array_equal(Network.load(folder).run(zeros)[0], wanted)


def test_what_draws_in_every_run_is_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = stored(tmp_path / "net", row("GaussianFill X -> N; Add X N -> Y", X=(2, 3)))
    assert main(["convert", str(folder), "-o", str(tmp_path / "net.onnx"), "--to", "onnx", "--input", "2x3"]) == 0
    shown = " ".join("".join(capsys.readouterr()).split())
    assert "not verified: the network draws random numbers in every run, and no two runs agree" in shown


def test_weights_that_were_drawn_are_compared_with_themselves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stored(tmp_path / "net", FC, DRAWN)
    assert main(["convert", str(folder), "-o", str(tmp_path / "net.onnx"), "--to", "onnx"]) == 0
    assert "Same: embedded" in "".join(capsys.readouterr())


def test_run_says_that_numbers_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(stored(tmp_path, FC, DRAWN)), "--input", "2x200"]) == 0
    assert "drawn at random (w, b)" in " ".join(capsys.readouterr().out.split())


ADDED_PAIR = row("Add X w -> Y", X=(2, 3), w=(2, 3))
SEEDED = "device_option { random_seed: 7 } " + fill("GaussianFill", "w", 2, 3)


ADDED_PAIR = row("Add X w -> Y", X=(2, 3), w=(2, 3))
SEEDED = "device_option { random_seed: 7 } " + fill("GaussianFill", "w", 2, 3)
OWN_DEVICE = SEEDED.replace("type: 'GaussianFill'", "type: 'GaussianFill' device_option { device_type: 0 }")
ZEROS = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize("init", [SEEDED, OWN_DEVICE])
def test_the_seed_of_an_init_net_is_that_of_its_fills(init: str, tmp_path: Path) -> None:
    network = Network.load(stored(tmp_path, ADDED_PAIR, init))
    assert network.notes == ("GaussianFill: drawn as Caffe2 1.10 does from the seed 7; 1.0 draws other numbers",)
    np.testing.assert_array_equal(network.run(ZEROS)[0], Network.load(tmp_path).run(ZEROS)[0])
    assert str(network.inputs[0]) == "X float32 …"
    # the numbers are weights: they may be fed, and are saved
    np.testing.assert_array_equal(network.run({"X": ZEROS, "w": ZEROS + 1})[0], ZEROS + 1)
    network.save(tmp_path / "saved")
    np.testing.assert_array_equal(Network.load(tmp_path / "saved").run(ZEROS)[0], network.run(ZEROS)[0])


@pytest.mark.caffe2
@pytest.mark.parametrize("init", [SEEDED, OWN_DEVICE])
def test_the_real_caffe2_draws_by_the_seed_of_its_init_net(init: str, tmp_path: Path) -> None:
    runtime = Runtime.find("1.10.2")
    if runtime is None:
        pytest.skip("Caffe2 1.10.2 is not installed")
    folder = stored(tmp_path, ADDED_PAIR, init)
    with runtime:
        np.testing.assert_allclose(Network.load(folder).run(ZEROS)[0], runtime.run(folder, [ZEROS])[0], rtol=1e-6)


@pytest.mark.caffe2
@pytest.mark.parametrize("weights", ["float", "half", "int8"])
@pytest.mark.parametrize("init", ["", "device_option { random_seed: 7 } "])
def test_drawn_weights_are_saved_in_fewer_bits_too(init: str, weights: str, caffe2: Runtime, tmp_path: Path) -> None:
    case = row("Conv X w -> Y | kernel=3", X=(1, 8, 5, 5), w=(16, 8, 3, 3))
    network = Network.load(stored(tmp_path / "drawn", case, init + fill("XavierFill", "w", 16, 8, 3, 3)))
    x = np.random.default_rng(0).standard_normal((1, 8, 5, 5)).astype(np.float32)
    network.save(tmp_path / "saved", weights=weights)
    saved = Network.load(tmp_path / "saved")
    tolerance = {"float": 0, "half": 2e-3, "int8": 0.05}[weights]
    np.testing.assert_allclose(saved.run(x)[0], network.run(x)[0], atol=tolerance)
    np.testing.assert_allclose(caffe2.run(tmp_path / "saved", [x])[0], saved.run(x)[0], atol=1e-5)
    network.save(tmp_path / "saved.onnx", weights=weights)
    np.testing.assert_allclose(Network.load(tmp_path / "saved.onnx").run(x)[0], network.run(x)[0], atol=tolerance)
