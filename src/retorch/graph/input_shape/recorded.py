"""What Torch's last forward left in the file: outputs of layers, and copies that they made of their inputs."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from retorch.graph.input_shape.terms import Facts, Size, Term
from retorch.layers.base.layer import Layer
from retorch.layers.convolution.spatial import SpatialConvolution
from retorch.layers.lookup import LookupTable
from retorch.torch7 import LuaTable

#: What is said of sizes that come from a record.
RECORDED = "the last forward, recorded in the file"


class Recorded:
    """The sizes in a file, and how many layers had any."""

    def __init__(self) -> None:
        self.count = 0

    def tell(self, facts: Facts, layer: Layer, x: Term, y: Term) -> None:
        """What the file says of one layer's input and output."""
        for term, value in ((y, layer.raw.get("output")), (x, _input_copy(layer))):
            shape = _shape(value)
            if shape is not None:
                self.count += 1
                _say(facts, term, shape)
        columns = layer.raw.get("finput")
        if isinstance(layer, SpatialConvolution) and isinstance(columns, np.ndarray) and columns.ndim in (2, 3):
            self._unfolded(facts, layer, x, y, cast("Any", columns).shape)

    def _unfolded(self, facts: Facts, layer: SpatialConvolution, x: Term, y: Term, shape: tuple[int, ...]) -> None:
        """A convolution's unfolded input: (N, C·kH·kW, oH·oW)"""
        if y.rank is None and shape[-2] == np.prod(layer.dense()[0].shape[1:]):
            self.count += 1
            facts.product(facts.rank(y, len(shape) + 1)[-2:], shape[-1], RECORDED)


def _input_copy(layer: Layer) -> object:
    return layer.raw.get("_input") if isinstance(layer, LookupTable) else None


def _shape(value: object) -> Any:
    """The sizes of a tensor, or those of the tensors of a table; None where nothing was left."""
    if isinstance(value, np.ndarray):
        tensor = cast("Any", value)
        return tuple(tensor.shape) if tensor.size else None
    if isinstance(value, LuaTable):
        items = [_shape(item) for item in value.sequence()]
        return items if items and None not in items else None
    return None


def _say(facts: Facts, term: Term, shape: Any) -> None:
    if isinstance(shape, list):
        items = cast("list[Any]", shape)
        for item, sizes in zip(facts.entries(term, len(items), exactly=True).items, items, strict=True):
            _say(facts, item, sizes)
        return
    facts.shape(term, [Size(size, RECORDED) for size in shape])
