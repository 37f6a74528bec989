"""One pass through a network with all sizes known: which module was given what, made what, by which operators.

Values are those of the ONNX graph, each assigned once, so that what Torch overwrites in place is another value here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import onnx_ir as ir

from retorch.errors import UnsupportedError
from retorch.graph.builder import Builder, Value
from retorch.graph.builder import Nested as Values
from retorch.graph.lowering import Example, lower_inputs, specs
from retorch.layers.base.layer import Layer
from retorch.layers.base.random_source import has_noise, random_layers

#: What flows between modules: a value, or a table of such.
Flowing: TypeAlias = "ir.Value | tuple[Flowing, ...]"


@dataclass(eq=False)
class Scope:
    """One run of a module: what it was given and made, the operators and modules inside, and when it ran."""

    layer: Layer
    given: Flowing
    made: Flowing = ()
    items: list[ir.Node | Scope] = field(default_factory=lambda: list["ir.Node | Scope"]())
    enter: int = 0
    exit: int = 0

    def scopes(self) -> Iterator[Scope]:
        """This run and all inside it."""
        yield self
        for item in self.items:
            if isinstance(item, Scope):
                yield from item.scopes()


def flat(x: Flowing) -> list[ir.Value]:
    """The tensors of a table, in order."""
    return [v for item in x for v in flat(item)] if isinstance(x, tuple) else [x]


def _contents(x: Values) -> Flowing:
    return x.read() if isinstance(x, Value) else tuple(_contents(item) for item in x)


#: Classes that hand on what they are given at evaluation, and do something else in training.
_ACTIVE = frozenset({"Dropout", "GradientReversal", "L1Penalty", "ZeroGrad", "NoBackprop", "Contiguous"})


class Tracer(Builder):
    """A builder that remembers the runs of modules."""

    def __init__(self) -> None:
        super().__init__()
        self._open: list[Scope] = []
        self._collected = 0
        self.root: Scope | None = None

    def _collect(self) -> None:
        new = self.nodes[self._collected :]
        self._collected = len(self.nodes)
        if self._open:
            self._open[-1].items.extend(new)

    def call(self, module: Layer, x: Values) -> Values:
        x = self.current(x)
        scope = Scope(module, _contents(x))
        self._collect()
        self._open.append(scope)
        y = self._apart(module, x, super().call(module, x))
        scope.made = _contents(self.current(y))
        self._collect()
        self._open.pop()
        if self._open:
            self._open[-1].items.append(scope)
        else:
            self.root = scope
        return y

    def _apart(self, module: Layer, x: Values, y: Values) -> Values:
        """What is the same tensor at evaluation, and is not in training, as a value of its own."""
        if module.typename.rpartition(".")[2] not in _ACTIVE or not isinstance(y, Value) or not isinstance(x, Value):
            return y
        if y.read() is not x.read():
            return y
        if getattr(module, "inplace", False):
            return self.write(y, self.Identity(y))
        return self.view(y, lambda p: self.Identity(p), lambda _, new: new, strides=y.strides, offset=y.offset)


class Trace:
    """A pass: its outermost run, and for each value when it was made and last read."""

    def __init__(self, root: Scope, initializers: set[ir.Value]) -> None:
        self.root = root
        self.initializers = initializers
        self.scopes: dict[int, list[Scope]] = defaultdict(list)
        self.last_use: dict[ir.Value, int] = {}
        self._uses: dict[ir.Value, list[int]] = defaultdict(list)
        self.made_at: dict[ir.Value, int] = {}
        self._reads: dict[int, list[ir.Value]] = {}
        self._clock = 0
        self._walk(root)
        for value in flat(root.made):
            self.last_use[value] = self._clock + 1
            self._uses[value].append(self._clock + 1)

    def _walk(self, scope: Scope) -> None:
        self.scopes[id(scope.layer)].append(scope)
        scope.enter = self._tick(flat(scope.given))
        reads: list[ir.Value] = []
        for item in scope.items:
            if isinstance(item, Scope):
                self._walk(item)
                reads += [*flat(item.given), *self._reads[id(item)]]
                continue
            inputs = [v for v in item.inputs if v is not None]
            time = self._tick(inputs)
            reads += inputs
            for value in item.outputs:
                self.made_at[value] = time
        reads += flat(scope.made)
        scope.exit = self._tick(flat(scope.made))
        self._reads[id(scope)] = [v for v in dict.fromkeys(reads) if self._from_before(v, scope)]

    def _tick(self, read: list[ir.Value]) -> int:
        self._clock += 1
        for value in read:
            self.last_use[value] = self._clock
            self._uses[value].append(self._clock)
        return self._clock

    def _from_before(self, value: ir.Value, scope: Scope) -> bool:
        if value in self.initializers:
            return False
        return self.made_at.get(value, 0) < scope.enter

    def whole(self, scope: Scope) -> bool:
        """Whether a run reads nothing but what it was given, and nobody reads of it but what it made."""
        given, made = set(flat(scope.given)), set(flat(scope.made))
        if any(value not in given for value in self._reads[id(scope)]):
            return False
        return all(value in made or self.last_use.get(value, 0) <= scope.exit for value in self._inside(scope))

    def whole_but_for_state(self, scope: Scope) -> bool:
        """Whether a run reads, besides what it was given, only what earlier runs of its module made, and they alone."""
        given, made = set(flat(scope.given)), set(flat(scope.made))
        runs = self.scopes[id(scope.layer)]
        for value in self._reads[id(scope)]:
            if value not in given and not any(run.enter < self.made_at.get(value, 0) < run.exit for run in runs):
                return False
        for value in self._inside(scope):
            outside = [t for t in self._uses[value] if t > scope.exit]
            if value not in made and not all(any(run.enter <= t <= run.exit for run in runs) for t in outside):
                return False
        return True

    def _inside(self, scope: Scope) -> Iterator[ir.Value]:
        for item in scope.items:
            if isinstance(item, Scope):
                yield from self._inside(item)
            else:
                yield from item.outputs

    def is_read(self, scope: Scope) -> bool:
        """Whether anybody reads what a run made."""
        return any(self.last_use.get(value, 0) > scope.exit for value in flat(scope.made))


def trace(root: Layer, example: Example) -> Trace:
    """Follow a network for an input of these sizes.

    Raises:
        UnsupportedError: layers without a rule, or that the rule cannot follow.
    """
    x = example
    if has_noise(example, len(random_layers(root))):
        x, *_ = example
    wanted, nesting = specs(x)
    op = Tracer()
    given, _ = lower_inputs(op, root, wanted, nesting)
    op.call(root, given)
    if op.problems or op.root is None:
        raise UnsupportedError(list(dict.fromkeys(op.problems)))
    drawn = {value.read() for value in op.noise.values()}
    return Trace(op.root, {*op.initializers.values(), *drawn})
