"""The parameters of a net that was read: arrays by name, some of which are made whenever they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from retorch.caffe2.deferred import Deferred
from retorch.caffe2.fill_decoding import Filled
from retorch.files.protobuf import Array


class Blobs(Mapping[str, Array]):
    """What the blobs of an init net hold."""

    def __init__(self, filled: Mapping[str, Filled]) -> None:
        self._filled = dict(filled)

    def __getitem__(self, name: str) -> Array:
        return self._filled[name].array

    def __contains__(self, name: object) -> bool:
        return name in self._filled  # looking a blob up makes it

    def __iter__(self) -> Iterator[str]:
        return iter(self._filled)

    def __len__(self) -> int:
        return len(self._filled)

    def deferred(self, name: str) -> Deferred | None:
        """How to make a blob; None where it lies in the file as it is."""
        stored = self._filled[name].stored
        return stored if isinstance(stored, Deferred) else None

    def replaced(self, given: Mapping[str, Array]) -> Blobs:
        """The same with these arrays in place of others."""
        return Blobs({**self._filled, **{name: Filled(name, array, False) for name, array in given.items()}})
