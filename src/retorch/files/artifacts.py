"""What a path names among networks that were written: Caffe2's files, or an ``.onnx`` file."""

from __future__ import annotations

import re
from pathlib import Path

from retorch.errors import UsageError

ONNX = ".onnx"
PYTHON = ".py"
#: Ours, and what Caffe2's own examples call a minidb.
MINIDB = (".minidb", ".mdb")
CAFFE2 = (".pb", ".pbtxt", ".prototxt", *MINIDB)


def is_written(path: Path) -> bool:
    """Whether this is a network for Caffe2 or onnxruntime, by its name; else it is taken for a Torch7 file."""
    names = path.iterdir() if path.is_dir() else [path]
    return any(name.suffix in {ONNX, *CAFFE2} for name in names)


def is_container_name(path: Path) -> bool:
    """Whether a minidb is a predictor container by its name, and not the weights of a pair."""
    return path.suffix in MINIDB and not path.stem.endswith(("init_net", "_init"))


def external_data(path: Path, digest: str) -> Path:
    """The file beside an ``.onnx`` file that holds its large weights, named after its content."""
    return path.with_name(f"{path.name}.{digest[:16]}.data")


def any_external_data(path: Path) -> re.Pattern[str]:
    """The names that :func:`external_data` gives, for any content."""
    return re.compile(rf"{re.escape(path.name)}\.[0-9a-f]{{16}}\.data")


def python_file(path: Path) -> Path | None:
    """The PyTorch source that is meant: ``path``, or ``model.py`` in a folder that holds no other network."""
    if not path.is_dir():
        return path if path.suffix == PYTHON else None
    model = path / "model.py"
    return model if model.exists() and not is_written(path) else None


def onnx_file(path: Path) -> Path | None:
    """The ``.onnx`` file that is meant: ``path``, or the one in a folder that holds no Caffe2 network.

    Raises:
        UsageError: a folder with several.
    """
    if path.suffix == ONNX and not path.is_dir():
        return path
    if not path.is_dir() or any(entry.suffix in CAFFE2 for entry in path.iterdir()):
        return None
    found = sorted(path.glob(f"*{ONNX}"))
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise UsageError(f"{path}: holds several networks: {names}", hint="name one of these files")
    return found[0] if found else None
