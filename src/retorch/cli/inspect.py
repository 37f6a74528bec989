"""``retorch inspect``: what is in a .t7 file."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retorch.cli.arguments import Aliases, AsJson, At, NnAge, Plugins, expanded, local
from retorch.cli.exit_codes import about
from retorch.cli.fetched import as_typed
from retorch.cli.terminal import console, plain, print_json, size
from retorch.errors import UsageError, counted
from retorch.files.artifacts import is_written

if TYPE_CHECKING:
    from rich.console import Console

    from retorch.cli.tree import Tree
    from retorch.layers.base.layer import Layer
    from retorch.module import Module
    from retorch.torch7 import Document

EXAMPLES = """
Examples:

  retorch inspect model.t7

  retorch inspect checkpoint.t7 --at model.generator --json

  retorch inspect squeezenet/predict_net.pb
"""


def inspect(
    files: Annotated[list[Path], typer.Argument(parser=local, help="Torch7 files; or networks for Caffe2 or ONNX.")],
    at: At = None,
    plugin: Plugins = None,
    alias: Aliases = None,
    nn_age: NnAge = None,
    stats: Annotated[bool, typer.Option("--stats", help="Minimum, mean, maximum and NaN count of tensors.")] = False,
    offsets: Annotated[bool, typer.Option("--offsets", help="Where in the file each value stands.")] = False,
    as_json: AsJson = False,
) -> None:
    from retorch import module
    from retorch.cli import inspect_several, object_tree
    from retorch.layers.plugins import load_plugins, parse_aliases
    from retorch.torch7 import open_file
    from retorch.torch7.paths import follow

    found = expanded(files)
    if len(found) > 1:
        _check_several(unusable=bool(at or plugin or stats or offsets))
        raise typer.Exit(inspect_several.show(found, as_json=as_json))
    (file,) = found
    if is_written(file):
        _inspect_written(file, unusable=bool(at or plugin or alias or stats or offsets), as_json=as_json)
        return
    load_plugins(plugin or [], parse_aliases(alias or []))
    screen = console()
    with about(file):
        document = open_file(file, offsets=offsets)
        root = follow(document.root, at) if at else document.root
        net = module.pick(document.root, name=file.stem, at=at, nn_age=nn_age)
    if as_json:
        network = _network_json(net) if net else None
        contents = object_tree.as_json(root, stats=stats)
        print_json({"file": _file_json(document), "network": network, "contents": contents})
        return
    _show_file(screen, document)
    if net is None or stats or offsets:
        screen.print(object_tree.as_tree(root, stats=stats, offsets=document.offsets), crop=False)
    if net is not None:
        _show_network(screen, net, document)


def _check_several(*, unusable: bool) -> None:
    if unusable:
        raise UsageError("--at, --plugin, --stats and --offsets are for one file")


def _inspect_written(file: Path, *, unusable: bool, as_json: bool) -> None:
    from retorch.cli import inspect_network

    if unusable:
        raise UsageError("--at, --plugin, --alias, --stats and --offsets are for Torch7 files")
    with about(file):
        inspect_network.show(file, as_json=as_json)


def _file_json(document: Document) -> dict[str, Any]:
    return {
        "name": as_typed(document.name),
        "size": document.size,
        "dialect": str(document.dialect),
        "trailing": document.trailing,
    }


def _show_file(screen: Console, document: Document) -> None:
    trailing = f", {counted(document.trailing, 'byte')} after the value" if document.trailing else ""
    screen.print(f"[bold]{plain(as_typed(document.name))}[/bold]  {size(document.size)}, {document.dialect}{trailing}")
    for damage in document.damage:
        screen.print(f"[red]damaged:[/red] {plain(damage)}")


def _show_network(screen: Console, net: Module, document: Document) -> None:
    from retorch.apply.vocabulary import Vocabulary
    from retorch.graph.input_shape import first_guess
    from retorch.layers.base.likeness import remedy
    from retorch.module import weights

    if net.taken in net.notes:
        screen.print(f"[yellow]note:[/yellow] {plain(net.taken)}")
    screen.print(_tree(net), crop=False)
    stored = weights(net)
    count = sum(a.size for a in stored)
    held = sum(a.nbytes for a in stored)
    classes = Counter(layer.typename for layer in net.layers())
    screen.print(f"{counted(sum(classes.values()), 'module')}, {counted(count, 'parameter')}")
    rest = max(document.size - held, 0)
    screen.print(f"weights {size(held)}, the rest of the file {size(rest)} (gradients, buffers, other values)")
    likely = None if net.problems else first_guess(net.layer, net.options)
    if likely is not None:
        screen.print(f"likely input {plain(likely)}")
    vocabulary = Vocabulary.from_checkpoint(document.root)
    if vocabulary is not None:
        screen.print(f"vocabulary of {len(vocabulary)} tokens")
    for note in dict.fromkeys(net.notes):
        if note == net.taken:
            continue
        screen.print(f"[yellow]note:[/yellow] {plain(note)}")
    if net.problems:
        screen.print(f"[red]{counted(len(net.problems), 'layer')} would not convert:[/red]")
        for problem in net.problems:
            screen.print(f"  [red]{plain(str(replace(problem, path=joined(net.at, problem.path))))}[/red]")
        screen.print(f"[yellow]hint:[/yellow] {plain(remedy(net.layer))}")


def _tree(net: Module) -> Tree:
    from retorch.cli.tree import Tree

    bad = {problem.path for problem in net.problems}
    at = f"[dim]{plain(net.at)}[/dim]  " if net.at else ""
    root = Tree(at + _line(net.layer, bad))
    seen: set[int] = {id(net.layer)}
    stack: list[tuple[Tree, Layer]] = [(root, net.layer)]
    while stack:
        branch, layer = stack.pop()
        for child in layer.children():
            twig = branch.add(_line(child, bad) + (" [dim](again)[/dim]" if id(child) in seen else ""))
            if id(child) not in seen:
                seen.add(id(child))
                stack.append((twig, child))
    return root


def _line(layer: Layer, bad: set[str]) -> str:
    settings = " ".join(f"{name}={_short(value)}" for name, value in layer.settings().items())
    arrays = " ".join(f"{name} {'x'.join(map(str, a.shape))}" for name, a in layer.parameters().items())
    count = sum(a.size for a in layer.parameters().values())
    path = layer.path.rpartition(".")[2]
    colour = "red" if layer.path in bad else "cyan"
    parts = [
        f"[dim]{plain(path)}[/dim]" if path else "",
        f"[{colour}]{plain(layer.typename)}[/{colour}]",
        plain(settings),
    ]
    if arrays:
        parts.append(f"[dim]{arrays} ({count:,})[/dim]")
    return "  ".join(p for p in parts if p)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return "x".join(map(str, value))  # type: ignore[arg-type]
    return str(value)


def joined(at: str, path: str) -> str:
    """A layer's path from the root of the file, as ``--at`` takes it."""
    return f"{at}.{path}" if at and path else at or path


def _network_json(net: Module) -> dict[str, Any]:
    from retorch.graph.input_shape import first_guess

    layers = [
        {
            "path": joined(net.at, layer.path),
            "class": layer.typename,
            "settings": layer.settings(),
            "parameters": {name: list(a.shape) for name, a in layer.parameters().items()},
        }
        for layer in net.layers()
    ]
    problems = [{"path": joined(net.at, p.path), "class": p.typename, "reason": p.reason} for p in net.problems]
    likely = None if net.problems else first_guess(net.layer, net.options)
    return {"at": net.at, "input": likely, "layers": layers, "notes": list(net.notes), "problems": problems}
