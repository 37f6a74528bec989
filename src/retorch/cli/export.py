"""``retorch export``: every tensor of any .t7 file, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from retorch.cli.arguments import check_apart
from retorch.cli.exit_codes import about
from retorch.cli.terminal import console, plain, print_json, size

EXAMPLES = """
Examples:

  retorch export model.t7 --to npz

  retorch export checkpoint.t7 -o weights.safetensors --at model
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(help="Write every tensor of a file as npz, safetensors, json or hdf5.", epilog=EXAMPLES)(export)


def export(
    file: Annotated[Path, typer.Argument(help="A Torch7 file.")],
    to: Annotated[str, typer.Option(help="npz, safetensors, json or hdf5; by default by OUTPUT's name.")] = "",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="By default FILE with another ending.")] = None,
    at: Annotated[str | None, typer.Option(help="Only this part of the file, as model.generator.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from retorch.files import arrays
    from retorch.layers import cleaning
    from retorch.torch7 import read
    from retorch.torch7.paths import follow

    kind = arrays.kind(to, output)
    target = output or file.with_suffix(arrays.SUFFIXES[kind])
    check_apart(target, file)
    with about(file):
        root = read(file)
        named, renamed = arrays.by_name(cleaning.tensors(follow(root, at) if at else root))
    with about(target):
        arrays.export(named, target, kind)
    if as_json:
        tensors = {name: {"shape": list(a.shape), "dtype": a.dtype.name} for name, a in named.items()}
        print_json({"output": str(target), "tensors": tensors, "renamed": list(renamed)})
    else:
        for note in renamed:
            console().print(f"[yellow]note:[/yellow] {plain(note)}")
        console().print(f"wrote {plain(str(target))}: {len(named)} tensors, {size(target.stat().st_size)}")
