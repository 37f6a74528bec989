"""What a network can be written as, and what the name of an output says about it: one table.

A format is found by ``--to`` or ``format=``, else by the name's suffix. A name without a suffix, one that ends in a
slash, or another one of a folder that is there, is a folder. Formats that other tools write are refused with the way
there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from retorch.errors import UsageError


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """One row.

    Attributes:
        name: as ``--to`` takes it.
        title: as a sentence names it.
        suffixes: of the file that a user names for it.
        file: what is written into a folder; empty where several files fill it.
        streams: whether it is one file, which standard output can take.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    file: str = ""
    streams: bool = False


FORMATS = (
    OutputFormat("caffe2", "Caffe2 files", (".pb",)),
    OutputFormat("onnx", "an ONNX file", (".onnx",), "model.onnx", streams=True),
    OutputFormat("pytorch", "PyTorch source", (".py",)),
    OutputFormat("predictor", "a predictor container", (".minidb",), "predictor.minidb", streams=True),
)
NAMES = tuple(row.name for row in FORMATS)

_VIA_ONNX = "retorch convert FILE -o model.onnx, then {}"
#: Formats of others, with the way there.
_OTHERS = {
    ".pt": "retorch export FILE -o model.safetensors --weights, for torch's load_state_dict",
    ".pth": "retorch export FILE -o model.safetensors --weights, for torch's load_state_dict",
    ".mlmodel": _VIA_ONNX.format("coremltools 4: coremltools.converters.onnx.convert(model='model.onnx')"),
    ".mlpackage": _VIA_ONNX.format("onnx2torch and coremltools.convert"),
    ".tflite": _VIA_ONNX.format("onnx2tf -i model.onnx"),
    ".h5": _VIA_ONNX.format("onnx2tf -i model.onnx -oh5"),
    ".keras": _VIA_ONNX.format("onnx2tf -i model.onnx -okv3"),
    ".ncnn": _VIA_ONNX.format("pnnx model.onnx"),
}


@dataclass(frozen=True, slots=True)
class Destination:
    """A format and where it goes: a folder where ``is_folder``, else the file that names it."""

    format: OutputFormat
    path: Path
    is_folder: bool


def destination(output: str | os.PathLike[str], to: str = "", *, default: str = "caffe2") -> Destination:
    """Where a network goes, and as what.

    Args:
        output: a file or folder.
        to: the format's name; empty leaves it to the suffix, and for folders to ``default``.

    Raises:
        UsageError: a format that there is not, or a name that says another, or nothing that is known.
    """
    text = os.fspath(output)
    path = Path(text)
    asked = named(to) if to else None
    by_suffix = next((row for row in FORMATS if path.suffix in row.suffixes), None)
    named_as_folder = text.endswith(("/", os.sep)) or _looks_like_folder(path)
    if path.is_dir() and by_suffix is not None and not named_as_folder:
        raise UsageError(f"{path}: it is a folder, where a file is meant", hint=f"{path}/ writes into it")
    if path.is_dir() or named_as_folder:
        row = asked or named(default)
        return Destination(row, path / row.file if row.file else path, is_folder=not row.file)
    if path.exists() and not path.is_file():
        by_suffix = by_suffix or asked
        if by_suffix is None or not by_suffix.streams:
            raise UsageError(f"{path}: a pipe or a device takes one file of a format", hint="--to onnx is one file")
    if by_suffix is None:
        raise _unknown(path)
    if asked is not None and asked is not by_suffix:
        raise UsageError(
            f"{path}: {asked.name} is asked for, and {path.suffix} names {by_suffix.title}",
            hint=f"name a folder, or a file that ends in {asked.suffixes[0]}",
        )
    return Destination(by_suffix, path, is_folder=False)


def named(to: str) -> OutputFormat:
    """The format of that name. UsageError where there is none."""
    found = next((row for row in FORMATS if row.name == to), None)
    if found is None:
        raise UsageError(f"{to!r} is not a format", hint=f"there are {listed(NAMES)}")
    return found


def listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _looks_like_folder(path: Path) -> bool:
    """No suffix, or the end of a version number: ``out``, ``resnet-1.0``; and nothing there that is no folder."""
    return (not path.suffix or path.suffix[1:].isdigit()) and not path.exists()


def _unknown(path: Path) -> UsageError:
    if path.exists() and not path.suffix:
        return UsageError(f"{path}: it is a file, not a folder", hint="name a folder, or a file with a suffix")
    way = _OTHERS.get(path.suffix.lower())
    if way is not None:
        return UsageError(f"{path}: retorch does not write {path.suffix} files", hint=way)
    suffixes = listed([suffix for row in FORMATS for suffix in row.suffixes])
    return UsageError(
        f"{path}: nothing that is written ends in {path.suffix}",
        hint=f"files end in {suffixes}; a folder's name has no suffix, or ends in /",
    )
