"""What an engine is, and what it is given: something that computes a network's outputs and the values inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

from retorch.module import Module
from retorch.network import Network

Array = NDArray[Any]
#: One entry of a network's list of layers: Torch path, class, the values that hold its output.
LayerEntry: TypeAlias = "tuple[str, str, list[str]]"


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
