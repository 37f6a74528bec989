"""Which operators belong to which layer, and what flows between layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from retorch.caffe2.files import Caffe2Net
from retorch.report.flops import multiply_adds


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator of a written network: its kind, the values it reads and makes, its multiply-adds."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    cost: int = 0


def from_onnx(model: ir.Model) -> list[Operation]:
    """The operators of an ONNX model, in order."""
    return [
        Operation(
            node.op_type,
            tuple(str(v.name) for v in node.inputs if v is not None),
            tuple(str(v.name) for v in node.outputs),
            multiply_adds(node),
        )
        for node in model.graph
    ]


def from_caffe2(net: Caffe2Net) -> list[Operation]:
    """The operators of a Caffe2 net, in order."""
    return [Operation(op.type, tuple(op.input), tuple(op.output)) for op in net.predict.op]


def claim(operations: Sequence[Operation], layers: Sequence[Sequence[str]]) -> list[list[int]]:
    """For each layer, given by the values that it alone makes, the operators between those and other layers' values.

    An operator between two layers' inputs belongs to the first of them.
    """
    makers = _makers(operations)
    known = {value for values in layers for value in values}
    taken: set[int] = set()
    claimed: list[list[int]] = []
    for values in layers:
        mine: set[int] = set()
        stack = list(values)
        while stack:
            for index in makers.get(stack.pop(), ()):
                if index not in taken:
                    taken.add(index)
                    mine.add(index)
                    stack.extend(name for name in operations[index].inputs if name not in known)
        claimed.append(sorted(mine))
    return claimed


def _makers(operations: Sequence[Operation]) -> dict[str, list[int]]:
    # an operator that writes in place makes a value that another has made before
    found: dict[str, list[int]] = {}
    for index, operation in enumerate(operations):
        for name in operation.outputs:
            found.setdefault(name, []).append(index)
    return found


def flows(
    operations: Sequence[Operation], claimed: Sequence[Sequence[int]], inputs: Sequence[str], outputs: Sequence[str]
) -> list[tuple[int, int]]:
    """Pairs of layers where the second reads what the first made, by position in ``claimed``.

    Input ``i`` of the network is ``-1 - i``; its outputs together are ``len(claimed)``.
    """
    owner = {index: layer for layer, mine in enumerate(claimed) for index in mine}
    makers = _makers(operations)
    begin = {name: -1 - i for i, name in enumerate(inputs)}

    def sources(name: str) -> list[int]:
        found: list[int] = []
        stack, seen = [name], {name}
        while stack:
            at = stack.pop()
            if at in begin:
                found.append(begin[at])
            for index in makers.get(at, ()):
                if index in owner:
                    found.append(owner[index])
                else:
                    stack.extend(n for n in operations[index].inputs if n not in seen)
                    seen.update(operations[index].inputs)
        return found

    pairs: dict[tuple[int, int], None] = {}
    for layer, mine in enumerate(claimed):
        for name in [n for index in mine for n in operations[index].inputs]:
            pairs.update({(source, layer): None for source in sources(name) if source != layer})
    for name in outputs:
        pairs.update({(source, len(claimed)): None for source in sources(name)})
    return list(pairs)
