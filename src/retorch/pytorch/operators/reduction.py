"""Sums, means, extremes and norms along dimensions."""

from __future__ import annotations

from collections.abc import Mapping

from retorch.pytorch.operators.node import Node, Said, one_or_list, receiver


def _axes(n: Node, i: int) -> list[int]:
    return n.ints(i) if n.has(i) else list(range(n.rank()))


def reduction(name: str) -> Said:
    def said(n: Node) -> str:
        axes = _axes(n, 1)
        keep = ", keepdim=True" if n.attribute("keepdims", 1) else ""
        return f"{receiver(n)}.{name}({one_or_list(axes) if len(axes) == 1 else tuple(axes)}{keep})"

    return said


def extreme(name: str) -> Said:
    """Of equal ones, the first gets the gradient."""

    def said(n: Node) -> str:
        axes = _axes(n, 1)
        if len(axes) > 1:
            return reduction("a" + name)(n)
        keep = ", keepdim=True" if n.attribute("keepdims", 1) else ""
        return f"{receiver(n)}.{name}({axes[0]}{keep})[0]"

    return said


def _norm(order: int) -> Said:
    def said(n: Node) -> str:
        axes = _axes(n, 1)
        keep = ", keepdim=True" if n.attribute("keepdims", 1) else ""
        return f"torch.norm({n[0]}, {order}, dim={tuple(axes) if len(axes) > 1 else axes[0]}{keep})"

    return said


def place(name: str) -> Said:
    """Where an extreme is, the first of equals."""

    def said(n: Node) -> str:
        keep = ", keepdim=True" if n.attribute("keepdims", 1) else ""
        return f"{receiver(n)}.{name}({n.attribute('axis', 0)}{keep})"

    return said


OPERATORS: Mapping[str, Said] = {
    "ArgMax": place("argmax"),
    "ArgMin": place("argmin"),
    "ReduceL1": _norm(1),
    "ReduceL2": _norm(2),
    "ReduceMax": extreme("max"),
    "ReduceMean": reduction("mean"),
    "ReduceMin": extreme("min"),
    "ReduceSum": reduction("sum"),
    "TopK": lambda n: f"{receiver(n)}.topk({n.ints(1)[0]}, {n.attribute('axis', -1)})",
}
