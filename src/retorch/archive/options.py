"""What a batch is asked to do, as it travels from the client to the worker to the process that does it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias, cast, get_args

from retorch.errors import UsageError
from retorch.files.precision import Precision, precision

if TYPE_CHECKING:
    from retorch.graph.lowering import Example

Target: TypeAlias = Literal["caffe2", "onnx", "pytorch"]
TARGETS: Final[tuple[Target, ...]] = get_args(Target)


@dataclass(frozen=True, slots=True)
class Options:
    """What decides what is written; a batch that is resumed must be asked the same.

    Attributes:
        to: the targets.
        verify: compare what was written with the reference.
        reports: write a report page beside it.
        plugins: Python files that register layers.
        aliases: classes that are read as others.
        nn_age: how instance norms are read: old, new, or as the file says.
        inputs: shapes of inputs, by path, end of a path, name, name without suffix, or SHA-256.
        weights: what they are stored in: float, half or int8.
    """

    to: tuple[Target, ...] = ("caffe2",)
    verify: bool = True
    reports: bool = False
    plugins: tuple[str, ...] = ()
    inputs: Mapping[str, Example] = field(default_factory=dict[str, "Example"])
    weights: Precision = "float"
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    nn_age: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be done. UsageError."""
        unknown = [name for name in self.to if name not in TARGETS]
        if unknown or not self.to:
            raise UsageError(f"--to {', '.join(unknown)}: there are {', '.join(TARGETS)}")
        for target in self.to:
            precision(self.weights, target)
        for shape in self.inputs.values():
            shape_from_json(shape)
        if self.reports and not self.verify:
            raise UsageError("a report shows what verification finds", hint="leave out --no-verify")

    def input_of(self, path: str, sha256: str) -> Example | None:
        """The shape that was given for a file."""
        if not self.inputs:
            return None
        name = re.split(r"[/!]", path)[-1]
        keys = (sha256, path, name, name.partition(".")[0])
        found = next((self.inputs[key] for key in keys if key in self.inputs), None)
        if found is not None:
            return found
        return next((shape for key, shape in self.inputs.items() if "/" in key and path.endswith("/" + key)), None)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """From what ``to_json`` gave, after a way through JSON."""
        inputs = {name: shape_from_json(value) for name, value in stored["inputs"].items()}
        given = {key: stored[key] for key in ("verify", "reports", "aliases", "nn_age")}
        to, plugins = tuple(stored["to"]), tuple(stored["plugins"])
        return cls(to=to, plugins=plugins, inputs=inputs, weights=precision(stored["weights"]), **given)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may use.

    Attributes:
        memory: bytes of memory of its own; a file that is mapped does not count.
        seconds: by the clock.
    """

    memory: int = 4 << 30
    seconds: float = 120.0

    def __post_init__(self) -> None:
        """UsageError for limits under which nothing runs."""
        if not self.seconds > 0:
            raise UsageError("--time-limit: must be more than 0")


def shape_from_json(value: object) -> Example:
    """A shape, or a table of such, after a way through JSON, which has lists only: one of numbers is a shape.

    Raises:
        UsageError: anything else.
    """
    if not isinstance(value, (list, tuple)):
        raise UsageError(
            f"{value!r} is not the shape of an input", hint="a shape is (1, 3, 224, 224), a table a list of such"
        )
    items = cast("list[object]", value)
    sizes = [item for item in items if isinstance(item, int)]
    if len(sizes) == len(items):
        return tuple(sizes)
    return [shape_from_json(item) for item in items]


def absolute(plugins: tuple[str | Path, ...]) -> tuple[str, ...]:
    """Workers stand in another folder."""
    return tuple(str(Path(path).resolve()) for path in plugins)


def text(options: Options) -> str:
    """To compare with those of an earlier batch."""
    return json.dumps(options.to_json(), sort_keys=True)
