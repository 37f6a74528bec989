"""One layer of the written network at a time, fed what the reference fed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from retorch.errors import EngineError
from retorch.network import Network

Array = NDArray[Any]

#: Bytes of a weight from which on it is an input of its layer: what is part of a model is copied, twice.
_LARGE = 1 << 20


class Alone:
    """Runs the part of a network between the nearest known values and a layer's output."""

    def __init__(self, network: Network, tensors: Sequence[Array], known: Mapping[str, Array]) -> None:
        self.model = network.model_for(*tensors)
        self.known: dict[str, Array] = {str(n): a for n, a in known.items()}
        for value, tensor in zip(self.model.graph.inputs, tensors, strict=True):
            self.known[str(value.name)] = tensor
        self.values = {str(v.name): v for node in self.model.graph for v in node.outputs}

    def run(self, name: str) -> Array:
        """The value of that name, computed from the known values nearest before it.

        Raises:
            EngineError: onnxruntime refuses the part.
        """
        nodes, feeds, weights = self._part(self.values[name])
        inputs = [_typed(value, self.known[str(value.name)]) for value in feeds]
        large = [v for v in weights if v.const_value is not None and v.const_value.nbytes >= _LARGE]
        weights = [v for v in weights if v not in large]
        inputs += [(v, v.const_value.numpy()) for v in large if v.const_value is not None]
        proto = _model(nodes, inputs, weights, self.values[name], self.model.graph.opset_imports)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.enable_cpu_mem_arena = False  # it runs once
        arrays = {str(v.name): a for v, a in inputs}
        try:
            session = onnxruntime.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
            return np.asarray(session.run([name], arrays)[0])
        except Exception as error:
            # onnxruntime's errors have no common root of their own
            raise EngineError(f"{name}: {str(error).splitlines()[0]}") from error

    def _part(self, target: ir.Value) -> tuple[list[ir.Node], list[ir.Value], list[ir.Value]]:
        nodes: set[ir.Node] = set()
        feeds: dict[str, ir.Value] = {}
        weights: dict[str, ir.Value] = {}
        stack = [target]
        while stack:
            value = stack.pop()
            maker = value.producer()
            if value is not target and str(value.name) in self.known:
                feeds[str(value.name)] = value
            elif maker is None:
                weights[str(value.name)] = value
            elif maker not in nodes:
                nodes.add(maker)
                stack.extend(v for v in maker.inputs if v is not None)
        return [n for n in self.model.graph if n in nodes], list(feeds.values()), list(weights.values())


def _typed(value: ir.Value, array: Array) -> tuple[ir.Value, Array]:
    dtype = (value.dtype or ir.DataType.FLOAT).numpy()
    return value, np.ascontiguousarray(array, dtype)


def _model(
    nodes: Sequence[ir.Node],
    inputs: Sequence[tuple[ir.Value, Array]],
    weights: Sequence[ir.Value],
    output: ir.Value,
    opsets: Mapping[str, int],
) -> bytes:
    import onnx

    graph = onnx.helper.make_graph(
        [ir.to_proto(n) for n in nodes],
        "layer",
        [
            onnx.helper.make_tensor_value_info(str(v.name), onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for v, a in inputs
        ],
        [onnx.helper.make_empty_tensor_value_info(str(output.name))],
        [
            onnx.numpy_helper.from_array(v.const_value.numpy(), str(v.name))
            for v in weights
            if v.const_value is not None
        ],
    )
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString()
