"""Max unpooling, composed of operators that Caffe2 has, against onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from caffe2.emit_cases import Array, actual, assert_close, expected, net
from retorch.engines.caffe2_runtime import Runtime
from retorch.errors import UnsupportedError


def unpooling(pool: dict[str, list[int]], shape: list[int | str], size: tuple[int, int]) -> onnx.ModelProto:
    """max pooling -> times 3 -> put back to ``size``"""
    sizes = {name: pool[name] for name in ("kernel_shape", "strides", "pads") if name in pool}
    nodes = [
        helper.make_node("MaxPool", ["x"], ["m", "i"], **pool),
        helper.make_node("Mul", ["m", "three"], ["v"]),
        helper.make_node("MaxUnpool", ["v", "i", "size"], ["y"], **sizes),
    ]
    graph = helper.make_graph(
        nodes,
        "unpooling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [shape[0], shape[1], *size])],
        [
            onnx.numpy_helper.from_array(np.float32(3), "three"),
            onnx.numpy_helper.from_array(np.array([2, shape[1], *size]), "size"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return onnx.shape_inference.infer_shapes(made)


POOLS = {
    "apart": {"kernel_shape": [2, 2], "strides": [2, 2]},
    "apart, cut off": {"kernel_shape": [3, 2], "strides": [3, 2]},
    "padded": {"kernel_shape": [3, 2], "strides": [3, 2], "pads": [1, 0, 1, 1]},
    "gaps": {"kernel_shape": [2, 2], "strides": [3, 4]},
    "overlapping": {"kernel_shape": [3, 3], "strides": [2, 1]},
    "overlapping, padded": {"kernel_shape": [3, 2], "strides": [1, 1], "pads": [1, 1, 1, 0]},
    "dilated": {"kernel_shape": [2, 2], "strides": [1, 2], "dilations": [2, 3]},
}


def ties(shape: tuple[int, ...]) -> Array:
    """Few different values, so that many windows have several maxima."""
    return np.random.default_rng(1).integers(-2, 3, shape).astype(np.float32)


@pytest.mark.caffe2
@pytest.mark.parametrize("batch", [2, "N"])
@pytest.mark.parametrize("name", POOLS)
def test_unpooling(name: str, batch: int | str, caffe2: Runtime, tmp_path: Path) -> None:
    feeds = {"x": ties((2, 3, 8, 9))}
    proto = unpooling(POOLS[name], [batch, 3, 8, 9], (8, 9))
    assert_close(actual(caffe2, tmp_path, proto, feeds), expected(unpooling(POOLS[name], [2, 3, 8, 9], (8, 9)), feeds))


def test_unpooling_to_another_size_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="another size"):
        net(unpooling(POOLS["apart"], [2, 3, 8, 9], (9, 9)))
