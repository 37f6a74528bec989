"""Python source as ``ruff format`` leaves it: one line where it fits, else one argument a line and a trailing comma."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np

#: Shorter than any project's limit, so that the source is as it should be under all.
WIDTH = 88


@dataclass(frozen=True, slots=True)
class Bracket:
    """A call or a literal: what opens it, its items (with ``name=`` or ``"key": `` in front), what closes it."""

    opening: str
    items: tuple[tuple[str, Expression], ...]
    closing: str

    def __str__(self) -> str:
        inside = ", ".join(f"{name}{item}" for name, item in self.items)
        single = self.opening == "(" and len(self.items) == 1
        return f"{self.opening}{inside}{',' if single else ''}{self.closing}"


#: Source text, or something in brackets that may be broken over lines.
Expression: TypeAlias = "str | Bracket"


def call(function: str, args: Sequence[Expression], named: Iterable[tuple[str, Expression]] = ()) -> Bracket:
    """``function(args, name=value)``."""
    return Bracket(f"{function}(", (*(("", a) for a in args), *((f"{n}=", v) for n, v in named)), ")")


def laid_out(expression: Expression, indent: int, before: str = "", after: str = "", room: int = 0) -> list[str]:
    """The lines of ``before`` + expression + ``after``, which will be indented by ``room`` more."""
    margin = " " * indent
    line = f"{margin}{before}{expression}{after}"
    if len(line) + room <= WIDTH or not isinstance(expression, Bracket) or not expression.items:
        return [line]
    lines = [f"{margin}{before}{expression.opening}"]
    for name, item in expression.items:
        lines += laid_out(item, indent + 4, name, ",", room)
    return [*lines, f"{margin}{expression.closing}{after}"]


def literal(value: object) -> Expression:
    """A setting as Python writes it; floats with as few digits as say the same float32."""
    if isinstance(value, Bracket):
        return value
    if isinstance(value, Code):
        return value.text
    if isinstance(value, (bool, int)) or value is None:
        return str(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, (list, tuple)):
        items = tuple(("", literal(item)) for item in cast("Sequence[object]", value))
        return Bracket("[", items, "]") if isinstance(value, list) else Bracket("(", items, ")")
    raise TypeError(f"{value!r} is no literal")


@dataclass(frozen=True, slots=True)
class Code:
    """Source text where a literal might stand."""

    text: str


def number(value: float) -> str:
    """A float: as few digits as say the same float32, if that is what it was, else the same float64."""
    if math.isnan(value):
        return 'float("nan")'
    if math.isinf(value):
        return f'float("{"-" if value < 0 else ""}inf")'
    short = repr(float(str(np.float32(value))))
    with np.errstate(over="ignore"):
        same = float(np.float32(value)) == value or math.isclose(float(short), value, rel_tol=1e-12)
    # the lowest float32 in few digits is lower than any
    text = short if same and abs(float(short)) <= float(np.finfo(np.float32).max) else repr(value)
    return text.replace("e-0", "e-").replace("e+0", "e+") if "e" in text else text


def parsed(text: str) -> Expression:
    """Source text as something that may be broken over lines: at the brackets of its last call, and inside."""
    if not text.endswith(")"):
        return text
    start = _opening(text)
    items = _items(text[start + 1 : -1])
    if (start and text[start - 1] in " (+-*/=") or not items:
        return text if start or not items else Bracket("(", tuple(("", parsed(item)) for item in items), ")")
    named = [re.match(r"[A-Za-z_]\w*=(?!=)", item) for item in items]
    pairs = [(n[0] if n else "", item[len(n[0]) :] if n else item) for n, item in zip(named, items, strict=True)]
    return Bracket(text[: start + 1], tuple((name, parsed(item)) for name, item in pairs), ")")


def _opening(text: str) -> int:
    """Where the last closing bracket was opened."""
    depth = 0
    for i in range(len(text) - 1, -1, -1):
        depth += (text[i] in ")]}") - (text[i] in "([{")
        if depth == 0:
            return i
    raise ValueError(f"{text!r} has brackets that do not pair")


def _items(text: str) -> list[str]:
    items, depth, item = list[str](), 0, ""
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            items.append(item.strip())
            item = ""
        else:
            item += letter
    return [*items, item.strip()] if item.strip() else items
