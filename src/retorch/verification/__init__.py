"""Proof: the files on disk against the reference, with numbers."""

from retorch.verification.compare import verify
from retorch.verification.inputs import Trial
from retorch.verification.metrics import TOLERANCE, Measure
from retorch.verification.report import LayerRow, Report, Witness

__all__ = ["TOLERANCE", "LayerRow", "Measure", "Report", "Trial", "Witness", "verify"]
