"""The classes of the library as text: found by name, with what they need of each other."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Definition:
    """A class or function: its source, and the names that it uses."""

    text: str
    uses: frozenset[str]


@cache
def definitions() -> dict[str, Definition]:
    """Every class and function of the library by name, in the order of the files."""
    found: dict[str, Definition] = {}
    folder = resources.files("retorch.pytorch") / "library"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".py"):
            text = file.read_text(encoding="utf-8")
            for node in ast.parse(text).body:
                if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                    found[node.name] = Definition(_segment(text, node), frozenset(names - {node.name}))
    return found


def _segment(text: str, node: ast.ClassDef | ast.FunctionDef) -> str:
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return "\n".join(text.splitlines()[first - 1 : node.end_lineno])


def needed(names: set[str]) -> list[str]:
    """The sources of these and of what they use, in the order of the files."""
    known = definitions()
    wanted, left = set[str](), [name for name in names if name in known]
    while left:
        name = left.pop()
        if name not in wanted:
            wanted.add(name)
            left += [used for used in known[name].uses if used in known]
    return [definition.text for name, definition in known.items() if name in wanted]
