"""From a network in the hand to one that runs elsewhere."""

from __future__ import annotations

from retorch.errors import UnsupportedError
from retorch.graph import input_shape
from retorch.graph.lowering import Example, lower
from retorch.graph.passes import simplify
from retorch.module import Module
from retorch.network import Format, Network


def convert(net: Module, example: Example | None = None, *, to: Format = "caffe2", fold: bool = True) -> Network:
    """Rebuild a Torch network as one that runs today.

    Args:
        net: what :func:`retorch.load` gave.
        example: its input: a tuple is a shape, an array an example, a list a table of such. None works the shape out;
            the network's ``notes`` say what was assumed.
        to: what ``save`` writes into a folder: ``caffe2``, ``onnx`` or ``predictor``.
        fold: merge layers where the result is the same (batch norm into convolution, …); without it there is one
            operator per layer where the target has one.

    Returns:
        The network; ``save`` writes it.

    Raises:
        UnsupportedError: all layers that cannot be converted, each with its path.
        UsageError: an input that is neither shape nor array; or its shape cannot be worked out.
    """
    if net.problems:
        raise UnsupportedError(net.problems, hint="`--plugin my_layers.py` registers classes of your own")
    if example is not None:
        return _converted(net, example, to, fold=fold)
    assumed = input_shape.input_shape(net.layer)
    return _for_any_batch(net, assumed, to, fold=fold)


def _converted(net: Module, example: Example, to: Format, *, fold: bool) -> Network:
    model = lower(net.layer, example, net.name)
    return Network(simplify(model, fold=fold), format=to)


def _for_any_batch(net: Module, assumed: input_shape.Guess, to: Format, *, fold: bool) -> Network:
    """The network for a batch of one, or for two where only that leaves the batch open; and a note in that case.

    Where Torch itself treats a batch of one as no batch (``nn.View`` without ``numInputDims``), what is made for one is
    right for one only.
    """
    shape = assumed.shape
    made = _converted(net, shape, to, fold=fold)
    made.notes += (assumed.note,)
    if shape[0] != 1 or made.batch_is_open:
        return made
    pair = _converted(net, (2, *shape[1:]), to, fold=fold)
    if not pair.batch_is_open:
        return made
    pair.notes += (
        assumed.note,
        "for batches of two and more: at one, a layer of this network drops the batch dimension in Torch",
    )
    return pair
