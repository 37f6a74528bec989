"""More inputs to try a network on, as far as float32 itself bears them."""

from __future__ import annotations

from pathlib import Path

from retorch.engines.interface import Case
from retorch.errors import RetorchError
from retorch.files.artifacts import onnx_file
from retorch.files.record import Record
from retorch.verification.inputs import Trial, batches, random_trial, scaled_trials
from retorch.verification.metrics import measure
from retorch.verification.rounding import AsStored
from retorch.verification.truth import Truth


def adversarial_trials(case: Case, target: Path, first: Trial, seed: int) -> list[Trial]:
    """Zeros, a constant and large values, and batches of 1 and 3 where the batch is free."""
    asked = scaled_trials(first)
    if batch_is_free(case, target):
        for shapes in batches([t.shape for t in first.tensors]):
            trial = random_trial(case.net, shapes, case.nesting, seed)
            asked.append(Trial(f"batch of {shapes[0][0]}, seed {seed}", trial.tensors))
    return asked


def batch_is_free(case: Case, target: Path) -> bool:
    """Whether the files were written for any batch: as their record says, else as an ONNX model says."""
    record = Record.read(target)
    if record is not None:
        fixed = any("for a batch of" in note for note in record.notes)
        return not fixed and all(i["shape"] and isinstance(i["shape"][0], str) for i in record.inputs)
    if onnx_file(target) is None:
        return False
    return all(port.shape is not None and port.shape and isinstance(port.shape[0], str) for port in case.network.inputs)


def beyond_float32(truth: Truth | AsStored, trial: Trial, tolerance: float) -> str:
    """Why a trial says nothing about a conversion; empty where it does.

    One on which the formulas in float32 stray from those in float64 by more than the tolerance would convict float32.
    """
    try:
        pairs = zip(truth(trial), truth.in_float32(trial), strict=True)
        worst = max((measure(wide, narrow).relative for wide, narrow in pairs), default=0.0)
    except RetorchError as error:
        return f"the network does not take it ({error})"
    return f"the formulas themselves lose {worst:.1e} of it in float32" if worst > tolerance / 10 else ""
