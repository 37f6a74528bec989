"""``retorch export``: every tensor of any .t7 file or network, or its weights under PyTorch's names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retorch.cli.arguments import Aliases, AsJson, At, Plugins, Source, check_apart, load_module
from retorch.cli.exit_codes import DIFFERS, DONE, about
from retorch.cli.terminal import console, plain, print_json, size
from retorch.errors import UsageError, counted
from retorch.files.artifacts import is_written
from retorch.files.unchanged import Unchanged

if TYPE_CHECKING:
    from retorch.layers.base.layer import Array
    from retorch.layers.reference_names import Matched
    from retorch.module import Module

#: What ``Matched`` lists besides the pairs, and how it is told.
_UNFIT = {"missing": "nothing fits", "unused": "no place for", "unsure": "several fit"}

EXAMPLES = """
Examples:

  retorch export model.t7 --to npz

  retorch export checkpoint.t7 -o weights.safetensors --at model --weights

  retorch export model.t7 -o resnet.safetensors --like state_dict.txt

  retorch export squeezenet/predict_net.pb -o weights.safetensors
"""


def export(
    file: Source,
    to: Annotated[str, typer.Option(help="npz, safetensors, json or hdf5; by default by OUTPUT's name.")] = "",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="By default FILE with another ending.")] = None,
    weights: Annotated[
        bool, typer.Option("--weights", help="Only weights and statistics, by PyTorch's names.")
    ] = False,
    like: Annotated[Path | None, typer.Option(help="Names to give them: .safetensors, or text or JSON.")] = None,
    at: At = None,
    plugin: Plugins = None,
    alias: Aliases = None,
    as_json: AsJson = False,
) -> None:
    from retorch.files import arrays

    kind = arrays.kind(to, output)
    target = output or file.with_suffix(arrays.SUFFIXES[kind])
    check_apart(target, file)
    source = Unchanged.since_now(file)
    net = load_module(file, at, plugin, alias) if weights or like is not None else None
    matched = None if net is None or like is None else _matched(net, like)
    found = _tensors(file, at, net) if matched is None else matched.tensors.items()
    named, renamed = arrays.by_name(found)
    with about(target):
        arrays.export(named, target, kind)
    source.check()
    if as_json:
        tensors = {name: {"shape": list(a.shape), "dtype": a.dtype.name} for name, a in named.items()}
        more = {} if matched is None else {name: list(getattr(matched, name)) for name in _UNFIT}
        print_json({"output": str(target), "tensors": tensors, "renamed": list(renamed), **more})
    else:
        if matched is not None:
            _show(matched)
        screen = console()
        for note in [*renamed, *(_left_out(net) if net is not None else [])]:
            screen.print(f"[yellow]note:[/yellow] {plain(note)}")
        long = f", {size(target.stat().st_size)}" if target.is_file() else ""
        screen.print(f"wrote {plain(str(target))}: {counted(len(named), 'tensor')}{long}")
    raise typer.Exit(DONE if matched is None or matched.is_whole else DIFFERS)


def _tensors(file: Path, at: str | None, net: Module | None) -> list[tuple[str, Array]]:
    """Every tensor by its path in the file, or a network's weights by PyTorch's names; of others, by their own."""
    if is_written(file):
        from retorch.network import Network

        with about(file):
            return list(Network.load(file).weights().items())
    if net is not None:
        return list(net.state_dict().items())
    from retorch.layers import cleaning
    from retorch.torch7 import read
    from retorch.torch7.paths import follow

    with about(file):
        root = read(file)
        found = cleaning.tensors(follow(root, at) if at else root)
        # what is empty is a buffer that somebody cleared
        return [(name, array) for name, array in found if array.size]


def _left_out(net: Module) -> list[str]:
    """The layers of unknown classes that hold tensors, and what can be done about it."""
    from retorch.layers import cleaning
    from retorch.layers.base.binding import Unknown
    from retorch.layers.base.likeness import remedy

    unknown = [made for made in net.layer.every() if isinstance(made, Unknown)]
    holding = [made for made in unknown if any(tensor.size for _, tensor in cleaning.tensors(made.raw))]
    told = [f"{made.path or '(root)'} {made.typename}: unknown class, its tensors are left out" for made in holding]
    return [*told, remedy(net.layer)] if told else []


def _matched(net: Module, like: Path) -> Matched:
    from retorch.layers import reference_names, state

    reference = reference_names.read_reference(like)
    found = reference_names.match(list(state.entries(net.layer)), reference)
    if found.unsure and not reference.in_order:
        names = ", ".join(found.unsure[:3]) + (" …" if len(found.unsure) > 3 else "")
        raise UsageError(
            f"{like}: its names are sorted, and nothing tells which modules {names} are",
            hint="give the names and shapes in the order of state_dict(), one on a line",
        )
    return found


def _show(matched: Matched) -> None:
    from retorch.layers import reference_names

    screen = console()
    for name, path, done in matched.renamed:
        screen.print(f"{plain(name)}  from {plain(path)}" + (f"  ({plain(done)})" if done else ""))
    for names, title in _UNFIT.items():
        for name in getattr(matched, names):
            screen.print(f"[yellow]{title}:[/yellow] {plain(name)}")
    alike = reference_names.equal_shapes(matched)
    if alike:
        told = f"{counted(alike, 'module')} have another's shapes: their order told them apart"
        screen.print(f"[yellow]note:[/yellow] {told}; compare outputs")
