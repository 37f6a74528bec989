"""The comparison: the files on disk against the NumPy reference in float64, whole and layer by layer."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from retorch.errors import EngineError, RetorchError, UsageError
from retorch.layers.rule import Layer, Nested, tensors
from retorch.module import Module
from retorch.network import Network
from retorch.verification.alone import Alone
from retorch.verification.engines import Engine, engine
from retorch.verification.inputs import Trial, positions, random_trial
from retorch.verification.measure import TOLERANCE, measure
from retorch.verification.report import LayerRow, Report, Witness

Array: TypeAlias = NDArray[Any]

#: One entry of a network's list of layers: Torch path, class, the values that hold its output.
LayerEntry: TypeAlias = "tuple[str, str, list[str]]"


def verify(
    net: Module,
    path: str | os.PathLike[str],
    *,
    engines: Sequence[str] = ("embedded",),
    inputs: Sequence[Any] | None = None,
    trials: Sequence[Trial] = (),
    layers: bool = False,
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> Report:
    """Compare written files with the network they were made from.

    Args:
        net: the network; it is the reference, run in float64.
        path: what was written: a folder of Caffe2 files, or an ``.onnx`` file. It is read from disk.
        engines: ``embedded``, ``caffe2``, ``caffe2-1.0.0``, …
        inputs: the input's tensors in order; by default random ones.
        trials: more inputs, with names.
        layers: compare every layer's output too, and say which layer is to blame.
        seed: of the random input.
        tolerance: the error allowed, relative to max(1, max|y|) of the reference.

    Returns:
        A report; ``report.ok`` says whether all engines agree.

    Raises:
        FormatError: the files cannot be read.
        UsageError: an unknown engine, or inputs that do not fit.
    """
    folder = Path(path)
    network = Network.load(folder)
    nesting = positions(network.model.metadata_props.get("retorch.inputs"), len(network.inputs))
    asked = list(trials)
    if inputs is not None:
        asked.insert(0, Trial("the given input", tuple(np.asarray(t) for item in inputs for t in _tensors(item))))
    if not asked:
        asked = [random_trial(net, example_shapes(network), nesting, seed)]
    witnesses: list[Witness] = []
    for name in engines:
        one = engine(name, folder)
        try:
            witnesses += [_witness(net, network, one, trial, nesting, layers) for trial in asked]
        finally:
            one.close()
    return Report(tolerance, tuple(witnesses), (*net.notes, *network.notes))


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
        raise UsageError("these files do not say which input they take", hint="give one with --inputs x.npz")
    return [tuple(shape) for shape in json.loads(text)]


def _witness(net: Module, network: Network, one: Engine, trial: Trial, nesting: object, layers: bool) -> Witness:
    log = _Log()
    wide = Trial(trial.label, tuple(t.astype(np.float64) if t.dtype.kind == "f" else t for t in trial.tensors))
    expected = list(tensors(net.forward(wide.nested(nesting), log if layers else None)))
    try:
        got = one.run(trial.tensors)
    except EngineError as error:
        rows = _rows(net, network, one, trial, log, broken=True) if layers else ()
        return Witness(one.name, trial.label, (), str(error).splitlines()[0], rows)
    if len(got) != len(expected):
        return Witness(one.name, trial.label, (), f"{len(got)} outputs, the reference gives {len(expected)}")
    rows = _rows(net, network, one, trial, log, broken=False) if layers else ()
    return Witness(one.name, trial.label, tuple(measure(e, g) for e, g in zip(expected, got, strict=True)), layers=rows)


class _Log:
    """What each layer gave in the reference, in order of execution."""

    def __init__(self) -> None:
        self.outputs: list[tuple[str, str, list[Array]]] = []

    def __call__(self, module: Layer, x: Nested, y: Nested) -> None:
        self.outputs.append((module.path, module.typename, [t.copy() for t in tensors(y)]))

    def by_blob(self, entries: Sequence[LayerEntry]) -> dict[str, tuple[str, str, Array]]:
        """The reference's arrays by the name of the value that should hold them, innermost layers first."""
        runs: dict[tuple[str, int], list[Array]] = {}
        seen: Counter[str] = Counter()
        for path, _, arrays in self.outputs:
            seen[path] += 1
            runs[path, seen[path]] = arrays
        seen.clear()
        found: dict[str, tuple[str, str, Array]] = {}
        for path, typename, names in entries:
            seen[path] += 1
            arrays = runs.get((path, seen[path]), [])
            if len(arrays) == len(names):
                for name, array in zip(names, arrays, strict=True):
                    found.setdefault(name, (path, typename, array))
        return found


def layer_entries(net: Module, network: Network, trial: Trial) -> list[LayerEntry]:
    """Which value holds which layer's output: as the files say, or as a conversion made now would name them."""
    text = network.model.metadata_props.get("retorch.layers")
    if text:
        return [(p, c, list(names)) for p, c, names in json.loads(text)]
    return _entries_by_conversion(net, network, trial)


def _entries_by_conversion(net: Module, network: Network, trial: Trial) -> list[LayerEntry]:
    from retorch.conversion import convert

    nesting = positions(network.model.metadata_props.get("retorch.inputs"), len(trial.tensors))
    present = network.value_names()
    best: list[LayerEntry] = []
    missing: int | None = None
    for fold in (False, True):
        try:
            made = convert(net, trial.nested(nesting), fold=fold)
        except RetorchError:
            continue
        entries = [(p, c, list(n)) for p, c, n in json.loads(made.model.metadata_props["retorch.layers"])]
        absent = len({name for _, _, names in entries for name in names} - present)
        if missing is None or absent < missing:
            best, missing = entries, absent
    return best


def _rows(net: Module, network: Network, one: Engine, trial: Trial, log: _Log, *, broken: bool) -> tuple[LayerRow, ...]:
    present = network.value_names()
    wanted = {n: v for n, v in log.by_blob(layer_entries(net, network, trial)).items() if n in present}
    values: dict[str, Array] = {}
    if not broken and wanted:
        values = one.blobs(list(wanted), trial.tensors)
    alone = Alone(network, trial.tensors, {name: array for name, (_, _, array) in wanted.items()})
    rows: list[LayerRow] = []
    for name, (path, typename, expected) in wanted.items():
        whole = measure(expected, values[name]) if name in values else None
        try:
            by_itself = measure(expected, alone.run(name))
            rows.append(LayerRow(path, typename, name, whole, by_itself))
        except EngineError as error:
            nothing = measure(expected, np.empty(0))
            rows.append(LayerRow(path, typename, name, whole, nothing, str(error).splitlines()[0]))
    return tuple(rows)
