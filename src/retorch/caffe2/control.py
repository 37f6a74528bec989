"""What operators that hold nets read and write: those of If and While are run where the operator itself stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from retorch.caffe2.proto.caffe2_pb2 import NetDef, OperatorDef

#: The arguments that hold nets which find and leave their blobs in the workspace of the net around them.
_SHARING = {"If": ("then_net", "else_net"), "While": ("cond_net", "loop_net")}


def net_of(operator: OperatorDef, name: str) -> NetDef | None:
    """The net in an argument, if it is there."""
    return next((arg.n for arg in operator.arg if arg.name == name and arg.HasField("n")), None)


def nets_of(operator: OperatorDef) -> list[NetDef]:
    """The nets that an operator runs in the workspace that it stands in, in order."""
    found = (net_of(operator, name) for name in _SHARING.get(operator.type, ()))
    return [net for net in found if net is not None]


def read_by(operator: OperatorDef) -> list[str]:
    """The blobs that must be there before the operator runs, those that its nets need too."""
    return [*operator.input, *(name for net in nets_of(operator) for name in read_first(net.op))]


def read_first(operators: Sequence[OperatorDef]) -> dict[str, None]:
    """The blobs that operators read before any of them makes them, in order."""
    made: set[str] = set()
    used: dict[str, None] = {}
    for operator in operators:
        used.update((name, None) for name in read_by(operator) if name not in made)
        made.update(operator.output)
    return used


def written_by(net: NetDef) -> Iterator[str]:
    """The blobs that the operators of a net leave behind, those of nets within it too."""
    for operator in net.op:
        yield from operator.output
        for inner in nets_of(operator):
            yield from written_by(inner)
