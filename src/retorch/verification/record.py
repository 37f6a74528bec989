"""The record beside a conversion, from what was made and what verification found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from retorch.files.digests import digest

if TYPE_CHECKING:
    from retorch.caffe2.emit.net import EmitOptions
    from retorch.files.precision import Precision
    from retorch.files.record import Record
    from retorch.module import Module
    from retorch.network import Network
    from retorch.verification.report import Report


def record_of(
    file: Path,
    net: Module,
    made: Network,
    written: Iterable[Path],
    *,
    options: EmitOptions | None,
    report: Report | None,
    notes: Iterable[str],
    weights: Precision = "float",
) -> Record:
    """What ``retorch.json`` says.

    Args:
        file: the Torch7 file.
        net: the network in it.
        made: what it was converted to.
        written: the files.
        options: what Caffe2's files were emitted with; None for others.
        report: what verification found, where it was asked.
        notes: what a person should know.
        weights: what the weights are stored in.
    """
    return replace(
        made.record(written, options, weights),
        source=str(file.resolve()),
        source_sha256=digest(file),
        at=net.at,
        tolerance=report.tolerance if report else None,
        max_error=report.max_error if report else None,
        engines=tuple(dict.fromkeys(w.engine for w in report.witnesses)) if report else (),
        notes=tuple(notes),
        weights_error=report.rounding.relative if report and report.rounding else None,
    )
