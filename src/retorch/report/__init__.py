"""The verdict as one self-contained page, as Markdown, or as JSON.

Comes in: a network, its conversion and the report of a verification. Goes out: one page with drawings and numbers.
Open first: ``summary.py``.
"""

from retorch.report.proof import Proof, verify
from retorch.report.render import check, write_report
from retorch.report.summary import Facts, LayerFacts, Subject, gather

__all__ = ["Facts", "LayerFacts", "Proof", "Subject", "check", "gather", "verify", "write_report"]
