"""What an emitted net looks like from outside: blobs, order, names, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper, numpy_helper

from caffe2.emit_cases import Array, actual, assert_close, c, expected, net
from caffe2.nets import row
from retorch.caffe2 import files
from retorch.caffe2.emit.net import EmitOptions, NeedsSizeError, emit
from retorch.caffe2.proto.caffe2_pb2 import OperatorDef
from retorch.caffe2.schema import operator
from retorch.engines.caffe2_runtime import Runtime
from retorch.errors import UnsupportedError
from retorch.network import Network


def graph(
    nodes: list[onnx.NodeProto],
    shape: list[int | str],
    outputs: list[str],
    constants: dict[str, Array] | None = None,
    element: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    data = helper.make_tensor_value_info("data", element, shape)
    made = helper.make_graph(
        nodes,
        "net",
        [data],
        [data if name == "data" else helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def ones(*shape: int) -> Array:
    return np.ones(shape, np.float32)


def small() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["data", "conv1_w", "conv1_b"], ["conv1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv1"], ["relu1"]),
        helper.make_node("MaxPool", ["relu1"], ["pool1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["pool1", "shape"], ["view1"]),
        helper.make_node("Gemm", ["view1", "fc1_w", "fc1_b"], ["fc1"], transB=1),
        helper.make_node("Softmax", ["fc1"], ["softmax1"]),
    ]
    weights = {"conv1_w": ones(2, 1, 3, 3), "conv1_b": ones(2), "fc1_w": ones(3, 8), "fc1_b": ones(3)}
    return graph(nodes, ["N", 1, 4, 4], ["softmax1"], {**weights, "shape": c(-1, 8)})


SMALL = """\
name: "net"
op { input: "data" input: "conv1_w" input: "conv1_b" output: "conv1" type: "Conv"
  arg { name: "kernels" ints: 3 ints: 3 } arg { name: "strides" ints: 1 ints: 1 }
  arg { name: "pads" ints: 1 ints: 1 ints: 1 ints: 1 } }
op { input: "conv1" output: "relu1" type: "Relu" }
op { input: "relu1" output: "pool1" type: "MaxPool"
  arg { name: "kernels" ints: 2 ints: 2 } arg { name: "strides" ints: 2 ints: 2 }
  arg { name: "pads" ints: 0 ints: 0 ints: 0 ints: 0 } }
op { input: "pool1" output: "view1" output: "_view1_dims" type: "Reshape" arg { name: "shape" ints: -1 ints: 8 } }
op { input: "view1" input: "fc1_w" input: "fc1_b" output: "fc1" type: "FC" }
op { input: "fc1" output: "softmax1" type: "Softmax" arg { name: "axis" i: 1 } }
external_input: "data" external_input: "conv1_w" external_input: "conv1_b"
external_input: "fc1_w" external_input: "fc1_b"
external_output: "softmax1"
"""


def test_one_operator_per_layer() -> None:
    made = net(small())
    wanted = text_format.Parse(SMALL, type(made.predict)())
    assert str(made.predict) == str(wanted)
    assert list(made.params) == ["conv1_w", "conv1_b", "fc1_w", "fc1_b"]
    assert made.inputs == ("data",)


def test_weights_are_not_copied() -> None:
    model = ir.from_proto(small())
    weight = ones(2, 1, 3, 3)
    model.graph.initializers["conv1_w"].const_value = ir.tensor(weight)
    assert np.shares_memory(emit(model).params["conv1_w"], weight)


def test_same_model_same_net() -> None:
    assert net(small()).predict.SerializeToString() == net(small()).predict.SerializeToString()


def test_a_shared_weight_is_one_blob() -> None:
    nodes = [
        helper.make_node("Gemm", ["data", "w"], ["a"], transB=1),
        helper.make_node("Gemm", ["a", "w"], ["b"], transB=1),
    ]
    made = net(graph(nodes, [2, 3], ["b"], {"w": ones(3, 3)}))
    assert list(made.params) == ["w", "a_b", "b_b"]


def test_a_shared_weight_keeps_its_form_where_another_is_needed() -> None:
    nodes = [
        helper.make_node("Gemm", ["data", "w"], ["a"], transB=1),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("Gemm", ["b", "w"], ["y"]),
    ]
    weight = np.arange(9, dtype=np.float32).reshape(3, 3)
    made = net(graph(nodes, [2, 3], ["y"], {"w": weight}))
    np.testing.assert_array_equal(made.params["w"], weight)
    np.testing.assert_array_equal(made.params["w_rows"], weight.T)


OUTPUTS = {
    "an identity": ([helper.make_node("Identity", ["data"], ["y"])], ["y"], ["y"]),
    "an input": ([helper.make_node("Relu", ["data"], ["y"])], ["y", "data"], ["y", "data_out"]),
    "a weight": ([helper.make_node("Add", ["data", "w"], ["y"])], ["y", "w"], ["y", "w_out"]),
    "a weight, renamed": ([helper.make_node("Identity", ["w"], ["y"])], ["y"], ["y"]),
    "twice the same": (
        [helper.make_node("Relu", ["data"], ["r"]), helper.make_node("Identity", ["r"], ["y"])],
        ["r", "y"],
        ["r", "y"],
    ),
    "read again": (
        [helper.make_node("Relu", ["data"], ["r"]), helper.make_node("Neg", ["r"], ["y"])],
        ["y", "r"],
        ["y", "r"],
    ),
}


@pytest.mark.caffe2
@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs(name: str, caffe2: Runtime, tmp_path: Path) -> None:
    nodes, outputs, blobs = OUTPUTS[name]
    proto = graph(nodes, [2, 3], outputs, {"w": np.array([[1.5, -2.0, 0.0]], np.float32)})
    feeds = {"data": np.array([[1, -2, 3], [4, 5, -6]], np.float32)}
    assert list(net(proto).predict.external_output) == blobs
    assert_close(actual(caffe2, tmp_path, proto, feeds), expected(proto, feeds))


@pytest.mark.caffe2
@pytest.mark.parametrize("kind", [np.float32, np.int32, np.int64])
@pytest.mark.parametrize("element", [TensorProto.FLOAT, TensorProto.INT64])
def test_indices_may_be_fed_as_any_number(element: int, kind: type, caffe2: Runtime, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["data"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Sub", ["whole", "one"], ["from0"]),
        helper.make_node("Gather", ["w", "from0"], ["y"]),
    ]
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    proto = graph(nodes, ["N"], ["y"], {"one": np.array(1), "w": table}, element)
    got = actual(caffe2, tmp_path, proto, {"data": np.array([4, 1], kind)})
    assert_close(got, [table[[3, 0]]])


def test_all_refusals_at_once() -> None:
    nodes = [
        helper.make_node("Relu", ["data"], ["a"]),
        helper.make_node("Det", ["a"], ["b"]),
        helper.make_node("Mod", ["b", "half"], ["c"], fmod=1),
    ]
    model = ir.from_proto(graph(nodes, [2, 3, 3], ["c"], {"half": np.array(0.5, np.float32)}))
    node = next(node for node in model.graph if node.op_type == "Det")
    node.metadata_props.update({"retorch.path": "modules[2]", "retorch.class": "my.Determinant"})
    with pytest.raises(UnsupportedError) as caught:
        emit(model)
    first, second = caught.value.problems
    assert (first.path, first.typename) == ("modules[2]", "my.Determinant")
    assert "Det" in first.reason
    assert (second.path, second.typename) == ("c", "Mod")


def test_an_attribute_that_no_rule_reads_is_refused() -> None:
    model = ir.from_proto(graph([helper.make_node("Relu", ["data"], ["y"])], [2, 3], ["y"]))
    model.graph.node(0).attributes["slope"] = ir.AttrFloat32("slope", 0.5)
    with pytest.raises(UnsupportedError, match="Relu with slope"):
        emit(model)


def test_a_size_that_must_be_a_number() -> None:
    nodes = [helper.make_node("Slice", ["data", "start", "end", "axis"], ["y"])]
    constants = {"start": c(-2), "end": c(-1), "axis": c(0)}
    with pytest.raises(NeedsSizeError) as caught:
        net(graph(nodes, ["N", 3], ["y"], constants))
    assert [problem.path for problem in caught.value.problems] == ["y"]
    assert [op.type for op in net(graph(nodes, [4, 3], ["y"], constants)).predict.op] == ["Slice"]


def test_a_reflection_of_more_than_there_is_is_refused() -> None:
    nodes = [helper.make_node("Pad", ["data", "pads"], ["y"], mode="reflect")]
    with pytest.raises(UnsupportedError, match="reflection"):
        net(graph(nodes, [1, 1, 3, 4], ["y"], {"pads": c(0, 0, 3, 0, 0, 0, 0, 0)}))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"value_float": 2.0}, 2.0),
        ({"value_floats": [2.0]}, 2.0),
        ({"value": numpy_helper.from_array(ones(1) * 2)}, 2.0),
    ],
)
def test_constant_nodes_are_constants(given: dict[str, object], field: float) -> None:
    nodes = [helper.make_node("Constant", [], ["two"], **given), helper.make_node("Mul", ["data", "two"], ["y"])]
    (op,) = net(graph(nodes, [2, 3], ["y"])).predict.op
    assert (op.type, op.arg[0].f) == ("Scale", field)


KINDS = [
    ("LeakyRelu", {"alpha": 2}, 'arg { name: "alpha" f: 2 }'),
    ("Softmax", {"axis": 1.0}, 'arg { name: "axis" i: 1 }'),
    ("Slice", {"starts": [0.0, 1.0]}, 'arg { name: "starts" ints: 0 ints: 1 }'),
    ("ConstantFill", {"value": 2}, 'arg { name: "value" f: 2 }'),
    ("ConstantFill", {"value": 2.0, "dtype": 2}, 'arg { name: "value" i: 2 } arg { name: "dtype" i: 2 }'),
    ("PadImage", {"mode": "edge"}, 'arg { name: "mode" s: "edge" }'),
]


@pytest.mark.parametrize(("kind", "arguments", "text"), KINDS)
def test_the_schema_decides_the_field(kind: str, arguments: dict[str, float], text: str) -> None:
    wanted = text_format.Parse(f'input: "x" output: "y" type: "{kind}" {text}', OperatorDef())
    assert operator(kind, ["x"], ["y"], arguments) == wanted


@pytest.mark.parametrize(
    ("kind", "arguments", "error"),
    [
        ("MaxPool", {"padW": 1}, KeyError),
        ("Nonsense", {}, KeyError),
        ("Softmax", {"axis": 1.5}, ValueError),
        ("Slice", {"starts": 1}, TypeError),
        ("Softmax", {"axis": [1]}, TypeError),
    ],
)
def test_the_schema_refuses(kind: str, arguments: dict[str, float], error: type[Exception]) -> None:
    with pytest.raises(error):
        operator(kind, ["x"], ["y"], arguments)


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("Conv X w -> Y | kernel=3", (4, 2, 3, 3)),
        ("Conv X w -> Y | kernel=3 group=2", (4, 1, 3, 3)),
        ("ConvTranspose X w -> Y | kernel=3 stride=2", (2, 4, 3, 3)),
        ("MatMul X w -> Y | axis_a=1", (128, 4)),
    ],
)
def test_layers_without_a_bias_are_written_again(text: str, weight: tuple[int, ...], tmp_path: Path) -> None:
    case = row(text, X=(2, 2, 8, 8), w=weight)
    files.write(tmp_path / "net", case.net())
    network = Network.load(tmp_path / "net").sized((2, 2, 8, 8))
    network.save(tmp_path / "again", options=EmitOptions())
    x = np.random.default_rng(0).standard_normal((2, 2, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(Network.load(tmp_path / "again").run(x)[0], network.run(x)[0], rtol=1e-5, atol=1e-5)
