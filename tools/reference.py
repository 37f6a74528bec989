"""Writes the reference pages of the documentation from the code: command line, Python API, layers, file format.

python tools/reference.py docs/reference
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

import retorch
from retorch import errors, layers, verification
from retorch.cli import app
from retorch.layers import Layer, registered
from retorch.pytorch.library_source import definitions
from retorch.pytorch.rule import rule_of, said_by
from retorch.pytorch.rules.activation import PLAIN
from retorch.torch7 import reader

WIDE = 90
SECTIONS = ("Args", "Returns", "Raises", "Attributes", "Yields")


def prose(text: str) -> str:
    """A docstring's sentence as Markdown: roles and double backticks become code, all else stays as it reads."""
    text = re.sub(r":(?:func|class|mod|data|meth):`~?([^`]+)`", r"``\1``", text)
    parts = re.split(r"(``.+?``|`[^`]+`)", text)
    return "".join(f"`{p.strip('`')}`" if i % 2 else _escaped(p) for i, p in enumerate(parts))


def _escaped(text: str) -> str:
    text = re.sub(r"([\\*_\[\]|#])", r"\\\1", text)
    return text.replace("<", "&lt;").replace(">", "&gt;")


def cell(text: str) -> str:
    """Text for one cell of a table."""
    return prose(" ".join(text.split()))


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A Markdown table; the cells are Markdown already."""
    heads = list(heads)
    yield "| " + " | ".join(heads) + " |"
    yield "|" + " --- |" * len(heads)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def documented(text: str) -> Iterator[str]:
    """A whole docstring as Markdown: paragraphs, indented blocks as code, Google sections as lists."""
    for block in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        head, _, rest = block.partition("\n")
        if head.rstrip(":") in SECTIONS and head.endswith(":"):
            yield f"**{head.rstrip(':')}**"
            yield ""
            yield from _entries(inspect.cleandoc(rest))
        elif block.startswith((" ", ">>>")):
            yield from ("```python" if block.startswith(">>>") else "```text", block, "```")
        else:
            yield prose(" ".join(block.split()))
        yield ""


def _entries(text: str) -> Iterator[str]:
    """``name: what it is``, each over one or more lines; plain sentences stay sentences."""
    for entry in re.split(r"\n(?=[\w, ]+: )", text):
        flat = " ".join(entry.split())
        named = re.match(r"([\w, ]+): (.*)", flat)
        yield f"- `{named[1]}`: {prose(named[2])}" if named else f"- {prose(flat)}"


def command_line() -> Iterator[str]:
    """The commands, their arguments and options, their examples."""
    group = typer.main.get_group(app)
    yield from ("# Command line", "", prose(group.help or ""), "")
    yield "`--debug`, with any command, shows the traceback of an error. `NO_COLOR` switches colours off."
    yield ""
    yield from ("Exit codes:", "")
    yield from table(("code", "meaning"), exit_codes())
    for name, command in group.commands.items():
        yield from (f"## retorch {name}", "", prose(command.help or ""), "")
        yield from table(("", "", "default"), map(_parameter, command.params))
        examples = [line.strip() for line in (command.epilog or "").splitlines() if line.strip().startswith("retorch")]
        yield from ("```sh", *examples, "```", "")


def exit_codes() -> list[tuple[str, str]]:
    """What the command line says of them itself."""
    said = " ".join((sys.modules["retorch.cli"].__doc__ or "").split()).partition("Exit codes: ")[2]
    return [(f"`{part.strip()[0]}`", prose(part.strip()[2:].rstrip("."))) for part in said.split(";")]


def _parameter(parameter: Any) -> tuple[str, str, str]:
    if parameter.param_type_name == "option":
        names = ", ".join(f"`{name}`" for name in parameter.opts)
        several = " May be given several times." if parameter.multiple else ""
        needed = "required" if parameter.required else ""
        shown = parameter.default if isinstance(parameter.default, (int, str, float)) else ""
        default = f"`{shown}`" if shown not in ("", False) else needed
        return names, cell(parameter.help or "") + several, default
    said = getattr(parameter, "help", None) or ""
    return f"`{(parameter.name or '').upper()}`", cell(said), "required" if parameter.required else ""


def api() -> Iterator[str]:
    """Every public name, with what its docstring says."""
    yield from ("# Python API", "", "Everything below is reached as `retorch.NAME`.", "")
    for name in sorted(retorch.__all__, key=lambda n: inspect.isclass(getattr(retorch, n))):
        yield from thing(f"retorch.{name}", getattr(retorch, name))
    yield from ("## What `verify` returns", "")
    for name in ("Report", "Witness", "LayerRow", "Measure"):
        yield from thing(f"retorch.verification.{name}", getattr(verification, name), "###")
    yield from ("## Errors", "")
    yield from documented(errors.__doc__ or "")
    for name, kind in vars(errors).items():
        if inspect.isclass(kind) and kind.__module__ == errors.__name__ and inspect.isfunction(kind.__init__):
            yield from thing(f"retorch.errors.{name}", kind, "###")


def thing(name: str, made: object, level: str = "##") -> Iterator[str]:
    """A function or a class with its public methods and properties."""
    yield from (f"{level} {name.rpartition('.')[2]}", "", "```python", f"{name}{signature(made)}", "```", "")
    yield from documented(inspect.getdoc(made) or "")
    if inspect.isclass(made):
        for key, member in vars(made).items():
            plain = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
            if key.startswith("_") or not (inspect.isfunction(plain) or isinstance(plain, property)):
                continue
            if inspect.getdoc(plain):
                yield from (f"{level}# `{key}`", "", "```python", f"{key}{signature(plain)}", "```", "")
                yield from documented(inspect.getdoc(plain) or "")


def signature(made: object) -> str:
    """The parameters of what can be called, as written; of a property its type."""
    if isinstance(made, property):
        return f": {made.fget.__annotations__.get('return', '')}" if made.fget else ""
    said = str(inspect.signature(made)) if callable(made) else ""
    said = re.sub(r"<[^>]*>|dataclass\(.*?\)", "…", said)
    said = re.sub(r"(: |-> )(['\"])(.*?)\2(?=[,)]| =|$)", r"\1\3", said)
    return said if len(said) < WIDE else _one_a_line(said)


def _one_a_line(said: str) -> str:
    """A long signature with a line for each parameter."""
    parameters, arrow, result = said.rpartition(" -> ")
    depth, made = 0, ""
    for i, letter in enumerate(parameters[1:-1], start=1):
        depth += (letter in "([") - (letter in ")]")
        splits = letter == "," and depth == 0 and parameters[i + 1] == " "
        made += ",\n   " if splits else letter
    return f"(\n    {made},\n){arrow}{result}"


def classes() -> dict[type[Layer], list[str]]:
    """The rules, each with all the Torch names it answers to."""
    found: dict[type[Layer], list[str]] = {}
    for name, kind in registered().items():
        found.setdefault(kind, []).append(name)
    return found


def layer_table() -> Iterator[str]:
    """The supported layers by family: Torch's names, the formula, the stem of the blobs."""
    found = classes()
    yield from ("# Layers", "", f"{len(registered())} Torch classes, {len(found)} rules.", "")
    yield "Formulas are those of evaluation; dimensions count from 1, as in Lua. The third column is the stem of the"
    yield "names of a layer's blobs: `conv` gives `conv1`, `conv1_w`, `conv1_b`. PyTorch: its module, or a class that"
    yield "`model.py` spells out, or the expressions of the layer's operators."
    yield ""
    families: dict[str, list[type[Layer]]] = {}
    for kind in found:
        families.setdefault(kind.__module__, []).append(kind)
    for module in sorted(families):
        name = module.rpartition(".")[2].replace("_", " ")
        yield from (f"## {name[0].upper()}{name[1:]}", "")
        yield from documented((sys.modules[module].__doc__ or "").partition("\n\n")[0])
        columns = ("Torch class", "formula", "blobs", "PyTorch")
        yield from table(columns, (_layer(kind, found[kind]) for kind in families[module]))


def _layer(kind: type[Layer], names: list[str]) -> tuple[str, str, str, str]:
    formula = (inspect.getdoc(kind) or "").partition("\n\n")[0]
    blobs = f"`{kind.kind}`" if kind.lower is not layers.Layer.lower else ""
    return ", ".join(f"`{name}`" for name in names), cell(formula), blobs, _in_pytorch(kind)


def _in_pytorch(kind: type[Layer]) -> str:
    """The modules of PyTorch that a rule says, the class that it spells out, or that operators say it."""
    said = rule_of(kind)
    if said is None:
        return "operators"
    if said_by(said):
        return said_by(said)
    source = inspect.getsource(said)
    modules = re.findall(r'"(nn\.(?!Module)\w+)', source) or [n for n in (PLAIN.get(kind, ("",))[0],) if n]
    exact = [name for name in re.findall(r'module\(\s*"(\w+)"', source) if name in definitions()]
    shown = list(dict.fromkeys([*modules, *exact]))
    return ", ".join(f"`{name}`" for name in shown) or "a class of its name"


def file_format() -> Iterator[str]:
    """The format, as the reader that implements it says it."""
    yield from (
        "# The bytes of a .t7 file",
        "",
        "The reader's own specification. [The .t7 format](../format.md) explains it.",
        "",
    )
    yield from ("```text", inspect.cleandoc(reader.__doc__ or "").partition("\n\n")[2], "```", "")


PAGES = {"cli.md": command_line, "api.md": api, "layers.md": layer_table, "bytes.md": file_format}


def write(folder: Path) -> None:
    """Write every page into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text("\n".join(page()).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
