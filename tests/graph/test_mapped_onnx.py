"""Large ``.onnx`` files: their weights are part of the mapped file, and what is read is what protobuf reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from retorch.errors import FormatError
from retorch.files import protobuf
from retorch.graph import onnx_file
from retorch.network import Network

SIZE = 1 << 21  # numbers: a file of more than 8 MB
WEIGHT = np.arange(SIZE, dtype=np.float32) * 0.5
OTHER = np.arange(30_000, dtype=np.float16)


def model(*weights: onnx.TensorProto) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [SIZE])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [SIZE])
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def written(folder: Path, content: bytes | onnx.ModelProto) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return path


def weights(path: Path) -> dict[str, np.ndarray]:
    return {n: v.const_value.numpy() for n, v in onnx_file.load(path).graph.initializers.items() if v.const_value}


def weight(array: np.ndarray = WEIGHT, name: str = "w") -> onnx.TensorProto:
    return numpy_helper.from_array(array, name)


def test_large_weights_are_part_of_the_file_and_small_ones_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, model(weight(), weight(OTHER, "h"), weight(np.float32([3]), "s")))
    model_read = onnx_file.load(path)
    kinds = {name: type(value.const_value) for name, value in model_read.graph.initializers.items()}
    assert kinds == {"w": ir.Tensor, "h": ir.serde.TensorProtoTensor, "s": ir.serde.TensorProtoTensor}
    found = weights(path)
    np.testing.assert_array_equal(found["w"], WEIGHT)
    np.testing.assert_array_equal(found["h"], OTHER)
    assert not found["w"].flags.owndata and not found["w"].flags.writeable
    (y,) = Network.load(path).run(np.ones(SIZE, np.float32))
    np.testing.assert_array_equal(y, WEIGHT + 1)


def test_a_graph_in_two_fields_is_one(tmp_path: Path) -> None:
    more = protobuf.delimited(7, protobuf.delimited(5, weight(WEIGHT[::-1].copy(), "v").SerializeToString()))
    found = weights(written(tmp_path, model(weight()).SerializeToString() + more))
    np.testing.assert_array_equal(found["w"], WEIGHT)
    np.testing.assert_array_equal(found["v"], WEIGHT[::-1])


def test_of_two_weights_of_one_name_the_last_counts(tmp_path: Path) -> None:
    second = helper.make_tensor("w", TensorProto.FLOAT, [1], [7.0])
    np.testing.assert_array_equal(weights(written(tmp_path, model(weight(), second)))["w"], [7])
    np.testing.assert_array_equal(weights(written(tmp_path, model(second, weight())))["w"], WEIGHT)


def test_numbers_given_twice_are_the_last(tmp_path: Path) -> None:
    tensor = weight().SerializeToString() + protobuf.delimited(9, WEIGHT[::-1].tobytes())
    content = model().SerializeToString() + protobuf.delimited(7, protobuf.delimited(5, tensor))
    np.testing.assert_array_equal(weights(written(tmp_path, content))["w"], WEIGHT[::-1])


def test_numbers_that_do_not_fit_their_shape_are_refused(tmp_path: Path) -> None:
    for dims in ([SIZE + 1], [SIZE - 1], [-1, -SIZE], [1 << 40, 1 << 40]):
        wrong = weight()
        del wrong.dims[:]
        wrong.dims.extend(dims)
        with pytest.raises(FormatError, match=r"m\.onnx: "):
            onnx_file.load(written(tmp_path, model(wrong)))


def test_a_type_that_no_array_has_is_refused(tmp_path: Path) -> None:
    for kind in (0, 8, 99):
        wrong = weight()
        wrong.data_type = kind
        with pytest.raises(FormatError, match=r"m\.onnx: not an ONNX model: "):
            onnx_file.load(written(tmp_path, model(wrong)))


def test_a_file_that_ends_early_is_refused(tmp_path: Path) -> None:
    whole = model(weight()).SerializeToString()
    for size in (len(whole) - 1, len(whole) - 5, len(whole) // 2):
        padded = whole[:size] if size > 8 << 20 else whole[:size] + bytes(8 << 20)
        with pytest.raises(FormatError, match=r"m\.onnx: not an ONNX model: "):
            onnx_file.load(written(tmp_path, padded))


def test_a_weight_without_a_name_is_passed_over(tmp_path: Path) -> None:
    assert set(weights(written(tmp_path, model(weight(), weight(name=""))))) == {"w"}
