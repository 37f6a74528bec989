"""What is known of one file: a row of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Self

from retorch.errors import Problem

#: What can become of a file, best first, and what that means.
OUTCOMES: Final = {
    "converted": "every target is written, and its numbers are right where they were compared",
    "partly": "some targets are written, others refused it",
    "different": "written, but the numbers differ from the reference",
    "refused": "a network with layers that retorch, or the target, cannot express",
    "needs input": "a network whose input cannot be worked out",
    "no network": "a Torch7 file without a network",
    "damaged": "begins as a Torch7 file and cannot be read",
    "foreign": "another kind of file",
    "pointer": "a Git LFS or git-annex pointer: the content is elsewhere",
    "unreadable": "cannot be opened or fetched",
    "memory": "needs more memory than it may have",
    "time": "takes more time than it may have",
    "crash": "kills the process that reads it",
    "bug": "an error that retorch does not know: a bug",
}

#: What can become of one target, worst last.
_SEVERITY = ("converted", "refused", "different", "memory", "time", "crash", "bug")


@dataclass(frozen=True, slots=True)
class TargetResult:
    """What became of one target.

    Attributes:
        outcome: one of OUTCOMES.
        seconds: writing and verifying.
        peak_mb: the most memory that was resident meanwhile, of which some 100 MB are retorch itself.
        max_error: the largest error relative to the reference; None where nothing was compared.
        error: why not, where it is not converted.
    """

    outcome: str
    seconds: float = 0.0
    peak_mb: float = 0.0
    max_error: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One file.

    Attributes:
        path: where it was found; ``archive.tar!inside/net.t7`` for a member of an archive.
        outcome: one of OUTCOMES.
        kind: what the file is, in words.
        bytes, sha256: of its content as it is stored.
        dialect: how the ``.t7`` is written.
        networks: the paths of the networks in it.
        at: the network that was taken; ``""`` for the root.
        classes: its layers' classes with their counts.
        parameters: numbers that it was trained to.
        multiply_adds: for the input that was assumed.
        input, input_why: the input's shape, and how it was found.
        targets: what became of each.
        refusals: layers that cannot be converted.
        error, hint: why there is nothing, and what can be done.
        notes: what a person should know.
        seconds, peak_mb: of the whole; most memory resident.
        artifacts: the folder of what was written, relative to the output.
        same_as: the file of equal content that was done instead.
    """

    path: str
    outcome: str
    kind: str = ""
    bytes: int | None = None
    sha256: str = ""
    dialect: str = ""
    networks: tuple[str, ...] = ()
    at: str | None = None
    classes: Mapping[str, int] = field(default_factory=dict[str, int])
    parameters: int | None = None
    multiply_adds: int | None = None
    input: str = ""
    input_why: str = ""
    targets: Mapping[str, TargetResult] = field(default_factory=dict[str, TargetResult])
    refusals: tuple[Problem, ...] = ()
    error: str = ""
    hint: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    peak_mb: float = 0.0
    artifacts: str = ""
    same_as: str = ""

    def for_file(self, path: str) -> Self:
        """The row of a file of the same content: this one, or one that names the file that was done instead."""
        return self if path == self.path else replace(self, path=path, same_as=self.same_as or self.path)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """From what ``as_dict`` gave."""
        values = dict(stored)
        values["targets"] = {name: TargetResult(**target) for name, target in values.get("targets", {}).items()}
        values["refusals"] = tuple(Problem(**problem) for problem in values.get("refusals", ()))
        for name in ("networks", "notes"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)


def outcome_of(targets: Mapping[str, TargetResult]) -> str:
    """The outcome of a file whose network was converted to these targets."""
    found = {target.outcome for target in targets.values()}
    if found == {"converted", "refused"}:
        return "partly"
    return max(found, key=_SEVERITY.index)
