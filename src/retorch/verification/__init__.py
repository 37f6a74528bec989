"""Proof: the files on disk against the reference, with numbers.

Comes in: a network, what was written of it, and inputs to try both on. Goes out: a report of how far their outputs and
layers are apart. Open first: ``compare.py``.
"""

from retorch.verification.compare import verify
from retorch.verification.inputs import Trial
from retorch.verification.metrics import TOLERANCE, Measure
from retorch.verification.report import LayerRow, Report, Witness

__all__ = ["TOLERANCE", "LayerRow", "Measure", "Report", "Trial", "Witness", "verify"]
