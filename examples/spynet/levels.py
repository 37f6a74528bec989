"""The networks of the levels: found in a folder, converted to Caffe2 once, run on an engine."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Protocol

import retorch
from examples.spynet.pyramid import MOST_LEVELS, Floats
from retorch.caffe2.emit.net import EmitOptions
from retorch.engines.caffe2_runtime import Runtime
from retorch.errors import ConversionError, FormatError, UsageError

#: The sets of models that were published: what ``modelL1_F.t7`` was trained on.
FAMILIES = {
    "F": "Sintel, final pass",
    "C": "Sintel, clean pass",
    "K": "KITTI",
    "3": "Flying Chairs, with noise",
    "4": "Flying Chairs",
}
#: Sets that end at level 5: their fifth network serves for the sixth level too.
_SHORT = frozenset("34")
_NAME = re.compile(r"modelL(\d)(?:_(\w+))?\.t7")


def families(folder: Path) -> list[str]:
    """The sets in a folder; "" is the one without a suffix."""
    return sorted({found[2] or "" for path in folder.iterdir() if (found := _NAME.fullmatch(path.name))})


def find(folder: Path, count: int, family: str | None = None) -> list[Path]:
    """The files of levels 1 (the coarsest) to ``count``.

    Without a ``family`` it is the set in the folder, where there is one only. UsageError where a level is missing.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    there = families(folder)
    named = ", ".join(each or "without a suffix" for each in there)
    if family is None and len(there) > 1:
        raise UsageError(f"{folder}: holds several sets of models", hint=f"choose with --set: {named}")
    chosen = (there[0] if there else "") if family is None else family
    top = MOST_LEVELS - 1 if chosen in _SHORT else MOST_LEVELS
    suffix = f"_{chosen}" if chosen else ""
    paths = [folder / f"modelL{min(level, top)}{suffix}.t7" for level in range(1, count + 1)]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        hint = (
            f"`--levels` asks for fewer; sets in this folder: {named}" if there else "models are named modelL1_F.t7 …"
        )
        raise UsageError(f"{folder}: {count} levels are needed and these are missing: {', '.join(missing)}", hint=hint)
    return paths


def default_cache() -> Path:
    """Where converted levels are kept: below XDG_CACHE_HOME, or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retorch" / "spynet"


def converted(path: Path, cache: Path, options: EmitOptions) -> Path:
    """The folder with a level's Caffe2 files; they are made once for the same bytes and options."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    digest.update(f"{retorch.__version__} {options}".encode())
    folder = cache / f"{path.stem}-{digest.hexdigest()[:16]}"
    if not (folder / "predict_net.pb").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        # convolutions take any size: the one here only makes the conversion concrete
        network_of(path, 32, 32).save(folder, format="caffe2", options=options)
    return folder


def network_of(path: Path, height: int, width: int) -> retorch.Network:
    """A level's network for images of this size. FormatError and ConversionError say which file they are about."""
    try:
        return retorch.convert(retorch.load(path), (1, 8, height, width))
    except ConversionError as error:
        raise ConversionError(f"{path}: {error}", hint=error.hint) from error
    except FormatError as error:
        raise FormatError(f"{path}: {error}", hint=error.hint) from error


class Engine(Protocol):
    """Something that runs the Caffe2 files in a folder, or an ``.onnx`` file, on arrays in the order of its inputs."""

    def run(self, path: Path, *inputs: Floats) -> Floats: ...

    def close(self) -> None: ...


class Embedded:
    """onnxruntime, on the files as they are read back from disk."""

    def __init__(self) -> None:
        self._networks: dict[Path, retorch.Network] = {}

    def run(self, path: Path, *inputs: Floats) -> Floats:
        """The one output of the network at ``path``."""
        if path not in self._networks:
            self._networks[path] = retorch.Network.load(path)
        return self._networks[path].run(*inputs)[0]

    def close(self) -> None:
        """Forget the networks."""
        self._networks.clear()


class RealCaffe2:
    """The real Caffe2, in the interpreter that has it."""

    def __init__(self, version: str | None = None) -> None:
        """``version`` is "1.0.0", "1.10.2" or None for the first there is. UsageError where there is none."""
        self._runtime = Runtime.require(version)

    def run(self, path: Path, *inputs: Floats) -> Floats:
        """The one output of the network at ``path``."""
        return self._runtime.run(path, list(inputs))[0]

    def close(self) -> None:
        """Stop the process."""
        self._runtime.close()


def engine(name: str) -> Engine:
    """The engine of that name: ``embedded``, ``caffe2``, or ``caffe2-1.0.0`` for one version. UsageError for others."""
    kind, _, version = name.partition("-")
    if name == "embedded":
        return Embedded()
    if kind == "caffe2":
        return RealCaffe2(version or None)
    raise UsageError(f"there is no engine {name!r}", hint="embedded, caffe2, caffe2-1.0.0, caffe2-1.10.2")
