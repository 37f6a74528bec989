"""From a network in the hand to one that runs elsewhere."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from pathlib import Path
from typing import Any

from retorch.caffe2.description import STATE
from retorch.errors import UnsupportedError, UsageError
from retorch.files.digests import digest
from retorch.files.garbage import collector_paused
from retorch.graph.input_shape import Assumption
from retorch.graph.input_shape.tensors import example as example_of
from retorch.graph.input_shape.tensors import with_samples
from retorch.graph.lowering import Example, lower
from retorch.graph.passes import simplify
from retorch.layers.base.likeness import remedy
from retorch.module import Module
from retorch.network import Format, Network, Origin


@collector_paused()
def convert(
    net: Module, example: Example | None = None, *, to: Format = "caffe2", fold: bool = True, state: bool = False
) -> Network:
    """Rebuild a Torch network as one that runs today.

    Args:
        net: what :func:`retorch.load` gave.
        example: its input: a tuple is a shape, an array an example, a list a table of such. None works the shape out;
            the network's ``notes`` say what was assumed.
        to: what ``save`` writes into a folder: ``caffe2``, ``onnx``, ``pytorch`` or ``predictor``.
        fold: merge layers where the result is the same (batch norm into convolution, …); without it there is one
            operator per layer where the target has one.
        state: make the states of recurrent layers inputs and outputs, after the network's own: fed its last states
            with the next piece of a sequence, it goes on where it stopped.

    Returns:
        The network; ``save`` writes it.

    Raises:
        UnsupportedError: all layers that cannot be converted, each with its path.
        UsageError: an input that is neither shape nor array; or its shape cannot be worked out.
    """
    _check_network(net)
    if net.problems:
        raise UnsupportedError(net.problems, hint=remedy(net.layer))
    if state:
        if example is not None:
            return _with_states(net, example, to, fold=fold)
        return _with_states_for_any(net, net.assumed_input(), to, fold=fold)
    if example is not None:
        return _converted(net, example, to, fold=fold)
    assumed = net.assumed_input()
    try:
        return _for_any_batch(net, assumed, to, fold=fold)
    except UnsupportedError as error:
        error.hint = error.hint or f"{assumed.note}; --input says another"
        raise


def _check_network(net: object) -> None:
    if isinstance(net, Network):
        raise UsageError("this network is converted already", hint="save writes it: network.save('model.onnx')")
    if not isinstance(net, Module):
        what = "a string" if isinstance(net, (str, bytes)) else type(net).__name__
        raise UsageError(f"convert takes a network, not {what}", hint='retorch.convert(retorch.load("model.t7"), …)')


def _converted(net: Module, example: Example, to: Format, *, fold: bool, vary: bool = False) -> Network:
    model = lower(net.layer, example, net.name, vary=vary)
    made = Network(simplify(model, fold=fold), format=to)
    made.origin = Origin(net.file, net.at, net.notes)
    if to == "pytorch":
        from retorch.pytorch.twin import twin

        made.twin = twin(net.layer, _for_twin(example, made), origin(net), [str(port) for port in made.inputs])
    return made


def _for_twin(example: Example, made: Network) -> Example:
    """What a twin is made for: a shape with a batch of one stands for any batch where that is open."""
    if isinstance(example, tuple) and example[:1] == (1,) and made.batch_is_open:
        return (2, *example[1:])
    return example


def to_pytorch(net: Module, example: Example | None = None) -> Any:
    """The network as a module of PyTorch, which has to be installed: what ``load()`` of its ``model.py`` gives.

    Args:
        net, example: as for :func:`convert`.

    Raises:
        UsageError: PyTorch is not installed.
    """
    made = convert(net, example, to="pytorch").twin
    if importlib.util.find_spec("torch") is None:
        raise UsageError("PyTorch is not installed here", hint="pip install torch, or convert --to pytorch")
    if made is None:
        raise UsageError("this network was not converted to PyTorch")
    with tempfile.TemporaryDirectory() as folder:
        file = made.write(Path(folder) / "model.py")[0]
        spec = importlib.util.spec_from_file_location(f"retorch_{net.name}", file)
        if spec is None or spec.loader is None:
            raise UsageError(f"{file}: cannot be imported")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.load()


def origin(net: Module) -> str:
    """The file that a network came from, with its digest, as the head of ``model.py`` names it."""
    if net.file is None or not net.file.is_file():
        return net.name
    place = f", {net.at}" if net.at else ""
    return f"{net.file.name}{place} (SHA-256 {digest(net.file)[:16]})"


def _with_states(net: Module, example: Example, to: Format, *, fold: bool, vary: bool = False) -> Network:
    from retorch.layers.recurrent.stateful import hands_on_states, sizes_of

    sizes = sizes_of(example)
    if hands_on_states(net.layer, sizes):
        made = _converted(net, example, to, fold=fold)
        made.notes += ("it is one step: its states are among its inputs and outputs already",)
        return made
    stateful = net.with_states(sizes)
    made = _converted(stateful, [example, *stateful.layer.state_sizes], to, fold=fold, vary=vary)
    made.model.metadata_props[STATE] = json.dumps(sizes)
    return made


def _with_states_for_any(net: Module, assumed: Assumption, to: Format, *, fold: bool) -> Network:
    """For sequences of any length; for Caffe2, whose nets know the length, one step at a time."""
    example = example_of(assumed.input)
    made = _with_states(net, example, to, fold=fold, vary=True)
    shape = made.inputs[0].shape or ()
    if to in ("caffe2", "predictor") and isinstance(example, tuple) and "T" in shape:
        step = tuple(1 if name == "T" else size for name, size in zip(shape, example, strict=True))
        made = _with_states(net, step, to, fold=fold)
        made.notes += (f"{assumed.note}; made for one step of it: a net of Caffe2 has a fixed length",)
        return made
    made.notes += (assumed.note + _free(made),)
    return made


def as_converted(net: Module, network: Network) -> Module:
    """The Torch network as this one was made of it: with its states as inputs and outputs, where it has them there."""
    text = network.model.metadata_props.get(STATE)
    if text is None:
        return net
    from retorch.layers.recurrent.stateful import sizes_of

    return net.with_states(sizes_of(json.loads(text)))


def _for_any_batch(net: Module, assumed: Assumption, to: Format, *, fold: bool) -> Network:
    """The network for a batch of one, or for two where only that leaves the batch open; and a note in that case.

    Where Torch itself treats a batch of one as no batch (``nn.View`` without ``numInputDims``), what is made for one is
    right for one only.
    """
    made = _converted(net, example_of(assumed.input), to, fold=fold, vary=True)
    made.notes += (assumed.note + _free(made),)
    pair = with_samples(assumed.input, 2)
    if made.batch_is_open or pair is None:
        return made
    try:
        for_two = _converted(net, example_of(pair), to, fold=fold, vary=True)
    except UnsupportedError:
        # made for one sample
        return made
    if not for_two.batch_is_open:
        return made
    for_two.notes += (
        assumed.note + _free(for_two),
        "for batches of two and more: at one, a layer of this network drops the batch dimension in Torch",
    )
    return for_two


def _free(made: Network) -> str:
    """Which sizes stay free, in words that go on a sentence."""
    names = {str(size) for port in made.inputs for size in port.shape or () if not isinstance(size, int)}
    free = [word for name, word in _WORDS.items() if name in names]
    if not free:
        return ""
    step = made.model.metadata_props.get("retorch.size_step", "1")
    told = " and ".join([", ".join(free[:-1]), free[-1]] if len(free) > 1 else free)
    return f"; {told} {'stay' if len(free) > 1 else 'stays'} free{f', in steps of {step}' if step != '1' else ''}"


_WORDS = {"D": "depth", "H": "height", "W": "width", "T": "the number of steps"}
