"""``retorch clean``: the same network without ballast, for machines without a GPU."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from retorch.cli.arguments import AsJson, At, check_apart, local
from retorch.cli.exit_codes import about
from retorch.cli.terminal import console, plain, print_json, size
from retorch.errors import UsageError, counted
from retorch.files.atomic import replacing
from retorch.files.unchanged import Unchanged

if TYPE_CHECKING:
    from retorch.layers.cleaning import Cleaned

EXAMPLES = """
Examples:

  retorch clean model_gpu.t7 -o model.t7

  retorch clean checkpoint.t7 -o small.t7 --dtype half --at model
"""


def clean(
    file: Annotated[Path, typer.Argument(parser=local, help="A Torch7 file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write.")],
    dtype: Annotated[str, typer.Option(help="float or half: of all floating point tensors.")] = "",
    at: At = None,
    ascii: Annotated[bool, typer.Option("--ascii", help="Write the text form.")] = False,
    as_json: AsJson = False,
) -> None:
    from retorch.layers import cleaning
    from retorch.torch7 import read, write
    from retorch.torch7.paths import follow

    if dtype not in {"", "float", "half"}:
        raise UsageError(f"--dtype {dtype}: there are float and half")
    check_apart(output, file)
    source = Unchanged.since_now(file)
    with about(file):
        root = read(file)
        done = cleaning.clean(follow(root, at) if at else root, cast("cleaning.Precision", dtype))
    before = file.stat().st_size
    with about(output):
        write(output, done.root, "ascii" if ascii else "binary")
    source.check()
    if output.is_file() and output.stat().st_size > before and not (done.changed or dtype or at or ascii):
        with about(output), replacing(output) as part:
            shutil.copyfile(file, part)
    after = output.stat().st_size
    if as_json:
        counts = {"host": done.host, "renamed": done.renamed, "emptied": done.emptied, "kept": list(done.kept)}
        print_json({"output": str(output), "bytes_before": before, "bytes_after": after, **counts})
    else:
        _show(output, done, before, after)


def _show(output: Path, done: Cleaned, before: int, after: int) -> None:
    screen = console()
    moved, renamed = counted(done.host, "tensor"), counted(done.renamed, "cudnn module")
    screen.print(f"{moved} from the GPU, {renamed} renamed, {counted(done.emptied, 'buffer')} emptied")
    for kept in done.kept:
        screen.print(f"[yellow]note:[/yellow] {plain(kept)} has no nn twin and stays")
    saved = f", {size(before - after)} saved" if before > after else ""
    screen.print(f"wrote {plain(str(output))}: {size(after)} instead of {size(before)}{saved}")
