"""The verdict as one self-contained page, as Markdown, or as JSON."""

from retorch.report.facts import Facts, LayerFacts, Subject, gather
from retorch.report.render import check, write_report

__all__ = ["Facts", "LayerFacts", "Subject", "check", "gather", "write_report"]
