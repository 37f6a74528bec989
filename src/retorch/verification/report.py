"""The verdict: who was asked, what came out, and which layer is to blame."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from retorch.verification.metrics import Measure


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer's output in an engine against the reference.

    Attributes:
        path, typename: the Torch layer.
        blob: the value that holds its output.
        whole: the error when the whole network ran.
        alone: the error when the layer was fed the reference's own input; None where it was not asked for.
        failed: why it could not be run, if so.
    """

    path: str
    typename: str
    blob: str
    whole: Measure | None
    alone: Measure | None = None
    failed: str = ""

    def diverges(self, tolerance: float) -> bool:
        """Whether the layer's output in the whole network is off."""
        return bool(self.failed) or (self.whole is not None and not self.whole.within(tolerance))

    def guilty(self, tolerance: float) -> bool:
        """Whether the layer itself is wrong, given the right input."""
        return self.alone is not None and not self.alone.within(tolerance)


@dataclass(frozen=True, slots=True)
class Witness:
    """One engine on one input."""

    engine: str
    trial: str
    outputs: tuple[Measure, ...]
    failed: str = ""
    layers: tuple[LayerRow, ...] = ()

    def agrees(self, tolerance: float) -> bool:
        """Whether every output is within the tolerance; of a witness for single layers, every layer."""
        layers = self.layers if not self.outputs else ()
        return (
            not self.failed
            and all(m.within(tolerance) for m in self.outputs)
            and not any(row.guilty(tolerance) for row in layers)
        )

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What the verdict rests on: the outputs, else the layers one by one."""
        return self.outputs or tuple(row.alone for row in self.layers if row.alone is not None)


@dataclass(frozen=True, slots=True)
class Rounding:
    """How far weights in fewer bits move the outputs.

    Attributes:
        weights: what they are stored in.
        tensors: how many are stored so.
        measures: each output with the stored weights against the reference, which has them in full.
    """

    weights: str
    tensors: int
    measures: tuple[Measure, ...]

    @property
    def relative(self) -> float:
        """The largest change of any output, relative to max(1, max|y|)."""
        return max((m.relative for m in self.measures), default=0.0)

    def __str__(self) -> str:
        worst = max(self.measures, key=lambda m: m.relative, default=None)
        moved = f" by {self.relative:.1e} ({worst})" if worst is not None else ""
        return f"Weights stored as {self.weights} move the outputs{moved}."


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """What :func:`retorch.verify` found.

    Attributes:
        tolerance: the error allowed, relative to max(1, max|y|) of the float64 reference.
        witnesses: every engine on every input.
        notes: what a person should know.
        shapes: of the first input's tensors.
        rounding: what weights in fewer bits cost, where they are stored so: the verdict is on all else.
    """

    tolerance: float
    witnesses: tuple[Witness, ...]
    notes: tuple[str, ...] = field(default=())
    shapes: tuple[tuple[int, ...], ...] = field(default=())
    rounding: Rounding | None = None

    def __repr__(self) -> str:
        """The verdict."""
        return f"<{type(self).__name__}: {self.verdict}>"

    @property
    def ok(self) -> bool:
        """Whether all witnesses agree with the reference."""
        return bool(self.witnesses) and all(w.agrees(self.tolerance) for w in self.witnesses)

    @property
    def max_error(self) -> float:
        """The largest error of any output, or of a single layer's own witness, relative to max(1, max|y|)."""
        return max((m.relative for w in self.witnesses for m in w.measures), default=float("inf"))

    @property
    def first_divergence(self) -> LayerRow | None:
        """The first layer, in order of execution, whose output is off."""
        rows = (row for w in self.witnesses for row in w.layers if row.diverges(self.tolerance))
        return next(rows, None)

    @property
    def first_strange(self) -> LayerRow | None:
        """The first layer, in order of execution, that gave NaN or infinity."""
        rows = (row for w in self.witnesses for row in w.layers if row.whole is not None and not row.whole.finite)
        return next(rows, None)

    @property
    def culprits(self) -> tuple[LayerRow, ...]:
        """The layers that are wrong even when fed the reference's own input."""
        found = {row.path: row for w in self.witnesses for row in w.layers if row.guilty(self.tolerance)}
        return tuple(found.values())

    @property
    def verdict(self) -> str:
        """One sentence."""
        if not self.witnesses:
            return "Nothing was compared."
        engines = list(dict.fromkeys(w.engine for w in self.witnesses))
        if self.ok:
            worst = max((m for w in self.witnesses for m in w.measures), key=lambda m: m.relative)
            same = f"Same: {', '.join(engines)} within {self.max_error:.1e} of the reference ({worst})."
            return f"{same} {self.rounding}" if self.rounding else same
        bad = next(w for w in self.witnesses if not w.agrees(self.tolerance))
        what = bad.failed or next(str(m) for m in bad.measures if not m.within(self.tolerance))
        first = self.first_divergence
        # an engine that is not asked for single layers shows the first that is off
        blamed = self.culprits[:3] or ((first,) if first is not None and first.alone is None else ())
        blame = ", ".join(f"{row.path or '(root)'} {row.typename} ({row.blob})" for row in blamed)
        strange = self.first_strange
        return (
            f"Different: {bad.engine} on {bad.trial}: {what}."
            + (f" To blame: {blame}." if blame else "")
            + (f" NaN or infinity first in {strange.path or '(root)'} {strange.typename}." if strange else "")
        )

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "ok": self.ok,
            "verdict": self.verdict,
            "tolerance": self.tolerance,
            "max_error": self.max_error,
            "witnesses": [asdict(w) for w in self.witnesses],
            "first_strange": self.first_strange.path if self.first_strange else None,
            "culprits": [row.path for row in self.culprits],
            "notes": list(self.notes),
            "rounding": asdict(self.rounding) | {"max_error": self.rounding.relative} if self.rounding else None,
        }
