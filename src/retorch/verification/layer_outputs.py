"""Which value of a written network holds which layer's output."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retorch.caffe2 import files, ownership
from retorch.caffe2.emit.net import EmitOptions
from retorch.engines.interface import LayerEntry
from retorch.errors import RetorchError
from retorch.files.artifacts import onnx_file
from retorch.files.record import Record
from retorch.graph.nesting import nest, positions
from retorch.module import Module
from retorch.network import Network


def layer_entries(net: Module, target: Path, network: Network, shapes: Sequence[tuple[int, ...]]) -> list[LayerEntry]:
    """Which value holds which layer's output, in order of execution, inner layers before outer ones.

    As the files say, else their record, else as a conversion made now would name them.

    Args:
        net: the Torch network.
        target: the files.
        network: what was read from them.
        shapes: of the inputs, for the conversion.
    """
    text = network.model.metadata_props.get("retorch.layers")
    if text:
        return _parsed(text)
    return _from_record(target) or _entries_by_conversion(net, target, network, shapes)


def _parsed(text: str) -> list[LayerEntry]:
    return [(path, typename, list(names)) for path, typename, names in json.loads(text)]


def _from_record(target: Path) -> list[LayerEntry]:
    record = Record.read(target)
    if record is None:
        return []
    entries = [(m.path, m.typename, list(m.blobs)) for m in record.layers]
    # a layer that ran more than once is told apart by its turn, and a record may lack one of them
    return entries if len({path for path, _, _ in entries}) == len(entries) else []


def _entries_by_conversion(
    net: Module, target: Path, network: Network, shapes: Sequence[tuple[int, ...]]
) -> list[LayerEntry]:
    from retorch.conversion import convert

    example: Any = nest(positions(network.model.metadata_props.get("retorch.inputs"), len(shapes)), shapes)
    present = network.value_names()
    reused = _reuses_blobs(target)
    best: list[LayerEntry] = []
    missing: int | None = None
    for fold in (False, True):
        try:
            made = convert(net, example, fold=fold)
            entries = _in_place(made) if reused else _parsed(made.model.metadata_props["retorch.layers"])
        except RetorchError:
            continue
        absent = len({name for _, _, names in entries for name in names} - present)
        if missing is None or absent < missing:
            best, missing = entries, absent
    return best


def _reuses_blobs(target: Path) -> bool:
    """Whether the files are of a Caffe2 net that writes over blobs."""
    if onnx_file(target) is not None:
        return False
    written = Counter(blob for op in files.read(target).predict.op for blob in op.output)
    return any(count > 1 for count in written.values())


def _in_place(made: Network) -> list[LayerEntry]:
    """The entries of a network, by the blobs that are left of it where blobs are used again."""
    blob_of = ownership.final_blobs(made.caffe2(EmitOptions()), made.caffe2(EmitOptions(in_place=True)))
    entries = _parsed(made.model.metadata_props["retorch.layers"])
    return [(path, typename, ownership.surviving_blobs(names, blob_of)) for path, typename, names in entries]
