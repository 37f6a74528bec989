"""What the formulas give for each trial: in float64, which engines are measured by, worked out once."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from retorch.engines.interface import Case
from retorch.engines.reference import Log
from retorch.layers.base.memory import tensors
from retorch.verification.inputs import Trial

Array: TypeAlias = NDArray[Any]


class Truth:
    """The outputs of one network; kept for each trial, as several engines are asked."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._made: dict[int, tuple[Trial, list[Array]]] = {}

    def __call__(self, trial: Trial, log: Log | None = None) -> list[Array]:
        """The outputs in float64; ``log`` is told every layer's."""
        if log is not None or id(trial) not in self._made:
            self._made[id(trial)] = trial, self._forward(trial, np.float64, log)
        return self._made[id(trial)][1]

    def in_float32(self, trial: Trial) -> list[Array]:
        """The outputs in float32: how much of an error is rounding."""
        return self._forward(trial, np.float32, None)

    def _forward(self, trial: Trial, kind: DTypeLike, log: Log | None) -> list[Array]:
        given = Trial(trial.label, tuple(t.astype(kind) if t.dtype.kind == "f" else t for t in trial.tensors))
        return list(tensors(self._case.net.forward(given.nested(self._case.nesting), log)))
