"""The comparison: the files on disk against the NumPy reference in float64, whole and layer by layer."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from retorch.conversion import as_converted, convert
from retorch.engines.choice import each_engine, engine
from retorch.engines.embedded import Embedded
from retorch.engines.interface import Case, Engine
from retorch.engines.reference import Log
from retorch.errors import EngineError, RetorchError, UsageError, counted
from retorch.files.artifacts import python_file
from retorch.files.record import Record
from retorch.graph.nesting import nest, positions
from retorch.module import Module
from retorch.network import Network, described
from retorch.verification.input_variants import adversarial_trials, beyond_float32
from retorch.verification.inputs import Trial, random_trial
from retorch.verification.isolation import Alone
from retorch.verification.layer_outputs import layer_entries
from retorch.verification.metrics import TOLERANCE, Measure, measure
from retorch.verification.recorded import recordings
from retorch.verification.report import LayerRow, Report, Witness
from retorch.verification.rounding import AsStored, Rounded, by_conversion, rounded
from retorch.verification.truth import Truth

Array: TypeAlias = NDArray[Any]
#: What is being done, how much of it is done, and how much there is.
Watch: TypeAlias = Callable[[str, int, int], None]


def unwatched(what: str, done: int, total: int) -> None:
    """Nobody wants to know."""


def verify(
    net: Module,
    path: str | os.PathLike[str],
    *,
    engines: Sequence[str] | None = None,
    inputs: Any = None,
    trials: Sequence[Trial] = (),
    layers: bool = False,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    source: str | os.PathLike[str] | None = None,
    adversarial: bool = False,
    ask_recordings: bool = True,
    watch: Watch = unwatched,
) -> Report:
    """Compare written files with the network they were made from; the report's ``ok`` says whether all agree.

    Args:
        net: the network; it is the reference, run in float64.
        path: the written folder of Caffe2 files, ``.onnx`` file, or PyTorch source. It is read from disk.
        engines: ``embedded``, ``caffe2`` (the newest), ``caffe2-1.0.0``, ``pytorch``, ``reference`` (float32), ``lua``
            (Torch7); by default the one that what was written is for: ``pytorch``, else ``embedded``.
        inputs: the input's tensors in order, or the only one; by default random ones.
        trials: more inputs, with names.
        layers: compare every layer's output too.
        seed: of the random input.
        tolerance: the error allowed, relative to max(1, max|y|) of the reference.
        source: the Torch7 file, for ``lua``.
        adversarial: try zeros, a constant, large values and other batches too.
        ask_recordings: ask the outputs that the file itself recorded too, where it has any.
        watch: told what is being done, how much of it is done and how much there is.

    Raises FormatError for files that cannot be read, UsageError for an unknown engine or inputs that do not fit.
    """
    target = Path(path)
    network = _network(net, target, inputs)
    net = as_converted(net, network)
    asked = [*_given(inputs), *trials] or [random_trial(net, example_shapes(network), network.input_nesting, seed)]
    shapes = tuple(tuple(t.shape) for t in asked[0].tensors)
    small = rounded(target, network, by_conversion(net, network.input_nesting, shapes, target))
    entries = layer_entries(net, target, network, shapes) if layers else []
    case = Case(net, small.restored if small else network, network.input_nesting, entries)
    more = adversarial_trials(case, target, asked[0], seed) if adversarial else []
    hear = _Hearing(case, Truth(case), layers, tolerance, watch)
    names = each_engine(engines or ["embedded" if python_file(target) is None else "pytorch"])
    ask = _asking(hear, names, target, source) if small is None else _asking_small(hear, small, names, target, source)
    heard = small.witnesses() if small else []
    heard += [w for one, listener in ask for w in listener(one, asked, more)]
    own, doubts = recordings(net) if ask_recordings else ([], ())
    said = (*net.notes, *network.notes, *dict.fromkeys(hear.notes), *doubts, *_not_compared(heard))
    moved = small.moved(hear.truth, asked) if small and not any(w.failed for w in heard) else None
    return Report(tolerance, (*heard, *own), said, shapes, moved)


_Asking: TypeAlias = "Iterator[tuple[Engine, _Hearing]]"


def _asking(hear: _Hearing, names: Sequence[str], target: Path, source: str | os.PathLike[str] | None) -> _Asking:
    """The engines of these names, and who hears each."""
    for name in names:
        yield engine(name, target, hear.case, source), hear


def _asking_small(
    hear: _Hearing, small: Rounded, names: Sequence[str], target: Path, source: str | os.PathLike[str] | None
) -> _Asking:
    """The same for small weights: the network with float32 weights first; then the engines that widen them."""
    yield Embedded(target, small.restored), replace(hear, weights=" with weights in float32")
    case = replace(hear.case, network=small.widened())
    as_stored = replace(hear, case=case, truth=AsStored(case), weights=" with weights as stored")
    for name in names:
        if name != "embedded":
            one = engine(name, target, hear.case, source)
            yield one, as_stored if one.runs_files else hear
        elif small.onnx:
            yield Embedded(target, small.network, once=True), as_stored


def _network(net: Module, target: Path, inputs: Any) -> Network:
    """What was written, read back; for PyTorch source the graph of the same layers, by which they are told apart."""
    if python_file(target) is None:
        return described(target)
    record = Record.read(target)
    stored = {} if record is None else record.description
    given = [tuple(t.shape) for trial in _given(inputs) for t in trial.tensors]
    shapes = given or [tuple(shape) for shape in json.loads(stored.get("retorch.example_shapes", "[]"))]
    if not shapes:
        return convert(net, fold=False)
    return convert(net, nest(positions(stored.get("retorch.inputs"), len(shapes)), shapes), fold=False)


@dataclass(frozen=True, slots=True)
class _Hearing:
    """What every engine is asked."""

    case: Case
    truth: Truth | AsStored
    layers: bool
    tolerance: float
    watch: Watch
    #: Which weights the engine has, where that has to be said.
    weights: str = ""
    #: Why trials were left out.
    notes: list[str] = field(default_factory=list[str])

    def __call__(self, one: Engine, asked: Sequence[Trial], more: Sequence[Trial]) -> list[Witness]:
        """What an engine gives on all trials; of ``more`` only those are kept that float32 can bear."""
        heard: list[Witness] = []
        with closing(one):
            for i, trial in enumerate((*asked, *more)):
                self.watch(f"{one.name}: inputs", i, len(asked) + len(more))
                heard += self.ask(one, trial, first=i == 0, excusable=i >= len(asked))
        return [replace(w, engine=f"{w.engine}{self.weights}") for w in heard]

    def ask(self, one: Engine, trial: Trial, *, first: bool, excusable: bool) -> list[Witness]:
        heard: list[Witness] = []
        try:
            heard.append(_witness(self.case, self.truth, one, trial, self.watch, layers=self.layers and first))
        except RetorchError:
            # the network itself may not take a trial that nobody asked for
            if not excusable:
                raise
        if heard and heard[0].agrees(self.tolerance):
            return heard
        if excusable and (why := beyond_float32(self.truth, trial, self.tolerance)):
            self.notes.append(f"not tried on {trial.label}: {why}")
            return []
        if self.layers and not first:
            # layers cost time: on further inputs only where something is wrong
            return [_witness(self.case, self.truth, one, trial, self.watch, layers=True)]
        return heard


def _given(inputs: Any) -> list[Trial]:
    if inputs is None:
        return []
    given = tuple(_tensors(inputs if isinstance(inputs, (list, tuple)) else [inputs]))
    if not given:
        raise UsageError("no inputs were given", hint="leave them out for random ones")
    return [Trial("the given input", given)]


def _tensors(item: Any) -> Iterable[Array]:
    if isinstance(item, (list, tuple)):
        return [t for part in cast("Sequence[Any]", item) for t in _tensors(part)]
    return [np.asarray(item)]


def example_shapes(network: Network) -> list[tuple[int, ...]]:
    """The shapes that a network was converted with.

    Raises:
        UsageError: the files do not say.
    """
    text = network.model.metadata_props.get("retorch.example_shapes")
    if not text:
        raise UsageError(
            "these files do not say which input they take", hint="give one: --input 1x3x224x224, or --input x.npz"
        )
    return [tuple(shape) for shape in json.loads(text)]


def _witness(case: Case, truth: Truth | AsStored, one: Engine, trial: Trial, watch: Watch, *, layers: bool) -> Witness:
    log = Log()
    expected = truth(trial, log if layers else None)
    try:
        got = one.run(trial.tensors)
    except EngineError as error:
        rows = _rows(case, one, trial, log, watch, broken=True) if layers else ()
        return Witness(one.name, trial.label, (), str(error).splitlines()[0], rows)
    if len(got) != len(expected):
        return Witness(one.name, trial.label, (), f"{counted(len(got), 'output')}, the reference gives {len(expected)}")
    rows = _rows(case, one, trial, log, watch, broken=False) if layers else ()
    measures = [measure(e, g) for e, g in zip(expected, got, strict=True)]
    if any(m.strays(TOLERANCE) for m in measures):
        measures = _with_noise(truth, trial, expected, measures)
    return Witness(one.name, trial.label, tuple(measures), layers=rows)


def _with_noise(truth: Truth | AsStored, trial: Trial, expected: list[Array], measures: list[Measure]) -> list[Measure]:
    """The measures with the error that the formulas make in float32, which excuses as much in an engine."""
    made = truth.in_float32(trial)
    noise = [measure(e, y).max_abs for e, y in zip(expected, made, strict=True)]
    return [replace(m, noise=n) if m.strays(TOLERANCE) else m for m, n in zip(measures, noise, strict=True)]


def _not_compared(heard: Sequence[Witness]) -> tuple[str, ...]:
    """A note for each witness with values that are NaN in both."""
    counts = ((w, sum(m.nan for m in w.outputs), sum(math.prod(m.shape) for m in w.outputs)) for w in heard)
    return tuple(f"{w.engine} on {w.trial}: {n:,} of {m:,} values are NaN: not compared" for w, n, m in counts if n)


def _rows(case: Case, one: Engine, trial: Trial, log: Log, watch: Watch, *, broken: bool) -> tuple[LayerRow, ...]:
    present = case.network.value_names()
    wanted = {n: v for n, v in log.by_blob(case.entries).items() if n in present}
    values: dict[str, Array] = {}
    if not broken and wanted:
        values = one.blobs(list(wanted), trial.tensors)
    # each value is let go once it is measured: layers that run alone take its memory
    whole = {name: measure(wanted[name][2], values.pop(name)) for name in list(values)}
    truth = {name: array for name, (_, _, array) in wanted.items()}
    alone = Alone(case.network, trial.tensors, truth) if one.runs_files else None
    rows: list[LayerRow] = []
    for i, (name, (path, typename, expected)) in enumerate(wanted.items()):
        watch(f"{one.name}: layers", i, len(wanted))
        try:
            by_itself = measure(expected, alone.run(name)) if alone else None
            rows.append(LayerRow(path, typename, name, whole.get(name), by_itself))
        except EngineError as error:
            nothing = measure(expected, np.empty(0))
            rows.append(LayerRow(path, typename, name, whole.get(name), nothing, str(error).splitlines()[0]))
    return tuple(rows)
