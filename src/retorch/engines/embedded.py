"""onnxruntime as an engine: the files as they stand on disk, read back."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from retorch.engines.interface import Array
from retorch.network import Network


class Embedded:
    """The files, read back from disk, in onnxruntime."""

    runs_files = True

    def __init__(self, path: Path, network: Network | None = None, *, once: bool = False) -> None:
        """``network`` is what somebody has read from there already; with ``once`` each run takes the least memory."""
        self._once = once
        self.network = Network.load(path) if network is None else network
        self.name = f"embedded (onnxruntime {version('onnxruntime')})"

    def run(self, tensors: Sequence[Array]) -> list[Array]:
        return self.network.run_once(*tensors) if self._once else self.network.run(*tensors)

    def blobs(self, names: Sequence[str], tensors: Sequence[Array]) -> dict[str, Array]:
        return self.network.intermediate(names, *tensors)

    def close(self) -> None:
        self.network.let_go()
