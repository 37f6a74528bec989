"""ONNXWhile: a net that is run a number of times, or as long as a condition holds, as ONNX's Loop.

The net finds no blobs but its inputs: the number of the round, the condition, and the blobs that go round; with
``disable_scopes`` it runs in the workspace of the net around it. Its outputs are a condition, the blobs that go round,
and what is collected of every round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from retorch.caffe2.control import carried_by, net_of, written_by
from retorch.caffe2.parse.call import Call, Outside, Results, Rule, nowhere
from retorch.caffe2.parse.graph import Graph, RefusalError, rank, size
from retorch.caffe2.parse.loop import Step, repeat
from retorch.caffe2.parse.nested import Blobs, run
from retorch.caffe2.proto.caffe2_pb2 import NetDef

BOOL = ir.DataType.BOOL


def onnx_while(call: Call) -> Results:
    """The blobs that went round, then what was collected of them. Inputs: most rounds, condition, blobs at first."""
    g, body = call.graph, net_of(call.definition, "body")
    if body is None:
        raise RefusalError("has no body that is a net")
    count = len(carried_by(call.definition)) - 2
    if count < 0 or len(call.inputs) < 2 + count or len(body.external_output) < 1 + count:
        raise RefusalError("a body of too few inputs or outputs")
    outside = call.outside if call.int("disable_scopes", 0) else nowhere
    _check_apart(call, body, outside)
    counts, asks = bool(call.int("has_trip_count", 0)), bool(call.int("has_cond", 0))
    if not counts and not asks:
        raise RefusalError("a loop that nothing ends")
    times = g.reshape(call.input(0), ()) if counts else None
    condition = g.reshape(call.input(1), (1,))
    begins = g.reshape(g.cast(condition, BOOL), ()) if asks else None

    def once(inner: Graph, at: ir.Value, states: Sequence[ir.Value]) -> Step:
        inside = Blobs(dict(zip(carried_by(call.definition), (at, *states), strict=True)), outside)
        run(call, inner, body, inside, "body")
        going = inner.reshape(_found(inside, body.external_output[0]), (1,))
        ends = _carried(call, body, inside, count)
        collected = [_row(inner, _found(inside, name)) for name in body.external_output[1 + count :]]
        return Step(inner.reshape(inner.cast(going, BOOL), ()) if asks else None, [going, *ends], collected)

    made = repeat(g, [condition, *call.inputs[2 : 2 + count]], once, times=times, begins=begins)
    if len(made) > 1 + count:
        g.notes.append(f"{call.type}: where no round runs, what it collects is empty; in Caffe2 int32 without columns")
    return made[1:]


def _check_apart(call: Call, body: NetDef, outside: Outside) -> None:
    """A blob of the body that is one around it would be changed there, unseen."""
    for blob in (*carried_by(call.definition), *written_by(body)):
        if outside(blob) is not None:
            raise RefusalError(f"its body writes {blob}, a blob around it")


def _found(blobs: Blobs, name: str) -> ir.Value:
    value = blobs.find(name)
    if value is None:
        raise RefusalError(f"its body gives {name}, which nothing makes")
    return value


def _carried(call: Call, body: NetDef, inside: Blobs, count: int) -> list[ir.Value]:
    """The blobs for the next round: copied one after the other where a round has no workspace of its own."""
    ends: list[ir.Value] = []
    names = carried_by(call.definition)[2:]
    for name, source in zip(names, body.external_output[1 : 1 + count], strict=True):
        ends.append(_found(inside, source))
        if not call.int("save_scopes", 0):
            inside.put(name, ends[-1])
    return ends


def _row(graph: Graph, value: ir.Value) -> ir.Value:
    """What one round adds to the collected rows."""
    if rank(value) == 0 or size(value, 0) != 1:
        raise RefusalError("collects what is not one row, which Caffe2 does not lay out")
    return graph.squeeze(value, 0)


RULES: Mapping[str, Rule] = {"ONNXWhile": onnx_while}
