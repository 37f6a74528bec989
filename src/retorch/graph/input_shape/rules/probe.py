"""Layers without a rule of their own, of which a small input shows that they give what they take."""

from __future__ import annotations

from typing import Any, cast
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from retorch.errors import Refusal, RetorchError
from retorch.graph.input_shape.terms import Facts, Term
from retorch.layers.base.layer import Layer
from retorch.layers.base.memory import forward_pass

_shown: WeakKeyDictionary[Layer, bool] = WeakKeyDictionary()


def keeps_sizes(layer: Layer) -> bool:
    """Whether outputs have the input's sizes: a vector or an image with as many channels as the layer has weights."""
    if layer not in _shown:
        _shown[layer] = _tried(layer)
    return _shown[layer]


def _tried(layer: Layer) -> bool:
    if layer.takes_table is not False or layer.container:
        return False
    channels = next((array.shape[0] for array in layer.parameters().values() if array.ndim == 1), 4)
    ran = [found for shape in ((2, channels), (2, channels, 8, 8)) if (found := _runs(layer, shape)) is not None]
    return bool(ran) and all(ran)


def _runs(layer: Layer, shape: tuple[int, ...]) -> bool | None:
    try:
        with forward_pass():
            y: object = layer.forward(np.ones(shape, np.float32))
    except (Refusal, RetorchError, ValueError, IndexError, TypeError):
        return None
    return isinstance(y, np.ndarray) and cast("NDArray[Any]", y).shape == shape


def as_it_was(facts: Facts, layer: Layer, x: Term, y: Term) -> bool:
    """The same sizes."""
    facts.same(x, y)
    return True
