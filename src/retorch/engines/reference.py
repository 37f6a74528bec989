"""The formulas in NumPy as an engine, and what each layer gave in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version

import numpy as np

from retorch.engines.interface import Array, Case, LayerEntry
from retorch.graph.nesting import nest
from retorch.layers.base.layer import Layer
from retorch.layers.base.memory import Nested, tensors


class Log:
    """What each layer gave in the reference, in order of execution."""

    def __init__(self) -> None:
        self.outputs: list[tuple[str, str, list[Array]]] = []

    def __call__(self, module: Layer, x: Nested, y: Nested) -> None:
        self.outputs.append((module.path, module.typename, [t.copy() for t in tensors(y)]))

    def by_blob(self, entries: Sequence[LayerEntry]) -> dict[str, tuple[str, str, Array]]:
        """The reference's arrays by the name of the value that should hold them, innermost layers first."""
        runs: dict[tuple[str, int], list[Array]] = {}
        seen: Counter[str] = Counter()
        for path, _, arrays in self.outputs:
            seen[path] += 1
            runs[path, seen[path]] = arrays
        seen.clear()
        found: dict[str, tuple[str, str, Array]] = {}
        for path, typename, names in entries:
            seen[path] += 1
            arrays = runs.get((path, seen[path]), [])
            if len(arrays) == len(names):
                for name, array in zip(names, arrays, strict=True):
                    found.setdefault(name, (path, typename, array))
        return found


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
