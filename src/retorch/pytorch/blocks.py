"""Repeated modules as one class used many times: what differs between its uses becomes its arguments.

Two modules are alike where they are built of the same classes in the same way; numbers may differ, and one module
inside (a shortcut) may be another one altogether. That may be a module alike itself: so hourglasses and U-Nets stand in
each other, and the class takes what is inside it. Of all groups of modules that are alike, the one that saves most is
written as a class, until none saves anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from retorch.pytorch.part import Part, Written
from retorch.pytorch.source import Code, Expression, call, literal

#: What PyTorch takes where an argument is left out.
_DEFAULTS: Mapping[str, object] = {
    "stride": 1,
    "padding": 0,
    "dilation": 1,
    "groups": 1,
    "output_padding": 0,
    "bias": True,
    "affine": True,
    "ceil_mode": False,
}
#: What positional arguments are, by the end of a class's name.
_ROLES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Conv1d", ("inputs", "outputs", "kernel")),
    ("Conv2d", ("inputs", "outputs", "kernel")),
    ("Conv3d", ("inputs", "outputs", "kernel")),
    ("ConvTranspose2d", ("inputs", "outputs", "kernel")),
    ("Linear", ("inputs", "outputs")),
    ("BatchNorm1d", ("channels",)),
    ("BatchNorm2d", ("channels",)),
    ("BatchNorm3d", ("channels",)),
    ("InstanceNorm2d", ("channels",)),
    ("Dropout", ("p",)),
    ("Pool2d", ("kernel",)),
)
#: The least number of modules in a class, and of modules saved by it.
_LEAST, _WORTH = 3, 6


@dataclass
class Template:
    """Modules that are alike, and what each gives for every argument that differs.

    ``values`` is by place: the path of names to a module and the argument's name or number.
    """

    members: list[Part]
    values: dict[tuple[str, ...], list[object]] = field(default_factory=lambda: dict[tuple[str, ...], list[object]]())
    holes: set[tuple[str, ...]] = field(default_factory=set[tuple[str, ...]])

    def is_recursive(self) -> bool:
        """Whether some of the modules stand inside others."""
        members = set(map(id, self.members))
        inside = (part for member in self.members for hole in self.holes for part in _every(_at(member, hole)))
        return any(id(part) in members for part in inside)


def weight(part: Part) -> int:
    """How many lines a module takes."""
    return 1 + (0 if part.written is not None else sum(weight(child) for child in part.children.values()))


def share_blocks(root: Part, names: Iterable[str]) -> None:
    """Write what is repeated in a network as classes, of other names than those given."""
    taken = set(names)
    while (best := _best(root)) is not None:
        name = _name(best, taken)
        taken.add(name)
        _write(best, name)


def _composites(part: Part) -> Iterator[Part]:
    if part.written is not None:
        return
    for child in part.children.values():
        yield from _composites(child)
        if child.children and child.written is None and child.callable and weight(child) > _LEAST:
            yield child


def _best(root: Part) -> Template | None:
    groups: list[Template] = []
    for part in _composites(root):
        for group in groups:
            if part not in group.members and _alike(group.members[0], part, ()) is not None:
                group.members.append(part)
                break
        else:
            groups.append(Template([part]))
    found = [group for group in groups if len(group.members) > 1 and _saving(group) >= _WORTH]
    if not found:
        return None
    best = max(found, key=_saving)
    best.holes = set().union(*(_alike(best.members[0], other, ()) or set() for other in best.members[1:]))
    return best


def _saving(group: Template) -> int:
    return (len(group.members) - 1) * (weight(group.members[0]) - 1) - 4


def _alike(one: Part, other: Part, place: tuple[str, ...]) -> set[tuple[str, ...]] | None:
    """Where two modules hold different ones inside, at one place at most; None where they are not alike."""
    if one.written is not None or other.written is not None:
        if one.written != other.written or one.written is None:
            return None
        is_block = one.written.body is not None and len(one.args) == len(other.args)
        return set() if one.same(other) or (is_block and one.named.keys() == other.named.keys()) else None
    if one.name != other.name or len(one.args) != len(other.args) or one.children.keys() != other.children.keys():
        return None
    if any(name not in _DEFAULTS for name in one.named.keys() ^ other.named.keys()):
        return None
    holes: set[tuple[str, ...]] = set()
    for name, child in one.children.items():
        inside = _alike(child, other.children[name], (*place, name))
        holes |= {(*place, name)} if inside is None else inside
    alone = place and len(one.children) == len(holes & {(*place, name) for name in one.children})
    return None if len(holes) > 1 or (alone and one.children) else holes


def _settings(part: Part) -> dict[str, object]:
    return {**{str(i): value for i, value in enumerate(part.args)}, **part.named}


def _at(part: Part, place: Sequence[str]) -> Part:
    for name in place:
        part = part.children[name]
    return part


@dataclass
class _Argument:
    """An argument of the class: its name, what each use gives, and its default."""

    name: str
    values: list[object]
    default: object = None
    has_default: bool = False


class _Arguments:
    """What differs between the uses, one argument for equal values."""

    def __init__(self, group: Template) -> None:
        self.group = group
        self.found: list[_Argument] = []

    def at(self, place: tuple[str, ...], part: Part, key: str) -> object:
        """A setting as the class writes it: the value where all uses agree, else an expression of its arguments."""
        values = [_settings(_at(member, place)).get(key, _DEFAULTS.get(key)) for member in self.group.members]
        if all(value == values[0] for value in values):
            return values[0]
        for argument in self.found:
            if argument.values == values:
                return Code(argument.name)
            factor = _factor(argument.values, values)
            if factor is not None:
                return Code(f"{factor} * {argument.name}")
        return Code(self._new(_role(part, key), values, key))

    def module(self, values: list[object]) -> Code:
        """A module inside that each use gives."""
        return Code(self._new("inner" if self.group.is_recursive() else "shortcut", values, ""))

    def _new(self, wanted: str, values: list[object], key: str) -> str:
        names = {argument.name for argument in self.found}
        name, n = wanted, 1
        while name in names:
            n += 1
            name = f"{wanted}{n}"
        default = _DEFAULTS.get(key)
        self.found.append(_Argument(name, values, default, key in _DEFAULTS and default in values))
        return name

    def ordered(self) -> list[_Argument]:
        """Those without a default first, of these what is inside last."""
        return sorted(self.found, key=lambda argument: (argument.has_default, argument.name == "inner"))


def _factor(known: list[object], values: list[object]) -> int | None:
    """By what whole number all known values are multiplied."""
    if not all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in (*known, *values)):
        return None
    pairs = list(zip(cast("list[int]", values), cast("list[int]", known), strict=True))
    factor = pairs[0][0] // pairs[0][1]
    return factor if factor > 1 and all(v == factor * k for v, k in pairs) else None


def _role(part: Part, key: str) -> str:
    if not key.isdigit():
        return key
    roles = next((roles for end, roles in _ROLES if part.name.endswith(end)), ())
    return roles[int(key)] if int(key) < len(roles) else "size"


def _body(arguments: _Arguments, part: Part, place: tuple[str, ...]) -> list[tuple[str, Expression]]:
    """The arguments of the call that constructs a module of the class."""
    keys = list(dict.fromkeys(k for member in arguments.group.members for k in _settings(_at(member, place))))
    args: list[tuple[str, Expression]] = []
    named: list[tuple[str, Expression]] = []
    for key in sorted(keys, key=_order):
        value = arguments.at(place, part, key)
        if key.isdigit():
            args.append(("", literal(value)))
        elif value != _DEFAULTS.get(key, part):
            named.append((f"{key}=", literal(value)))
    inside: list[tuple[str, Expression]] = []
    if part.written is None:
        for name, child in part.children.items():
            inside.append(("", _constructed(arguments, child, (*place, name))))
    if part.name in ("nn.ModuleDict", "nn.ModuleList"):
        raise ValueError("holders of parameters are no blocks")
    return [*inside, *args, *named] if part.children_first else [*args, *inside, *named]


def _order(key: str) -> tuple[bool, int]:
    """Positional arguments first, then those by name as people write them."""
    return not key.isdigit(), list(_DEFAULTS).index(key) if key in _DEFAULTS else len(_DEFAULTS)


def _constructed(arguments: _Arguments, part: Part, place: tuple[str, ...]) -> Expression:
    if place in arguments.group.holes:
        members = [_at(member, place) for member in arguments.group.members]
        return literal(arguments.module(list(members)))
    items = _body(arguments, part, place)
    args = [item for name, item in items if not name]
    return call(part.name, args, [(name.rstrip("="), item) for name, item in items if name])


def _write(group: Template, name: str) -> None:
    """Make a class of a group, and its members calls of it."""
    arguments = _Arguments(group)
    first = group.members[0]
    items = _body(arguments, first, ())
    ordered = arguments.ordered()
    signature = [a.name + (f"={literal(a.default)}" if a.has_default else "") for a in ordered]
    args = [item for key, item in items if not key]
    base = first.name
    body = call("super().__init__", args, [(key.rstrip("="), item) for key, item in items if key])
    for i, member in enumerate(group.members):
        written = Written(name, base, signature=signature, body=body)
        member.args = tuple(argument.values[i] for argument in ordered if not argument.has_default)
        given = [a for a in ordered if a.has_default and a.values[i] != a.default]
        member.named = {argument.name: argument.values[i] for argument in given}
        member.name, member.written = name, written


def _name(group: Template, taken: set[str]) -> str:
    """A name that says what the class is."""
    inside = [part.name.rpartition(".")[2] for part in _leaves(group.members[0])]
    adds = any(name in ("CAddTable", "ConcatTable") for name in inside) or "ConcatTable" in _names(group.members[0])
    convolutions = sum("Conv" in name for name in inside)
    joins = group.members[0].name == "Concat" or "JoinTable" in inside
    if group.is_recursive() and (joins or (adds and "CAddTable" in inside)):
        wanted = "UNet" if joins else "Hourglass"
    elif adds and "CAddTable" in inside:
        wanted = "Bottleneck" if convolutions - _in_shortcut(group) >= 3 else "BasicBlock"
    elif group.members[0].name == "Concat":
        wanted = "DenseLayer" if "Identity" in inside else "Inception"
    elif convolutions:
        wanted = "ConvBlock" if convolutions > 1 else "Conv"
    else:
        wanted = "Block"
    name, n = wanted, 1
    while name in taken:
        n += 1
        name = f"{wanted}{n}"
    return name


def _in_shortcut(group: Template) -> int:
    first = group.members[0]
    return sum("Conv" in part.name for hole in group.holes for part in _leaves(_at(first, hole)))


def _every(part: Part) -> Iterator[Part]:
    """A module and all inside it."""
    yield part
    for child in part.children.values():
        yield from _every(child)


def _leaves(part: Part) -> Iterator[Part]:
    if not part.children or part.written is not None:
        yield part
        return
    for child in part.children.values():
        yield from _leaves(child)


def _names(part: Part) -> set[str]:
    return {part.name, *(name for child in part.children.values() for name in _names(child))}
