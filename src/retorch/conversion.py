"""From a network in the hand to one that runs elsewhere."""

from __future__ import annotations

from retorch.errors import UnsupportedError
from retorch.graph.lowering import Example, lower
from retorch.graph.passes import simplify
from retorch.module import Module
from retorch.network import Network


def convert_for_any_batch(net: Module, shape: tuple[int, ...], *, fold: bool) -> tuple[Network, tuple[str, ...]]:
    """The network for a batch of one, or for two where only that leaves the batch open; and a note in that case.

    Where Torch itself treats a batch of one as no batch (``nn.View`` without ``numInputDims``), what is made for one is
    right for one only.
    """
    made = convert(net, shape, fold=fold)
    if shape[0] != 1 or made.batch_is_open:
        return made, ()
    pair = convert(net, (2, *shape[1:]), fold=fold)
    if not pair.batch_is_open:
        return made, ()
    return pair, ("for batches of two and more: at one, a layer of this network drops the batch dimension in Torch",)


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
