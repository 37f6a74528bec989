"""What Torch's classes mean: one class per Torch layer, one family per file."""

from retorch.layers import (
    activation,
    container,
    convolution,
    linear,
    nngraph,
)
from retorch.layers.rule import Layer, layer, registered

__all__ = ["Layer", "activation", "container", "convolution", "layer", "linear", "nngraph", "registered"]
