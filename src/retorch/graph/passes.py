"""Graph to graph: each pass is one small function that keeps every output as it was.

A pass that makes a value disappear says so in the model's list of layers (``retorch.layers``), so that a proof layer by
layer still knows which blob holds which layer's output.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from retorch.graph.nodes import OPSET

Array: TypeAlias = NDArray[Any]

#: Constants larger than this are computed where the network runs, rather than written out.
_FOLDED_ELEMENTS = 1 << 20


def simplify(model: ir.Model, *, fold: bool = True) -> ir.Model:
    """All passes, in order; without ``fold`` only those that drop nodes without effect."""
    tidy: list[Callable[[Rewrite], None]] = [drop_identities, cancel_squeezes, merge_reshapes, merge_transposes]
    merging: list[Callable[[Rewrite], None]] = [fold_constants, fold_padding, fold_scale]
    rewrite = Rewrite(model)
    for each in [*tidy, *(merging if fold else []), *(tidy if fold else [])]:
        each(rewrite)
    rewrite.finish()
    return model


class Rewrite:
    """A model being rewritten, and what became of the values that layers made."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self.graph = model.graph
        self.layers: list[tuple[str, str, list[str]]] = json.loads(model.metadata_props.get("retorch.layers", "[]"))
        #: the names of each value's layers: networks of thousands of layers are renamed thousands of times
        self._named: dict[str, list[list[str]]] = {}
        for _, _, names in self.layers:
            for name in dict.fromkeys(names):
                self._named.setdefault(name, []).append(names)

    def nodes(self, *op_types: str) -> list[ir.Node]:
        return [n for n in self.graph if n.op_type in op_types]

    def constant(self, value: ir.Value | None) -> Array | None:
        """The array of an initializer."""
        if value is None or value.const_value is None or not value.is_initializer():
            return None
        return value.const_value.numpy()

    def only_use(self, value: ir.Value | None) -> bool:
        """Whether nobody but one node reads a value."""
        return value is not None and len(value.uses()) == 1 and value not in self.graph.outputs

    def replace(self, old: ir.Value, new: ir.Value) -> bool:
        """Read ``new`` where ``old`` was read, and drop the node that made ``old``.

        Refused where a graph output would become a graph input, a weight or a second output.
        """
        if old in self.graph.outputs:
            if new.producer() is None or new in self.graph.outputs:
                return False
            self.graph.outputs[list(self.graph.outputs).index(old)] = new
        ir.convenience.replace_all_uses_with(old, new)
        self.rename(str(old.name), str(new.name))
        maker = old.producer()
        if maker is not None:
            self.graph.remove(maker, safe=True)
        return True

    def rename(self, old: str, new: str) -> None:
        """What a layer gave now has another name."""
        if old == new:
            return
        for names in self._named.pop(old, []):
            if new not in names:
                self._named.setdefault(new, []).append(names)
            names[:] = [new if name == old else name for name in names]

    def forget(self, name: str) -> None:
        """What a layer gave no longer exists on its own."""
        for names in self._named.pop(name, []):
            names[:] = [kept for kept in names if kept != name]

    def new_initializer(self, like: ir.Value, array: Array) -> ir.Value:
        """Other content under the same name where nobody else reads it, else a new name."""
        name = str(like.name)
        if len(like.uses()) > 1:
            name = next(n for i in range(2, 10_000) if (n := f"{name}_{i}") not in self.graph.initializers)
        else:
            del self.graph.initializers[name]
        return self.add_initializer(name, array)

    def add_initializer(self, name: str, array: Array) -> ir.Value:
        value = ir.Value(name=name, shape=ir.Shape(array.shape), const_value=ir.Tensor(array, name=name))
        value.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
        self.graph.register_initializer(value)
        return value

    def finish(self) -> None:
        """Drop what nobody reads; write down what became of the layers."""
        for name in [n for n, v in self.graph.initializers.items() if not v.uses() and v not in self.graph.outputs]:
            del self.graph.initializers[name]
        made = {v.name for node in self.graph for v in node.outputs} | {v.name for v in self.graph.inputs}
        kept = [(p, c, [n for n in names if n in made]) for p, c, names in self.layers]
        self.model.metadata_props["retorch.layers"] = json.dumps(kept)


def drop_identities(rewrite: Rewrite) -> None:
    """Identity(x) is x."""
    for node in rewrite.nodes("Identity"):
        source = node.inputs[0]
        if source is not None:
            rewrite.replace(node.outputs[0], source)


def _through(node: ir.Node, *op_types: str) -> ir.Node | None:
    """The node before this one, where it is one of these."""
    source = node.inputs[0]
    before = None if source is None else source.producer()
    return before if before is not None and before.op_type in op_types else None


def _bypass(rewrite: Rewrite, node: ir.Node, before: ir.Node) -> None:
    """Both undo each other: read what stood before them."""
    source = before.inputs[0]
    if source is not None and rewrite.replace(node.outputs[0], source) and not before.outputs[0].uses():
        _drop_if_unread(rewrite, before)


def _drop_if_unread(rewrite: Rewrite, node: ir.Node) -> None:
    if not any(out.uses() or out in rewrite.graph.outputs for out in node.outputs):
        rewrite.graph.remove(node, safe=True)


def cancel_squeezes(rewrite: Rewrite) -> None:
    """Unsqueeze after Squeeze of the same axes, and the other way round."""
    for node in rewrite.nodes("Squeeze", "Unsqueeze"):
        before = _through(node, "Squeeze" if node.op_type == "Unsqueeze" else "Unsqueeze")
        if before is None:
            continue
        mine, theirs = rewrite.constant(node.inputs[1]), rewrite.constant(before.inputs[1])
        if mine is not None and theirs is not None and np.array_equal(mine, theirs) and np.all(mine >= 0):
            _bypass(rewrite, node, before)


def merge_reshapes(rewrite: Rewrite) -> None:
    """A Reshape of a Reshape is the second alone; one that changes nothing goes."""
    for node in rewrite.nodes("Reshape"):
        before = _through(node, "Reshape", "Squeeze", "Unsqueeze", "Flatten")
        shape = rewrite.constant(node.inputs[1])
        if before is not None and shape is not None and 0 not in shape:
            node.replace_input_with(0, before.inputs[0])
            _drop_if_unread(rewrite, before)
        source, out = node.inputs[0], node.outputs[0]
        if source is not None and _known(source) and _known(out) and list(source.shape or ()) == list(out.shape or ()):
            rewrite.replace(out, source)


def _known(value: ir.Value) -> bool:
    """Whether two equal shapes are surely the same: at most one size is unknown, and that is the batch."""
    unknown = [d for d in value.shape or () if not isinstance(d, int)]
    return value.shape is not None and len(unknown) <= 1 and all(str(d) == "N" for d in unknown)


def merge_transposes(rewrite: Rewrite) -> None:
    """A Transpose of a Transpose is one, or none."""
    for node in rewrite.nodes("Transpose"):
        before = _through(node, "Transpose")
        perm = list(node.attributes.get_ints("perm", []))
        if before is not None:
            first = list(before.attributes.get_ints("perm", []))
            perm = [first[i] for i in perm]
            node.attributes["perm"] = ir.AttrInt64s("perm", perm)
            node.replace_input_with(0, before.inputs[0])
            _drop_if_unread(rewrite, before)
        if perm == sorted(perm) and node.inputs[0] is not None:
            rewrite.replace(node.outputs[0], node.inputs[0])


def fold_constants(rewrite: Rewrite) -> None:
    """Nodes that read weights only are computed now."""
    for node in list(rewrite.graph):
        inputs = [rewrite.constant(v) for v in node.inputs]
        out = node.outputs[0]
        size = 0 if out.shape is None else int(np.prod([d for d in out.shape if isinstance(d, int)]))
        unfit = len(node.outputs) != 1 or out in rewrite.graph.outputs or size > _FOLDED_ELEMENTS
        if unfit or not inputs or any(a is None for a in inputs):
            continue
        names = [str(v.name) for v in node.inputs if v is not None]
        feeds = dict(zip(names, inputs, strict=True))
        types = [
            onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in feeds.items()
            if a is not None
        ]
        result = onnx.helper.make_empty_tensor_value_info(str(out.name))
        graph = onnx.helper.make_graph([ir.to_proto(node)], "constant", types, [result])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)])
        from onnx.reference import ReferenceEvaluator  # which few networks need, and which takes long to import

        evaluator: Any = ReferenceEvaluator(model)
        value = np.asarray(evaluator.run(None, feeds)[0])
        name = str(out.name)
        out.name = f"{name}_computed"
        new = rewrite.add_initializer(name, value)
        ir.convenience.replace_all_uses_with(out, new)
        rewrite.graph.remove(node, safe=True)


def fold_padding(rewrite: Rewrite) -> None:
    """Zeros around a convolution's input are its own ``pads``."""
    for node in rewrite.nodes("Conv"):
        pad = _through(node, "Pad")
        if pad is None or not rewrite.only_use(pad.outputs[0]):
            continue
        pads = rewrite.constant(pad.inputs[1])
        value = rewrite.constant(pad.inputs[2]) if len(pad.inputs) > 2 else None
        plain = pad.attributes.get_string("mode", "constant") == "constant" and len(pad.inputs) < 4
        if pads is None or not plain or np.any(pads < 0) or (value is not None and np.any(value != 0)):
            continue
        if len(pad.inputs) > 2 and pad.inputs[2] is not None and value is None:
            continue
        begin, end = np.split(pads, 2)
        if np.any(begin[:2]) or np.any(end[:2]):
            continue
        extra = np.concatenate([begin[2:], end[2:]])
        own = np.asarray(node.attributes.get_ints("pads", [0] * len(extra)))
        node.attributes["pads"] = ir.AttrInt64s("pads", [int(p) for p in own + extra])
        node.replace_input_with(0, pad.inputs[0])
        rewrite.forget(str(pad.outputs[0].name))
        rewrite.graph.remove(pad, safe=True)


def fold_scale(rewrite: Rewrite) -> None:
    """Batch norm after a convolution, full convolution or linear layer scales that layer's weights (in float64).

    So does one number that its result is multiplied with, as dropout of old networks does.
    """
    for node in rewrite.nodes("BatchNormalization", "Mul"):
        scale, *others = (rewrite.constant(v) for v in node.inputs[1:])
        if scale is None or any(other is None for other in others):
            continue
        if node.op_type == "Mul":
            if scale.shape not in {(), (1,)}:
                continue
            others = [np.zeros(1), np.zeros(1), np.ones(1)]
        epsilon = node.attributes.get_float("epsilon", 1e-5) if node.op_type != "Mul" else 0.0
        _fold_into_layer(rewrite, node, [cast("Array", a).astype(np.float64) for a in (scale, *others)], epsilon)


def _fold_into_layer(rewrite: Rewrite, node: ir.Node, norm: list[Array], epsilon: float) -> None:
    """Scale the weights of the layer whose result only ``node`` reads, where they are known."""
    before = _through(node, "Conv", "ConvTranspose", "Gemm")
    if before is None or not rewrite.only_use(before.outputs[0]):
        return
    weight = rewrite.constant(before.inputs[1])
    bias = rewrite.constant(before.inputs[2]) if len(before.inputs) > 2 else None
    has_bias = len(before.inputs) > 2 and before.inputs[2] is not None
    if weight is None or (has_bias and bias is None):
        return
    plain_gemm = before.op_type != "Gemm" or (
        before.attributes.get_int("transB", 0) == 1
        and before.attributes.get_float("alpha", 1.0) == 1.0
        and before.attributes.get_float("beta", 1.0) == 1.0
    )
    grouped = before.op_type == "ConvTranspose" and before.attributes.get_int("group", 1) != 1
    if plain_gemm and not grouped:
        _scale_weights(rewrite, before, weight, bias, norm, epsilon)
        _take_over(rewrite, node, before)


def _scale_weights(
    rewrite: Rewrite, node: ir.Node, weight: Array, bias: Array | None, norm: list[Array], epsilon: float
) -> None:
    scale, shift, mean, var = norm
    factor = scale / np.sqrt(var + epsilon)
    shape = [1] * weight.ndim
    shape[1 if node.op_type == "ConvTranspose" else 0] = -1
    old_weight, old_bias = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
    if old_weight is None:
        return
    scaled = (weight.astype(np.float64) * factor.reshape(shape)).astype(np.float32)
    moved = ((0.0 if bias is None else bias.astype(np.float64)) - mean) * factor + shift
    node.replace_input_with(1, rewrite.new_initializer(old_weight, scaled))
    if old_bias is None:
        stem = str(node.outputs[0].name)
        new_bias = rewrite.add_initializer(f"{stem}_b", moved.astype(np.float32))
    else:
        new_bias = rewrite.new_initializer(old_bias, moved.astype(np.float32))
    node.resize_inputs(3)
    node.replace_input_with(2, new_bias)


def _take_over(rewrite: Rewrite, norm: ir.Node, before: ir.Node) -> None:
    """The layer before now gives what the batch norm gave."""
    rewrite.forget(str(before.outputs[0].name))
    rewrite.replace(norm.outputs[0], before.outputs[0])
