"""What operators that hold nets read and write: those of If and While are run where the operator itself stands."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from retorch.caffe2.arguments import argument
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
    body = net_of(operator, "body") if operator.type == "ONNXWhile" and _shares(operator) else None
    around = [name for name in read_first(body.op) if name not in carried_by(operator)] if body else []
    return [*operator.input, *(name for net in nets_of(operator) for name in read_first(net.op)), *around]


def _shares(operator: OperatorDef) -> bool:
    found = argument(operator, "disable_scopes")
    return found is not None and bool(found.i)


def carried_by(operator: OperatorDef) -> Sequence[str]:
    """What an ONNXWhile calls in its body the number of the round, the condition and the blobs that go round."""
    given = argument(operator, "num_loop_carried_deps")
    count = len(operator.input) - 2 if given is None or given.i == -1 else given.i
    body = net_of(operator, "body")
    return body.external_input[: 2 + count] if body is not None and count >= 0 else ()


def read_first(operators: Sequence[OperatorDef]) -> dict[str, None]:
    """The blobs that operators read before any of them makes them, in order."""
    made: set[str] = set()
    used: dict[str, None] = {}
    for operator in operators:
        used.update((name, None) for name in read_by(operator) if name not in made)
        made.update(operator.output)
    return used


def naming_outputs(operator: OperatorDef, read: Collection[str]) -> OperatorDef:
    """An If or While that names as outputs all that its nets leave behind and something reads: it need not itself."""
    left = dict.fromkeys(blob for net in nets_of(operator) for blob in written_by(net) if blob in read)
    unnamed = [blob for blob in left if blob not in operator.output]
    if not unnamed:
        return operator
    made = OperatorDef()
    made.CopyFrom(operator)
    made.output.extend(unnamed)
    return made


def written_by(net: NetDef) -> Iterator[str]:
    """The blobs that the operators of a net leave behind, those of nets within it too."""
    for operator in net.op:
        yield from operator.output
        for inner in nets_of(operator):
            yield from written_by(inner)
