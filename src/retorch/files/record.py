"""What a conversion says of itself, beside the files that it wrote: ``retorch.json`` in a folder of Caffe2 files,
``model.onnx.json`` beside ``model.onnx``.

A record holds the digests of all files that it belongs to. One that does not fit what stands beside it says nothing
true about it: it is passed over, and the reader is told.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self, cast

import retorch
from retorch.errors import FormatError, MissingFileError, UsageError
from retorch.files import json_text
from retorch.files.artifacts import ONNX, is_container_name, onnx_file
from retorch.files.atomic import named_file, replacing
from retorch.files.digests import digest_if_file

NAME = "retorch.json"
#: More than any record: what is larger is none.
_LARGEST = 256 << 20


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """Where a Torch layer went: its operators and the values that hold its output."""

    path: str
    typename: str
    operators: tuple[str, ...]
    blobs: tuple[str, ...]


_LAYER_FIELDS = tuple(item.name for item in fields(LayerRecord))


@dataclass(frozen=True, slots=True)
class Record:
    """The record of a conversion.

    Attributes:
        source, source_sha256: the Torch7 file, as it was named, and its digest.
        at: where in the file the network stands.
        files: the digest of each file that was written, by name.
        inputs: name, dtype and shape of each input as converted.
        layers: the layer map.
        tolerance, max_error, engines: what verification allowed and found, and by whom; None and empty without it.
        notes: what was assumed or stripped.
        version: of retorch.
        description: the nesting and shapes of the inputs, which Caffe2 files may say themselves.
        parameters, buffers: of PyTorch source, Torch's paths and the names in the state dict (``modules[1].weight`` is
            ``0.weight``).
        weights, weights_error: what the weights are stored in, and how far that moves the outputs, as verification
            found; None without it.
    """

    source: str
    source_sha256: str
    at: str
    files: dict[str, str]
    inputs: tuple[dict[str, Any], ...]
    layers: tuple[LayerRecord, ...]
    tolerance: float | None
    max_error: float | None
    engines: tuple[str, ...]
    notes: tuple[str, ...]
    version: str = retorch.__version__
    description: dict[str, str] = field(default_factory=dict[str, str])
    parameters: dict[str, str] = field(default_factory=dict[str, str])
    buffers: dict[str, str] = field(default_factory=dict[str, str])
    weights: str = "float"
    weights_error: float | None = None

    def write(self, target: Path) -> Path:
        """Write beside what stands at ``target``, a folder or a file."""
        path = path_for(target)
        with replacing(path) as part:
            part.write_text(json_text.dumps(self._stored()) + "\n", encoding="utf-8")
        return path

    def _stored(self) -> dict[str, Any]:
        """The fields by name; unlike ``asdict`` without a copy of all that is in them."""
        layers = [{name: getattr(layer, name) for name in _LAYER_FIELDS} for layer in self.layers]
        return {item.name: getattr(self, item.name) for item in fields(self)} | {"layers": layers}

    @classmethod
    def read(cls, target: Path) -> Self | None:
        """The record of what stands at ``target``, or None where there is none that fits it."""
        try:
            return cls._fitting(target)
        except FormatError:
            return None

    @classmethod
    def _fitting(cls, target: Path) -> Self | None:
        """The record of what stands at ``target``; None without one.

        Raises FormatError for what is no record, or one of other files.
        """
        path = path_for(target)
        if not path.exists():
            return None
        record = cls._parsed(path)
        if record.files and not target.is_dir() and (own := named_file(target).name) not in record.files:
            raise FormatError(f"{path.name} was passed over: it says nothing about {own}")
        for name, expected in record.files.items():
            if Path(name).name != name or digest_if_file(path.with_name(name)) != expected:
                raise FormatError(f"{path.name} was passed over: {name} is not the file that it was written for")
        return record

    @classmethod
    def _parsed(cls, path: Path) -> Self:
        try:
            if not path.is_file() or path.stat().st_size > _LARGEST:
                raise ValueError("no file of that kind")
            stored = cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
            for name, check in _FIELDS.items():
                # records of earlier versions lack some
                if name in _ADDED and name not in stored:
                    stored[name] = _ADDED[name]()
                if not check(stored[name]):
                    raise ValueError(name)
            stored["layers"] = tuple(_layer(entry) for entry in stored["layers"])
            for name in ("inputs", "engines", "notes"):
                stored[name] = tuple(stored[name])
            return cls(**{name: stored[name] for name in _FIELDS})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise FormatError(f"{path.name} was passed over: it is no record of a conversion ({error})") from error
        except OSError as error:
            raise FormatError(f"{path.name} was passed over: {error.strerror}") from error


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _all_text(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in cast("list[object]", value))


def _texts_by_name(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in cast("dict[str, object]", value).values())


def _is_port(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    entry = cast("dict[str, object]", value)
    shape = entry.get("shape")
    sizes = cast("list[object]", shape) if isinstance(shape, list) else [b""]
    fits = all(size is None or isinstance(size, (int, str)) for size in sizes)
    return fits and _is_text(entry.get("name")) and _is_text(entry.get("dtype"))


def _all_ports(value: object) -> bool:
    return isinstance(value, list) and all(_is_port(item) for item in cast("list[object]", value))


def _is_list(value: object) -> bool:
    return isinstance(value, list)


#: The fields of a stored record, and what each must be.
_FIELDS: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(("source", "source_sha256", "at", "version", "weights"), _is_text),
    **dict.fromkeys(("files", "description", "parameters", "buffers"), _texts_by_name),
    **dict.fromkeys(("engines", "notes"), _all_text),
    **dict.fromkeys(("tolerance", "max_error", "weights_error"), _is_number),
    "inputs": _all_ports,
    "layers": _is_list,
}
#: Fields that came later, and what they were before.
_ADDED: dict[str, Callable[[], object]] = {
    **dict.fromkeys(("parameters", "buffers"), dict[str, str]),
    "weights": lambda: "float",
    "weights_error": lambda: None,
}


def _layer(entry: dict[str, Any]) -> LayerRecord:
    path, typename, operators, blobs = (entry[name] for name in _LAYER_FIELDS)
    if not (_is_text(path) and _is_text(typename) and _all_text(operators) and _all_text(blobs)):
        raise ValueError("layers")
    return LayerRecord(path, typename, tuple(operators), tuple(blobs))


def path_for(target: Path) -> Path:
    """Where the record of what stands at ``target`` is: a folder of Caffe2 files, one of them, or a file of its own."""
    if target.is_dir():
        alone = _only_file(target)
        return target / NAME if alone is None else path_for(alone)
    target = named_file(target)
    if target.suffix == ONNX or is_container_name(target):
        return target.with_name(f"{target.name}.json")
    if target.stem in {"predict_net", "init_net"}:
        return target.with_name(NAME)
    return target.with_name(f"{target.stem.removesuffix('_init')}{target.suffix}.json")


def _only_file(folder: Path) -> Path | None:
    """The ``.onnx`` file or the predictor container that is all of a folder's network."""
    found = onnx_file(folder)
    if found is None and not (folder / NAME).exists():
        containers = [path for path in sorted(folder.iterdir()) if is_container_name(path)]
        nets = [path for path in folder.iterdir() if path.suffix in {".pb", ".pbtxt", ".prototxt"}]
        return containers[0] if len(containers) == 1 and not nets else None
    return found


def passed_over(target: Path) -> tuple[str, ...]:
    """A note where a record stands beside ``target`` that says nothing about it."""
    try:
        Record._fitting(target)  # pyright: ignore[reportPrivateUsage] (of this module)
    except FormatError as error:
        return (error.message,)
    return ()


def source_of(target: Path) -> tuple[Path, str | None]:
    """The Torch7 file that files were converted from, and where in it the network stands.

    Raises:
        UsageError: the record is missing or another network's, or its source is, or that is no longer the same file.
    """
    hint = "name the Torch7 file too, before what was written"
    if not target.exists():
        raise MissingFileError(target)
    for note in passed_over(target):
        raise UsageError(f"{target}: {note}", hint=hint)
    record = Record.read(target)
    if record is None:
        raise UsageError(f"{target}: there is no {path_for(target).name} that names the Torch7 file", hint=hint)
    source = Path(record.source)
    if not source.exists():
        raise UsageError(f"{target}: its Torch7 file, {source}, is not there", hint=hint)
    if digest_if_file(source) != record.source_sha256:
        raise UsageError(f"{target}: {source} is not the file that was converted", hint=hint)
    return source, record.at or None
