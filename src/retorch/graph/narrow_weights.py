"""Weights in fewer bits, in an ONNX graph: small initializers, and the node in front that makes float32 of each.

float16 goes through ``Cast``, which onnxruntime does once at load; eight bits through ``DequantizeLinear`` with a
scale for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from retorch.files.mapped import let_go
from retorch.files.precision import Precision
from retorch.graph import rounding
from retorch.graph.rounding import Array

#: Key of a model's metadata: the precision of its small weights.
KEY = "retorch.weights"
#: Numbers from which on a tensor is smaller, its node counted.
LEAST = 96
#: Operators that read weights, and as which of their inputs.
_READERS = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm"), (1,)),
    "MatMul": (0, 1),
    "Gather": (0,),
    **dict.fromkeys(("RNN", "GRU", "LSTM"), (1, 2)),
}


@dataclass(frozen=True, slots=True)
class Small:
    """A weight that is stored small: its precision, what is stored of it, and the node that makes float32 of that."""

    precision: Precision
    stored: tuple[Array, ...]
    node: ir.Node

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's shape."""
        return self.stored[0].shape

    def widened(self) -> Array:
        """What it is in float32; new each time."""
        if self.precision == "half":
            wide = self.stored[0].astype(np.float32)
            let_go(self.stored[0])
            return wide
        codes, scales = self.stored
        wide = codes * rounding.along(scales, _setting(self.node, "axis"), codes.ndim)
        let_go(codes)
        return wide


def narrowed(model: ir.Model, precision: Precision) -> tuple[ir.Model, tuple[str, ...]]:
    """The model with its weights stored in that precision, and what the user should know of it."""
    if precision == "float":
        return model, ()
    made = model.clone()
    found = {name: array for name, array in _weights(made.graph) if rounding.is_candidate(array, precision, LEAST)}
    reasons = {name: rounding.unfit(array, precision) for name, array in found.items()}
    small = [name for name, reason in reasons.items() if not reason]
    if small:
        _narrow(made.graph, {name: found[name] for name in small}, precision)
        made.metadata_props[KEY] = precision
    return made, rounding.told(precision, small, ((name, why) for name, why in reasons.items() if why))


def small_weights(model: ir.Model) -> dict[str, Small]:
    """The weights of a model of ours that are stored small, by the names that they have as float32."""
    if KEY not in model.metadata_props:
        return {}
    found: dict[str, Small] = {}
    for node in model.graph:
        arrays = [v.const_value.numpy() for v in node.inputs if v is not None and v.const_value is not None]
        if len(arrays) < len(node.inputs) or len(node.outputs) != 1:
            continue
        name = str(node.outputs[0].name)
        wide = _setting(node, "to") == ir.DataType.FLOAT
        if node.op_type == "Cast" and wide and arrays[0].dtype == np.float16:
            found[name] = Small("half", (arrays[0],), node)
        elif node.op_type == "DequantizeLinear" and len(arrays) == 2 and arrays[0].dtype == np.int8:
            codes, scales = arrays
            axis = _setting(node, "axis")
            if 0 <= axis < codes.ndim and scales.shape == codes.shape[axis : axis + 1]:
                found[name] = Small("int8", (codes, scales), node)
    return found


def small_initializers(model: ir.Model) -> frozenset[str]:
    """The names of what is stored small, scales included."""
    found = small_weights(model).values()
    return frozenset(str(value.name) for small in found for value in small.node.inputs if value is not None)


def lazy_tensor(name: str, shape: tuple[int, ...], make: Callable[[], Array]) -> ir.LazyTensor:
    """A weight in float32 that is made whenever somebody reads its numbers."""
    return ir.LazyTensor(lambda: ir.Tensor(make(), name=name), ir.DataType.FLOAT, ir.Shape(shape), name=name)


def _setting(node: ir.Node, name: str) -> int:
    """A whole number that a node says; -1 where it says none."""
    attribute = node.attributes.get(name)
    return attribute.as_int() if attribute is not None and attribute.type == ir.AttributeType.INT else -1


def widened(model: ir.Model, given: Mapping[str, Array] | None = None) -> ir.Model:
    """The same model with float32 weights: the arrays given by name, else what the small ones stand for."""
    if KEY not in model.metadata_props:
        return model
    made = model.clone()
    for name, small in small_weights(made).items():
        array = (given or {}).get(name)
        stored = [value for value in small.node.inputs if value is not None]
        old = small.node.outputs[0]
        lazy = lazy_tensor(name, small.shape, small.widened)
        tensor = lazy if array is None else ir.tensor(array, name=name)
        new = ir.Value(name=name, type=old.type, shape=old.shape, const_value=tensor)
        ir.convenience.replace_all_uses_with(old, new)
        made.graph.remove(small.node, safe=True)
        made.graph.register_initializer(new)
        for value in stored:
            del made.graph.initializers[str(value.name)]
    del made.metadata_props[KEY]
    return made


def _weights(graph: ir.Graph) -> Iterator[tuple[str, Array]]:
    """The initializers that are read as weights and nothing else."""
    for name, value in graph.initializers.items():
        uses = value.uses()
        reads = all(at in _READERS.get(node.op_type, ()) for node, at in uses)
        plain = not value.is_graph_input() and value not in graph.outputs
        if uses and reads and plain and value.const_value is not None:
            yield name, value.const_value.numpy()


def _narrow(graph: ir.Graph, weights: Mapping[str, Array], precision: Precision) -> None:
    """Each initializer gives way to a small one, and to the node that makes it what it was."""
    taken = {str(value.name) for node in graph for value in node.outputs} | set(graph.initializers)
    first = graph.node(0)
    for name, array in weights.items():
        old = graph.initializers.pop(name)
        if precision == "half":
            inputs = [_added(graph, taken, f"{name}_half", array.astype(np.float16))]
            let_go(array)
            node = ir.node("Cast", inputs, {"to": int(ir.DataType.FLOAT)}, num_outputs=1)
        else:
            rows = rounding.to_rows(array)
            let_go(array)
            stored = {f"{name}_int8": rows.codes, f"{name}_scale": rows.scales}
            inputs = [_added(graph, taken, *each) for each in stored.items()]
            node = ir.node("DequantizeLinear", inputs, {"axis": rows.axis}, num_outputs=1)
        new = node.outputs[0]
        new.type, new.shape = old.type, old.shape
        ir.convenience.replace_all_uses_with(old, new)
        new.name = name
        graph.insert_before(first, node)


def _added(graph: ir.Graph, taken: set[str], name: str, array: Array) -> ir.Value:
    """An initializer of that name, or of one like it that nothing has."""
    while name in taken:
        name += "_"
    taken.add(name)
    value = ir.Value(
        name=name,
        type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
        shape=ir.Shape(array.shape),
        const_value=ir.tensor(array, name=name),
    )
    graph.register_initializer(value)
    return value
