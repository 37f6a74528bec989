"""``retorch.verify``: a network against what was written of it, and a verdict that can be kept as a page."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from retorch.errors import MissingFileError, UsageError
from retorch.files.html_table import html_table
from retorch.module import Module, load
from retorch.network import Network
from retorch.report.render import write_report
from retorch.report.summary import Subject
from retorch.verification import TOLERANCE, Report, Trial
from retorch.verification import verify as compare
from retorch.verification.compare import Watch, unwatched


@dataclass(frozen=True, slots=True, weakref_slot=True, repr=False)
class Proof(Report):
    """A :class:`Report` that knows what it is about.

    Attributes:
        subject: the network, its file and what was written.
    """

    subject: Subject = field(kw_only=True)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a page: ``.html``, ``.md`` or ``.json``; ``verify(…, layers=True)`` puts every layer's error in it.

        Raises:
            UsageError: another suffix; jinja2 is missing; the file cannot be written.
        """
        target = Path(path)
        write_report(target, self.subject, self)
        return target

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdict, and each output's error."""
        rows = [
            (w.engine, w.trial, w.failed or str(i + 1), f"{m.max_abs:.2e}", f"{m.relative:.2e}")
            for w in self.witnesses
            for i, m in enumerate(w.outputs)
        ]
        return html_table(self.verdict, ("engine", "input", "output", ">max error", ">relative"), rows)


def verify(
    net: Module | str | os.PathLike[str],
    path: str | os.PathLike[str] | Network,
    *,
    at: str | None = None,
    engines: Sequence[str] | None = None,
    inputs: Any = None,
    trials: Sequence[Trial] = (),
    layers: bool = False,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    source: str | os.PathLike[str] | None = None,
    adversarial: bool = False,
    watch: Watch = unwatched,
) -> Proof:
    """Compare what was written with the network it was made from; the report's ``ok`` says whether all agree.

    Args:
        net: the network, or its Torch7 file; it is the reference, run in float64.
        path: the written folder of Caffe2 files, or file; it is read from disk. Or a network in hand, which is written
            for that first.
        at: where in the file the network stands.
        engines: ``embedded``, ``caffe2`` (the newest), ``caffe2-1.0.0``, ``pytorch``, ``reference`` (float32),
            ``torch7``; by default the one for what was written.
        inputs: the input's tensors in order, or the only one; by default random ones.
        trials: more inputs, with names.
        layers: compare every layer's output too.
        seed: of the random input.
        tolerance: the error allowed, relative to max(1, max|y|) of the reference.
        source: the Torch7 file, for ``torch7``; known where ``net`` came from one.
        adversarial: try zeros, a constant, large values and other batches too.
        watch: told what is being done, how much of it is done and how much there is.

    Returns:
        The verdict; ``save("report.html")`` makes a page of it.

    Raises:
        FormatError: files that cannot be read.
        UsageError: an unknown engine, or inputs that do not fit.
    """
    if isinstance(net, Network):
        raise UsageError("verify takes the Torch network first, then what was written", hint="verify(net, network)")
    known = net if isinstance(net, Module) else load(net, at=at)
    file = Path(source) if source else known.file
    target, folder = _on_disk(path)
    report = compare(
        known,
        target,
        engines=engines,
        inputs=inputs,
        trials=trials,
        layers=layers,
        seed=seed,
        tolerance=tolerance,
        source=file,
        adversarial=adversarial,
        watch=watch,
    )
    same = {one.name: getattr(report, one.name) for one in fields(Report)}
    proof = Proof(**same, subject=Subject(known, target, file, {"Seed": str(seed)}))
    if folder is not None:  # a page can be made of it as long as the verdict is in hand
        weakref.finalize(proof, shutil.rmtree, folder, ignore_errors=True)
    return proof


def _on_disk(path: str | os.PathLike[str] | Network) -> tuple[Path, str | None]:
    """Where what is verified stands, and the folder that was made for it; a network in hand is written first."""
    if isinstance(path, Network):
        folder = tempfile.mkdtemp(prefix="retorch-")
        return path.save(Path(folder) / "written")[0].parent, folder
    target = Path(path)
    if not target.exists():
        raise MissingFileError(target)
    return target, None
