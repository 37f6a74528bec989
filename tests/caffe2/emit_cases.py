"""One-node ONNX models as table rows, and how they are run: by onnxruntime, and as Caffe2 nets by the real Caffe2."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from retorch.caffe2 import files
from retorch.caffe2.emit.net import EmitOptions, emit
from retorch.engines.caffe2_runtime import Runtime

Array = NDArray[Any]
_ELEMENTS = {"f": TensorProto.FLOAT, "i": TensorProto.INT64, "b": TensorProto.BOOL}


@dataclass(frozen=True)
class Data:
    """A network input: ``scale * noise + shift``, or whole numbers of [0, high), or truth values."""

    shape: tuple[int, ...]
    scale: float = 1.0
    shift: float = 0.0
    high: int = 0
    truth: bool = False

    def sample(self, rng: np.random.Generator) -> Array:
        if self.truth:
            return rng.random(self.shape) < 0.5
        if self.high:
            return rng.integers(0, self.high, self.shape)
        return (self.scale * rng.standard_normal(self.shape) + self.shift).astype(np.float32)


@dataclass(frozen=True)
class Weight:
    """A constant of random floats."""

    shape: tuple[int, ...]
    scale: float = 1.0
    shift: float = 0.0
    positive: bool = False

    def sample(self, rng: np.random.Generator) -> Array:
        noise = rng.standard_normal(self.shape)
        return (self.scale * (np.abs(noise) if self.positive else noise) + self.shift).astype(np.float32)


@dataclass(frozen=True)
class Row:
    """One node: its operator, its inputs (None where absent), its attributes, and the Caffe2 operators it becomes."""

    op: str
    inputs: Sequence[Data | Weight | Array | None]
    ops: str = ""
    attrs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    outputs: int = 1
    fixed: bool = False  # needs the batch size as a number
    formula: Callable[..., Array] | None = None  # of the inputs, for what onnxruntime refuses

    def __str__(self) -> str:
        shapes = "_".join("x".join(map(str, np.shape(i) if isinstance(i, np.ndarray) else i.shape)) or "0"
                          for i in self.inputs if i is not None)  # fmt: skip
        attrs = "_".join(f"{name}={value}".replace(" ", "") for name, value in self.attrs.items())
        return f"{self.op}-{shapes}-{attrs}"


def d(*shape: int, scale: float = 1.0, shift: float = 0.0) -> Data:
    return Data(shape, scale, shift)


def w(*shape: int, scale: float = 1.0, shift: float = 0.0, positive: bool = False) -> Weight:
    return Weight(shape, scale, shift, positive)


def c(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def f(*numbers: float) -> Array:
    return np.array(numbers, np.float32)


def s(number: float) -> Array:
    return np.array(number, np.float32)


def model(row: Row, *, batch: bool = False, seed: int = 0) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The model of a row and sample inputs; ``batch`` names the first dimension of every data input ``N``."""
    rng = np.random.default_rng(seed)
    names, infos, constants, feeds = [], [], [], {}
    for index, spec in enumerate(row.inputs):
        name = f"x{index}" if spec is not None else ""
        names.append(name)
        if isinstance(spec, Data):
            feeds[name] = spec.sample(rng)
            shape = ["N", *spec.shape[1:]] if batch and spec.shape else list(spec.shape)
            infos.append(helper.make_tensor_value_info(name, _ELEMENTS[feeds[name].dtype.kind], shape))
        elif spec is not None:
            constants.append(numpy_helper.from_array(spec.sample(rng) if isinstance(spec, Weight) else spec, name))
    outputs = [f"y{index}" if index else "y" for index in range(row.outputs)]
    node = helper.make_node(row.op, names, outputs, **row.attrs)
    empty = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph([node], "case", infos, empty, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return onnx.shape_inference.infer_shapes(made, strict_mode=True, data_prop=True), feeds


def expected(proto: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    """What onnxruntime says."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(each) for each in session.run(None, dict(feeds))]


def wanted(row: Row, proto: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    """The outputs by the row's formula, else by onnxruntime."""
    if row.formula is None:
        return expected(proto, feeds)
    constants = {each.name: numpy_helper.to_array(each) for each in proto.graph.initializer}
    return [row.formula(*({**constants, **feeds}[name] for name in proto.graph.node[0].input))]


def net(proto: onnx.ModelProto, options: EmitOptions | None = None) -> files.Caffe2Net:
    return emit(ir.from_proto(proto), options)


def actual(
    runtime: Runtime,
    folder: Path,
    proto: onnx.ModelProto,
    feeds: Mapping[str, Array],
    options: EmitOptions | None = None,
) -> list[Array]:
    """What the real Caffe2 says of the emitted net, which is written to ``folder``."""
    made = net(proto, options)
    files.write(folder, made)
    return [np.asarray(each) for each in runtime.run(folder, dict(feeds))]


def assert_close(got: Sequence[Array], wanted: Sequence[Array], relative: float = 1e-5) -> None:
    """Same number, shapes, and values within ``relative`` of the largest."""
    assert [each.shape for each in got] == [each.shape for each in wanted]
    for a, b in zip(got, wanted, strict=True):
        finite = np.isfinite(b.astype(np.float64))
        bound = relative * max(1.0, float(np.abs(b.astype(np.float64)[finite]).max(initial=0)))
        np.testing.assert_allclose(a.astype(np.float64), b.astype(np.float64), rtol=0, atol=bound)
