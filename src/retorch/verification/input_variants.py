"""More inputs to try a network on, as far as float32 itself bears them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from retorch.engines.interface import Case
from retorch.errors import RetorchError
from retorch.files.artifacts import onnx_file
from retorch.files.record import Record
from retorch.layers.base.memory import tensors
from retorch.verification.inputs import Trial, batches, random_trial, unkind_trials
from retorch.verification.metrics import measure


def further_trials(
    case: Case, target: Path, first: Trial, seed: int, tolerance: float
) -> tuple[list[Trial], list[str]]:
    """Zeros, a constant and large values, and batches of 1 and 3 where the batch is free; and why some are left out.

    A trial on which the formulas in float32 stray from those in float64 by more than the tolerance would convict
    float32 and not the conversion, so it is left out.
    """
    asked = unkind_trials(first)
    if batch_is_free(case, target):
        for shapes in batches([t.shape for t in first.tensors]):
            trial = random_trial(case.net, shapes, case.nesting, seed)
            asked.append(Trial(f"batch of {shapes[0][0]}, seed {seed}", trial.tensors))
    kept: list[Trial] = []
    notes: list[str] = []
    for trial in asked:
        why = _beyond_float32(case, trial, tolerance)
        if why:
            notes.append(f"not tried on {trial.label}: {why}")
        else:
            kept.append(trial)
    return kept, notes


def batch_is_free(case: Case, target: Path) -> bool:
    """Whether the files were written for any batch: as their record says, else as an ONNX model says."""
    record = Record.read(target)
    if record is not None:
        fixed = any("for a batch of" in note for note in record.notes)
        return not fixed and all(i["shape"] and isinstance(i["shape"][0], str) for i in record.inputs)
    if onnx_file(target) is None:
        return False
    return all(port.shape is not None and port.shape and isinstance(port.shape[0], str) for port in case.network.inputs)


def _beyond_float32(case: Case, trial: Trial, tolerance: float) -> str:
    made: list[list[np.ndarray]] = []
    for kind in (np.float64, np.float32):
        x = Trial(trial.label, tuple(t.astype(kind) if t.dtype.kind == "f" else t for t in trial.tensors))
        try:
            made.append(list(tensors(case.net.forward(x.nested(case.nesting)))))
        except RetorchError as error:
            return f"the network does not take it ({error})"
    worst = max((measure(w, n).relative for w, n in zip(*made, strict=True)), default=0.0)
    return f"the formulas themselves lose {worst:.1e} of it in float32" if worst > tolerance / 10 else ""
