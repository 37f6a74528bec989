"""A model in the words in which onnxruntime is fastest; every value keeps its name."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import helper, numpy_helper


def tune(proto: onnx.ModelProto, model: ir.Model) -> None:
    """Change ``proto``, the message of ``model``, in place."""
    slopes = dict(_slopes(model))
    if not slopes:
        return
    nodes = [part for node in proto.graph.node for part in _parts(node, slopes)]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    for name, slope in slopes.items():
        for place, scale in zip(_scales(name), (np.ones_like(slope), -np.ones_like(slope), -slope), strict=True):
            proto.graph.initializer.append(numpy_helper.from_array(scale.reshape(-1, 1, 1, 1), place))


def _slopes(model: ir.Model) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """By the name of its output, the slopes of each PRelu on images that has one for each channel."""
    for node in model.graph:
        x, slope = node.inputs[:2] if node.op_type == "PRelu" else (None, None)
        if x is None or slope is None or x.shape is None or len(x.shape) != 4:
            continue
        values = _weights(slope)
        if values is not None and values.shape == (values.size, 1, 1) and _is_tunable(values):
            yield str(node.outputs[0].name), values.ravel()


def _is_tunable(slopes: NDArray[np.float32]) -> bool:
    # an infinite slope times the nothing below zero would be NaN
    return slopes.dtype == np.float32 and slopes.size > 1 and bool(np.isfinite(slopes).all())


def _weights(value: ir.Value) -> NDArray[np.float32] | None:
    """What is known of a value before the network runs: weights, or weights in another shape."""
    producer = value.producer()
    if producer is not None and producer.op_type == "Reshape" and value.shape is not None and producer.inputs[0]:
        inner = _weights(producer.inputs[0])
        return None if inner is None else inner.reshape(value.shape.numpy())
    found = value.const_value if value.is_initializer() else None
    return None if found is None else found.numpy()


def _scales(output: str) -> tuple[str, str, str]:
    return f"{output}/one", f"{output}/minus_one", f"{output}/minus_slope"


def _parts(node: onnx.NodeProto, slopes: dict[str, NDArray[np.float32]]) -> Iterator[onnx.NodeProto]:
    """max(x, 0) + slope * min(x, 0) as convolutions of single channels, or the node itself.

    onnxruntime's PRelu takes ten times as long as it has to, and its input and output leave the layout that
    convolutions keep values in; convolutions and rectifiers do not. What is above zero stays exact, and so does NaN.
    """
    output = node.output[0]
    if output not in slopes:
        yield node
        return
    x, groups = node.input[0], slopes[output].size
    one, minus_one, minus_slope = _scales(output)
    for source, weight, sign in ((x, one, "above"), (x, minus_one, "below")):
        yield helper.make_node("Conv", [source, weight], [f"{output}/{sign}_or_less"], group=groups)
        yield helper.make_node("Relu", [f"{output}/{sign}_or_less"], [f"{output}/{sign}"])
    yield helper.make_node("Conv", [f"{output}/below", minus_slope], [f"{output}/sloped"], group=groups)
    yield helper.make_node("Add", [f"{output}/above", f"{output}/sloped"], [output])
