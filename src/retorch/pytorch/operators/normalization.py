"""Normalization by statistics, over neighbours and along a dimension."""

from __future__ import annotations

from collections.abc import Mapping

from retorch.pytorch.operators.node import Node, Said, options, receiver
from retorch.pytorch.source import number


def _batch_norm(n: Node) -> str:
    more = options(eps=(number(n.attribute("epsilon", 1e-5)), "1e-05"))
    return f"F.batch_norm({n[0]}, {n[3]}, {n[4]}, {n[1]}, {n[2]}{more})".replace("eps=1e-5", "eps=1e-05")


def _softmax(name: str) -> Said:
    return lambda n: f"{receiver(n)}.{name}({n.attribute('axis', -1)})"


def _lrn(n: Node) -> str:
    more = "".join(
        f", {name}={number(value)}"
        for name, value, default in (
            ("alpha", n.attribute("alpha", 1e-4), 1e-4),
            ("beta", n.attribute("beta", 0.75), 0.75),
            ("k", n.attribute("bias", 1.0), 1.0),
        )
        if abs(value - default) > 1e-9
    )
    return f"F.local_response_norm({n[0]}, {n.attribute('size')}{more})"


OPERATORS: Mapping[str, Said] = {
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": lambda n: (
        f"F.instance_norm({n[0]}, weight={n[1]}, bias={n[2]}, eps={number(n.attribute('epsilon', 1e-5))})"
    ),
    "LRN": _lrn,
    "LogSoftmax": _softmax("log_softmax"),
    "Softmax": _softmax("softmax"),
}
