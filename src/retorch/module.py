"""A Torch network in the hand: found in a file, bound to layers, ready to run.

A ``.t7`` file holds whatever its author saved: a network, or a checkpoint in which one or several networks stand
next to options, statistics and vocabularies. :func:`load` finds the network and says what else it could have taken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import numpy as np

from retorch import limits
from retorch.errors import Problem, Refusal, UnsupportedError, UsageError, counted
from retorch.files.html_table import html_table
from retorch.graph.input_shape import Assumption, assume
from retorch.graph.input_shape.options import Settings, settings
from retorch.graph.input_shape.tensors import Nested as Tensors
from retorch.graph.input_shape.tensors import Tensor
from retorch.layers.base.binding import ObjectBinder, Unknown
from retorch.layers.base.layer import Array, Layer, Nested, Sizes, calls
from retorch.layers.base.layer_tree import tree
from retorch.layers.base.likeness import remedy
from retorch.layers.base.memory import current, forward_pass, tensors
from retorch.layers.base.networks import networks
from retorch.layers.base.random_source import GivenNoise, RandomLayer, has_noise, never_run, random_layers
from retorch.torch7 import LuaTable, TorchObject, open_file
from retorch.torch7.paths import child, follow, steps

if TYPE_CHECKING:
    from retorch.layers.recurrent.stateful import SizesOf

Source: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO"
#: The sizes of a tensor, or of the tensors of a table.
Shape: TypeAlias = "tuple[int, ...] | list[Shape]"


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """A network: ``forward`` runs it in NumPy, as Torch would at evaluation.

    Attributes:
        layer: the outermost layer.
        name: a name for nets made of it.
        at: where in the file it stands; ``""`` for the file's root.
        problems: what keeps it from being run or converted.
        notes: what a person should know: fields that were not read, saved in training mode, other networks.
        alternatives: the paths of the other networks in the file.
        options: the whole numbers that its author wrote beside it, by name: ``{"opt.fineSize": (256,)}``.
        file: the file that it was read from; None where it came as bytes.
    """

    layer: Layer
    name: str = "network"
    at: str = ""
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = field(default=())
    options: Settings = field(default_factory=dict[str, tuple[int, ...]])
    file: Path | None = None

    def __call__(self, x: Nested) -> Nested:
        """As :meth:`forward`."""
        return self.forward(x)

    def forward(self, x: Nested, listen: Callable[[Layer, Nested, Nested], None] | None = None) -> Nested:
        """Run the network.

        Args:
            x: an array, or a list where Torch takes a table; it is not written to. Its precision is that of the
                computation. Where layers draw at random, a list of that and what they draw (:meth:`noise_shapes`).
            listen: called with each layer, its input and its output, as they are at that moment.

        Returns:
            An array, or nested lists where Torch gives a table.

        Raises:
            UnsupportedError: the network holds layers that retorch cannot run.
            UsageError: the input does not fit a layer.
        """
        if self.problems:
            raise UnsupportedError(self.problems, hint=remedy(self.layer))
        limits.check_steps(calls(self.layer), "this network")
        layers = random_layers(self.layer)
        given, noise = _input_copy(x), list[Nested]()
        if has_noise(given, len(layers)):
            given, *noise = given
        elif layers:
            raise UsageError(
                f"layers of this network draw random numbers: give {_table_of(self.noise_shapes(x))}",
                hint="net.noise_shapes(x) lists these shapes, net.notes what Torch draws",
            )
        with forward_pass(listen, GivenNoise(layers, list(tensors(noise)))):
            return _output_copy(current(self.layer(given)))

    @property
    def taken(self) -> str:
        """Which of a file's networks this is, where the file is more than one network."""
        others = f"; also in the file: {', '.join(p or 'the root' for p in self.alternatives)}"
        if self.alternatives:
            return f"took {self.at or 'the root'}{others}"
        return f"took {self.at}" if self.at else ""

    def input_shape(self) -> Shape:
        """The shape of what ``forward`` takes, worked out from the file: a tuple, or a list for a table.

        It is what :func:`retorch.convert` assumes where nobody says it, for one sample where the network takes samples.

        Raises:
            UnsupportedError: the network holds layers that retorch cannot run.
            UsageError: nothing says what it takes.
        """
        return _shape(self.assumed_input().input)

    def assumed_input(self) -> Assumption:
        """The input that is assumed where nobody says it, and the reasons for it."""
        if self.problems:
            raise UnsupportedError(self.problems, hint=remedy(self.layer))
        limits.check_steps(calls(self.layer), "this network")
        return assume(self.layer, self.options)

    def with_states(self, sizes: SizesOf) -> Module:
        """The network with the states of its recurrent layers as inputs and outputs: {x, h0…} → {y, hn…}.

        Args:
            sizes: those of its input: a tuple, or a list for a table.

        Raises:
            UsageError: it keeps no states from one step to the next, or they cannot be handed on.
        """
        from retorch.layers.recurrent.stateful import Stateful

        try:
            return replace(self, layer=Stateful(self.layer, sizes))
        except Refusal as refusal:
            raise UsageError(f"the network has no states to hand on: it {refusal}") from None

    def noise_shapes(self, x: Nested) -> list[Sizes]:
        """The shapes of what this network's layers draw at random for an input, in order; found by running it."""
        found: dict[int, Sizes] = {}

        def zeros(owner: Layer, shape: Sizes) -> Array:
            found[id(owner)] = shape
            return np.zeros(shape)

        with forward_pass(noise=zeros):
            self.layer(_input_copy(x))
        layers = random_layers(self.layer)
        if problems := never_run(layers, found):
            raise UnsupportedError(problems)
        return [found[id(made)] for made in layers]

    def state_dict(self) -> dict[str, Array]:
        """Parameters and running statistics as PyTorch names and lays them out: ``0.weight``, ``3.1.running_var``."""
        from retorch.layers import state

        return state.state_dict(self.layer)

    def load_state_dict(self, weights: Mapping[str, Array]) -> None:
        """Write weights by PyTorch's names, as its twin was trained to, into what the network was loaded from.

        That is the way back to Torch: ``obj = retorch.read(file, writable=True)``, ``retorch.load(obj)
        .load_state_dict(weights)``, ``retorch.write(new, obj)``. Load what was read once more to run it with its new
        weights: layers work things out of them when they are loaded. Names that the network does not have are the
        twin's own (``num_batches_tracked``) and are left out.

        Raises:
            UsageError: a tensor is missing or of another shape, or the arrays are read-only.
        """
        from retorch.layers import state

        state.load_state_dict(self.layer, weights)

    def __repr__(self) -> str:
        """The layers as a tree."""
        return tree(self.layer, {problem.path for problem in self.problems})

    def _repr_html_(self) -> str:
        """What a notebook shows: the layers, their settings and parameters."""
        bad = {problem.path: problem.reason for problem in self.problems}
        rows = [
            (
                layer.path or "(root)",
                layer.typename,
                " ".join(f"{name}={value}" for name, value in layer.settings().items()),
                f"{count:,}" if (count := sum(a.size for a in layer.parameters().values())) else "",
                bad.get(layer.path, ""),
            )
            for layer in self.layers()
        ]
        total = sum(array.size for array in weights(self))
        caption = f"{self.name}: {counted(len(rows), 'module')}, {counted(total, 'parameter')}"
        return html_table(caption, ("path", "class", "settings", ">parameters", "problem"), rows)

    def layers(self) -> Iterator[Layer]:
        """Every layer once, outermost first, in the order of the file."""
        return self.layer.every()


def _shape(x: Tensors) -> Shape:
    return x.shape if isinstance(x, Tensor) else [_shape(item) for item in x]


def _table_of(shapes: Iterable[Sizes]) -> str:
    """How an error names the input together with what layers draw."""
    return f"[x, {', '.join('x'.join(map(str, shape)) for shape in shapes)}]"


def _input_copy(x: Nested | Iterable[Nested]) -> Nested:
    """A copy, since in-place layers write into their input."""
    if isinstance(x, (list, tuple)):
        if any(isinstance(item, (int, float)) for item in x):
            raise UsageError("a list is a table of tensors", hint="an input of numbers is an array: np.array([…])")
        return [_input_copy(item) for item in x]
    made = np.array(x)
    if made.dtype.kind not in "fiub":
        raise UsageError(f"a network takes arrays of numbers, not {type(x).__name__}")
    return made


def _output_copy(y: Nested) -> Nested:
    """Outputs that outlive the pass and its buffers."""
    return [_output_copy(item) for item in y] if isinstance(y, list) else np.array(y)


#: Where authors keep the network that one wants, best first.
_PREFERRED = ("model", "net", "G", "netG", "modelG", "generator", "protos.rnn", "protos", "network", "best")


def load(source: Source | LuaTable | TorchObject, *, at: str | None = None, nn_age: str | None = None) -> Module:
    """Take the network out of a file, or out of what :func:`retorch.read` gave.

    Args:
        source: a path, the file's bytes, a binary file object; or an object or table.
        at: where the network stands in the file (``model.generator``); by default the only one, or the likeliest.
        nn_age: which nn ran it, where that matters: ``old``, before August 2017, whose instance norms measure at
            evaluation, or ``new``, whose do not; by default what the file says, and ``old`` where it says nothing.

    Returns:
        The network; its ``problems`` are not raised before it is run or converted.

    Raises:
        FormatError: the file is not a readable ``.t7``.
        UsageError: there is no network in it, or not at that path.
    """
    if isinstance(source, (LuaTable, TorchObject)):
        return _picked(source, "network", at, nn_age)
    if not isinstance(source, (str, os.PathLike, bytes)) and not hasattr(source, "read"):
        raise UsageError(
            f"load takes a path, bytes, an open file or what retorch.read gave, not {type(source).__name__}"
        )
    document = open_file(source)
    file = Path(os.fspath(source)) if isinstance(source, (str, os.PathLike)) else None
    net = _picked(document.root, file.name.partition(".")[0] if file else "network", at, nn_age)
    return replace(net, notes=(*document.damage, *net.notes), file=file)


def _picked(root: object, name: str, at: str | None, nn_age: str | None) -> Module:
    net = pick(root, name=name, at=at, nn_age=nn_age)
    if net is None:
        raise UsageError(
            f"there is no network {f'at {at}' if at else 'in this file'}", hint="`retorch inspect` shows what is in it"
        )
    return net


def pick(root: object, *, name: str = "network", at: str | None = None, nn_age: str | None = None) -> Module | None:
    """The network in what a file holds: the one at a path, or the only one, or the likeliest; None where there is none.

    Raises:
        UsageError: the path names nothing.
    """
    if nn_age not in (None, "old", "new"):
        raise UsageError(f"nn_age is old or new, not {nn_age}")
    found = networks(root)
    if at is not None:
        chosen = follow(root, at)
        if isinstance(chosen, TorchObject):
            return _with_options(bind(chosen, name=name, at=at, nn_age=nn_age), root)
        inside = reduce(child, steps(at), "")
        found = {reduce(child, steps(path), inside): net for path, net in networks(chosen).items()}
        return _with_options(_likeliest(found, inside, name, nn_age), root)
    return _with_options(_likeliest(found, "", name, nn_age), root)


def _with_options(net: Module | None, root: object) -> Module | None:
    return None if net is None else replace(net, options={**settings(net.layer.raw), **settings(root)})


def _likeliest(found: Mapping[str, TorchObject], inside: str, name: str, nn_age: str | None) -> Module | None:
    """One of several networks: where authors keep the one that one wants, by its path ``inside``, else the largest."""
    if not found:
        return None
    wanted = [f"{inside}.{want}" if inside else want for want in _PREFERRED]
    best = next((p for want in wanted for p in found if p == want or p.startswith((want + ".", want + "["))), None)
    if best is None:
        left = [_MOST_COUNTED]
        best = max(found, key=lambda p: _weight(found[p], left))
    others = tuple(p for p in found if p != best)
    net = bind(found[best], name=name, at=best, alternatives=others, nn_age=nn_age)
    return replace(net, notes=(net.taken, *net.notes)) if net.taken else net


def weights(net: Module) -> list[Array]:
    """The network's parameters, each stored array once."""
    found: dict[tuple[object, ...], Array] = {}
    for made in net.layers():
        for array in made.parameters().values():
            where = array.__array_interface__["data"][0], array.dtype.str, array.shape, array.strides
            found.setdefault(where, array)
    return list(found.values())


#: Values that are looked at to find the largest of several networks: they may share what is in them.
_MOST_COUNTED = 500_000


def _weight(obj: TorchObject, left: list[int]) -> int:
    """How many modules an object holds: of several networks, the largest is the likeliest."""
    stack: list[object] = [obj]
    seen: set[int] = set()
    count = 0
    while stack and left[0] > 0:
        value = stack.pop()
        if id(value) in seen or not isinstance(value, (TorchObject, LuaTable)):
            continue
        left[0] -= 1
        seen.add(id(value))
        count += isinstance(value, TorchObject)
        stack.extend(value.values())
    return count


def bind(
    obj: object,
    *,
    name: str = "network",
    at: str = "",
    alternatives: tuple[str, ...] = (),
    nn_age: str | None = None,
) -> Module:
    """Give stored objects their meaning.

    Raises:
        UsageError: the object is no module.
    """
    binder = ObjectBinder(nn_age)
    try:
        layer = binder(obj, "")
    except Refusal as error:
        raise UsageError(f"{at or 'the root'} is not a network: {error}") from None
    notes = list(binder.notes)
    if any(made.raw.get("train") is True for made in binder.layers.values()):
        notes.append("saved in training mode; it is run and converted as at evaluation")
    if not binder.problems:
        notes += _about_noise(random_layers(layer))
    return Module(layer, name, at, tuple(binder.problems), tuple(notes), alternatives)


def _about_noise(layers: Sequence[RandomLayer]) -> Iterator[str]:
    """What a person has to know to feed a network whose layers draw at random."""
    if layers:
        yield f"draws random numbers at every pass: here it takes them in a table, after its own input ({len(layers)})"
    for i, made in enumerate(layers, 2):
        yield f"input {i} is what {made.path or '(root)'} {made.typename} draws: in Torch, {made.draws()}"


def unknown(module: Module) -> list[Unknown]:
    """The layers whose classes have no rule."""
    return [made for made in module.layers() if isinstance(made, Unknown)]
