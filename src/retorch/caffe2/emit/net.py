"""An ONNX graph as a Caffe2 net: the walk over the nodes. The rules stand beside it, one family per file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from retorch.caffe2.brew import as_brew
from retorch.caffe2.emit import (
    activation,
    convolution,
    elementwise,
    indexing,
    noise,
    normalization,
    pooling,
    recurrent,
    reduction,
    resizing,
    sampling,
    shape,
    unpooling,
)
from retorch.caffe2.emit.mkldnn import on_mkldnn
from retorch.caffe2.emit.op import (
    Blob,
    Draft,
    EmitOptions,
    Op,
    Pending,
    RefusalError,
    Rule,
    SizeRefusalError,
    dims_of,
)
from retorch.caffe2.emit.tuning import in_place, nnpack
from retorch.caffe2.files import Caffe2Net
from retorch.caffe2.proto.caffe2_pb2 import NetDef
from retorch.errors import ConversionError, Problem, UnsupportedError

__all__ = ["EmitOptions", "NeedsSizeError", "emit", "supported"]

_FAMILIES = (
    *(activation, convolution, elementwise, indexing, noise, normalization, pooling, recurrent, reduction, resizing),
    *(sampling, shape, unpooling),
)
_NAME_LIMIT = 63  # viewers recognise a net by a name of at most so many characters


class NeedsSizeError(ConversionError):
    """The net can be written only for a batch of known size; ``problems`` says where it is needed."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n  ".join(["a fixed batch size is needed", *map(str, problems)]))
        self.problems = tuple(problems)


def rules() -> Mapping[str, Rule]:
    """ONNX operator -> rule."""
    return {kind: rule for family in _FAMILIES for kind, rule in family.RULES.items()}


def supported() -> frozenset[str]:
    """The ONNX operators that have a rule."""
    return frozenset(rules())


def emit(model: ir.Model, options: EmitOptions | None = None) -> Caffe2Net:
    """The Caffe2 net of ``model`` (opset 21; every value with a type and a shape, batch sizes may be symbolic).

    Blobs bear the names of the ONNX values. UnsupportedError lists every node that Caffe2 cannot express;
    NeedsSizeError where a number instead of the symbol would do.
    """
    draft = _draft(model.graph, options or EmitOptions())
    table = rules()
    problems: list[tuple[Problem, RefusalError]] = []
    for node in model.graph:
        try:
            _node(draft, node, table)
        except RefusalError as refusal:
            problems.append((_problem(node, refusal), refusal))
    if problems:
        listed = [problem for problem, _ in problems]
        if all(isinstance(refusal, SizeRefusalError) for _, refusal in problems):
            raise NeedsSizeError(listed)
        raise UnsupportedError(listed)
    return _finished(draft, model.graph)


def _draft(graph: ir.Graph, options: EmitOptions) -> Draft:
    values = [*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)]
    outputs = {value.name for value in graph.outputs}
    shared = {value.name or "" for value in values if len(value.uses()) > 1 or value.name in outputs}
    return Draft(options, {value.name or "" for value in values}, frozenset(shared))


def _problem(node: ir.Node, refusal: RefusalError) -> Problem:
    path = node.metadata_props.get("retorch.path", node.outputs[0].name or "")
    return Problem(path, node.metadata_props.get("retorch.class", node.op_type), str(refusal))


def _node(draft: Draft, node: ir.Node, table: Mapping[str, Rule]) -> None:
    """Runs the rule and gives its blobs the names of the node's outputs."""
    if node.op_type == "Constant":
        _constant(draft, node)
        return
    rule = table.get(node.op_type)
    if rule is None or node.domain not in ("", "ai.onnx"):
        raise RefusalError(f"Caffe2 has nothing for the ONNX operator {node.op_type}")
    op = Op(draft, node)
    result = rule(op)
    blobs = [result] if isinstance(result, Blob) else list(result)
    if unread := op.unread():
        raise RefusalError(f"{node.op_type} with {', '.join(unread)}")
    for value, blob in zip(node.outputs, blobs, strict=False):
        if not value.name:
            continue
        _check(op, value, blob)
        _name(draft, op, value, blob)
    draft.ops.extend(op.ops)


def _constant(draft: Draft, node: ir.Node) -> None:
    name = node.outputs[0].name or ""
    for attribute in node.attributes.values():
        match attribute.type:
            case ir.AttributeType.TENSOR:
                draft.constants[name] = attribute.as_tensor().numpy()
            case ir.AttributeType.FLOAT:
                draft.constants[name] = np.array(attribute.as_float(), np.float32)
            case ir.AttributeType.FLOATS:
                draft.constants[name] = np.array(attribute.as_floats(), np.float32)
            case ir.AttributeType.INT:
                draft.constants[name] = np.array(attribute.as_int(), np.int64)
            case ir.AttributeType.INTS:
                draft.constants[name] = np.array(attribute.as_ints(), np.int64)
            case _:
                raise RefusalError(f"a constant given as {attribute.name}")


def _check(op: Op, value: ir.Value, blob: Blob) -> None:
    """A rule, or a file, that is wrong about a shape would be wrong later and elsewhere."""
    wanted = value.shape
    if wanted is None:
        return
    pairs = zip(blob.dims, wanted, strict=False)
    wrong = any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)
    if wrong or len(blob.dims) != len(wanted):
        made = ",".join(map(str, blob.dims))
        raise RefusalError(f"{op.kind} gives [{made}] and {value.name!r} is said to be {wanted}")


def _name(draft: Draft, op: Op, value: ir.Value, blob: Blob) -> None:
    """``blob`` becomes ``value``: by renaming where the node made it, else as another name for what is there."""
    name = value.name or ""
    if blob.name in draft.params or not any(blob.name in pending.outputs for pending in op.ops):
        draft.aliases[name] = blob.name
        return
    for pending in op.ops:
        pending.inputs = [name if each == blob.name else each for each in pending.inputs]
        pending.outputs = [name if each == blob.name else each for each in pending.outputs]


def _outputs(draft: Draft, graph: ir.Graph) -> list[str]:
    """The output blobs; one that no operator of its own made is copied, under its name where that is free."""
    made = {name for pending in draft.ops for name in pending.outputs}
    found: list[str] = []
    for value in graph.outputs:
        name = value.name or ""
        if name not in made or name in found:
            source = draft.blob(value).name
            taken = name in found or name in draft.params or value.is_graph_input()
            name = draft.fresh(f"{name}_out") if taken else name
            draft.ops.append(Pending("Copy", [source], [name], {}))
        found.append(name)
    return found


def _finished(draft: Draft, graph: ir.Graph) -> Caffe2Net:
    outputs = _outputs(draft, graph)
    if draft.options.nnpack:
        draft.ops = nnpack(draft.ops)
    if draft.options.mkldnn:
        fed = {value.name or "": dims_of(value) for value in graph.inputs if value.const_value is None}
        draft.ops = on_mkldnn(draft, fed, outputs)
    if draft.options.in_place:
        draft.ops = in_place(draft.ops, outputs)
    inputs = [value.name or "" for value in graph.inputs if value.const_value is None]
    read = dict.fromkeys(name for pending in draft.ops for name in pending.inputs)
    params = {name: draft.params[name] for name in read if name in draft.params}
    net = NetDef(
        name=(graph.name or "net")[:_NAME_LIMIT],
        op=[pending.operator() for pending in draft.ops],
        external_input=[*inputs, *params],
        external_output=outputs,
    )
    found = Caffe2Net(net, params, tuple(inputs))
    return as_brew(found) if draft.options.brew else found
