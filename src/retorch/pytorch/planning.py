"""From the runs of modules to parts: a rule's where a module's runs are whole, its operators elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator

from retorch.errors import Problem, UnsupportedError
from retorch.layers.base.layer import Layer, Refusal
from retorch.layers.recurrent.recursor import Recursor
from retorch.layers.recurrent.sequencer import BiSequencer
from retorch.layers.recurrent.torch_rnn import TwoMeanings
from retorch.pytorch.flow import Flow
from retorch.pytorch.part import Part, State, counted
from retorch.pytorch.rule import Run, is_stateful, rule_of
from retorch.pytorch.trace import Scope, Trace


def names_of(path: str) -> list[str]:
    """A Torch path as PyTorch counts: ``modules[1].modules[3]`` is 0, 2; other fields keep their names."""
    names: list[str] = []
    for step in path.split("."):
        found = re.fullmatch(r"(\w+)((?:\[\d+\])*)", step)
        field, places = (found[1], re.findall(r"\d+", found[2])) if found else (step, [])
        names += [field] if field != "modules" and field else []
        names += [str(int(place) - 1) for place in places]
    return names


class Planner:
    """Makes each module's part once."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._parts: dict[int, Part] = {}
        self._by_run: dict[int, Part] = {}

    def part(self, layer: Layer) -> Part:
        """The part of a module."""
        if id(layer) not in self._parts:
            made = self._planned(layer)
            made.layer = layer
            self._parts[id(layer)] = made
        return self._parts[id(layer)]

    def run(self, scope: Scope) -> Part | None:
        """What a run calls: its module's part with this run's expression; None where it has to be spelled out."""
        part = self.part(scope.layer)
        return self._by_run.get(id(scope), part) if part.callable else None

    def _planned(self, layer: Layer) -> Part:
        scopes = [s for s in self.trace.scopes.get(id(layer), []) if self.trace.is_read(s)]
        if scopes and len(scopes) > 1 and self._keeps_state(layer) and all(map(self.trace.whole_but_for_state, scopes)):
            return self._by_rule(layer, scopes) or self._holder(layer)
        if not scopes or not all(map(self.trace.whole, scopes)):
            return self._holder(layer)
        return self._by_rule(layer, scopes) or self._by_flow(layer, scopes) or self._holder(layer)

    def _starts_anew(self, layer: Layer) -> bool:
        """Whether a module has no state of its own that outlives a run."""
        return isinstance(layer, (Recursor, BiSequencer)) or (isinstance(layer, TwoMeanings) and layer.whole)

    def _keeps_state(self, layer: Layer) -> bool:
        """Whether a module or one inside it has a rule that keeps its state."""
        said = (rule_of(type(inside)) for inside in layer.every())
        return any(function is not None and is_stateful(function) for function in said)

    def _by_rule(self, layer: Layer, scopes: list[Scope]) -> Part | None:
        said = rule_of(type(layer))
        if said is None or (len(scopes) == 1 and is_stateful(said) and not self._starts_anew(layer)):
            return None
        found: list[Part] = []
        for scope in scopes:
            made = said(layer, Run(self, scope))
            if made is None or (found and not made.same(found[0])):
                return None
            found.append(made)
        self._by_run.update({id(scope): made for scope, made in zip(scopes, found, strict=True)})
        return found[0]

    def _by_flow(self, layer: Layer, scopes: list[Scope]) -> Part | None:
        children = self._children(layer)
        called: set[str] = set()
        for scope in scopes:
            called |= self._flow(scope, children)[1]
        children = {name: child for name, child in children.items() if name in called or _has_state(child)}
        made: list[Part] = []
        for scope in scopes:
            part = self._flow(scope, children)[0]
            if made and (part.written != made[0].written or not part.same(made[0])):
                return None
            made.append(part)
        self._by_run.update({id(scope): part for scope, part in zip(scopes, made, strict=True)})
        return made[0]

    def _flow(self, scope: Scope, children: dict[str, Part]) -> tuple[Part, set[str]]:
        """A run as straight lines, and which modules inside it calls."""
        layer, states = scope.layer, dict[str, State]()
        flow = Flow(self, scope, children, states)
        try:
            written = flow.written(_class_name(layer))
        except Refusal as refusal:
            raise UnsupportedError([Problem(layer.path, layer.typename, str(refusal))]) from refusal
        inline = None if states or children else flow.inline()
        how = "operators" if flow.spelled else "exact"
        part = Part(written.name, children=children, states=states, written=written, inline=inline, how=how)
        return part, flow.called

    def _holder(self, layer: Layer) -> Part:
        """A module that is not called as one: it keeps the parameters of what is inside where they belong."""
        children = self._children(layer)
        if not children:
            return Part("nn.ParameterDict", callable=False)
        base = "nn.ModuleList" if counted(list(children)) else "nn.ModuleDict"
        return Part(base, children=children, callable=False)

    def _children(self, layer: Layer) -> dict[str, Part]:
        children: dict[str, Part] = {}
        for child in layer.children():
            *outer, last = self.names_between(layer, child)
            at = children
            for name in outer:
                at = at.setdefault(name, Part("nn.ModuleDict", callable=False)).children
            at[last] = self.part(child)
        return children

    def names_between(self, outer: Layer, inner: Layer) -> list[str]:
        """The names that lead from a module to one inside it."""
        start, end = names_of(outer.path) if outer.path else [], names_of(inner.path)
        if end[: len(start)] == start and len(end) > len(start):
            return end[len(start) :]
        children = list(outer.children())
        place = next((i for i, child in enumerate(children) if child is inner), None)
        if place is None:
            raise UnsupportedError([Problem(inner.path, inner.typename, "is used where it does not stand")])
        return [f"shared{place}"]

    def planned(self) -> Iterator[tuple[Layer, Part]]:
        """Every layer that has a part."""
        for part in self._parts.values():
            if part.layer is not None:
                yield part.layer, part


def _has_state(part: Part) -> bool:
    """Whether a module or one inside it has parameters or buffers."""
    return bool(part.states) or any(map(_has_state, part.children.values()))


def _class_name(layer: Layer) -> str:
    name = layer.typename.rpartition(".")[2]
    return re.sub(r"\W", "", name[:1].upper() + name[1:]) or "Module"
