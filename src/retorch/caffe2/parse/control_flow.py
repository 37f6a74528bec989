"""If, While and Do: nets that run or not, again and again, or apart.

The nets of If and While find and leave their blobs in the workspace around them. Do runs its net in a workspace of its
own, which holds what is bound there from outside. A condition whose value is fixed is decided when the net is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from retorch.caffe2.control import net_of, nets_of, written_by
from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.graph import Graph, RefusalError, constant_of, count, dims
from retorch.caffe2.parse.loop import Step, described, merged, repeat
from retorch.caffe2.parse.nested import Blobs, run
from retorch.caffe2.proto.caffe2_pb2 import NetDef

#: Loops whose conditions are known are written out this often at most; what goes on is a loop of ONNX.
_LONGEST = 64
#: No blob of numbers is of this type: it marks those that hold a workspace.
_SCOPE = ir.DataType.UINT64


def create_scope(call: Call) -> Results:
    """A workspace for the nets of a later operator; nothing is calculated with it."""
    return [call.graph.constant(np.zeros((), np.uint64)) for _ in range(call.outputs)]


def do(call: Call) -> Results:
    """The net in a workspace of its own: ``inner_blobs`` are there what ``outer_blobs_idx`` counts here.

    It counts the inputs and then the outputs, each without the workspace that is their last.
    """
    net = _net(call, "net")
    if call.int("reuse_workspace", 0):
        raise RefusalError("reuse_workspace: its result depends on earlier runs")
    outer = [*call.definition.input[:-1], *call.definition.output[:-1]]
    names, places = [text.decode() for text in call.strings("inner_blobs")], call.ints("outer_blobs_idx")
    if len(names) != len(places) or not all(0 <= place < len(outer) for place in places):
        raise RefusalError("inner_blobs and outer_blobs_idx do not fit each other")
    bound = {inner: outer[place] for inner, place in zip(names, places, strict=True)}
    there = {inner: value for inner, blob in bound.items() if (value := _found(call, blob)) is not None}
    blobs = Blobs(there)
    run(call, call.graph, net, blobs, "net", list(bound))
    made = {blob: value for inner, blob in bound.items() if (value := blobs.find(inner)) is not None}
    return _each(call, made)


def choose(call: Call) -> Results:
    """The nets of an If: one of them where the condition is fixed, else ONNX's If of both."""
    condition, (chosen, other) = call.x, (_net(call, "then_net"), net_of(call.definition, "else_net"))
    decided = constant_of(condition)
    names = _left(call)
    if decided is not None:
        _check_single(decided.size)
        return _each(call, _after(call, call.graph, chosen if decided.ravel()[0] else other, "branch", names))
    _check_single(count(dims(condition)) if condition.shape is not None else None)
    sides = [call.graph.child() for _ in range(2)]
    ends = [_after(call, side, net, "branch", names) for side, net in zip(sides, (chosen, other), strict=True)]
    shared = [name for name in names if all(end[name] is not None for end in ends)]
    pairs = [[value for end in ends if (value := end[name]) is not None] for name in shared]
    values = _if(call.graph, call.graph.reshape(condition, ()), sides, pairs)
    return _each(call, dict(zip(shared, values, strict=True)))


def while_true(call: Call) -> Results:
    """The loop of a While: as long as its condition, which ``cond_net`` makes anew each time, is true.

    What is known beforehand is written out; the rest is a Loop of ONNX.
    """
    g, blobs = call.graph, Blobs({}, call.outside)
    _again(call, g, net_of(call.definition, "cond_net"), blobs)
    for _ in range(_LONGEST):
        decided = constant_of(_condition(call, blobs))
        if decided is None:
            break
        _check_single(decided.size)
        if not decided.ravel()[0]:
            return _each(call, {name: blobs.find(name) for name in _left(call)})
        _again(call, g, _net(call, "loop_net"), blobs)
        _again(call, g, net_of(call.definition, "cond_net"), blobs)
    written = dict.fromkeys(name for net in nets_of(call.definition) for name in written_by(net))
    before = {n: v for n in written if (v := blobs.find(n)) is not None and v.dtype != _SCOPE}
    return _each(call, _loop(call, blobs, before))


def _net(call: Call, name: str) -> NetDef:
    net = net_of(call.definition, name)
    if net is None:
        raise RefusalError(f"has no {name} that is a net")
    return net


def _found(call: Call, blob: str) -> ir.Value | None:
    names = list(call.definition.input)
    return call.inputs[names.index(blob)] if blob in names else call.outside(blob)


def _scopes(call: Call) -> dict[str, ir.Value]:
    """The workspaces among the inputs."""
    named = zip(call.definition.input, call.inputs, strict=True)
    return {name: value for name, value in named if value.dtype == _SCOPE}


def _left(call: Call) -> list[str]:
    """The blobs that the operator leaves behind, without workspaces."""
    scopes = _scopes(call)
    return [name for name in dict.fromkeys(call.definition.output) if name not in scopes]


def _each(call: Call, made: Mapping[str, ir.Value | None]) -> Results:
    """The outputs in order; a workspace stays what it is."""
    known = {**made, **_scopes(call)}
    return [known.get(blob) for blob in call.definition.output]


def _check_single(size: int | None) -> None:
    if size not in (1, None):
        raise RefusalError(f"a condition of {size} values")


def _after(call: Call, graph: Graph, net: NetDef | None, role: str, names: Sequence[str]) -> dict[str, ir.Value | None]:
    """What the blobs hold after the net has run; what they held, where there is none."""
    blobs = Blobs({}, call.outside)
    if net is not None:
        run(call, graph, net, blobs, role, names)
    return {name: blobs.find(name) for name in names}


def _if(
    graph: Graph, condition: ir.Value, sides: Sequence[Graph], pairs: Sequence[Sequence[ir.Value]]
) -> Sequence[ir.Value]:
    ends = [[side.op("Identity", pair[at]) for pair in pairs] for at, side in enumerate(sides)]
    bodies = [
        ir.Graph([], end, nodes=side.nodes, name=graph.unique(f"{graph.prefix}_branch"))
        for side, end in zip(sides, ends, strict=True)
    ]
    attributes = [ir.AttrGraph(name, body) for name, body in zip(("then_branch", "else_branch"), bodies, strict=True)]
    node = ir.Node("", "If", [condition], attributes, num_outputs=len(pairs))
    for value, (one, other) in zip(node.outputs, pairs, strict=True):
        described(value, graph.unique(f"{graph.prefix}_if"), merged(one, other))
    graph.nodes.append(node)
    return node.outputs


def _again(call: Call, graph: Graph, net: NetDef | None, blobs: Blobs) -> None:
    if net is not None:
        run(call, graph, net, blobs, "loop", [*call.definition.output, call.definition.input[0]])


def _condition(call: Call, blobs: Blobs) -> ir.Value:
    found = blobs.find(call.definition.input[0])
    return call.x if found is None else found


def _loop(call: Call, blobs: Blobs, before: Mapping[str, ir.Value]) -> dict[str, ir.Value]:
    """ONNX's Loop: what the nets change goes round."""

    def once(body: Graph, _: ir.Value, states: Sequence[ir.Value]) -> Step:
        inside = Blobs(dict(zip(before, states, strict=True)), blobs.find)
        _again(call, body, _net(call, "loop_net"), inside)
        _again(call, body, net_of(call.definition, "cond_net"), inside)
        ends = [value for name in before if (value := inside.find(name)) is not None]
        if len(ends) != len(before):
            raise RefusalError("a blob of the loop loses its meaning in it")
        return Step(body.reshape(_condition(call, inside), ()), ends)

    begins = call.graph.reshape(_condition(call, blobs), ())
    return dict(zip(before, repeat(call.graph, [*before.values()], once, begins=begins), strict=True))


def is_empty(call: Call) -> ir.Value:
    """Whether x has no elements."""
    g, x = call.graph, call.x
    known = count(dims(x)) if x.shape is not None else None
    if known is not None or (x.shape is not None and 0 in dims(x)):
        return g.constant(np.asarray(not known))
    return g.op("Equal", g.op("Size", x), g.constant(np.zeros((), np.int64)))


def has_elements(call: Call) -> ir.Value:
    """Whether any of the inputs has elements."""
    g = call.graph
    empty = [is_empty(Call(call.definition, (value,), g)) for value in call.inputs]
    fixed = [constant_of(value) for value in empty]
    if all(value is not None for value in fixed):
        return g.constant(np.asarray(not all(bool(value) for value in fixed)))
    every = empty[0]
    for value in empty[1:]:
        every = g.op("And", every, value)
    return g.op("Not", every)


RULES: Mapping[str, Rule] = {
    "CreateScope": create_scope,
    "Do": do,
    "If": choose,
    "While": while_true,
    "IsEmpty": is_empty,
    "HasElements": has_elements,
}
