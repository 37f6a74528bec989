"""Weights in half precision and in eight bits: what is stored, what it becomes at load, what proof says of it."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import retorch
from building import reference, sequential, torch_object
from golden_cases import GOLDEN, Case
from retorch.caffe2 import files
from retorch.caffe2.emit.op import EmitOptions
from retorch.caffe2.proto.caffe2_pb2 import NetDef
from retorch.cli import main
from retorch.engines.caffe2_runtime import Runtime
from retorch.errors import EngineError, UsageError

DIGITS = GOLDEN / "digits" / "digits.t7"
SMALL = ("half", "int8")
#: Networks with grouped, transposed and volumetric convolutions, recurrent cells, tables of words, local weights.
NETWORKS = (
    *("digits/digits", "cudnn_groups", "SpatialDepthWiseConvolution_1", "SpatialFullConvolution_1", "net_unet"),
    *("net_volumetric_c3d", "SeqLSTM_1", "Sequencer_GRU", "nngraph_lstm", "LookupTable_1", "net_textcnn"),
    *("SpatialConvolutionLocal_1", "Linear_1", "WeightNorm_1", "net_resnet", "net_crnn_like"),
)


@pytest.fixture(autouse=True)
def every_tensor(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """The networks of the tests are small: all of their tensors count as large."""
    if "as_it_is" not in request.fixturenames:
        monkeypatch.setattr("retorch.caffe2.narrow_fill.LEAST", 1)
        monkeypatch.setattr("retorch.graph.narrow_weights.LEAST", 1)
        monkeypatch.setattr("retorch.graph.rounding.SHORTEST_ROW", 1)


@pytest.fixture
def as_it_is() -> None:
    """Small tensors stay as they are."""


def linear(weight: np.ndarray) -> retorch.Module:
    return sequential(torch_object("nn.Linear", weight=weight, bias=np.zeros(len(weight), np.float32)))


def written(net: retorch.Module, target: Path, weights: str, example: Any) -> retorch.Network:
    retorch.convert(net, example).save(target, weights=weights)
    return retorch.Network.load(target)


def finite_halves() -> np.ndarray:
    """Every finite number of half precision, once, as float32."""
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    return every[np.isfinite(every)].astype(np.float32)


@pytest.mark.caffe2
def test_caffe2_widens_every_number_of_half_precision_exactly(caffe2: Runtime, tmp_path: Path) -> None:
    weight = finite_halves().reshape(-1, 62)
    written(linear(weight), tmp_path, "half", (1, 62))
    (got,) = caffe2.run(tmp_path, [np.zeros((1, 62), np.float32)], ["fc1_w"])
    assert got.dtype == np.float32
    assert np.array_equal(got.view(np.uint32), weight.view(np.uint32))


def test_what_is_read_back_is_every_number_of_half_precision(tmp_path: Path) -> None:
    weight = finite_halves().reshape(-1, 62)
    written(linear(weight), tmp_path, "half", (1, 62))
    net = files.read(tmp_path)
    assert net.precisions == {"fc1_w": "half"}
    assert set(net.params) == {"fc1_w", "fc1_b"}
    assert np.array_equal(net.params["fc1_w"].view(np.uint32), weight.view(np.uint32))


@pytest.mark.parametrize("weights", SMALL)
def test_reading_takes_no_memory_for_float32(weights: str, tmp_path: Path) -> None:
    weight = np.random.default_rng(12).standard_normal((1024, 2048), np.float32)
    retorch.convert(linear(weight), (1, 2048)).save(tmp_path, weights=weights)
    retorch.Network.load(tmp_path)  # imports
    tracemalloc.start()
    try:
        network = retorch.Network.load(tmp_path)
        assert network.caffe2().params["fc1_w"].shape == (1024, 2048)
        now, _ = tracemalloc.get_traced_memory()
        assert now < 4 * 1024 * 2048
    finally:
        tracemalloc.stop()


def test_a_chain_of_operators_on_small_weights_may_have_any_length(tmp_path: Path) -> None:
    written(linear(np.ones((8, 16), np.float32)), tmp_path, "half", (1, 16))
    path = tmp_path / "init_net.pb"
    init = NetDef.FromString(path.read_bytes())
    init.op.add(type="Mul", input=["fc1_w", "fc1_w"], output=["fc1_w"])
    for _ in range(100):
        init.op.add(type="Add", input=["fc1_w", "fc1_w"], output=["fc1_w"])
    path.write_bytes(init.SerializeToString())
    assert (files.read(tmp_path).params["fc1_w"] == 2.0**100).all()


@pytest.mark.caffe2
def test_caffe2_holds_the_nearest_of_255_steps_for_each_row(caffe2: Runtime, tmp_path: Path) -> None:
    weight = np.random.default_rng(1).standard_normal((9, 40), np.float32) * np.logspace(-4, 4, 9)[:, None]
    weight = weight.astype(np.float32)
    weight[3] = 0
    weight[:, 7] = 0
    written(linear(weight), tmp_path, "int8", (1, 40))
    (got,) = caffe2.run(tmp_path, [np.zeros((1, 40), np.float32)], ["fc1_w"])
    half_step = np.abs(weight).max(axis=1, keepdims=True) / 127 / 2
    assert (np.abs(got - weight) <= half_step * 1.0001).all()
    assert (got[weight == 0] == 0).all()
    assert np.abs(got - weight).max() > 0


@pytest.mark.caffe2
def test_nothing_else_is_left_in_caffe2s_workspace(caffe2: Runtime, tmp_path: Path) -> None:
    for weights in SMALL:
        written(linear(np.ones((8, 16), np.float32)), tmp_path / weights, weights, (1, 16))
        init = NetDef.FromString((tmp_path / weights / "init_net.pb").read_bytes())
        left = {blob for op in init.op for blob in op.output} - {"fc1_w", "fc1_b", "data"}
        assert left
        for blob in left:
            with pytest.raises(EngineError):
                caffe2.run(tmp_path / weights, [np.zeros((1, 16), np.float32)], [blob])


@pytest.mark.caffe2
@pytest.mark.parametrize("weights", SMALL)
def test_the_predictor_of_phones_takes_them(weights: str, caffe2: Runtime, tmp_path: Path) -> None:
    network = written(retorch.load(DIGITS), tmp_path, weights, (1, 1, 32, 32))
    x = np.random.default_rng(11).standard_normal((1, 1, 32, 32)).astype(np.float32)
    (got,) = caffe2.run(tmp_path, [x], predictor=True)
    np.testing.assert_allclose(got, network.run(x)[0], rtol=1e-5, atol=1e-4)


@pytest.mark.caffe2
@pytest.mark.parametrize("weights", SMALL)
@pytest.mark.parametrize("name", NETWORKS)
def test_caffe2_computes_what_the_stored_weights_give(name: str, weights: str, caffe2: Runtime, tmp_path: Path) -> None:
    case = Case(GOLDEN / f"{name}.t7")
    net = retorch.load(case.path)
    written(net, tmp_path / "out", weights, case.nested("input"))
    assert files.read(tmp_path / "out").precisions
    report = retorch.verify(net, tmp_path / "out", engines=[f"caffe2-{caffe2.version}"], inputs=case.flat("input"))
    assert report.ok, report.verdict
    assert [w.engine.partition(" with ")[2] for w in report.witnesses[:2]] == [
        "weights in float32",
        "weights as stored",
    ]


@pytest.mark.parametrize("weights", SMALL)
@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_computes_what_the_stored_weights_give(name: str, weights: str, tmp_path: Path) -> None:
    case = Case(GOLDEN / f"{name}.t7")
    net = retorch.load(case.path)
    written(net, tmp_path / "m.onnx", weights, case.nested("input"))
    report = retorch.verify(net, tmp_path / "m.onnx", inputs=case.flat("input"), layers=True)
    assert report.ok, report.verdict
    assert report.rounding is not None
    assert report.rounding.weights == weights


@pytest.mark.parametrize(("weights", "kind"), [("half", onnx.TensorProto.FLOAT16), ("int8", onnx.TensorProto.INT8)])
def test_an_onnx_file_holds_small_initializers_for_any_runtime(weights: str, kind: int, tmp_path: Path) -> None:
    weight = np.random.default_rng(2).standard_normal((6, 50), np.float32)
    written(linear(weight), tmp_path / "m.onnx", weights, (1, 50))
    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    stored = [t for t in model.graph.initializer if list(t.dims) == [6, 50]]
    assert [t.data_type for t in stored] == [kind]
    if weights == "half":
        rounded = weight.astype(np.float16).astype(np.float32)
        assert np.array_equal(numpy_helper.to_array(stored[0]), weight.astype(np.float16))
    else:
        scale = np.abs(weight).max(axis=1, keepdims=True) / 127
        rounded = np.rint(weight / scale) * scale
    x = np.random.default_rng(3).standard_normal((1, 50), np.float32)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"data": x})[0], x @ rounded.T, rtol=1e-5, atol=1e-5)


def test_files_are_half_and_a_quarter_as_large(tmp_path: Path, as_it_is: None) -> None:
    weight = np.random.default_rng(4).standard_normal((1000, 1000), np.float32)
    for name in ("{}", "{}.onnx"):
        sizes = []
        for weights in ("float", *SMALL):
            retorch.convert(linear(weight), (1, 1000)).save(tmp_path / name.format(weights), weights=weights)
            target = tmp_path / name.format(weights)
            sizes.append((target / "init_net.pb" if target.is_dir() else target).stat().st_size)
        assert sizes[1] < 0.505 * sizes[0]
        assert sizes[2] < 0.26 * sizes[0]


@pytest.mark.parametrize("weights", SMALL)
@pytest.mark.parametrize(("name", "sizes"), [("{}", [(16, 16), (8, 40)]), ("{}.onnx", [(8, 12), (4, 24)])])
def test_no_network_becomes_larger_by_its_small_tensors(
    name: str, sizes: list[tuple[int, int]], weights: str, tmp_path: Path, as_it_is: None
) -> None:
    for shape in sizes:
        rng = np.random.default_rng(10)
        weight = [rng.standard_normal(shape[:: 1 if at % 2 else -1], np.float32) for at in range(40)]
        several = sequential(*(torch_object("nn.Linear", weight=w) for w in weight))
        found = []
        for kind in ("float", weights):
            target = tmp_path / name.format(f"{kind}{shape[0]}")
            retorch.convert(several, (1, shape[0])).save(target, weights=kind)
            found.append((target / "init_net.pb" if target.is_dir() else target).stat().st_size)
        assert found[1] < found[0]


def test_the_predict_net_is_the_same_and_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    net = retorch.load(DIGITS)
    for weights in ("float", *SMALL):
        for again in ("1", "2"):
            retorch.convert(net, (1, 1, 32, 32)).save(tmp_path / f"{weights}{again}", weights=weights)
    predict = {(tmp_path / f"{w}1" / "predict_net.pb").read_bytes() for w in ("float", *SMALL)}
    assert len(predict) == 1
    for weights in SMALL:
        first, second = (tmp_path / f"{weights}{again}" / "init_net.pb" for again in ("1", "2"))
        assert first.read_bytes() == second.read_bytes()


def test_biases_statistics_and_small_tensors_stay_as_they_are(tmp_path: Path, as_it_is: None) -> None:
    net = retorch.load(DIGITS)
    retorch.convert(net, (1, 1, 32, 32), fold=False).save(tmp_path / "half", weights="half")
    retorch.convert(net, (1, 1, 32, 32), fold=False).save(tmp_path / "float")
    small, full = files.read(tmp_path / "half"), files.read(tmp_path / "float")
    changed = {name for name, array in full.params.items() if not np.array_equal(array, small.params[name])}
    assert changed == set(small.precisions) == {n for n, a in full.params.items() if a.ndim > 1 and a.size >= 256}


@pytest.mark.parametrize(
    ("value", "weights", "why"),
    [
        (1e5, "half", "half precision ends at 65,504"),
        (1e-7, "half", "exact to its 11 bits from 6.1e-5 on"),
        (np.inf, "half", "NaN or infinity"),
        (np.nan, "int8", "NaN or infinity"),
        (1e-35, "int8", "largest weight is 1e-35"),
    ],
)
def test_a_tensor_that_would_lose_too_much_stays_float32(value: float, weights: str, why: str, tmp_path: Path) -> None:
    weight = np.full((4, 16), value, np.float32)
    for target in (tmp_path / "out", tmp_path / "m.onnx"):
        network = retorch.convert(linear(weight), (1, 16))
        network.save(target, weights=weights)
        assert any("fc1_w stays float32" in note and why in note for note in network.notes)
    assert np.array_equal(files.read(tmp_path / "out").params["fc1_w"], weight, equal_nan=True)


def test_proof_tells_the_rounding_from_errors(tmp_path: Path) -> None:
    net = retorch.load(DIGITS)
    moved = {}
    for weights in SMALL:
        network = written(net, tmp_path / weights, weights, (1, 1, 32, 32))
        report = retorch.verify(net, tmp_path / weights, layers=True)
        assert report.ok
        assert report.max_error < 1e-5
        assert report.rounding is not None
        moved[weights] = report.rounding.relative
        assert f"Weights stored as {weights} move the outputs by {moved[weights]:.1e}" in report.verdict
        assert report.as_dict()["rounding"]["max_error"] == moved[weights]
        x = np.random.default_rng(0).standard_normal((1, 1, 32, 32)).astype(np.float32)
        want = reference(net, x)[0]
        got = network.run(x)[0]
        assert moved[weights] == pytest.approx(np.abs(got - want).max() / max(1, np.abs(want).max()), rel=1e-3)
    assert 1e-5 < moved["half"] < moved["int8"] < 0.05


@pytest.mark.parametrize("weights", SMALL)
@pytest.mark.parametrize("target", ["out", "m.onnx"])
def test_proof_convicts_a_weight_that_is_one_step_off(target: str, weights: str, tmp_path: Path) -> None:
    weight = np.random.default_rng(5).standard_normal((8, 40), np.float32)
    net = linear(weight)
    written(net, tmp_path / target, weights, (1, 40))
    if weights == "half":
        codes = weight.astype("<f2")
        spoiled = codes.copy()
        spoiled.view(np.uint16)[2, 3] += 1
    else:
        codes = np.rint(weight / (np.abs(weight).max(axis=1, keepdims=True) / np.float32(127))).astype(np.int8)
        spoiled = codes.copy()
        spoiled[2, 3] += 1
    path = tmp_path / target / "init_net.pb" if target == "out" else tmp_path / target
    if target == "out" and weights == "half":
        old, new = (np.ascontiguousarray(c.view(np.uint8).reshape(8, 40, 2)[..., 0]) for c in (codes, spoiled))
    elif target == "out":
        old, new = ((c[2].astype(np.int16) + 128).astype(np.uint8) for c in (codes, spoiled))
    else:
        old, new = codes, spoiled
    data = path.read_bytes()
    assert data.count(old.tobytes()) == 1
    path.write_bytes(data.replace(old.tobytes(), new.tobytes()))
    report = retorch.verify(net, tmp_path / target)
    assert not report.ok
    assert "fc1_w: not the network's own weights, rounded" in report.verdict


def test_proof_convicts_a_wrong_network_with_right_weights(tmp_path: Path) -> None:
    net = retorch.load(DIGITS)
    written(net, tmp_path, "int8", (1, 1, 32, 32))
    path = tmp_path / "predict_net.pb"
    predict = NetDef.FromString(path.read_bytes())
    conv = next(op for op in predict.op if op.type == "Conv" and len(op.input) == 3)
    del conv.input[2]
    path.write_bytes(predict.SerializeToString())
    report = retorch.verify(net, tmp_path, layers=True)
    assert not report.ok
    assert [row.blob for row in report.culprits] == [conv.output[0]]


def test_other_networks_weights_are_convicted(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    one, other = (linear(rng.standard_normal((8, 40), np.float32)) for _ in range(2))
    written(one, tmp_path, "half", (1, 40))
    assert not retorch.verify(other, tmp_path).ok


@pytest.mark.parametrize("weights", SMALL)
def test_the_command_says_what_rounding_costs_and_the_record_keeps_it(
    weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["convert", str(DIGITS), "-o", str(out), "--weights", weights]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"Weights stored as {weights} move the outputs by" in said
    assert "biases, statistics and small tensors stay float32" in said
    record = json.loads((out / "retorch.json").read_text())
    assert record["weights"] == weights
    assert record["max_error"] < 1e-5 < record["weights_error"]
    assert main(["verify", str(out), "--report", str(tmp_path / "r.html")]) == 0
    assert f"Weights stored as {weights}" in (tmp_path / "r.html").read_text()
    capsys.readouterr()
    assert main(["verify", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["rounding"]
    assert (found["weights"], found["tensors"]) == (weights, 4)
    assert found["max_error"] == pytest.approx(record["weights_error"])


def test_verify_needs_no_record(tmp_path: Path) -> None:
    assert main(["convert", str(DIGITS), "-o", str(tmp_path), "--weights", "half", "--no-fold"]) == 0
    (tmp_path / "retorch.json").unlink()
    report = retorch.verify(retorch.load(DIGITS), tmp_path)
    assert report.ok
    assert report.rounding is not None


def test_records_of_earlier_versions_are_of_float_weights(tmp_path: Path) -> None:
    assert main(["convert", str(DIGITS), "-o", str(tmp_path)]) == 0
    path = tmp_path / "retorch.json"
    record = json.loads(path.read_text())
    del record["weights"], record["weights_error"]
    path.write_text(json.dumps(record))
    assert main(["verify", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    "options",
    [
        ["--weights", "int4"],
        ["--weights", "half", "--to", "pytorch"],
        ["--weights", "half", "--to", "predictor"],
        ["--weights", "half", "--init", "minidb"],
        ["--weights", "int8", "--brew"],
        ["--weights", "int8", "--mkldnn"],
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(DIGITS), "-o", str(tmp_path / "out"), *options]) == 2
    assert f"--weights {options[1]}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_python_refuses_the_same(tmp_path: Path) -> None:
    network = retorch.convert(retorch.load(DIGITS), (1, 1, 32, 32))
    for target, weights in (("out", "quarter"), ("p.minidb", "half")):
        with pytest.raises(UsageError):
            network.save(tmp_path / target, weights=weights)
    for options in (
        {"init": "minidb"},
        {"options": EmitOptions(brew=True)},
        {"options": EmitOptions(mkldnn=True)},
    ):
        with pytest.raises(UsageError, match="--weights half"):
            network.save(tmp_path / "out", weights="half", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("first", ["out", "m.onnx"])
@pytest.mark.parametrize("second", ["copy", "copy.onnx"])
@pytest.mark.parametrize("weights", SMALL)
def test_what_was_written_small_becomes_any_other_form(first: str, second: str, weights: str, tmp_path: Path) -> None:
    network = written(retorch.load(DIGITS), tmp_path / first, weights, (1, 1, 32, 32))
    assert main(["convert", str(tmp_path / first), "-o", str(tmp_path / second)]) == 0
    x = np.random.default_rng(7).standard_normal((1, 1, 32, 32)).astype(np.float32)
    np.testing.assert_allclose(
        retorch.Network.load(tmp_path / second).run(x)[0], network.run(x)[0], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("weights", SMALL)
@pytest.mark.parametrize("target", ["small", "small.onnx"])
def test_what_was_written_in_float_becomes_small(
    target: str, weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    retorch.convert(retorch.load(DIGITS), (1, 1, 32, 32)).save(tmp_path / "out")
    assert main(["convert", str(tmp_path / "out"), "-o", str(tmp_path / target), "--weights", weights]) == 0
    assert f"Weights stored as {weights}" in " ".join(capsys.readouterr().out.split())


def test_inspect_shows_weights_and_not_how_they_are_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(retorch.load(DIGITS), tmp_path, "half", (1, 1, 32, 32))
    assert main(["inspect", str(tmp_path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["network"]
    assert "QuantDecode" not in {op["type"] for op in shown["operators"]}
    assert sum("conv1_w" in op["parameters"] for op in shown["operators"]) == 1


def test_the_notes_say_what_is_stored_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = retorch.convert(retorch.load(DIGITS), (1, 1, 32, 32))
    for name in ("{}", "{}.onnx"):
        shown = {}
        for weights in ("float", "int8"):
            network.save(tmp_path / name.format(weights), weights=weights)
            assert main(["inspect", str(tmp_path / name.format(weights)), "--json"]) == 0
            shown[weights] = json.loads(capsys.readouterr().out)["network"]
        assert "4 weight tensors stored as int8, and float32 from load on" in shown["int8"]["notes"]
        assert shown["int8"]["operators"] == shown["float"]["operators"]
        assert shown["int8"]["parameters"] == shown["float"]["parameters"]


def test_builds_of_2017_lack_what_widens_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(retorch.load(DIGITS), tmp_path, "half", (1, 1, 32, 32))
    assert main(["check", str(tmp_path), "--json"]) == 1
    lacks = json.loads(capsys.readouterr().out)["lacks"]
    assert {(lack["blob"], lack["operator"]) for lack in lacks} >= {("conv1_w", "GivenTensorByteStringToUInt8Fill")}


@pytest.mark.parametrize("weights", SMALL)
def test_weights_of_a_large_onnx_model_stand_small_in_a_file_of_their_own(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retorch.graph.onnx_file.LIMIT", 10_000)
    net = linear(np.random.default_rng(8).standard_normal((80, 400), np.float32))
    written(net, tmp_path / "m.onnx", weights, (1, 400))
    (data,) = tmp_path.glob("m.onnx.*.data") or tmp_path.glob("*.data")
    assert data.stat().st_size < 80 * 400 * 4 * 0.6
    report = retorch.verify(net, tmp_path / "m.onnx")
    assert report.ok
    assert report.rounding is not None


def test_a_network_too_large_for_one_file_fits_in_half_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retorch.caffe2.files.LIMIT", 100_000)
    network = retorch.convert(linear(np.random.default_rng(9).standard_normal((80, 400), np.float32)), (1, 400))
    with pytest.raises(retorch.errors.ConversionError):
        network.save(tmp_path / "float")
    network.save(tmp_path / "half", weights="half")


@pytest.mark.parametrize("weights", SMALL)
def test_states_and_free_sizes_go_with_small_weights(weights: str, tmp_path: Path) -> None:
    recurrent = GOLDEN / "SeqLSTM_1.t7"
    assert main(["convert", str(recurrent), "-o", str(tmp_path / "lstm.onnx"), "--state", "--weights", weights]) == 0
    image = GOLDEN / "net_fast_neural_style.t7"
    for target in ("style", "style.onnx"):
        assert main(["convert", str(image), "-o", str(tmp_path / target), "--weights", weights]) == 0
        assert main(["verify", str(tmp_path / target)]) == 0


@pytest.mark.parametrize("weights", SMALL)
@pytest.mark.parametrize("options", [["--nnpack"], ["--in-place"], ["--no-fold"], ["--caffe2", "1.10"], ["--unpacked"]])
def test_other_options_go_with_small_weights(options: list[str], weights: str, tmp_path: Path) -> None:
    command = ["convert", str(DIGITS), "-o", str(tmp_path), "--weights", weights, *options]
    assert main(command) == 0
    assert main(["verify", str(tmp_path), "--layers"]) == 0
