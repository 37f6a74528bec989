"""What Torch's classes mean: one class per Torch layer, one family per file."""

from retorch.layers import (
    activation,
    arithmetic,
    container,
    convolution,
    linear,
    lookup,
    nngraph,
    noise,
    normalization,
    normalization_local,
    product,
    reduction,
    shape,
    softmax,
    table,
    wrapper,
)
from retorch.layers.rule import Layer, layer, registered

__all__ = [
    "Layer",
    "activation",
    "arithmetic",
    "container",
    "convolution",
    "layer",
    "linear",
    "lookup",
    "nngraph",
    "noise",
    "normalization",
    "normalization_local",
    "product",
    "reduction",
    "registered",
    "shape",
    "softmax",
    "table",
    "wrapper",
]
