"""The real Caffe2 as an engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from retorch.engines.caffe2_runtime import Runtime
from retorch.engines.interface import Array


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
