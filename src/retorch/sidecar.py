"""``retorch.json``: what a conversion says of itself, beside the files that it wrote."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import retorch
from retorch import jsontext
from retorch.caffe2.emit import EmitOptions
from retorch.caffe2.files import Caffe2Net
from retorch.errors import FormatError, UsageError
from retorch.network import Network
from retorch.replacing import replacing
from retorch.written import onnx_file

NAME = "retorch.json"


@dataclass(frozen=True, slots=True)
class LayerMap:
    """Where a Torch layer went: its operators and the values that hold its output."""

    path: str
    typename: str
    operators: tuple[str, ...]
    blobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sidecar:
    """The record of a conversion.

    Attributes:
        source, source_sha256: the Torch7 file, as it was named, and its digest.
        at: where in the file the network stands.
        network_sha256: the digest of what runs (``predict_net.pb`` or the ``.onnx`` file), to notice other files.
        inputs: name, dtype and shape of each input as converted.
        layers: the layer map.
        tolerance, max_error, engines: what verification allowed and found, and by whom; None and empty without it.
        notes: what was assumed or stripped.
        version: of retorch.
        description: the nesting and shapes of the inputs, which Caffe2 files may say themselves.
    """

    source: str
    source_sha256: str
    at: str
    network_sha256: str
    inputs: tuple[dict[str, Any], ...]
    layers: tuple[LayerMap, ...]
    tolerance: float | None
    max_error: float | None
    engines: tuple[str, ...]
    notes: tuple[str, ...]
    version: str = retorch.__version__
    description: dict[str, str] = field(default_factory=dict[str, str])

    def write(self, folder: Path) -> Path:
        """Write beside the nets; whoever reads sees the old record or the new one."""
        target = folder / NAME
        with replacing(target) as part:
            part.write_text(jsontext.dumps(asdict(self)) + "\n", encoding="utf-8")
        return target

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The record beside the nets in a folder, or None.

        Raises:
            FormatError: a record that is not one.
        """
        path = (folder if folder.is_dir() else folder.parent) / NAME
        if not path.exists():
            return None
        try:
            stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            stored["layers"] = tuple(
                LayerMap(m["path"], m["typename"], tuple(m["operators"]), tuple(m["blobs"])) for m in stored["layers"]
            )
            return cls(**stored)
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{path}: not a record of a conversion ({error})") from error


def described(target: Path) -> Network:
    """The network in these files, with what their record says of it where they do not: those of brew do not."""
    network = Network.load(target)
    record = Sidecar.read(target)
    if record is not None and record.description and record.network_sha256 == digest(running_file(target)):
        for key, text in record.description.items():
            network.model.metadata_props.setdefault(key, text)
    return network


def source_of(target: Path) -> tuple[Path, str | None]:
    """The Torch7 file that files were converted from, and where in it the network stands.

    Raises:
        UsageError: the record is missing, or its source is, or that is no longer the same file.
    """
    record = Sidecar.read(target)
    hint = "name the Torch7 file too, before what was written"
    if not target.exists():
        raise UsageError(f"{target}: no such file or folder")
    if record is None:
        raise UsageError(f"{target}: there is no {NAME} that names the Torch7 file", hint=hint)
    source = Path(record.source)
    if not source.exists():
        raise UsageError(f"{target}: its Torch7 file, {source}, is not there", hint=hint)
    if digest(source) != record.source_sha256:
        raise UsageError(f"{target}: {source} is not the file that was converted", hint=hint)
    return source, record.at or None


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def running_file(target: Path) -> Path:
    """The file that says what runs."""
    return onnx_file(target) or (target / "predict_net.pb" if target.is_dir() else target)


def layer_maps(network: Network, options: EmitOptions | None) -> tuple[LayerMap, ...]:
    """The layer map of a network: the operators of the Caffe2 net it became, or ONNX's where there are no options."""
    if options is not None:
        # under the names that the values had before blobs were used again, which tell their makers apart
        plain = network.caffe2(replace(options, in_place=False))
        made = [(op.type, list(op.output)) for op in plain.predict.op]
        holders = holding(plain, network.caffe2(options))
    else:
        made = [(node.op_type, [str(v.name) for v in node.outputs]) for node in network.model.graph]
        holders = {}
    entries: list[tuple[str, str, list[str]]] = json.loads(network.model.metadata_props.get("retorch.layers", "[]"))
    taken: set[int] = set()
    maps: list[LayerMap] = []
    for path, typename, blobs in entries:
        # a layer's own values are named after its blob: conv1, conv1_w, conv1_padded
        mine = [i for i, (_, outputs) in enumerate(made) if i not in taken and _belongs(outputs, blobs)]
        taken.update(mine)
        if mine:
            maps.append(LayerMap(path, typename, tuple(made[i][0] for i in mine), tuple(held(blobs, holders))))
    return tuple(maps)


def holding(plain: Caffe2Net, placed: Caffe2Net) -> dict[str, str | None]:
    """The blob that holds each value of ``plain`` when ``placed``, the same net in place, has run.

    None stands for a value that another was written over.
    """
    pairs = [
        (value, blob)
        for before, after in zip(plain.predict.op, placed.predict.op, strict=True)
        for value, blob in zip(before.output, after.output, strict=True)
    ]
    last = {blob: value for value, blob in pairs}
    return {value: blob if last[blob] == value else None for value, blob in pairs}


def held(values: Iterable[str], holders: Mapping[str, str | None]) -> list[str]:
    """The blobs that hold these values at the end."""
    return [blob for value in values if (blob := holders.get(value, value)) is not None]


def _belongs(outputs: list[str], blobs: list[str]) -> bool:
    return any(out.lstrip("_") == blob or out.lstrip("_").startswith(f"{blob}_") for out in outputs for blob in blobs)
