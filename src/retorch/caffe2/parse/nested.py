"""The operators of a net that another operator holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from retorch.caffe2.control import naming_outputs, read_by
from retorch.caffe2.parse.call import Call, Outside, nowhere
from retorch.caffe2.parse.graph import Graph, RefusalError
from retorch.caffe2.parse.reproduced import check_reproduced
from retorch.caffe2.proto.caffe2_pb2 import NetDef, OperatorDef


class Blobs:
    """The blobs that a net finds: its own, and where it shares a workspace, those around it."""

    def __init__(self, own: Mapping[str, ir.Value], outside: Outside = nowhere) -> None:
        self.own = dict(own)
        self._outside = outside
        #: Those that have no meaning here: they are not to be found outside either.
        self._lost: set[str] = set()

    def find(self, name: str) -> ir.Value | None:
        """What a blob holds now; None where there is none."""
        return self.own[name] if name in self.own else None if name in self._lost else self._outside(name)

    def put(self, name: str, value: ir.Value | None) -> None:
        """What a blob holds from now on."""
        self._lost.discard(name)
        if value is None:
            self.own.pop(name, None)
            self._lost.add(name)
        else:
            self.own[name] = value


def run(call: Call, graph: Graph, net: NetDef, blobs: Blobs, role: str, kept: Sequence[str] = ()) -> None:
    """Says the operators of a net into the graph; ``blobs`` has what there is, later all that it made.

    ``role`` is what the net is to the operator, for messages; ``kept`` are blobs that are read after it.
    """
    read = frozenset([*net.external_output, *kept]).union(*(read_by(operator) for operator in net.op))
    for operator in (naming_outputs(each, read) for each in net.op):
        if not operator.output:
            continue
        results = _said(call, graph, operator, blobs, read, role)
        for position, blob in enumerate(operator.output):
            blobs.put(blob, results[position] if position < len(results) else None)


def _said(
    call: Call, graph: Graph, operator: OperatorDef, blobs: Blobs, read: frozenset[str], role: str
) -> Sequence[ir.Value | None]:
    where = f"in its {role} {operator.output[0]} {operator.type}"
    if operator.type not in call.rules:
        raise RefusalError(f"{where}: not an operator that retorch knows")
    inputs: list[ir.Value] = []
    for blob in operator.input:
        value = blobs.find(blob)
        if value is None:
            raise RefusalError(f"{where}: reads {blob}, which nothing makes")
        inputs.append(value)
    try:
        check_reproduced(operator, inputs)
        results = call.rules[operator.type](Call(operator, tuple(inputs), graph, read, call.rules, blobs.find))
    except RefusalError as error:
        raise RefusalError(f"{where}: {error}") from error
    return [results] if isinstance(results, ir.Value) else results
