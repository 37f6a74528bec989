"""A network that runs today: an ONNX model, the nesting of its inputs and outputs, and where it can go from here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, cast

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike, NDArray
from onnx_ir.passes.common import ShapeInferencePass

from retorch import onnxfile
from retorch.caffe2 import files
from retorch.caffe2.emission.op import EmitOptions
from retorch.caffe2.files import Caffe2Net
from retorch.caffe2.parse import NeedsShapeError, parse
from retorch.errors import ConversionError, UsageError
from retorch.session import Session

Array: TypeAlias = NDArray[Any]
#: What ``run`` takes for an input: an array, a list of such, or arrays by name.
Feed: TypeAlias = "ArrayLike | Sequence[Feed] | Mapping[str, ArrayLike]"
#: How flat tensors make up what Torch takes or gives: ``0`` is the first tensor, ``[0, [1, 2]]`` a table.
Nesting: TypeAlias = "int | list[Nesting]"
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

    ``model`` is what runs. ``notes`` is what a user should know about what was loaded or saved.
    """

    def __init__(self, model: ir.Model, *, source: Caffe2Net | None = None) -> None:
        """``source`` is the Caffe2 net that the model was read from: it is read again where sizes matter."""
        self.model = model
        self.notes: tuple[str, ...] = ()
        self._source = source
        self._variants: dict[object, _Variant] = {} if source is not None else {(): _Variant(model)}

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a folder of Caffe2 files, either file of a Caffe2 pair, or an ``.onnx`` file.

        Raises UsageError where there is nothing to read, FormatError for broken files, UnsupportedError with every
        operator that cannot be said.
        """
        where = Path(path)
        if where.suffix == ".onnx":
            return cls(onnxfile.load(where))
        net = files.read(where)
        model = _first_model(net)
        model.metadata_props.update({arg.name: arg.s.decode() for arg in net.predict.arg if arg.name in DESCRIPTION})
        return cls(model, source=net)

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The inputs, in order."""
        weights = self.model.graph.initializers
        return tuple(_port(value) for value in self.model.graph.inputs if value.name not in weights)

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The outputs, in order."""
        return tuple(_port(value) for value in self.model.graph.outputs)

    @property
    def input_nesting(self) -> Nesting:
        """How the inputs make up the argument of Torch's ``forward``."""
        return self._nesting("retorch.inputs", len(self.inputs))

    @property
    def output_nesting(self) -> Nesting:
        """How the outputs make up what Torch's ``forward`` gives."""
        return self._nesting("retorch.outputs", len(self.outputs))

    def _nesting(self, key: str, count: int) -> Nesting:
        stored = self.model.metadata_props.get(key)
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
        format: Literal["caffe2", "onnx"] = "caffe2",
        *,
        options: EmitOptions | None = None,
        packed: bool = True,
    ) -> tuple[Path, ...]:
        """Write the network: three Caffe2 files into the folder ``path``, or one ``.onnx`` file.

        Returns the files. What the user should know stands in ``notes`` afterwards. Raises ConversionError where
        Caffe2 cannot express the network, UsageError where the files cannot be written.
        """
        target = Path(path)
        if format == "onnx":
            onnxfile.save(self.model, target)
            return (target,)
        written = files.write(target, self.caffe2(options), packed=packed)
        self.notes += written.warnings
        return written.files

    def caffe2(self, options: EmitOptions | None = None) -> Caffe2Net:
        """The network as Caffe2 operators; one that was read from Caffe2 files is as it was.

        A network for any batch size that Caffe2 can express for one only comes out for the batch size that it was
        converted with; ``notes`` says so. Raises UnsupportedError with every node that cannot be expressed.
        """
        if self._source is not None and options is None:
            return self._source
        from retorch.caffe2.emit import emit

        settings = EmitOptions() if options is None else options
        try:
            return self._described(emit(self.model, settings))
        except ConversionError:
            fixed = fix_sizes(self.model)
            if fixed is None:
                raise
        net = self._described(emit(fixed, settings))
        batch = fixed.graph.inputs[0].shape
        self.notes += (f"Caffe2 can express this network for a batch of {batch[0] if batch else '?'} only",)
        return net

    def _described(self, net: Caffe2Net) -> Caffe2Net:
        """The net with the nesting and shapes of its inputs as arguments of its own, which Caffe2 passes over."""
        for key in DESCRIPTION:
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
        variant = next((found for key in ((), ranks, exact) if (found := self._variants.get(key))), None)
        if variant is None and self._source is not None:
            try:
                variant = self._variants[ranks] = _specialised(self._source, arrays, exact=False)
            except ConversionError:
                # What cannot be said for any sizes may be for these; and their error message is the one that matters.
                variant = self._variants[exact] = _specialised(self._source, arrays, exact=True)
        if variant is None:
            raise UsageError("the network has no inputs of these sizes")
        ports = [_port(value) for value in variant.model.graph.inputs if value.name in arrays]
        return variant, {port.name: _fitted(port, arrays[port.name]) for port in ports}


class _Variant:
    """A network for certain ranks or sizes, and its session once it has run."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self._session: Session | None = None

    def ready(self) -> Session:
        if self._session is None:
            self._session = Session(self.model)
        return self._session


def _specialised(net: Caffe2Net, arrays: Mapping[str, Array], *, exact: bool) -> _Variant:
    """The Caffe2 net for inputs of these ranks, or of exactly these sizes. Integers stay what they are."""
    types = {name: ir.DataType.from_numpy(array.dtype) for name, array in arrays.items() if array.dtype.kind in "biu"}
    if exact:
        return _Variant(parse(net, {name: array.shape for name, array in arrays.items()}, types))
    varying = {name: [f"{name}_{axis}" for axis in range(array.ndim)] for name, array in arrays.items()}
    return _Variant(parse(net, varying, types))


def _fitted(port: Port, array: Array) -> Array:
    """The array in the type of the input. UsageError where its shape is another."""
    if port.shape is not None and not _fits(array.shape, port.shape):
        got = "×".join(map(str, array.shape)) or "a single number"
        raise UsageError(f"input {port} does not take {got}")
    return np.asarray(array, port.dtype, order="C")


def _first_model(net: Caffe2Net) -> ir.Model:
    """The model before any input is seen: with what the operators say of the inputs, or with no weights read at all."""
    try:
        return parse(net)
    except NeedsShapeError:
        inputs = [ir.val(name, ir.DataType.FLOAT) for name in net.inputs]
        outputs = [ir.val(name, ir.DataType.FLOAT) for name in net.predict.external_output]
        # Stands for the network until sizes are known; it never runs.
        nodes = [ir.node("Identity", inputs[:1], outputs=[output]) for output in outputs]
        return ir.Model(ir.Graph(inputs, outputs, nodes=nodes, opset_imports={"": 21}), ir_version=10)


def fix_sizes(model: ir.Model) -> ir.Model | None:
    """The model at the sizes it was converted with; None where it has no varying sizes or does not know them."""
    stored = model.metadata_props.get("retorch.example_shapes")
    if stored is None:
        return None
    fixed = model.clone()
    known: dict[str, int] = {}
    for value, shape in zip(fixed.graph.inputs, cast("list[list[int]]", json.loads(stored)), strict=True):
        if value.shape is None or len(value.shape) != len(shape):
            return None
        known.update((str(dim), size) for dim, size in zip(value.shape, shape, strict=True) if not isinstance(dim, int))
        value.shape = ir.Shape(shape)
    if not known:
        return None
    for value in [output for node in fixed.graph for output in node.outputs]:
        if value.shape is not None and not value.shape.is_static():
            value.shape = ir.Shape([_fixed(dim, known) for dim in value.shape])
    return ShapeInferencePass(check_type=False)(fixed).model


def _fixed(dim: int | ir.SymbolicDim, known: Mapping[str, int]) -> int | ir.SymbolicDim:
    """A size, or a multiple of a named one (``4*N``), as a number."""
    if isinstance(dim, int) or dim.value is None:
        return dim
    times, _, name = str(dim.value).rpartition("*")
    return known[name] * int(times or 1) if name in known else ir.SymbolicDim(None)


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
