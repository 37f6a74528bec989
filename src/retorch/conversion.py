"""From a network in the hand to one that runs elsewhere."""

from __future__ import annotations

from retorch.errors import UnsupportedError
from retorch.lowering import Example, lower
from retorch.module import Module
from retorch.network import Network
from retorch.passes import simplify


def convert(net: Module, example: Example, *, fold: bool = False) -> Network:
    """Rebuild a Torch network as one that runs today.

    Args:
        net: what :func:`retorch.load` gave.
        example: its input: a tuple is a shape, an array an example, a list a table of such.
        fold: merge layers where the result is the same (batch norm into convolution, …); without it there is one
            operator per layer where the target has one.

    Returns:
        The network; ``save`` writes it as Caffe2 files or ONNX.

    Raises:
        UnsupportedError: all layers that cannot be converted, each with its path.
        UsageError: an input that is neither shape nor array.
    """
    if net.problems:
        raise UnsupportedError(net.problems, hint="`--plugin my_layers.py` registers classes of your own")
    model = lower(net.layer, example, net.name)
    return Network(simplify(model, fold=fold))
