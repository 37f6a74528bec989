"""Who computes: the reference in NumPy, the written files in onnxruntime, the written files in the real Caffe2."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from retorch.caffe2.runtime import Runtime
from retorch.errors import UsageError
from retorch.network import Network

Array = NDArray[Any]


class Engine(Protocol):
    """Something that runs the files on disk."""

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


class Embedded:
    """The files, read back from disk, in onnxruntime."""

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

    def __init__(self, path: Path, age: str | None = None) -> None:
        self.path = path
        self.runtime = Runtime.require(age)
        self.name = f"Caffe2 {self.runtime.version}"

    def run(self, tensors: Sequence[Array]) -> list[Array]:
        return self.runtime.run(self.path, list(tensors))

    def blobs(self, names: Sequence[str], tensors: Sequence[Array]) -> dict[str, Array]:
        return dict(zip(names, self.runtime.run(self.path, list(tensors), list(names)), strict=True))

    def close(self) -> None:
        self.runtime.close()


def engine(name: str, path: Path) -> Engine:
    """The engine of that name on the files at ``path``.

    Args:
        name: ``embedded``, ``caffe2``, or ``caffe2-1.0.0`` for one age.
        path: a folder of Caffe2 files, or an ``.onnx`` file.

    Raises:
        UsageError: no engine of that name, or the real Caffe2 is not installed or was given ONNX.
    """
    if name == "embedded":
        return Embedded(path)
    if name == "caffe2" or name.startswith("caffe2-"):
        if path.suffix == ".onnx":
            raise UsageError("the real Caffe2 runs Caffe2 files, not ONNX", hint="use --engine embedded")
        return RealCaffe2(path, name.partition("-")[2] or None)
    raise UsageError(f"there is no engine {name!r}", hint="embedded, caffe2, caffe2-1.0.0, caffe2-1.10.2")
