"""Products with weights: matrices, and the recurrent operators that are made of them."""

from __future__ import annotations

from collections.abc import Mapping

from retorch.layers.base.layer import Refusal
from retorch.pytorch.operators.node import Node, Said, infix, receiver


def _gemm(n: Node) -> str:
    if n.attribute("transA", 0) or n.attribute("alpha", 1.0) != 1 or n.attribute("beta", 1.0) != 1:
        raise Refusal("holds a Gemm that nn.Linear does not say")
    weight = n[1] if n.attribute("transB", 0) else f"{receiver(n, 1)}.t()"
    return f"F.linear({n[0]}, {weight}{f', {n[2]}' if n.has(2) else ''})"


def _cells(n: Node) -> str:
    """A recurrent operator, by the function of its name in the library."""
    given = [n[0], n[1], n[2], n[3]]
    states = [(name, n[i]) for i, name in ((5, "h"), (6, "c")) if n.has(i)]
    if n.has(4):
        raise Refusal(f"cannot be said in PyTorch: its operator {n.kind} takes lengths")
    if n.kind == "GRU" and n.attribute("linear_before_reset", 0):
        states.append(("reset_after", "True"))
    if n.kind == "RNN" and n.attribute("activations", ["Tanh"])[0] == "Relu":
        states.append(("function", "torch.relu"))
    return f"{n.kind.lower()}({', '.join([*given, *(f'{name}={value}' for name, value in states)])})"


OPERATORS: Mapping[str, Said] = {
    "GRU": _cells,
    "Gemm": _gemm,
    "LSTM": _cells,
    "MatMul": infix("@"),
    "RNN": _cells,
}
