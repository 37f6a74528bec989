"""Proof: the files on disk against the reference, with numbers.

Comes in: a network, what was written of it, and inputs to try both on. Goes out: a report of how far their outputs and
layers are apart. Open first: ``compare.py``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retorch.verification.compare import verify
    from retorch.verification.inputs import Trial
    from retorch.verification.metrics import TOLERANCE, Measure
    from retorch.verification.report import LayerRow, Report, Witness

#: Where each name lives; imported when first asked for, so that a record is written without an engine.
_HOMES = {
    "TOLERANCE": "metrics",
    "LayerRow": "report",
    "Measure": "metrics",
    "Report": "report",
    "Trial": "inputs",
    "Witness": "report",
    "verify": "compare",
}

__all__ = ["TOLERANCE", "LayerRow", "Measure", "Report", "Trial", "Witness", "verify"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
