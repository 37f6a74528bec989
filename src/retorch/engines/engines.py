"""Who computes: the formulas in NumPy, the written files in onnxruntime or the real Caffe2, Torch7 itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from retorch.engines import torch7
from retorch.engines.caffe2_runtime import AGES, Runtime
from retorch.errors import UsageError
from retorch.files.artifacts import onnx_file
from retorch.layers.base.memory import tensors
from retorch.layers.base.random_source import drawing
from retorch.module import Module
from retorch.network import Network
from retorch.verification.inputs import nest
from retorch.verification.layer_outputs import LayerEntry, Log

Array = NDArray[Any]


class Engine(Protocol):
    """Something that runs the files on disk."""

    #: Whether it runs what was written, rather than the Torch network.
    runs_files: bool

    @property
    def name(self) -> str:
        """The engine and its version, for the report."""
        ...

    def run(self, tensors: Sequence[Array]) -> list[Array]:
        """The network's outputs."""
        ...

    def blobs(self, names: Sequence[str], tensors: Sequence[Array]) -> dict[str, Array]:
        """Values inside the network, by name."""
        ...

    def close(self) -> None:
        """Let go of processes."""
        ...


@dataclass(frozen=True, slots=True)
class Case:
    """A Torch network, what was read from the files, how inputs nest, and which value holds which layer's output."""

    net: Module
    network: Network
    nesting: object
    entries: list[LayerEntry]


class Reference:
    """The formulas in NumPy, in float32: how much of an error is rounding."""

    runs_files = False

    def __init__(self, case: Case) -> None:
        self.case = case
        self.name = f"reference in float32 (NumPy {version('numpy')})"

    def run(self, tensors: Sequence[Array]) -> list[Array]:
        return self._run(tensors, None)

    def blobs(self, names: Sequence[str], tensors: Sequence[Array]) -> dict[str, Array]:
        log = Log()
        self._run(tensors, log)
        found = log.by_blob(self.case.entries)
        return {name: found[name][2] for name in names}

    def _run(self, given: Sequence[Array], log: Log | None) -> list[Array]:
        narrow = [t.astype(np.float32) if t.dtype.kind == "f" else t for t in given]
        return list(tensors(self.case.net.forward(nest(self.case.nesting, narrow), log)))

    def close(self) -> None:
        return None


class Embedded:
    """The files, read back from disk, in onnxruntime."""

    runs_files = True

    def __init__(self, path: Path) -> None:
        self.network = Network.load(path)
        self.name = f"embedded (onnxruntime {version('onnxruntime')})"

    def run(self, tensors: Sequence[Array]) -> list[Array]:
        return self.network.run(*tensors)

    def blobs(self, names: Sequence[str], tensors: Sequence[Array]) -> dict[str, Array]:
        return self.network.intermediate(names, *tensors)

    def close(self) -> None:
        return None


class RealCaffe2:
    """The files in the real Caffe2, in its own interpreter."""

    runs_files = True

    def __init__(self, path: Path, runtime: Runtime) -> None:
        self.path = path
        self.runtime = runtime
        self.name = f"Caffe2 {self.runtime.version}"

    def run(self, tensors: Sequence[Array]) -> list[Array]:
        return self.runtime.run(self.path, list(tensors))

    def blobs(self, names: Sequence[str], tensors: Sequence[Array]) -> dict[str, Array]:
        return dict(zip(names, self.runtime.run(self.path, list(tensors), list(names)), strict=True))

    def close(self) -> None:
        self.runtime.close()


class RealTorch:
    """Torch7 itself, on the file that the network came from."""

    runs_files = False

    def __init__(self, case: Case, source: Path) -> None:
        self.case = case
        self.source = source
        if drawing(case.net.layer):
            raise UsageError(
                "--engine lua: Torch7 draws this network's random numbers itself, so that no two runs agree"
            )
        self.program = torch7.find()
        self.name = f"Torch7 ({self.program.name})"

    def run(self, tensors: Sequence[Array]) -> list[Array]:
        return torch7.forward(self.program, self.source, self.case.net.at, nest(self.case.nesting, tensors))

    def blobs(self, names: Sequence[str], tensors: Sequence[Array]) -> dict[str, Array]:
        # Torch is asked for the outputs only
        return {}

    def close(self) -> None:
        return None


def _installed(age: str) -> bool:
    runtime = Runtime.find(age)
    if runtime is not None:
        runtime.close()
    return runtime is not None


def each_engine(names: str | Sequence[str]) -> list[str]:
    """The names, or the only one, with ``caffe2-all`` replaced by every age that is installed.

    Raises:
        UsageError: none is.
    """
    names = [names] if isinstance(names, str) else names
    if "caffe2-all" not in names:
        return list(names)
    ages = [age for age in AGES if _installed(age)]
    if not ages:
        Runtime.require(AGES[0])
    found = [one for name in names for one in ([f"caffe2-{a}" for a in ages] if name == "caffe2-all" else [name])]
    return list(dict.fromkeys(found))


def engine(name: str, path: Path, case: Case | None = None, source: str | os.PathLike[str] | None = None) -> Engine:
    """The engine of that name on the files at ``path``.

    Args:
        name: ``embedded``, ``caffe2`` (the newest installed), ``caffe2-1.0.0`` for one age, ``reference``, ``lua``.
        path: a folder of Caffe2 files, or an ``.onnx`` file, or a folder with one.
        case: the Torch network, for the last two.
        source: the Torch7 file, for ``lua``.

    Raises:
        UsageError: no engine of that name, or it is not installed, or it was given what it cannot run.
    """
    if name == "embedded":
        return Embedded(path)
    if name == "caffe2" or name.startswith("caffe2-"):
        if onnx_file(path) is not None:
            raise UsageError("the real Caffe2 runs Caffe2 files, not ONNX", hint="use --engine embedded")
        return RealCaffe2(path, Runtime.require(name.partition("-")[2] or None))
    if name == "reference" and case is not None:
        return Reference(case)
    if name == "lua" and case is not None and source is not None:
        return RealTorch(case, Path(source))
    raise UsageError(
        f"there is no engine {name!r} here",
        hint="embedded, caffe2, caffe2-1.0.0, caffe2-1.10.2, caffe2-all, reference, lua",
    )
