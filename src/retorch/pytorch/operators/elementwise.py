"""Arithmetic, comparison, choice and activations, an element at a time."""

from __future__ import annotations

from collections.abc import Mapping

from retorch.pytorch.operators.node import BOOL, INT64, Node, Said, infix, method, options, receiver
from retorch.pytorch.source import number


def _cast(n: Node) -> str:
    kind = {1: "float()", INT64: "long()", 6: "int()", BOOL: "bool()", 11: "double()"}[int(n.attribute("to"))]
    return f"{receiver(n)}.{kind}"


def _clip(n: Node) -> str:
    limits = [n[i] if n.has(i) else None for i in (1, 2)]
    named = zip(("min", "max"), limits, strict=True)
    return f"{receiver(n)}.clamp({', '.join(f'{name}={v}' for name, v in named if v is not None)})"


def _nested(name: str) -> Said:
    def said(n: Node) -> str:
        text = n[0]
        for i in range(1, len(n)):
            text = f"torch.{name}({text}, {n[i]})"
        return text

    return said


def _where(n: Node) -> str:
    # torch.where takes no numbers before PyTorch 1.12
    if _is_number(n[2]):
        return f"{receiver(n, 1)}.masked_fill(~{receiver(n)}, {n[2]})"
    if _is_number(n[1]):
        return f"{receiver(n, 2)}.masked_fill({n[0]}, {n[1]})"
    return f"torch.where({n[0]}, {n[1]}, {n[2]})"


def _is_number(text: str) -> bool:
    return text.lstrip("-")[:1].isdigit()


OPERATORS: Mapping[str, Said] = {
    "Abs": method("abs"),
    "Add": infix("+"),
    "And": infix("&"),
    "Cast": _cast,
    "Ceil": method("ceil"),
    "Clip": _clip,
    "Cos": method("cos"),
    "Div": infix("/"),
    "Elu": lambda n: f"F.elu({n[0]}{options(alpha=(number(n.attribute('alpha', 1.0)), '1.0'))})",
    "Equal": infix("=="),
    "Exp": method("exp"),
    "Floor": method("floor"),
    "Greater": infix(">"),
    "LeakyRelu": lambda n: (
        f"F.leaky_relu({n[0]}{options(negative_slope=(number(n.attribute('alpha', 0.01)), '0.01'))})"
    ),
    "Less": infix("<"),
    "LessOrEqual": infix("<="),
    "Log": method("log"),
    "Max": _nested("maximum"),
    "Min": _nested("minimum"),
    "Mul": infix("*"),
    "Neg": lambda n: f"-{receiver(n)}",
    "Not": lambda n: f"~{receiver(n)}",
    "PRelu": lambda n: f"torch.where({n[0]} > 0, {n[0]}, {n[0]} * {n[1]})",
    "Pow": lambda n: f"{receiver(n)}.pow({n[1]})",
    "Relu": method("relu"),
    "Shrink": lambda n: (
        f"F.softshrink({n[0]}, {number(n.attribute('lambd', 0.5))})"
        if n.attribute("bias", 0.0)
        else f"F.hardshrink({n[0]}, {number(n.attribute('lambd', 0.5))})"
    ),
    "Sigmoid": method("sigmoid"),
    "Sign": method("sign"),
    "Sin": method("sin"),
    "Softplus": lambda n: f"F.softplus({n[0]})",
    "Softsign": lambda n: f"F.softsign({n[0]})",
    "Sqrt": method("sqrt"),
    "Sub": infix("-"),
    "Sum": lambda n: " + ".join(n[i] for i in range(len(n))),
    "Tanh": method("tanh"),
    "ThresholdedRelu": lambda n: f"F.threshold({n[0]}, {number(n.attribute('alpha', 1.0))}, 0.0)",
    "Where": _where,
}
