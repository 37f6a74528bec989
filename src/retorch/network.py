"""A network that runs today: an ONNX model, the nesting of its inputs and outputs, and where it can go from here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, cast

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike, NDArray

from retorch.caffe2 import files, ownership
from retorch.caffe2.emit.net import EmitOptions, emit
from retorch.caffe2.files import Caffe2Net
from retorch.caffe2.parse.net import NeedsShapeError, parse
from retorch.errors import ConversionError, UsageError
from retorch.files import artifacts
from retorch.files.formats import destination
from retorch.files.html_table import html_table
from retorch.files.record import LayerRecord, Record, passed_over
from retorch.graph import onnx_file
from retorch.graph.session import Session
from retorch.graph.shapes import fix_sizes, inferred

Array: TypeAlias = NDArray[Any]
#: What ``run`` takes for an input: an array, a list of such, or arrays by name.
Feed: TypeAlias = "ArrayLike | Sequence[Feed] | Mapping[str, ArrayLike]"
#: How flat tensors make up what Torch takes or gives: ``0`` is the first tensor, ``[0, [1, 2]]`` a table.
Nesting: TypeAlias = "int | list[Nesting]"
#: What a network can be written as.
Format: TypeAlias = Literal["caffe2", "onnx", "predictor"]
#: What a network says of itself, in the metadata of an ONNX model and in the arguments of a Caffe2 net.
DESCRIPTION = ("retorch.inputs", "retorch.outputs", "retorch.example_shapes")


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output. ``shape`` is None where not even its rank is known; a size that varies has a name or None."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...] | None

    def __str__(self) -> str:
        sizes = "…" if self.shape is None else "×".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name} {self.dtype.name} {sizes}"


class Network:
    """An ONNX model and the nesting of its inputs and outputs.

    ``notes`` is what a user should know about what was saved.
    """

    def __init__(self, model: ir.Model | None, *, source: Caffe2Net | None = None, format: Format = "caffe2") -> None:
        """``source`` is the Caffe2 net that the model was read from: it is read again for the sizes of each input.
        ``format`` is what ``save`` writes into a folder.

        Only with a source can ``model`` be None: a net that cannot be said before the sizes of its inputs are known.
        """
        self.notes: tuple[str, ...] = ()
        self.format: Format = format
        self._model = model
        self._source = source
        self._first = None if model is None else _Variant(model)
        self._variants: dict[object, _Variant] = {}
        self._emitted: dict[EmitOptions, Caffe2Net] = {}

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a folder of Caffe2 files, either file of a Caffe2 pair, or an ``.onnx`` file or the folder around it.

        Raises UsageError where there is nothing to read, FormatError for broken files, UnsupportedError with every
        operator that cannot be said.
        """
        where = Path(path)
        single = artifacts.onnx_file(where)
        if single is not None:
            return cls(onnx_file.load(single))
        net = files.read(where)
        return cls(_first_model(net), source=net)

    @property
    def model(self) -> ir.Model:
        """The model. NeedsShapeError for a Caffe2 net that means something only once its inputs have sizes."""
        if self._model is None:
            raise NeedsShapeError("the network depends on the sizes of its inputs", hint="give them (--input)")
        return self._model

    def sized(self, *shapes: Sequence[int]) -> Network:
        """The network for inputs of these shapes, in order. UsageError where they do not fit."""
        if len(shapes) != len(self.inputs):
            raise UsageError(f"got {len(shapes)} shapes; the network has {_listed(self.inputs)}")
        if self._source is not None:
            known = {port.name: tuple(shape) for port, shape in zip(self.inputs, shapes, strict=True)}
            return Network(_parsed(self._source, known))
        fixed = self.model.clone()
        fixed.metadata_props["retorch.example_shapes"] = json.dumps([list(shape) for shape in shapes])
        for port, shape in zip(self.inputs, shapes, strict=True):
            _check(port, tuple(shape))
        return Network(fix_sizes(fixed) or fixed)

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The inputs, in order."""
        if self._model is None and self._source is not None:
            return tuple(Port(name, np.dtype(np.float32), None) for name in self._source.inputs)
        weights = self.model.graph.initializers
        return tuple(_port(value) for value in self.model.graph.inputs if value.name not in weights)

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The outputs, in order."""
        if self._model is None and self._source is not None:
            return tuple(Port(name, np.dtype(np.float32), None) for name in self._source.predict.external_output)
        return tuple(_port(value) for value in self.model.graph.outputs)

    @property
    def batch_is_open(self) -> bool:
        """Whether the first dimension of some input may have any size."""
        return any(port.shape and not isinstance(port.shape[0], int) for port in self.inputs)

    def _repr_html_(self) -> str:
        """What a notebook shows: inputs, outputs, and how often each operator stands in between."""
        ports = [("input", p) for p in self.inputs] + [("output", p) for p in self.outputs]
        kinds = Counter(node.op_type for node in self._model.graph) if self._model else Counter[str]()
        rows = [(what, *str(port).split(" ")) for what, port in ports]
        rows += [("operator", kind, "", f"×{count}") for kind, count in kinds.most_common()]
        return html_table("A network", ("", "name", "type", ">shape or count"), rows)

    @property
    def input_nesting(self) -> Nesting:
        """How the inputs make up the argument of Torch's ``forward``."""
        return self._nesting("retorch.inputs", len(self.inputs))

    @property
    def output_nesting(self) -> Nesting:
        """How the outputs make up what Torch's ``forward`` gives."""
        return self._nesting("retorch.outputs", len(self.outputs))

    def _nesting(self, key: str, count: int) -> Nesting:
        stored = None if self._model is None else self._model.metadata_props.get(key)
        if stored is not None:
            return cast("Nesting", json.loads(stored))
        return 0 if count == 1 else list(range(count))

    def run(self, *inputs: Feed) -> list[Array]:
        """Calculate the outputs, as a flat list in order.

        Args:
            inputs: the inputs in order, alone or in (nested) lists, or one mapping by name. They are cast to the types
                that the network declares.

        Raises:
            UsageError: too many inputs or too few, or one of the wrong shape.
            EngineError: onnxruntime refuses the network or fails.
        """
        variant, feeds = self._variant(inputs)
        return variant.ready().run(feeds)

    def intermediate(self, names: Sequence[str], *inputs: Feed) -> dict[str, Array]:
        """The values of any tensors of the graph by name, inputs, weights and outputs included.

        Raises UsageError for a name that the network does not have.
        """
        variant, feeds = self._variant(inputs)
        model = variant.model
        made = {value.name: value for node in model.graph for value in node.outputs}
        weights = {name: value.const_value for name, value in model.graph.initializers.items()}
        found: dict[str, Array] = {name: feeds[name] for name in names if name in feeds}
        found |= {name: weight.numpy() for name in names if (weight := weights.get(name)) is not None}
        wanted = [name for name in dict.fromkeys(names) if name not in found]
        unknown = [name for name in wanted if name not in made]
        if unknown:
            raise UsageError(f"the network has no tensor {', '.join(unknown)}")
        if wanted:
            found.update(zip(wanted, Session(_with_outputs(model, wanted)).run(feeds, wanted), strict=True))
        return {name: found[name] for name in names}

    def value_names(self) -> set[str]:
        """The names of all tensors that the network computes."""
        return {str(value.name) for node in self.model.graph for value in node.outputs}

    def model_for(self, *inputs: Feed) -> ir.Model:
        """The model that runs on these inputs: what was read from Caffe2 files is read again for their sizes."""
        return self._variant(inputs)[0].model

    def save(
        self,
        path: str | Path,
        format: Format | None = None,
        *,
        options: EmitOptions | None = None,
        packed: bool | None = None,
        init: Literal["pb", "minidb"] = "pb",
    ) -> tuple[Path, ...]:
        """Write the network, by the suffix of ``path``: ``.onnx``, ``.pb`` (with ``_init.pb`` beside it), ``.minidb``.

        A folder gets Caffe2's three files, or ``model.onnx`` or ``predictor.minidb`` where ``format`` or the conversion
        asked for it; folders are made where they are missing.

        ``packed`` and ``init`` are those of :func:`retorch.caffe2.files.write`; None packs unless ``options`` ask for
        what ``brew`` would have written. Returns the files. What the user should know, of sizes that old builds refuse
        among it, stands in ``notes`` afterwards. Raises ConversionError where Caffe2 cannot express the network or
        read files of its size, UsageError for another suffix, or where the files cannot be written.
        """
        target = destination(path, format or "", default=self.format)
        if target.format.name == "onnx":
            return onnx_file.save(self.model, target.path)
        net = self.caffe2(options)
        brew = options is not None and options.brew
        if target.format.name == "predictor":
            done = files.write_container(target.path, net, _known_shapes((*self.inputs, *self.outputs)))
        else:
            folder, names = (target.path, files.Names()) if target.is_folder else files.Names.of(target.path)
            packed = not brew if packed is None else packed
            apart = target.is_folder
            done = files.write(folder, net, names=names, apart=apart, packed=packed, init=init, exporter=brew)
        self.notes += done.warnings
        return done.files

    def caffe2(self, options: EmitOptions | None = None) -> Caffe2Net:
        """The network as Caffe2 operators; one that was read from Caffe2 files is as it was.

        A network for any batch size that Caffe2 can express for one only comes out for the batch size that it was
        converted with; ``notes`` says so. Raises UnsupportedError with every node that cannot be expressed.
        """
        if self._source is not None and options is None:
            return self._source
        settings = EmitOptions() if options is None else options
        if settings not in self._emitted:
            self._emitted[settings] = self._emit(settings)
        return self._emitted[settings]

    def layer_records(self, options: EmitOptions | None = None) -> tuple[LayerRecord, ...]:
        """The Torch layers, each with its operators: those of the Caffe2 net by these options, or ONNX's without."""
        if options is None:
            return ownership.layer_records(self.model)
        plain = self.caffe2(replace(options, in_place=False))
        return ownership.layer_records(self.model, (plain, self.caffe2(options)))

    def _emit(self, settings: EmitOptions) -> Caffe2Net:
        model = inferred(self.model)
        try:
            return self._described(emit(model, settings), settings)
        except ConversionError:
            fixed = fix_sizes(model)
            if fixed is None:
                raise
        net = self._described(emit(fixed, settings), settings)
        sizes = zip(model.graph.inputs[0].shape or (), fixed.graph.inputs[0].shape or (), strict=True)
        batch = next((size for open_size, size in sizes if not isinstance(open_size, int)), "?")
        self.notes += (f"Caffe2 can express this network for a batch of {batch} only",)
        return net

    def _described(self, net: Caffe2Net, options: EmitOptions) -> Caffe2Net:
        """The net with the nesting and shapes of its inputs as arguments of its own, which Caffe2 passes over."""
        for key in () if options.brew else DESCRIPTION:
            text = self.model.metadata_props.get(key)
            if text is not None:
                net.predict.arg.add(name=key, s=text.encode())
        return net

    def _arrays(self, inputs: Sequence[Feed]) -> dict[str, Array]:
        ports = self.inputs
        if len(inputs) == 1 and isinstance(inputs[0], Mapping):
            named = inputs[0]
            if set(named) != {port.name for port in ports}:
                raise UsageError(f"got inputs {', '.join(sorted(named))}; the network has {_listed(ports)}")
            given: list[ArrayLike] = [named[port.name] for port in ports]
        else:
            given = _flat(inputs)
            if len(given) != len(ports):
                raise UsageError(f"got {len(given)} inputs; the network has {len(ports)}: {_listed(ports)}")
        return {port.name: np.asarray(array) for port, array in zip(ports, given, strict=True)}

    def _variant(self, inputs: Sequence[Feed]) -> tuple[_Variant, dict[str, Array]]:
        """The form of the network for these inputs, and the inputs as it takes them."""
        arrays = self._arrays(inputs)
        exact = tuple((array.dtype.kind, array.shape) for array in arrays.values())
        ranks = tuple((kind, len(shape)) for kind, shape in exact)
        variant = next((found for key in (ranks, exact) if (found := self._variants.get(key))), None)
        if self._first is not None and (self._source is None or self._takes(arrays)):
            variant = self._first
        elif variant is None:
            variant = self._specialised(arrays, ranks, exact)
        ports = [_port(value) for value in variant.model.graph.inputs if value.name in arrays]
        return variant, {port.name: _fitted(port, arrays[port.name]) for port in ports}

    def _takes(self, arrays: Mapping[str, Array]) -> bool:
        """Whether the model as it was first read is one for these inputs."""
        pairs = [(port, arrays[port.name]) for port in self.inputs]
        return all(
            port.shape is not None and _fits(array.shape, port.shape) and port.dtype.kind == array.dtype.kind
            for port, array in pairs
        )

    def _specialised(self, arrays: Mapping[str, Array], ranks: object, exact: object) -> _Variant:
        """The Caffe2 net read for inputs of these ranks, else of exactly these sizes. Integers stay what they are."""
        if self._source is None:
            raise UsageError("a network without a model runs nothing")
        types = {
            name: ir.DataType.from_numpy(array.dtype) for name, array in arrays.items() if array.dtype.kind in "biu"
        }
        varying = {name: [f"{name}_{axis}" for axis in range(array.ndim)] for name, array in arrays.items()}
        try:
            key, model = ranks, _parsed(self._source, varying, types)
        except ConversionError:
            # What cannot be said for any sizes may be for these; and their error message is the one that matters.
            key, model = exact, _parsed(self._source, {name: array.shape for name, array in arrays.items()}, types)
        self._variants[key] = _Variant(model)
        return self._variants[key]


def described(target: Path) -> Network:
    """The network in these files, with what their record says of it where they do not: those of brew do not."""
    network = Network.load(target)
    record = Record.read(target)
    network.notes += passed_over(target)
    if record is not None:
        for key, text in record.description.items():
            network.model.metadata_props.setdefault(key, text)
    return network


class _Variant:
    """A network for certain ranks or sizes, and its session once it has run."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self._session: Session | None = None

    def ready(self) -> Session:
        """The session, made at the first run."""
        if self._session is None:
            self._session = Session(self.model)
        return self._session


def _parsed(
    net: Caffe2Net,
    shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    types: Mapping[str, ir.DataType] | None = None,
) -> ir.Model:
    """The net as a model, with what it says of itself."""
    model = parse(net, shapes, types)
    model.metadata_props.update({arg.name: arg.s.decode() for arg in net.predict.arg if arg.name in DESCRIPTION})
    return model


def _first_model(net: Caffe2Net) -> ir.Model | None:
    """The model before any input is seen: from the operators alone, or at the sizes that retorch converted it with."""
    try:
        return _parsed(net)
    except NeedsShapeError:
        stored = next((arg.s for arg in net.predict.arg if arg.name == "retorch.example_shapes"), None)
        if stored is None:
            return None
        return _parsed(net, dict(zip(net.inputs, cast("list[list[int]]", json.loads(stored)), strict=True)))


def _fitted(port: Port, array: Array) -> Array:
    """The array in the type of the input. UsageError where its shape is another, or it holds no real numbers."""
    if array.dtype.kind not in "fiub":
        raise UsageError(f"input {port} takes numbers, not {array.dtype}")
    _check(port, array.shape)
    return np.asarray(array, port.dtype, order="C")


def _check(port: Port, shape: tuple[int, ...]) -> None:
    if port.shape is not None and not _fits(shape, port.shape):
        got = "×".join(map(str, shape)) or "a single number"
        raise UsageError(f"input {port} does not take {got}")


def _with_outputs(model: ir.Model, names: Sequence[str]) -> ir.Model:
    clone = model.clone()
    made = {value.name: value for node in clone.graph for value in node.outputs}
    present = {value.name for value in clone.graph.outputs}
    clone.graph.outputs.extend(made[name] for name in names if name not in present)
    return clone


def _port(value: ir.Value) -> Port:
    shape = None
    if value.shape is not None:
        shape = tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)
    dtype = value.dtype or ir.DataType.FLOAT
    return Port(value.name or "", dtype.numpy(), shape)


def _known_shapes(ports: Sequence[Port]) -> dict[str, tuple[int, ...]]:
    shapes = {port.name: tuple(dim for dim in port.shape or () if isinstance(dim, int)) for port in ports}
    return {port.name: shapes[port.name] for port in ports if port.shape and len(shapes[port.name]) == len(port.shape)}


def _listed(ports: Sequence[Port]) -> str:
    return ", ".join(map(str, ports)) or "none"


def _fits(shape: tuple[int, ...], declared: tuple[int | str | None, ...]) -> bool:
    return len(shape) == len(declared) and all(
        not isinstance(wanted, int) or size == wanted for size, wanted in zip(shape, declared, strict=True)
    )


def _flat(feed: object) -> list[ArrayLike]:
    """The arrays in nested lists, in order. A list of numbers is not a list of inputs: pass an array."""
    if isinstance(feed, list | tuple):
        return [array for item in cast("Sequence[object]", feed) for array in _flat(item)]
    if isinstance(feed, Mapping):
        raise UsageError("inputs by name come in one mapping, alone")
    return [cast("ArrayLike", feed)]
