"""Noise that every run draws: its law in the real Caffe2, in shapes that are known, and that only a run knows."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from caffe2.emit_cases import Array, actual
from caffe2.nets import row
from retorch.caffe2 import files
from retorch.caffe2.emit.net import EmitOptions, emit
from retorch.engines.caffe2_runtime import Runtime
from retorch.errors import UnsupportedError
from retorch.network import Network

X = np.full((500, 200), 7, np.float32)
NORMAL = ("RandomNormalLike", {"mean": 2.0, "scale": 3.0}, 2.0, 3.0, -math.inf, math.inf)
UNIFORM = ("RandomUniformLike", {"low": -3.0, "high": 9.0}, 3.0, math.sqrt(12), -3.0, 9.0)
LAWS = pytest.mark.parametrize(("kind", "attributes", "mean", "deviation", "low", "high"), [NORMAL, UNIFORM])


def noise(kind: str, rows: int | str, **attributes: float) -> onnx.ModelProto:
    """Numbers as many as the input has, and one column more, whatever its batch: drawn like a constant spread out."""
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Add", ["sizes", "more"], ["wider"]),
        helper.make_node("Expand", ["zero", "wider"], ["like"]),
        helper.make_node(kind, ["like"], ["y"], **attributes),
    ]
    constants = {"more": np.array([0, 1], np.int64), "zero": np.array(0, np.float32)}
    graph = helper.make_graph(
        nodes,
        "noise",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 200])],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return onnx.shape_inference.infer_shapes(made, strict_mode=True, data_prop=True)


def assert_drawn(numbers: Array, mean: float, deviation: float, low: float, high: float) -> None:
    np.testing.assert_allclose((numbers.mean(), numbers.std()), (mean, deviation), atol=0.03 * deviation)
    assert low <= numbers.min()
    assert numbers.max() <= high


@pytest.mark.caffe2
@pytest.mark.parametrize("rows", [500, "N"])
@LAWS
def test_noise_follows_the_law(
    kind: str,
    attributes: dict[str, float],
    mean: float,
    deviation: float,
    low: float,
    high: float,
    rows: int | str,
    caffe2: Runtime,
    tmp_path: Path,
) -> None:
    model = noise(kind, rows, **attributes)
    first, second = (actual(caffe2, tmp_path / run, model, {"x": X})[0] for run in ("first", "second"))
    assert first.shape == (500, 201)
    assert_drawn(first, mean, deviation, low, high)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(("attributes", "reason"), [({"seed": 1.0}, "with seed"), ({"dtype": 11}, "type double")])
def test_noise_that_caffe2_does_not_draw_is_refused(attributes: dict[str, float], reason: str) -> None:
    with pytest.raises(UnsupportedError, match=reason):
        emit(ir.from_proto(noise("RandomNormalLike", 500, **attributes)))


@pytest.mark.parametrize("options", [EmitOptions(brew=True), EmitOptions("1.10", mkldnn=True), EmitOptions()], ids=str)
def test_nets_that_draw_are_written_again(options: EmitOptions, tmp_path: Path) -> None:
    net = row("GaussianFill X -> N | mean=2.0 std=3.0; Relu X -> A; Sub N A -> Y", X=X.shape).net()
    files.write(tmp_path / "net", net)
    Network.load(tmp_path / "net").sized(X.shape).save(tmp_path / "again", options=options)
    assert_drawn(Network.load(tmp_path / "again").run(X)[0], -5, 3, -math.inf, math.inf)


@pytest.mark.caffe2
@pytest.mark.parametrize("number", [np.float32(2.5), np.int64(-3), np.bool_(True)], ids=str)
def test_a_number_fills_a_shape_that_a_run_calculates(number: np.generic, caffe2: Runtime, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"], start=-1),
        helper.make_node("Expand", ["number", "sizes"], ["y"]),
    ]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, "N"])]
    kept = [numpy_helper.from_array(np.array(number), "number")]
    graph = helper.make_graph(nodes, "filled", given, [helper.make_empty_tensor_value_info("y")], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    filled = actual(caffe2, tmp_path, model, {"x": np.zeros((2, 5), np.float32)})[0]
    np.testing.assert_array_equal(filled, [number] * 5)
    assert filled.dtype.kind == number.dtype.kind
