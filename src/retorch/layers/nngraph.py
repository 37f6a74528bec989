"""Graphs of modules, as the package nngraph builds them (``gmodule.lua``, ``node.lua``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, layer
from retorch.layers.base.memory import output_table
from retorch.torch7 import LuaTable, TorchObject

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


@dataclass(frozen=True, slots=True)
class Edge:
    """Where a node's result goes: input number ``slot`` of ``child``; ``pick`` takes one entry of a table first."""

    child: int
    slot: int
    pick: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One node: its module (none: passes its input on), which entry it selects, how many it must split into."""

    key: int
    module: Layer | None
    select: int | None
    split: int | None
    edges: tuple[Edge, ...]


def _table(x: object, least: int) -> list[object] | None:
    return cast("list[object]", x) if isinstance(x, list) else None


@dataclass(frozen=True, slots=True)
class Flow:
    """How a pass runs a module, selects from a tensor (old files only), and which table a node collects inputs in.

    ``table`` gives the entries of what should be a table of at least so many, None of what is none.
    """

    run: Callable[[Layer, object], object]
    part: Callable[[object, int], object]
    inputs: Callable[[int], object]
    table: Callable[[object, int], list[object] | None] = _table


def _sequence(value: object) -> list[object]:
    return cast("list[object]", value.sequence()) if isinstance(value, (LuaTable, TorchObject)) else []


def _data(node: object) -> LuaTable:
    data = node.get("data") if isinstance(node, TorchObject) else None
    if not isinstance(data, LuaTable):
        raise Refusal("holds a node without data")
    return data


def _annotation(data: LuaTable) -> str:
    """What the author called a node (``annotate{name = …}``)."""
    notes = data.get("annotations")
    name = notes.get("name") if isinstance(notes, LuaTable) else None
    return name if isinstance(name, str) else ""


def _number(data: Mapping[object, object], name: str) -> int | None:
    value = data.get(name)
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _position(of: LuaTable, among: LuaTable) -> int:
    """The place of a node's data in another's ``mapindex``, which maps places to data and data to places."""
    index = among.get("mapindex")
    place = index.get(of) if isinstance(index, LuaTable) else None
    if not isinstance(place, int):
        raise Refusal("holds a node that does not know its input")
    return place


def _edges(data: LuaTable, children: Iterable[object]) -> tuple[Edge, ...]:
    dispatches = data.get("data") is not None
    found: list[Edge] = []
    for child in children:
        there = _data(child)
        # until 2014 the input node handed out the entries of the input itself, without nodes that select
        pick = _position(there, data) if dispatches else None
        found.append(Edge(id(there), _position(data, there), pick))
    return tuple(found)


def _check_order(nodes: Sequence[object]) -> None:
    """Refuse a graph that goes round: a node that feeds itself, or one that runs before it."""
    places = {id(_data(node)): i for i, node in enumerate(nodes, 1)}
    for i, node in enumerate(nodes, 1):
        for child in _sequence(node.get("children")) if isinstance(node, TorchObject) else []:
            fed = places.get(id(_data(child)), i + 1)
            if fed <= i:
                raise Refusal(f"has a cycle: forwardnodes[{i}] feeds forwardnodes[{fed}], which runs before it")


@layer("nn.gModule", "nn.TripletNet", kind="graph")
class GModule(Layer):
    """Each node's module on what its parents gave, in the order of ``forwardnodes``; gives ``outnode``'s input"""

    container = True
    # of the class that eladhoffer's triplet networks derive from it: what they were made of
    ignored = frozenset(
        {"bg", "fg", "backwardnodes", "modules", "verbose", "EmbeddingNet", "distMetric", "nets", "num"}
    )

    forwardnodes: object
    innode: object
    outnode: object
    nInputs: int | None = None

    def setup(self, bind: Binder) -> None:
        self.first, self.last = id(_data(self.innode)), id(_data(self.outnode))
        places = {id(m): f".modules[{i}]" for i, m in enumerate(_sequence(self.raw.get("modules")), 1)}
        _check_order(_sequence(self.forwardnodes))
        nodes: list[Node] = []
        #: what the author called nodes, by ``id`` of their modules
        self.annotations: dict[int, str] = {}
        for i, node in enumerate(_sequence(self.forwardnodes), 1):
            data = _data(node)
            if data.get("criterion") is not None:
                raise Refusal("holds a criterion as a node")
            stored = data.get("module")
            where = places.get(id(stored), f".forwardnodes[{i}].data.module")
            module = None if stored is None else bind(stored, f"{self.path}{where}".removeprefix("."))
            children = _sequence(node.get("children")) if isinstance(node, TorchObject) else []
            edges = _edges(data, children)
            nodes.append(Node(id(data), module, _number(data, "selectindex"), _number(data, "nSplitOutputs"), edges))
            named = _annotation(data)
            if module is not None and named:
                self.annotations[id(module)] = named
        if not nodes:
            raise Refusal("holds no nodes")
        self.nodes = nodes
        self.inputs = self._count()

    def _count(self) -> int:
        if self.nInputs is not None:
            return self.nInputs
        start = _data(self.innode)
        old = start.get("data") is not None
        found = _sequence(start.get("mapindex")) if old else self._node(self.first).edges
        return max(1, len(found))

    def _node(self, key: int) -> Node:
        found = next((node for node in self.nodes if node.key == key), None)
        if found is None:
            raise Refusal("does not reach its own input or output node")
        return found

    def children(self) -> Iterable[Layer]:
        return dict.fromkeys(node.module for node in self.nodes if node.module is not None)

    def forward(self, x: Nested) -> Nested:
        def run(module: Layer, value: object) -> object:
            return module(cast("Nested", value))

        flow = Flow(run, lambda v, i: cast("Array", v)[i], lambda node: output_table((id(self), node)))
        return cast("Nested", self.flow(x, flow))

    def lower(self, op: Builder, x: Values) -> Values:
        def run(module: Layer, value: object) -> object:
            return op.call(module, cast("Values", value))

        flow = Flow(run, lambda v, i: op.select(cast("Value", v), 0, i), lambda node: op.output_table((id(self), node)))
        return cast("Values", self.flow(x, flow))

    def flow(self, x: object, flow: Flow) -> object:
        """Every node once, in order."""
        table = flow.table(x, self.inputs) if self.inputs > 1 else None
        given = [x] if table is None else table
        if len(given) != self.inputs:
            raise Refusal(f"takes a table of {self.inputs} inputs")
        waiting: dict[int, dict[int, object]] = {self.first: dict(enumerate(given, 1))}
        result: object = None
        for node in self.nodes:
            ready = waiting.pop(node.key, {})
            if sorted(ready) != list(range(1, len(ready) + 1)):
                raise Refusal("has a node with an input missing")
            inputs = cast("list[object]", flow.inputs(node.key))
            inputs[:] = [ready[i] for i in sorted(ready)]
            result = _result(node, inputs, flow)
            if node.key == self.last:
                return result
            for edge in node.edges:
                entry = result if edge.pick is None else given[edge.pick - 1]
                waiting.setdefault(edge.child, {})[edge.slot] = entry
        return result


def _result(node: Node, inputs: list[object], flow: Flow) -> object:
    if node.select is not None:
        table = flow.table(inputs[0], node.select) if len(inputs) == 1 else inputs
        if table is None:
            return flow.part(inputs[0], node.select - 1)
        if node.select > len(table):
            raise Refusal(f"selects entry {node.select} of a table of {len(table)}")
        return table[node.select - 1]
    x = inputs[0] if len(inputs) == 1 else inputs
    y = x if node.module is None else flow.run(node.module, x)
    if node.split is not None and len(flow.table(y, node.split) or ()) != node.split:
        raise Refusal(f"splits into {node.split} what is not a table of {node.split}")
    return y


@layer("nngraph.JustElement", kind="identity")
class JustElement(Layer):
    """x of a table {x}"""

    container = True

    def forward(self, x: list[Nested]) -> Nested:
        if len(x) != 1:
            raise Refusal(f"takes a table of one, not of {len(x)}")
        return x[0]

    def lower(self, op: Builder, x: list[Values]) -> Values:
        if len(x) != 1:
            raise Refusal(f"takes a table of one, not of {len(x)}")
        return x[0]


@layer("nngraph.JustTable", kind="identity")
class JustTable(Layer):
    """The table {x}"""

    container = True

    def forward(self, x: Nested) -> list[Nested]:
        return [x]

    def lower(self, op: Builder, x: Values) -> list[Values]:
        return [x]
