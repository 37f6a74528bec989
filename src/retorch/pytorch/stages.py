"""Stages of convolutions, each ended by a pooling: written once as a function of their counts and channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retorch.pytorch.part import Part, counted
from retorch.pytorch.source import Bracket, Code, Expression, call, laid_out

#: The fewest stages that are worth a function.
_LEAST = 3


@dataclass(frozen=True, slots=True)
class Stage:
    """Convolutions in a row: of how many channels the first takes, how many each gives, and the modules of one."""

    inputs: int
    channels: int
    count: int
    unit: tuple[Part, ...]
    pool: Part

    @property
    def length(self) -> int:
        """How many modules it has."""
        return self.count * len(self.unit) + 1


def write_stages(root: Part) -> list[str]:
    """Let containers that begin with such stages call a function for them.

    Returns:
        The functions' sources.
    """
    functions: list[str] = []
    for part in _chains(root):
        stages = _stages(list(part.children.values()))
        if len(stages) < _LEAST:
            continue
        body = _body(stages[0])
        if body not in functions:
            functions.append(body)
        name = f"stages{functions.index(body) + 1}" if functions.index(body) else "stages"
        shapes = [f"({stage.count}, {stage.channels})" for stage in stages]
        part.spread = sum(stage.length for stage in stages), call(f"*{name}", [str(stages[0].inputs), *shapes])
    return [
        body.replace("def stages(", f"def stages{i}(" if i > 1 else "def stages(")
        for i, body in enumerate(functions, 1)
    ]


def _chains(part: Part) -> list[Part]:
    own = [part] if part.name == "nn.Sequential" and part.written is None and counted(list(part.children)) else []
    return own + [found for child in part.children.values() for found in _chains(child)]


def _stages(parts: Sequence[Part]) -> list[Stage]:
    """The stages that a chain begins with, built alike."""
    found: list[Stage] = []
    at = 0
    while (stage := _stage(parts[at:])) is not None:
        if found and not (stage.inputs == found[-1].channels and _alike(stage, found[0])):
            break
        found.append(stage)
        at += stage.length
    return found


def _stage(parts: Sequence[Part]) -> Stage | None:
    """The stage that a chain begins with."""
    unit = tuple(parts[: next((i for i, part in enumerate(parts) if i and not _is_beside(part)), 0)])
    if not unit or not unit[0].name.startswith("nn.Conv") or unit[0].how != "module":
        return None
    inputs, channels = unit[0].args[:2]
    if not isinstance(inputs, int) or not isinstance(channels, int):
        return None
    count = 1
    while _repeats(parts[count * len(unit) :], unit, channels):
        count += 1
    rest = parts[count * len(unit) :]
    if not rest or "Pool" not in rest[0].name or rest[0].children:
        return None
    return Stage(inputs, channels, count, unit, rest[0])


def _is_beside(part: Part) -> bool:
    """Whether a module goes with the convolution before it: a normalization or an activation without parameters."""
    if "BatchNorm" in part.name:
        return True
    return not part.states and not part.children and "Pool" not in part.name and part.name.startswith("nn.")


def _repeats(parts: Sequence[Part], unit: Sequence[Part], channels: int) -> bool:
    """Whether a chain goes on with the same modules, of as many channels."""
    if len(parts) < len(unit) or parts[0].args[:2] != (channels, channels):
        return False
    return all(_same(one, other) for one, other in zip(parts, unit, strict=False))


def _same(one: Part, other: Part) -> bool:
    """Whether two modules are alike but for their channels."""
    skipped = 2 if "Conv" in one.name else 1 if "BatchNorm" in one.name else 0
    if one.children or other.children or one.written is not None or other.written is not None:
        return False
    return (one.name, one.args[skipped:], dict(one.named)) == (other.name, other.args[skipped:], dict(other.named))


def _alike(one: Stage, other: Stage) -> bool:
    pairs = list(zip((*one.unit, one.pool), (*other.unit, other.pool), strict=False))
    return len(one.unit) == len(other.unit) and all(_same(a, b) for a, b in pairs)


def _body(stage: Stage) -> str:
    """The function."""
    lines = [
        "def stages(inputs, *shapes):",
        '    """Stages of convolutions, a pooling after each: how many, and their channels."""',
        "    for count, channels in shapes:",
        "        for _ in range(count):",
    ]
    modules = [_general(part) for part in stage.unit]
    together = Bracket("(", tuple(("", module) for module in modules), ")")
    lines += laid_out(together, 12, "yield from ")
    lines += ["            inputs = channels", *laid_out(stage.pool.expression(), 8, "yield ")]
    return "\n".join(lines)


def _general(part: Part) -> Expression:
    """The call that constructs a module of any number of channels."""
    names = ["inputs", "channels"] if "Conv" in part.name else ["channels"] if "BatchNorm" in part.name else []
    return Part(part.name, (*map(Code, names), *part.args[len(names) :]), part.named).expression()
