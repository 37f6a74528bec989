"""RecurrentNetwork: a net that is run for every time step, as ONNX's Scan.

Its states are blobs of one entry more than there are steps. ``link_*`` say which blob of the step is which entry: at
offset 0 the state before, at offset 1 the one after; ``alias_*`` say which outputs are which part of a state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from retorch.caffe2.control import net_of
from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.graph import Graph, RefusalError, dims, dtype, rank
from retorch.caffe2.parse.nested import Blobs, run
from retorch.caffe2.parse.segments import arange
from retorch.caffe2.proto.caffe2_pb2 import NetDef


@dataclass(frozen=True, slots=True)
class Link:
    """A blob of the step and the entry of a blob outside that it is, counted from the step's own."""

    internal: str
    external: str
    offset: int


@dataclass(frozen=True, slots=True)
class State:
    """A recurrent state: its name, where it begins, and its blobs in the step, before and after."""

    name: str
    initial: ir.Value
    before: str
    after: str


def recurrent_network(call: Call) -> Results:
    """The states after all steps, in the parts that ``alias_*`` name; the step's workspaces are nothing to see."""
    g, links = call.graph, _links(call)
    states = _states(call, links)
    named = dict(zip(call.definition.input, call.inputs, strict=True))
    sequences = [link for link in links if link.external not in {state.name for state in states}]
    for link in sequences:
        if link.external not in named or link.offset:
            raise RefusalError(f"{link.internal} is entry {link.offset} of {link.external}, which is no input")
    count = g.reshape(g.shape_of(call.x, 0, 1), ())
    steps = g.cast(arange(g, count), ir.DataType.INT32)
    body = _Body(call, g.child(), states, sequences, steps, named)
    whole = _scan(g, body, [state.initial for state in states], [steps, *(named[link.external] for link in sequences)])
    return _aliased(call, {state.name: value for state, value in zip(states, whole, strict=True)})


def _texts(call: Call, name: str) -> list[str]:
    return [text.decode() for text in call.strings(name)]


def _links(call: Call) -> list[Link]:
    if any(window != 1 for window in call.ints("link_window")):
        raise RefusalError("link_window")
    parts = _texts(call, "link_internal"), _texts(call, "link_external"), call.ints("link_offset")
    if len({len(part) for part in parts}) != 1:
        raise RefusalError("link_internal, link_external and link_offset of different lengths")
    return [Link(*each) for each in zip(*parts, strict=True)]


def _states(call: Call, links: Sequence[Link]) -> list[State]:
    names, numbers = _texts(call, "recurrent_states"), call.ints("initial_recurrent_state_ids")
    if len(names) != len(numbers):
        raise RefusalError("recurrent_states and initial_recurrent_state_ids of different lengths")
    states: list[State] = []
    for name, number in zip(names, numbers, strict=True):
        found = {link.offset: link.internal for link in links if link.external == name}
        if set(found) != {0, 1}:
            raise RefusalError(f"state {name} is linked at {sorted(found)}, not before and after each step")
        states.append(State(name, _initial(call, call.input(number)), found[0], found[1]))
    return states


def _initial(call: Call, x: ir.Value) -> ir.Value:
    """The state before the first step: (1, batch, size); a vector is that of every example."""
    g = call.graph
    if rank(x) == 3:
        if dims(x)[0] not in (1, None):
            raise RefusalError(f"{dims(x)[0]} initial steps of a state")
        return x
    if rank(x) == 2:
        return g.unsqueeze(x, 0)
    batch = g.shape_of(call.x, 1, 2)
    sizes = g.op("Concat", g.constant([1]), batch, g.shape_of(x), axis=0)
    y = g.op("Expand", x, sizes)
    y.shape = ir.Shape([1, dims(call.x)[1], *dims(x)])
    return y


class _Body:
    """One time step: the inputs and outputs of the loop's body, in Scan's order."""

    def __init__(
        self,
        call: Call,
        graph: Graph,
        states: Sequence[State],
        sequences: Sequence[Link],
        steps: ir.Value,
        named: Mapping[str, ir.Value],
    ) -> None:
        self.graph = graph
        blobs = Blobs(named)
        self.inputs: list[ir.Value] = []
        for state in states:
            blobs.own[state.before] = self._input(state.before, dtype(state.initial), [1, *dims(state.initial)[1:]])
        step = self._input(call.string("timestep", "timestep"), dtype(steps), [])
        blobs.own[call.string("timestep", "timestep")] = graph.reshape(step, (1,))
        for link in sequences:
            outer = named[link.external]
            entry = self._input(link.internal, dtype(outer), list(dims(outer)[1:]))
            blobs.own[link.internal] = graph.unsqueeze(entry, 0)
        run(call, graph, _step_net(call), blobs, "step")
        after = [blobs.own[state.after] for state in states]
        self.outputs = [graph.op("Identity", value) for value in after]
        self.outputs += [graph.squeeze(value, 0) for value in after]

    def _input(self, name: str, kind: ir.DataType, sizes: Sequence[int | None]) -> ir.Value:
        value = ir.val(self.graph.unique(f"{name}_each"), kind, list(sizes))
        self.inputs.append(value)
        return value


def _step_net(call: Call) -> NetDef:
    net = net_of(call.definition, "step_net")
    if net is None:
        raise RefusalError("has no step_net that is a net")
    return net


def _scan(graph: Graph, body: _Body, states: Sequence[ir.Value], sequences: Sequence[ir.Value]) -> list[ir.Value]:
    """The whole of each state: what it was at first, and after every step."""
    inner = ir.Graph(body.inputs, body.outputs, nodes=body.graph.nodes, name=graph.unique(f"{graph.prefix}_step"))
    attributes = [ir.AttrGraph("body", inner), ir.AttrInt64("num_scan_inputs", len(sequences))]
    node = ir.Node("", "Scan", [*states, *sequences], attributes, num_outputs=2 * len(states))
    for at, value in enumerate(node.outputs):
        state = states[at % len(states)]
        value.name = graph.unique(f"{graph.prefix}_scan")
        value.type = ir.TensorType(dtype(state))
        value.shape = ir.Shape([1 if at < len(states) else dims(sequences[0])[0], *dims(state)[1:]])
    graph.nodes.append(node)
    return [
        graph.op("Concat", first, every, axis=0)
        for first, every in zip(states, node.outputs[len(states) :], strict=True)
    ]


def _aliased(call: Call, states: Mapping[str, ir.Value]) -> Results:
    parts = _texts(call, "alias_src"), _texts(call, "alias_dst"), call.ints("alias_offset")
    if len({len(part) for part in parts}) != 1:
        raise RefusalError("alias_src, alias_dst and alias_offset of different lengths")
    made: dict[str, ir.Value] = {}
    for source, target, offset in zip(*parts, strict=True):
        if source not in states:
            raise RefusalError(f"alias of {source}, which is no state")
        made[target] = call.graph.slice(states[source], 0, offset, 2**31 - 1)
    return [made.get(blob) for blob in call.definition.output]


RULES: Mapping[str, Rule] = {"RecurrentNetwork": recurrent_network}
