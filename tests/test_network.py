"""Networks: run, look inside, save, load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import retorch
from building import torch_object
from caffe2.nets import row
from golden_cases import GOLDEN
from retorch.caffe2 import files
from retorch.caffe2.parse.net import NeedsShapeError
from retorch.errors import ConversionError, EngineError, FormatError, MissingFileError, UnsupportedError, UsageError
from retorch.graph import onnx_file
from retorch.graph.shapes import fix_sizes
from retorch.module import bind
from retorch.network import Network

Array = np.ndarray[Any, np.dtype[Any]]


def graph_of(text: str, **weights: Array) -> ir.Model:
    """A model from ONNX's text form; weights are added as initializers."""
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {text}')
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(array.reshape(-1)[:0], name) for name, array in weights.items()
    )
    model = ir.from_proto(proto)
    for name, array in weights.items():
        value = model.graph.initializers[name]
        value.const_value = ir.Tensor(array, name=name)
        value.shape = ir.Shape(array.shape)
    return model


def two_inputs() -> Network:
    """y = a + b, z = a - b; b comes in a table in a table."""
    model = graph_of("g (float[N,3] a, float[N,3] b) => (float[N,3] y, float[N,3] z) { y = Add(a, b) z = Sub(a, b) }")
    model.metadata_props["retorch.inputs"] = json.dumps([0, [1]])
    return Network(model)


A = np.arange(6, dtype=np.float32).reshape(2, 3)
B = np.ones((2, 3), np.float32)


def test_inputs_in_order_nested_or_by_name() -> None:
    network = two_inputs()
    for feeds in ((A, B), ([A, [B]],), ({"b": B, "a": A},), (A.astype(np.float64), B.astype(np.int32))):
        y, z = network.run(*feeds)
        np.testing.assert_array_equal(y, A + 1)
        np.testing.assert_array_equal(z, A - 1)
        assert y.dtype == np.float32


def test_ports_and_nesting() -> None:
    network = two_inputs()
    assert [str(port) for port in network.inputs] == ["a float32 N×3", "b float32 N×3"]
    assert [port.name for port in network.outputs] == ["y", "z"]
    assert network.input_nesting == [0, [1]]
    assert network.output_nesting == [0, 1]


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ((A,), "got 1 input;"),
        ((A, B, B), "got 3 inputs"),
        (({"a": A, "c": B},), "got inputs a, c"),
        ((A, B[0]), "input b float32 N×3 does not take 3"),
        ((A, np.ones((2, 4))), "does not take 2×4"),
        ((A, 1.0), "a single number"),
        (([A, {"b": B}],), "one mapping"),
    ],
)
def test_wrong_inputs_are_told(feeds: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        two_inputs().run(*feeds)


def test_sizes_that_disagree_are_the_engines_word() -> None:
    with pytest.raises(EngineError, match="onnxruntime failed"):
        two_inputs().run(np.ones((2, 3)), np.ones((4, 3)))


def test_values_inside() -> None:
    weight = np.full((3,), 2, np.float32)
    network = Network(graph_of("g (float[2,3] x) => (float[2,3] z) { y = Mul(x, w) z = Neg(y) }", w=weight))
    found = network.intermediate(["z", "y", "w", "x", "y"], A)
    assert list(found) == ["z", "y", "w", "x"]
    np.testing.assert_array_equal(found["y"], 2 * A)
    np.testing.assert_array_equal(found["z"], -2 * A)
    np.testing.assert_array_equal(found["w"], weight)
    np.testing.assert_array_equal(found["x"], A)
    with pytest.raises(UsageError, match="no tensor q"):
        network.intermediate(["q"], A)
    # Looking inside leaves the network as it was.
    assert [port.name for port in network.outputs] == ["z"]


def test_onnx_file_holds_the_network(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    network = Network(graph_of("g (float[N,3] x) => (float[N,300] y) { t = Transpose(w) y = MatMul(x, t) }", w=weight))
    network.model.metadata_props["retorch.inputs"] = "[0]"
    path = tmp_path / "model.onnx"
    assert network.save(path, "onnx") == (path,)
    onnx.checker.check_model(str(path), full_check=True)
    again = Network.load(path)
    assert again.input_nesting == [0]
    np.testing.assert_array_equal(again.run(A)[0], network.run(A)[0])
    first = path.read_bytes()
    again.save(path, "onnx")
    assert path.read_bytes() == first
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_large_weights_stand_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "LIMIT", 5000)
    random = np.random.default_rng(0)
    weights = {name: random.normal(size=(3, 300)).astype(np.float32) for name in ("v", "w")}
    network = Network(
        graph_of("g (float[N,3] x) => (float[N,300] y) { a = MatMul(x, v) b = MatMul(x, w) y = Add(a, b) }", **weights)
    )
    network.save(tmp_path / "model.onnx", "onnx")
    data = next(tmp_path.glob("model.onnx.*.data"))  # by its digest: two models keep theirs apart
    assert sorted(tmp_path.iterdir()) == [tmp_path / "model.onnx", data]
    assert (tmp_path / "model.onnx").stat().st_size < 3600
    onnx.checker.check_model(str(tmp_path / "model.onnx"), full_check=True)
    got = Network.load(tmp_path / "model.onnx").run(A)[0]
    np.testing.assert_allclose(got, A @ (weights["v"] + weights["w"]), atol=1e-4)


def test_weights_are_not_copied_for_the_engine() -> None:
    weight = np.arange(3000, dtype=np.float32).reshape(3, 1000)
    network = Network(graph_of("g (float[N,3] x) => (float[N,1000] y) { y = MatMul(x, w) }", w=weight))
    kept = onnx_file.large_weights(network.model)
    assert np.shares_memory(kept["w"], weight)
    assert "w" not in {tensor.name for tensor in onnx_file.skeleton(network.model, kept).graph.initializer}
    np.testing.assert_allclose(network.run(A)[0], A @ weight)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x0a"])
def test_files_that_are_no_models(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="not an ONNX model"):
        Network.load(path)


def test_missing_files_and_folders_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such file"):
        Network.load(tmp_path / "none.onnx")
    (tmp_path / "a file").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        two_inputs().save(tmp_path / "a file" / "model.onnx", "onnx")


def test_caffe2_files_come_back_as_the_same_network(tmp_path: Path) -> None:
    case = row("Conv X w b -> conv1 | kernel=3; Relu conv1 -> relu1", X=(1, 3, 8, 8), w=(4, 3, 3, 3), b=(4,))
    files.write(tmp_path / "a", case.net())
    network = Network.load(tmp_path / "a")
    network.save(tmp_path / "b")
    for name in ("init_net.pb", "predict_net.pb", "predict_net.pbtxt"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()
    x = np.ones((2, 3, 6, 7), np.float32)
    network.save(tmp_path / "model.onnx", "onnx")
    np.testing.assert_array_equal(Network.load(tmp_path / "model.onnx").run(x)[0], network.run(x)[0])


def test_an_onnx_network_becomes_caffe2_files(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    network = Network(
        graph_of(
            "g (float[N,3] x) => (float[N,4] y) { h = Gemm<transB=1>(x, w, b) y = Relu(h) }",
            w=weight,
            b=np.arange(4, dtype=np.float32),
        )
    )
    written = network.save(tmp_path)
    assert {path.name for path in written} == {"init_net.pb", "predict_net.pb", "predict_net.pbtxt"}
    np.testing.assert_allclose(Network.load(tmp_path).run(A)[0], np.maximum(A @ weight.T + np.arange(4), 0), rtol=1e-5)


def test_a_batch_that_caffe2_needs_as_a_number_is_the_one_converted_with(tmp_path: Path) -> None:
    model = graph_of("g (float[N,2] x) => (float[N,2] y) { y = CumSum(x, axis) }", axis=np.array(0, np.int64))
    network = Network(model)
    with pytest.raises(ConversionError, match="batch"):
        network.save(tmp_path / "none")
    model.metadata_props["retorch.example_shapes"] = "[[5, 2]]"
    network.save(tmp_path / "out")
    assert network.notes == ("Caffe2 can express this network for a batch of 5 only",)
    x = np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)
    np.testing.assert_allclose(Network.load(tmp_path / "out").run(x)[0], x.cumsum(0), atol=1e-5)


def test_a_length_that_caffe2_needs_as_a_number_is_recorded_as_that_number(tmp_path: Path) -> None:
    network = retorch.convert(retorch.load(GOLDEN / "SeqLSTM_1.t7"))
    assert network.inputs[0].shape == ("T", "N", 4)
    network.save(tmp_path)
    assert network.notes[-1] == "Caffe2 can express this network for T = 3 only"
    assert json.loads((tmp_path / "retorch.json").read_text())["inputs"][0]["shape"] == [3, "N", 4]
    with pytest.raises(UnsupportedError) as told:
        Network.load(tmp_path).run(np.zeros((5, 2, 4), np.float32))
    assert told.value.hint == "it was converted for 3×1×4: convert the model again, with an input of other sizes"


def test_caffe2_nets_take_other_ranks_and_types(tmp_path: Path) -> None:
    files.write(tmp_path, row("Add X Y -> Z", X=(2, 3), Y=(2, 3)).net())
    network = Network.load(tmp_path)
    assert network.run(A, B)[0].dtype == np.float32
    assert network.run(A.astype(np.int64), B.astype(np.int64))[0].dtype == np.int64
    np.testing.assert_array_equal(network.run(A, np.float32(2))[0], A + 2)
    np.testing.assert_array_equal(network.run(A[None, None], B)[0], A[None, None] + 1)


def needs_sizes(folder: Path) -> Network:
    """A pooling whose padding depends on the size of the picture."""
    case = row("MaxPool X -> Y | kernel=1 stride=3 legacy_pad=2", X=(1, 3, 10, 7))
    files.write(folder, case.net())
    return Network.load(folder)


def test_a_net_that_depends_on_sizes_waits_for_them(tmp_path: Path) -> None:
    network = needs_sizes(tmp_path)
    assert network.inputs[0].shape is None
    with pytest.raises(NeedsShapeError):
        network.save(tmp_path / "model.onnx", "onnx")
    for height in (10, 11, 12):
        x = np.arange(height * 7, dtype=np.float32).reshape(1, 1, height, 7)
        # SAME: ceil(size / 3) windows of one element, (windows - 1) * 3 + 1 - size of padding, here negative.
        windows = [-(-size // 3) for size in (height, 7)]
        heads = [int(((count - 1) * 3 + 1 - size) / 2) for count, size in zip(windows, (height, 7), strict=True)]
        expected = x[:, :, -heads[0] :: 3, -heads[1] :: 3][:, :, : windows[0], : windows[1]]
        np.testing.assert_array_equal(network.run(x)[0], expected)


def test_sized(tmp_path: Path) -> None:
    network = needs_sizes(tmp_path / "net").sized((1, 2, 10, 7))
    assert network.outputs[0].shape == (1, 2, 4, 3)
    network.save(tmp_path / "model.onnx", "onnx")
    fixed = two_inputs().sized((5, 3), (5, 3))
    assert [port.shape for port in (*fixed.inputs, *fixed.outputs)] == [(5, 3)] * 4
    with pytest.raises(UsageError, match="does not take 5×4"):
        two_inputs().sized((5, 4), (5, 3))
    with pytest.raises(UsageError, match="got 1 shape;"):
        two_inputs().sized((5, 3))


def test_sizes_are_fixed_everywhere() -> None:
    model = graph_of("g (float[N,3] x) => (float[M,6] y) { a = Concat<axis=0>(x, x) y = Concat<axis=1>(a, a) }")
    assert fix_sizes(model) is None
    model.metadata_props["retorch.example_shapes"] = "[[4, 3]]"
    fixed = fix_sizes(model)
    assert fixed is not None
    assert {v.name: v.shape.numpy() for n in fixed.graph for v in n.outputs if v.shape} == {"a": (8, 3), "y": (8, 6)}
    # The network itself stays open.
    assert Network(model).inputs[0].shape == ("N", 3)


def test_doubles_are_taken_by_operators_that_have_floats_alone(tmp_path: Path) -> None:
    fields = {"kW": 2, "kH": 2, "dW": 2, "dH": 2, "padW": 0, "padH": 0, "ceil_mode": False, "divide": True}
    pool = torch_object("nn.SpatialAveragePooling", **fields)
    retorch.convert(bind(pool), (1, 1, 4, 4)).save(tmp_path / "out")
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    (y,) = retorch.Network.load(tmp_path / "out").run(x)
    np.testing.assert_array_equal(y, [[[[2.5, 4.5], [10.5, 12.5]]]])


@pytest.mark.parametrize(
    ("operators", "message"),
    [
        ("y = Transpose<perm=[1,0]>(x)", r"contradicts itself: Transpose .*\(3\) vs \(2\)"),
        ("y = ReduceMean<keepdims=0>(x, axes)", r"contradicts itself: ReduceMean .*differ in rank: \(1\) vs \(2\)"),
        ("h = Relu(x) y = Concat<axis=2>(h, h)", "contradicts itself: Concat .*axis must be in"),
        ("y = ReduceL2<keepdims=1>(x, axes)", None),
    ],
)
def test_a_file_that_contradicts_itself_is_refused_for_caffe2(
    operators: str, message: str | None, tmp_path: Path
) -> None:
    size = "2,1" if message is None else "2,3"
    model = graph_of(f"g (float[2,3] x) => (float[{size}] y) {{ {operators} }}", axes=np.array([1]))
    ir.save(model, tmp_path / "model.onnx")
    network = Network.load(tmp_path / "model.onnx")
    if message is None:
        assert network.caffe2().predict.external_output == ["y"]
        return
    with pytest.raises(FormatError, match=message):
        network.save(tmp_path / "out", "caffe2")
    assert not (tmp_path / "out").exists()
