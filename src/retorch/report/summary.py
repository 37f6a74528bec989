"""Everything the page says, as plain values: the conversion, its layers, what flows between them, their errors."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import retorch
from retorch.engines.interface import LayerEntry
from retorch.files.artifacts import onnx_file
from retorch.files.digests import digest
from retorch.files.record import Record
from retorch.graph.narrow_weights import widened
from retorch.layers.base.layer import Layer
from retorch.module import Module
from retorch.network import Network
from retorch.report import ownership
from retorch.report.flops import sizes, with_sizes
from retorch.report.histogram import Histogram, histogram
from retorch.torch7 import open_file
from retorch.verification import LayerRow, Report
from retorch.verification.layer_outputs import layer_entries

_MERGED = "merged into a neighbour"
_COMPONENTS = ("numpy", "onnx", "onnx-ir", "onnxruntime", "protobuf")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a report is about.

    Attributes:
        net: the Torch network.
        target: what was written: a folder of Caffe2 files, or an ``.onnx`` file.
        source: the Torch7 file, where there is one.
        options: what was asked for, by name, in words.
    """

    net: Module
    target: Path
    source: Path | None = None
    options: Mapping[str, str] = field(default_factory=lambda: dict[str, str]())


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """One Torch layer and what became of it.

    Attributes:
        path, typename, settings: as in Torch.
        shape: of its output, as text; ``""`` where the layer has no value of its own.
        parameters: how many numbers it was trained to.
        cost: multiply-adds for the input of the report.
        operators, blobs: of the written network.
        whole, alone: the largest relative error of its output in the whole network, and fed the reference's own input.
        verdict: ``wrong``, ``off``, ``same``, or ``""`` where it was not compared.
        why: what made it fail, if something did; or why it has no operator of its own.
        histograms: of its weights.
        merged_into: the position of the layer that it was folded into, if it was.
    """

    path: str
    typename: str
    settings: str
    shape: str
    parameters: int
    cost: int
    operators: tuple[str, ...]
    blobs: tuple[str, ...]
    whole: float | None
    alone: float | None
    verdict: str
    why: str
    histograms: tuple[Histogram, ...]
    merged_into: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """The content of a report.

    ``flows`` are pairs of positions in ``layers``; ``-1 - i`` is input ``i``, ``len(layers)`` the outputs.
    """

    report: Report
    converted: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    layers: tuple[LayerFacts, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    flows: tuple[tuple[int, int], ...]


def gather(about: Subject, report: Report) -> Facts:
    """Collect what a report says.

    Raises:
        FormatError: the written files cannot be read.
        OSError: the Torch7 file cannot be read.
    """
    network = Network.load(about.target)
    shaped = network.sized(*report.shapes) if report.shapes else network
    model = with_sizes(widened(shaped.model))
    shapes = {str(v.name): sizes(v) for node in model.graph for v in node.outputs}
    entries = layer_entries(about.net, about.target, network, report.shapes)
    places = _in_order(about.net, entries)
    owned = _owned(places, entries)
    operations = ownership.from_onnx(model)
    claimed = ownership.claim(operations, owned)
    written = ownership.from_caffe2(network.caffe2()) if _is_caffe2(about.target) else operations
    written_claims = ownership.claim(written, owned)
    rows = _rows_by_path(report)
    by_path = {layer.path: layer for layer in about.net.layers()}
    layers = _paired(
        _layer(
            by_path[path],
            names,
            [shapes.get(name) for name in names],
            sum(operations[i].cost for i in mine),
            [written[i].kind for i in theirs],
            rows.get(path, ()),
            report.tolerance,
        )
        for (path, _, names), mine, theirs in zip(places, claimed, written_claims, strict=True)
    )
    begin, end = [str(p.name) for p in shaped.inputs], [str(p.name) for p in shaped.outputs]
    flows = ownership.flows(operations, claimed, begin, end)
    ports = tuple(map(str, shaped.inputs)), tuple(f"{name} {_sizes(shapes.get(name))}" for name in end)
    return Facts(report, _converted(about, network, ports, layers), _notes(about, report), layers, *ports, tuple(flows))


def _paired(layers: Iterable[LayerFacts]) -> tuple[LayerFacts, ...]:
    """The layers, where one that was folded into a neighbour names it and their operators, and the neighbour it."""
    made = list(layers)
    for i, layer in enumerate(made):
        after = next((j for j in range(i + 1, len(made)) if made[j].operators), None)
        if layer.operators or not layer.parameters or layer.why != _MERGED or after is None:
            continue
        other = made[after]
        words = f"{', '.join(other.operators)} with {other.path} {other.typename}"
        made[i] = replace(layer, why=words, merged_into=after)
        made[after] = replace(other, why=f"with {layer.path} {layer.typename}")
    return tuple(made)


def _sizes(shape: tuple[int, ...] | None) -> str:
    return "" if shape is None else "×".join(map(str, shape)) or "1"


def _notes(about: Subject, report: Report) -> tuple[str, ...]:
    record = Record.read(about.target)
    return tuple(dict.fromkeys((*(record.notes if record else ()), *report.notes)))


def _is_caffe2(target: Path) -> bool:
    return onnx_file(target) is None


def _in_order(net: Module, entries: Sequence[LayerEntry]) -> list[LayerEntry]:
    """One entry per layer that computes, in order of execution; the others stand after their neighbours in the file."""
    blobs: dict[str, list[str]] = {}
    for path, _, names in entries:
        blobs.setdefault(path, []).extend(n for n in names if n not in blobs[path])
    first = {path: i for i, path in enumerate(blobs)}
    owner = _owners(entries)
    placed: list[tuple[float, int, LayerEntry]] = []
    last = -1.0
    for position, layer in enumerate(net.layers()):
        children = bool(list(layer.children()))
        own = [n for n in blobs.get(layer.path, []) if not children or owner[n] == layer.path]
        last = float(first[layer.path]) if layer.path in first and not children else last
        if not children or own:
            at = float(first.get(layer.path, last + 0.5))
            placed.append((at, position, (layer.path, layer.typename, own)))
    return [entry for _, _, entry in sorted(placed, key=lambda p: p[:2])]


def _owners(entries: Sequence[LayerEntry]) -> dict[str, str]:
    """The layer that made each value: the first that gave it; others passed it on."""
    owner: dict[str, str] = {}
    for path, _, names in entries:
        for name in names:
            owner.setdefault(name, path)
    return owner


def _owned(places: Sequence[LayerEntry], entries: Sequence[LayerEntry]) -> list[list[str]]:
    owner = _owners(entries)
    return [[name for name in names if owner[name] == path] for path, _, names in places]


def _rows_by_path(report: Report) -> dict[str, tuple[LayerRow, ...]]:
    found: dict[str, tuple[LayerRow, ...]] = {}
    for row in [row for witness in report.witnesses for row in witness.layers]:
        found[row.path] = (*found.get(row.path, ()), row)
    return found


def _layer(
    layer: Layer,
    blobs: Sequence[str],
    shapes: Sequence[tuple[int, ...] | None],
    cost: int,
    operators: Sequence[str],
    rows: Sequence[LayerRow],
    tolerance: float,
) -> LayerFacts:
    wholes = [row.whole.relative for row in rows if row.whole is not None]
    alones = [row.alone.relative for row in rows if row.alone is not None and not row.failed]
    wrong, off = any(r.guilty(tolerance) for r in rows), any(r.diverges(tolerance) for r in rows)
    parameters = layer.parameters()
    failed = next((row.failed for row in rows if row.failed), "")
    return LayerFacts(
        path=layer.path or "(root)",
        typename=layer.typename,
        settings=_settings(layer),
        shape=", ".join(dict.fromkeys(_sizes(s) for s in shapes if s is not None)),
        parameters=sum(a.size for a in parameters.values()),
        cost=cost,
        operators=tuple(f"{kind} ×{n}" if n > 1 else kind for kind, n in Counter(operators).items()),
        blobs=tuple(blobs),
        whole=max(wholes, default=None),
        alone=max(alones, default=None),
        verdict="wrong" if wrong else "off" if off else "same" if rows else "",
        why=failed or ("" if operators else _absent(parameters)),
        histograms=tuple(histogram(name, array) for name, array in parameters.items() if array.dtype.kind in "fiu"),
    )


def _absent(parameters: Mapping[str, object]) -> str:
    return _MERGED if parameters else "needs no operator"


def _settings(layer: Layer) -> str:
    shown = {name: value for name, value in layer.settings().items() if value is not None}
    return " ".join(f"{name}={_short(value)}" for name, value in shown.items())


def _short(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return "×".join(map(str, value)) if isinstance(value, tuple) else str(value)  # type: ignore[arg-type]


def _converted(
    about: Subject, network: Network, ports: tuple[Sequence[str], Sequence[str]], layers: Sequence[LayerFacts]
) -> tuple[tuple[str, str], ...]:
    facts: list[tuple[str, str]] = []
    if about.source is not None:
        document = open_file(about.source)
        facts += [
            ("Torch7 file", f"{about.source.name}, {document.size:,} bytes"),
            ("SHA-256", digest(about.source)),
            ("Dialect", str(document.dialect)),
        ]
    facts.append(("Network in the file", about.net.at or "the root"))
    files = sorted(about.target.iterdir()) if about.target.is_dir() else [about.target]
    facts += [("Written", f"{f.name}, {f.stat().st_size:,} bytes") for f in files if f.is_file()]
    facts += [("Takes", str(port)) for port in network.inputs]
    facts += [("Tried on", text) for text in ports[0]] + [("Gives", text) for text in ports[1]]
    facts.append(("Parameters", f"{sum(layer.parameters for layer in layers):,}"))
    facts.append(("Multiply-adds", f"{sum(layer.cost for layer in layers):,}"))
    facts += list(about.options.items())
    parts = [f"retorch {retorch.__version__}", *(f"{name} {version(name)}" for name in _COMPONENTS)]
    return (*facts, ("Versions", ", ".join(parts)))


def decades(error: float | None, low: int = -9, high: int = 0) -> float:
    """Where an error stands between 10**low (0) and 10**high (1), on a log scale."""
    if error is None or error <= 0:
        return 0.0
    if not math.isfinite(error):
        return 1.0
    return min(1.0, max(0.0, (math.log10(error) - low) / (high - low)))
