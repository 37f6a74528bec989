"""nngraph's own data structures, as its files hold them: nodes that know their inputs by ``mapindex``.

The benchmarks' char-rnn is made of them, and so are the graphs in the tests.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from retorch.torch7 import LuaTable, TorchObject


class Node:
    """A node under construction; ``inputs`` are the nodes it reads, in order."""

    def __init__(self, module: TorchObject | None, *inputs: Node, **data: Any) -> None:
        self.inputs = list(inputs)
        self.children: list[Node] = []
        self.data = LuaTable({**data, "annotations": LuaTable(), "mapindex": LuaTable()})
        if module is not None:
            self.data["module"] = module
        for node in inputs:
            self._link(node)

    def _link(self, node: Node) -> None:
        index = self.data["mapindex"]
        place = len(index.sequence()) + 1
        index[place] = node.data
        index[node.data] = place
        node.children.append(self)

    def add(self, node: Node) -> None:
        """One more input."""
        self.inputs.append(node)
        self._link(node)

    def split(self, count: int) -> list[Node]:
        """Nodes that give one entry each of the table that this one gives."""
        middle = Node(None, self, nSplitOutputs=count)
        return [Node(None, middle, selectindex=i, input=LuaTable()) for i in range(1, count + 1)]


def _order(last: Node, rng: np.random.Generator) -> list[Node]:
    """Some order in which every node comes after its inputs."""
    ready: list[Node] = []
    waiting = {id(n): n for n in _reachable(last)}
    while waiting:
        free = [n for n in waiting.values() if not any(id(i) in waiting for i in n.inputs)]
        ready.append(waiting.pop(id(free[int(rng.integers(len(free)))])))
    return ready


def _reachable(last: Node) -> list[Node]:
    found: dict[int, Node] = {}
    stack = [last]
    while stack:
        at = stack.pop()
        if id(at) not in found:
            found[id(at)] = at
            stack.extend(at.inputs)
    return list(found.values())


def graph(inputs: list[Node], outputs: list[Node], rng: np.random.Generator, old: bool = False) -> TorchObject:
    """``nn.gModule(inputs, outputs)``; ``old`` as until 2014, when the input node handed out its entries itself."""
    last = Node(None, *outputs, input=LuaTable())
    first = Node(None, **({"data": LuaTable()} if old else {"input": LuaTable()}))
    if old:
        for i, node in enumerate(inputs, 1):
            node.add(first)
            first.data["mapindex"][i] = node.data
            first.data["mapindex"][node.data] = i
    else:
        for node, source in zip(inputs, [first] if len(inputs) == 1 else first.split(len(inputs)), strict=True):
            node.add(source)
    order = _order(last, rng)
    stored = {id(n): TorchObject("nngraph.Node", {"id": i, "visited": False}) for i, n in enumerate(order, 1)}
    for node in order:
        here = [stored[id(child)] for child in node.children if id(child) in stored]
        stored[id(node)]["data"] = node.data
        stored[id(node)]["children"] = LuaTable([*enumerate(here, 1), *((child, i) for i, child in enumerate(here, 1))])
    modules = [n.data["module"] for n in order if "module" in n.data]
    fields: dict[str, object] = {"forwardnodes": LuaTable.of(*(stored[id(n)] for n in order)), "verbose": False}
    fields |= {"innode": stored[id(first)], "outnode": stored[id(last)]}
    more = {} if old else {"nInputs": len(inputs), "modules": LuaTable.of(*modules)}
    return TorchObject("nn.gModule", fields | more)
