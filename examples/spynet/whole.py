"""The whole pyramid as one network for frames of one size: frames in 0…1 in, flow in pixels out.

What :mod:`examples.spynet.pyramid` does in NumPy is said in ONNX operators here, with the networks of the levels
between them. Caffe2 gets the same graph: it has no sampler, so retorch makes the warp of Floor, Clip, Cast and Gather.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

import retorch
from examples.spynet import levels, pyramid
from examples.spynet.pyramid import Array

OPSET = 21


def build(files: Sequence[Path], height: int, width: int) -> retorch.Network:
    """The pyramid of these ``.t7`` levels, coarsest first, as one network.

    Its inputs are ``frame1`` and ``frame2``, RGB in 0…1 of shape (1, 3, height, width); its output is ``flow``, (1, 2,
    height, width), in pixels.
    """
    frames = [_floats(name, [1, 3, height, width]) for name in ("frame1", "frame2")]
    graph = ir.Graph(frames, [], nodes=[], opset_imports={"": OPSET}, name="spynet")
    op = _Operators(graph)
    pairs = [[_prepared(op, frame, height, width) for frame in frames]]
    for _ in files[1:]:
        pairs.insert(0, [_pooled(op, image) for image in pairs[0]])
    flow = None
    for level, (file, pair) in enumerate(zip(files, pairs, strict=True), 1):
        rows, columns = (pyramid.raised(size) >> (len(files) - level) for size in (height, width))
        flow = _level(op, file, level, pair, flow, rows, columns)
    if flow is None:
        raise ValueError("a pyramid has at least one level")
    graph.outputs.append(_restored(op, flow, height, width))
    model = ir.Model(graph, ir_version=10, producer_name="retorch")
    return retorch.Network(ShapeInferencePass()(model).model)


def _floats(name: str, shape: Sequence[int]) -> ir.Value:
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))


def _number(value: float) -> Array:
    return np.array([value], np.float32)


class _Operators:
    """Writes nodes into a graph: ``op("Add", a, b)`` is a node and its output. Arrays become initializers."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._count = 0

    def __call__(
        self, kind: str, *inputs: ir.Value | Array | None, name: str = "", **attributes: int | str | list[int]
    ) -> ir.Value:
        self._count += 1
        name = name or f"{kind.lower()}_{self._count}"
        values = [self.weight(x, f"{name}_{i}") if isinstance(x, np.ndarray) else x for i, x in enumerate(inputs)]
        node = ir.node(kind, values, attributes, outputs=[ir.Value(name=name)])
        self._graph.append(node)
        return node.outputs[0]

    def weight(self, array: Array, name: str) -> ir.Value:
        """An array as an initializer."""
        value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
        self._graph.register_initializer(value)
        return value

    def embed(self, inner: ir.Graph, prefix: str, data: ir.Value) -> ir.Value:
        """The nodes of a graph with one input and one output, applied to ``data``; their names get the prefix."""
        known = {inner.inputs[0]: data}
        for value in inner.initializers.values():
            if value.const_value is not None:
                known[value] = self.weight(value.const_value.numpy(), f"{prefix}{value.name}")
        for node in inner:
            outputs = [ir.Value(name=f"{prefix}{out.name}") for out in node.outputs]
            known.update(zip(node.outputs, outputs, strict=True))
            inputs = [None if value is None else known[value] for value in node.inputs]
            self._graph.append(ir.Node(node.domain, node.op_type, inputs, node.attributes.values(), outputs=outputs))
        return known[inner.outputs[0]]


def _prepared(op: _Operators, frame: ir.Value, height: int, width: int) -> ir.Value:
    """As :func:`pyramid.prepared`."""
    normal = op("Div", op("Sub", frame, pyramid.MEAN[None]), pyramid.STD[None])
    return _resized(op, normal, 3, pyramid.raised(height), pyramid.raised(width), height, width)


def _resized(
    op: _Operators, image: ir.Value, channels: int, height: int, width: int, rows: int, columns: int
) -> ir.Value:
    """As :func:`pyramid.resized`, from ``rows`` × ``columns``."""
    if (rows, columns) == (height, width):
        return image
    sizes = np.array([1, channels, height, width], np.int64)
    how = "align_corners"
    return op("Resize", image, None, None, sizes, mode="linear", coordinate_transformation_mode=how)


def _pooled(op: _Operators, image: ir.Value) -> ir.Value:
    """As :func:`pyramid.pooled`."""
    return op("AveragePool", image, kernel_shape=[2, 2], strides=[2, 2])


def _level(
    op: _Operators, file: Path, level: int, pair: Sequence[ir.Value], below: ir.Value | None, rows: int, columns: int
) -> ir.Value:
    """One step of :func:`pyramid.flows`: the flow of this level, of ``rows`` × ``columns``, from that below."""
    one, two = pair
    flow: ir.Value | Array = np.zeros((1, 2, rows, columns), np.float32)
    if below is not None:
        larger = _resized(op, below, 2, rows, columns, rows // 2, columns // 2)
        flow = op("Mul", larger, _number(2))
        two = _warped(op, two, flow, rows, columns)
    stack = op("Concat", one, two, flow, axis=1)
    inner = levels.network_of(file, rows, columns).model.graph
    found = op.embed(inner, f"level{level}_", stack)
    return found if below is None else op("Add", found, flow, name=f"flow_level{level}")


def _warped(op: _Operators, image: ir.Value, flow: ir.Value, height: int, width: int) -> ir.Value:
    """As :func:`pyramid.warped`.

    GridSample counts from -1 at the first pixel's centre to 1 at the last one's. The image is padded so that these are
    a power of two apart: then counting so costs no more digits than pixels do. Nothing reads the padding.
    """
    spans = [1 << (length - 2).bit_length() for length in (width, height)]
    places: list[ir.Value] = []
    for axis, (length, span, shape) in enumerate(
        zip((width, height), spans, ((1, 1, 1, -1), (1, 1, -1, 1)), strict=True)
    ):
        along = op("Slice", flow, np.array([axis]), np.array([axis + 1]), np.array([1]))
        pixel = op("Add", along, np.arange(length, dtype=np.float32).reshape(shape))
        inside = op("Clip", pixel, np.array(0, np.float32), np.array(length - 1, np.float32))
        places.append(op("Sub", op("Mul", inside, _number(2 / span)), _number(1)))
    grid = op("Transpose", op("Concat", *places, axis=1), perm=[0, 2, 3, 1])
    padded = op("Pad", image, np.array([0, 0, 0, 0, 0, 0, spans[1] + 1 - height, spans[0] + 1 - width]))
    return op("GridSample", padded, grid, mode="linear", padding_mode="border", align_corners=1)


def _restored(op: _Operators, flow: ir.Value, height: int, width: int) -> ir.Value:
    """As :func:`pyramid.restored`; the output of the network."""
    scale = np.array([width / pyramid.raised(width), height / pyramid.raised(height)], np.float32).reshape(1, 2, 1, 1)
    for axis, size in ((2, height), (3, width)):
        if size != pyramid.raised(size):
            flow = op("Gather", flow, pyramid.picked(size), axis=axis)
    return op("Mul", flow, scale, name="flow")
