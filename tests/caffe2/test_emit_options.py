"""The options: NNPACK where it is right, blobs used again where nobody else reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from caffe2.emit_cases import actual, assert_close, expected, net
from retorch.caffe2 import files
from retorch.caffe2.emit.net import EmitOptions
from retorch.engines.caffe2_runtime import Runtime

RNG = np.random.default_rng(3)
FEEDS = {"data": RNG.standard_normal((2, 4, 48, 44)).astype(np.float32)}


def weights(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(RNG.standard_normal(shape).astype(np.float32) * 0.3, name)


def network(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], outputs: list[str]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [2, 4, 48, 44])],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return onnx.shape_inference.infer_shapes(made, strict_mode=True)


def conv(name: str, source: str, weight: str, **attrs: Any) -> onnx.NodeProto:
    return helper.make_node("Conv", [source, weight], [name], **attrs)


def convolutions() -> onnx.ModelProto:
    nodes = [
        conv("k5", "data", "w5", pads=[2, 2, 2, 2]),
        conv("k3", "k5", "w3", pads=[1, 0, 2, 1]),
        conv("k3s2", "k3", "w3", strides=[2, 2], pads=[1, 1, 1, 1]),
        conv("k1", "k3s2", "w1"),
        conv("dilated", "k1", "w3", dilations=[2, 2], pads=[2, 2, 2, 2]),
        conv("grouped", "dilated", "wg", group=2, pads=[1, 1, 1, 1]),
    ]
    stored = [
        weights("w5", 4, 4, 5, 5),
        weights("w3", 4, 4, 3, 3),
        weights("w1", 4, 4, 1, 1),
        weights("wg", 4, 2, 3, 3),
    ]
    return network(nodes, stored, ["grouped"])


def test_nnpack_is_for_plain_convolutions() -> None:
    ops = net(convolutions(), EmitOptions(nnpack=True)).predict.op
    said = {op.output[0]: (op.engine, [arg.s.decode() for arg in op.arg if arg.name == "algo"]) for op in ops}
    assert said == {
        "k5": ("NNPACK", []),
        "k3": ("NNPACK", ["FT16"]),
        "k3s2": ("NNPACK", []),
        "k1": ("NNPACK", []),
        "dilated": ("", []),
        "grouped": ("NNPACK", ["FT16"]),
    }


def test_nnpack_is_not_for_small_images() -> None:
    nodes = [
        conv("half", "data", "w1", strides=[4, 4]),
        conv("k7", "half", "w7", pads=[3, 3, 3, 3]),
        conv("k3", "k7", "w3", pads=[1, 1, 1, 1]),
        conv("k1", "k3", "w1"),
        conv("quarter", "k1", "w3", strides=[3, 3]),
        conv("tiny", "quarter", "w1"),
    ]
    stored = [weights("w1", 4, 4, 1, 1), weights("w3", 4, 4, 3, 3), weights("w7", 4, 4, 7, 7)]
    ops = net(network(nodes, stored, ["tiny"]), EmitOptions(nnpack=True)).predict.op
    assert [op.output[0] for op in ops if op.engine] == ["half", "k7", "k1", "quarter"]


def test_engines_are_default_by_default() -> None:
    assert {op.engine for op in net(convolutions()).predict.op} == {""}


@pytest.mark.caffe2
def test_nnpack_computes_the_same(caffe2: Runtime, tmp_path: Path) -> None:
    proto = convolutions()
    assert_close(actual(caffe2, tmp_path, proto, FEEDS, EmitOptions(nnpack=True)), expected(proto, FEEDS))


def activations() -> onnx.ModelProto:
    """A chain of everything that may work in place, and places where it must not."""
    nodes = [
        helper.make_node("Relu", ["data"], ["fed"]),  # the caller's blob
        conv("a", "fed", "w1"),
        helper.make_node("LeakyRelu", ["a"], ["b"]),
        helper.make_node("Elu", ["b"], ["c"]),
        helper.make_node("Mul", ["c", "two"], ["d"]),
        helper.make_node("PRelu", ["d", "slope"], ["e"]),
        helper.make_node("Tanh", ["e"], ["f"]),
        helper.make_node("Sigmoid", ["f"], ["g"]),
        helper.make_node("Clip", ["g", "low", "high"], ["h"]),
        helper.make_node("Relu", ["h"], ["i"]),
        conv("j", "i", "w1"),
        helper.make_node("Tanh", ["j"], ["k"]),  # j has another reader
        helper.make_node("Add", ["j", "k"], ["l"]),
        helper.make_node("Sigmoid", ["l"], ["m"]),  # an output
        helper.make_node("Tanh", ["m"], ["n"]),
        helper.make_node("Relu", ["n"], ["o"]),
        helper.make_node("Add", ["o", "o"], ["p"]),
    ]
    numbers = {"two": 2.0, "low": 0.52, "high": 0.6}
    stored = [numpy_helper.from_array(np.float32(number), name) for name, number in numbers.items()]
    return network(nodes, [*stored, weights("w1", 4, 4, 1, 1), weights("slope", 4, 1, 1)], ["m", "p"])


def test_in_place_operators_keep_the_name_of_their_input() -> None:
    ops = net(activations(), EmitOptions(in_place=True)).predict.op
    flow = [(op.type, op.input[0], op.output[0]) for op in ops]
    assert flow == [
        ("Relu", "data", "fed"),
        ("Conv", "fed", "a"),
        *((kind, "a", "a") for kind in ("LeakyRelu", "Elu", "Scale", "PRelu", "Tanh", "Sigmoid", "Clip", "Relu")),
        ("Conv", "a", "j"),
        ("Tanh", "j", "k"),
        ("Add", "j", "l"),
        ("Sigmoid", "l", "m"),
        ("Tanh", "m", "n"),
        ("Relu", "n", "n"),
        ("Add", "n", "p"),
    ]


@pytest.mark.caffe2
def test_in_place_computes_the_same(caffe2: Runtime, tmp_path: Path) -> None:
    proto = activations()
    assert_close(actual(caffe2, tmp_path, proto, FEEDS, EmitOptions(in_place=True)), expected(proto, FEEDS))


@pytest.mark.caffe2
def test_halves_are_rounded_from_1_10_on(caffe2: Runtime, tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["data"], ["half"], to=10), helper.make_node("Cast", ["half"], ["y"], to=1)]
    made = net(network(nodes, [], ["y"]), EmitOptions(release="1.10"))
    assert [op.type for op in made.predict.op][:2] == ["FloatToHalf", "HalfToFloat"]
    if not caffe2.version.startswith("1.10"):
        pytest.skip("it has no halves on a CPU")
    files.write(tmp_path, made)
    (got,) = caffe2.run(tmp_path, FEEDS)
    np.testing.assert_array_equal(got, FEEDS["data"].astype(np.float16).astype(np.float32))
