"""A network that runs today: an ONNX model, the nesting of its inputs and outputs, and where it can go from here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

import onnx_ir as ir

from retorch.caffe2 import files, narrow_fill, ownership, ports
from retorch.caffe2.description import (
    DESCRIPTION,
    emit_described,
    first_model,
    needs_sizes,
    notes_of,
    parse_described,
    retyped,
)
from retorch.caffe2.device import needs_avx2
from retorch.caffe2.emit.op import EmitOptions
from retorch.caffe2.files import Caffe2Net, Init
from retorch.caffe2.parse.graph import NeedsShapeError
from retorch.caffe2.sized_models import SizedModel, SizedModels
from retorch.errors import MissingFileError, UsageError, counted
from retorch.files import artifacts
from retorch.files.digests import digest, digests
from retorch.files.formats import Destination, destination
from retorch.files.garbage import collector_paused
from retorch.files.html_table import html_table
from retorch.files.precision import Precision, precision
from retorch.files.record import LayerRecord, Record, passed_over
from retorch.graph import onnx_file
from retorch.graph.narrow_weights import narrowed, widened
from retorch.graph.nesting import Nesting, positions
from retorch.graph.ports import Array, Feed, Port, by_name, inputs_of, known_shapes, listed, names_or_count, outputs_of
from retorch.graph.session import Session, values
from retorch.graph.shapes import BATCH, fix_sizes
from retorch.output_files import replacing

if TYPE_CHECKING:
    from retorch.pytorch.twin import Twin

#: What a network can be written as.
Format: TypeAlias = Literal["caffe2", "onnx", "pytorch", "predictor"]


@dataclass(frozen=True, slots=True)
class Origin:
    """The Torch network that a network was converted from.

    Attributes:
        file: its file; None where it came as bytes or was made in Python.
        at: where it stands in there.
        notes: what a person should know of it.
    """

    file: Path | None
    at: str
    notes: tuple[str, ...]


class Network:
    """An ONNX model and the nesting of its inputs and outputs.

    ``notes`` is what a user should know about what was saved; ``twin`` is the network in PyTorch, where that was asked;
    ``origin`` is the Torch network that it was converted from.
    """

    def __init__(self, model: ir.Model | None, *, source: Caffe2Net | None = None, format: Format = "caffe2") -> None:
        """``source`` is the Caffe2 net that the model was read from: it is read again for the sizes of each input.
        ``format`` is what ``save`` writes into a folder.

        Only with a source can ``model`` be None: a net that cannot be said before the sizes of its inputs are known.
        """
        self.notes: tuple[str, ...] = () if model is None else notes_of(model)
        self.format: Format = format
        self.twin: Twin | None = None
        self.origin: Origin | None = None
        self._model = model
        self._source = source
        self._sized = SizedModels(model, source)
        self._fed: dict[tuple[str, ...], Network] = {}
        self._emitted: dict[EmitOptions, Caffe2Net] = {}
        self._fixed: dict[EmitOptions, dict[str, int]] = {}  # sizes that Caffe2 could express for one number only
        self._states_sizes = False  # read from a file that may state what is not so

    @classmethod
    @collector_paused()
    def load(cls, path: str | Path) -> Self:
        """Read a folder of Caffe2 files, either file of a Caffe2 pair, or an ``.onnx`` file or the folder around it.

        Raises UsageError where there is nothing to read, FormatError for broken files, UnsupportedError with every
        operator that cannot be said.
        """
        where = Path(path)
        if not where.exists():
            raise MissingFileError(where)
        single = artifacts.onnx_file(where)
        if single is not None:
            network = cls(onnx_file.load(single))
            network._states_sizes = True
            return network
        net = files.read(where)
        return cls(first_model(net), source=net)

    @property
    def model(self) -> ir.Model:
        """The model. NeedsShapeError for a Caffe2 net that means something only once its inputs have sizes."""
        if self._model is None:
            raise NeedsShapeError("the network depends on the sizes of its inputs", hint="give them (--input)")
        return self._model

    def sized(self, *shapes: Sequence[int]) -> Network:
        """The network for inputs of these shapes, in order. UsageError where they do not fit."""
        if len(shapes) != len(self.inputs):
            raise UsageError(f"got {counted(len(shapes), 'shape')}; the network has {listed(self.inputs)}")
        if self._source is not None:
            known = {port.name: tuple(shape) for port, shape in zip(self.inputs, shapes, strict=True)}
            return Network(parse_described(self._source, known))
        fixed = self.model.clone()
        fixed.metadata_props["retorch.example_shapes"] = json.dumps([list(shape) for shape in shapes])
        for port, shape in zip(self.inputs, shapes, strict=True):
            port.check(tuple(shape))
        return Network(fix_sizes(fixed) or fixed)

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The inputs, in order."""
        return inputs_of(self.model) if self._source is None else self._stated_inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The outputs, in order."""
        return outputs_of(self.model) if self._source is None else self._stated_outputs

    @cached_property
    def _stated_inputs(self) -> tuple[Port, ...]:
        return () if self._source is None else ports.inputs(self._source, self._model)

    @cached_property
    def _stated_outputs(self) -> tuple[Port, ...]:
        return () if self._source is None else ports.outputs(self._source, self._model)

    @property
    def batch_is_open(self) -> bool:
        """Whether the first dimension of some input may have any size."""
        return any(port.shape and not isinstance(port.shape[0], int) for port in self.inputs)

    @property
    def has_drawn_weights(self) -> bool:
        """Whether weights were drawn when the files were read, so that who reads them again has others."""
        return self._source is not None and bool(self._source.drawn)

    @property
    def sizes_are_free(self) -> bool:
        """Whether other sizes than the batch may vary, in what was written too."""
        varying = {size for port in self.inputs for size in port.shape or () if not isinstance(size, int)}
        return bool(varying - {BATCH}) and not any(fixed.keys() - {BATCH} for fixed in self._fixed.values())

    def __repr__(self) -> str:
        """The inputs and outputs."""
        lines = [f"  input   {port}" for port in self.inputs] + [f"  output  {port}" for port in self.outputs]
        return "\n".join(["Network", *lines])

    def _repr_html_(self) -> str:
        """What a notebook shows: inputs, outputs, and how often each operator stands in between."""
        each = [("input", p) for p in self.inputs] + [("output", p) for p in self.outputs]
        kinds = Counter(node.op_type for node in self._model.graph) if self._model else Counter[str]()
        rows = [(what, port.name, port.types or port.dtype.name, port.sizes) for what, port in each]
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
        return positions(stored, count)

    def run(self, *inputs: Feed) -> list[Array]:
        """Calculate the outputs, as a flat list in order.

        Args:
            inputs: the inputs in order, alone or in (nested) lists, or one mapping by name. They are cast to the types
                that the network declares.

        Raises:
            UsageError: too many inputs or too few, or one of the wrong shape.
            EngineError: onnxruntime refuses the network or fails.
        """
        chosen, feeds = self._choose(inputs)
        return chosen.session().run(feeds)

    def run_once(self, *inputs: Feed) -> list[Array]:
        """The same in the least memory: nothing is kept for another run."""
        chosen, feeds = self._choose(inputs)
        return Session(chosen.model, once=True).run(feeds)

    def weights(self) -> dict[str, Array]:
        """The numbers that are fixed in the network, by their names: Caffe2's blobs, or ONNX's initializers."""
        if self._source is not None:
            return dict(self._source.params)
        stored = self.model.graph.initializers.items()
        return {name: value.const_value.numpy() for name, value in stored if value.const_value is not None}

    def let_go(self) -> None:
        """Take no more memory than before the first run; another run takes it again."""
        self._sized.let_go()

    def _choose(self, inputs: Sequence[Feed]) -> tuple[SizedModel, dict[str, Array]]:
        """The model for these inputs, and the inputs as it takes them."""
        network = self._fed_more(inputs) or self
        chosen = network._sized.choose(by_name(network.inputs, inputs))
        self.notes = tuple(dict.fromkeys((*self.notes, *network._sized.notes)))
        return chosen

    def _fed_more(self, inputs: Sequence[Feed]) -> Network | None:
        """The network that takes these inputs, where they are more than the data: weights may be fed as well."""
        if self._source is None:
            return None
        given = names_or_count(inputs)
        names = self._source.fed(given) if isinstance(given, int) else given
        known = {*self._source.inputs, *self._source.params, *self._source.predict.external_input}
        if not set(self._source.inputs) < set(names) <= known:
            return None
        if names not in self._fed:
            source = self._source.feeding(names)
            self._fed[names] = Network(first_model(source), source=source)
        return self._fed[names]

    def intermediate(self, names: Sequence[str], *inputs: Feed) -> dict[str, Array]:
        """The values of any tensors of the graph by name, inputs, weights and outputs included.

        Raises UsageError for a name that the network does not have.
        """
        chosen, feeds = self._choose(inputs)
        return values(chosen.model, feeds, names)

    def value_names(self) -> set[str]:
        """The names of all tensors that the network computes."""
        return {str(value.name) for node in self.model.graph for value in node.outputs}

    def model_for(self, *inputs: Feed) -> ir.Model:
        """The model that runs on these inputs: what was read from Caffe2 files is read again for their sizes."""
        return self._choose(inputs)[0].model

    @collector_paused()
    def save(
        self,
        path: str | Path,
        format: Format | None = None,
        *,
        options: EmitOptions | None = None,
        packed: bool | None = None,
        init: Init = "pb",
        weights: str = "float",
    ) -> tuple[Path, ...]:
        """Write the network, by the suffix of ``path``: ``.onnx``, ``.pb`` (with ``_init.pb`` beside it), ``.minidb``.

        A folder gets Caffe2's three files, or ``model.onnx`` or ``predictor.minidb`` where ``format`` or the conversion
        asked for it; folders are made where they are missing. What was converted from a Torch network gets its record.

        ``packed`` and ``init`` are those of :func:`retorch.caffe2.files.write`; None packs unless ``options`` ask for
        what ``brew`` would have written. ``weights`` is what they are stored in: ``float``, or ``half`` or ``int8`` in
        Caffe2's pairs of files and in ONNX, which make float32 of them at load. Returns the files. What the user should
        know, of sizes that old builds refuse among it, stands in ``notes`` afterwards. Raises ConversionError where
        Caffe2 cannot express the network or read files of its size, UsageError for another suffix, or where the files
        cannot be written.
        """
        target = destination(path, format or "", default=self.format)
        stored = precision(weights, target.format.name)
        with replacing(target) as place:
            staged = Destination(target.format, place, target.is_folder)
            settings, written = self._save(staged, options, packed, init, stored)
            if self.origin is not None:
                self.record(written, settings, stored).write(place)
        folder = target.path if target.is_folder else target.path.parent
        return tuple(folder / file.name for file in written)

    def _save(
        self, target: Destination, options: EmitOptions | None, packed: bool | None, init: Init, weights: Precision
    ) -> tuple[EmitOptions | None, tuple[Path, ...]]:
        """Write the files alone; what Caffe2's were emitted with, None for others, and the files."""
        if target.format.name == "pytorch":
            return None, self._save_twin(target)
        if target.format.name == "onnx":
            model, notes = narrowed(widened(self.model), weights)
            self.notes += notes
            return None, onnx_file.save(model, target.path)
        settings = options or EmitOptions()
        packed = not settings.brew if packed is None else packed
        return settings, self._save_caffe2(target, options, packed, init, weights)

    def _save_caffe2(
        self, target: Destination, options: EmitOptions | None, packed: bool, init: Init, weights: Precision
    ) -> tuple[Path, ...]:
        net = self.caffe2(options)
        brew, mkldnn = (options.brew, options.mkldnn) if options is not None else (False, False)
        narrow_fill.check(weights, init, brew=brew, mkldnn=mkldnn)
        narrow = narrow_fill.choose(net.predict, net.params, weights)
        if target.format.name == "predictor":
            done = files.write_container(target.path, net, known_shapes((*self.inputs, *self.outputs)))
        else:
            folder, names = (target.path, files.Names()) if target.is_folder else files.Names.of(target.path)
            apart = target.is_folder
            done = files.write(
                folder, net, names=names, apart=apart, packed=packed, init=init, exporter=brew, narrow=narrow
            )
        self.notes += (*narrow.notes, *done.warnings)
        return done.files

    def _save_twin(self, target: Destination) -> tuple[Path, ...]:
        from retorch.pytorch.twin import MODEL

        if self.twin is None and self.origin is None:
            reason = "a network for Caffe2 or ONNX is not written as PyTorch source: only Torch networks are"
            raise UsageError(reason, hint="write it as ONNX: model.onnx")
        if self.twin is None:
            raise UsageError("this network was not converted to PyTorch", hint="convert(net, to='pytorch')")
        return self.twin.write(target.path / MODEL if target.is_folder else target.path)

    def record(self, written: Iterable[Path], options: EmitOptions | None, weights: Precision = "float") -> Record:
        """What ``retorch.json`` says of these files; ``options`` are those of Caffe2's, None for others."""
        origin = self.origin or Origin(None, "", ())
        source = origin.file if origin.file is not None and origin.file.is_file() else None
        return Record(
            source="" if source is None else str(source.resolve()),
            at=origin.at,
            inputs=tuple(port.recorded(self._fixed.get(options, {}) if options else {}) for port in self.inputs),
            layers=self.layer_records(options),
            tolerance=None,
            max_error=None,
            engines=(),
            notes=tuple(dict.fromkeys((*origin.notes, *self.notes))),
            description=self.description(),
            parameters=dict(self.twin.parameters) if self.twin else {},
            buffers=dict(self.twin.buffers) if self.twin else {},
            weights=weights,
            # threads are at work on them: what waits comes last
            source_sha256="" if source is None else digest(source),
            files=digests(tuple(written)),
        )

    def description(self) -> dict[str, str]:
        """What the network says of itself: the nesting and shapes of its inputs."""
        stored = self.model.metadata_props
        return {key: text for key in DESCRIPTION if (text := stored.get(key)) is not None}

    def caffe2(self, options: EmitOptions | None = None) -> Caffe2Net:
        """The network as Caffe2 operators; one that was read from Caffe2 files is as it was.

        A network for any batch size that Caffe2 can express for one only comes out for the batch size that it was
        converted with; ``notes`` says so. Raises UnsupportedError with every node that cannot be expressed.
        """
        if self._source is not None and options is None:
            return self._source
        settings = EmitOptions() if options is None else options
        if settings not in self._emitted:
            if self._states_sizes:
                onnx_file.check_sizes(self.model)
            self._emitted[settings], fixed = emit_described(widened(self.model), settings)
            self._fixed[settings] = fixed
            self.notes += (*needs_sizes(fixed), *needs_avx2(self._emitted[settings].predict))
            self.notes += () if self.origin else retyped(self.outputs)
        return self._emitted[settings]

    def layer_records(self, options: EmitOptions | None = None) -> tuple[LayerRecord, ...]:
        """The Torch layers, each with its operators: those of the Caffe2 net by these options, or ONNX's without."""
        if self.format == "pytorch" and self.twin is not None:
            return self.twin.layers
        if options is None:
            return ownership.layer_records(self.model)
        plain = self.caffe2(replace(options, in_place=False))
        return ownership.layer_records(self.model, (plain, self.caffe2(options)))


def described(target: Path) -> Network:
    """The network in these files, with what their record says of it where they do not: those of brew do not."""
    network = Network.load(target)
    record = Record.read(target)
    network.notes += passed_over(target)
    if record is not None:
        for key, text in record.description.items():
            network.model.metadata_props.setdefault(key, text)
    return network
