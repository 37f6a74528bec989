"""``retorch.json``: what a conversion says of itself, beside the files that it wrote."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import retorch
from retorch.errors import FormatError, UsageError
from retorch.files import json_text
from retorch.files.artifacts import onnx_file
from retorch.files.atomic import replacing

NAME = "retorch.json"


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """Where a Torch layer went: its operators and the values that hold its output."""

    path: str
    typename: str
    operators: tuple[str, ...]
    blobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Record:
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
    layers: tuple[LayerRecord, ...]
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
            part.write_text(json_text.dumps(asdict(self)) + "\n", encoding="utf-8")
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
                LayerRecord(m["path"], m["typename"], tuple(m["operators"]), tuple(m["blobs"]))
                for m in stored["layers"]
            )
            return cls(**stored)
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{path}: not a record of a conversion ({error})") from error


def source_of(target: Path) -> tuple[Path, str | None]:
    """The Torch7 file that files were converted from, and where in it the network stands.

    Raises:
        UsageError: the record is missing, or its source is, or that is no longer the same file.
    """
    record = Record.read(target)
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
