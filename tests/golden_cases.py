"""The golden cases: networks written and run by the real Torch7, and what they gave."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parent / "golden"
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Case:
    """One network, its input and its output."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        with np.load(self.path.with_suffix(".npz")) as npz:
            return dict(npz)

    def nested(self, which: str) -> Any:
        arrays = self.arrays

        def visit(item: Any) -> Any:
            return [visit(i) for i in item] if isinstance(item, list) else arrays[f"{which}_{item}"]

        return visit(json.loads(str(arrays[f"{which}_nesting"])))

    def flat(self, which: str) -> list[np.ndarray]:
        return flatten(self.nested(which))


def flatten(x: Any) -> list[np.ndarray]:
    return [a for item in x for a in flatten(item)] if isinstance(x, list) else [x]


def cases(*folders: str) -> list[Case]:
    """Every case that comes with an input and an output."""
    found = [p for folder in folders or (".", "random", "digits") for p in sorted((GOLDEN / folder).glob("*.t7"))]
    return [Case(p) for p in found if p.with_suffix(".npz").exists()]


def check(expected: list[np.ndarray], got: list[np.ndarray], tolerance: float = TOLERANCE) -> None:
    """Shapes exact; values within ``tolerance * max(1, max|y|)`` of Torch's own output."""
    assert len(expected) == len(got), f"{len(got)} outputs, Torch gave {len(expected)}"
    for i, (want, have) in enumerate(zip(expected, got, strict=True)):
        assert tuple(have.shape) == tuple(want.shape), f"output {i}: shape {have.shape}, Torch gave {want.shape}"
        assert np.array_equal(np.isnan(want), np.isnan(have)), f"output {i}: NaN in other places than Torch's"
        scale = max(1.0, float(np.nanmax(np.abs(want), initial=0.0)))
        error = float(np.nanmax(np.abs(want.astype(np.float64) - have), initial=0.0))
        if not math.isfinite(scale):
            assert np.array_equal(want, have, equal_nan=True)
        else:
            assert error <= tolerance * scale, f"output {i}: off by {error:.3g}, allowed {tolerance * scale:.3g}"
