"""``retorch check``: would an older Caffe2 run what was written?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retorch.cli.arguments import AsJson, local
from retorch.cli.exit_codes import DIFFERS, DONE, about
from retorch.cli.terminal import console, plain, print_json, print_table, table
from retorch.errors import UsageError, counted

if TYPE_CHECKING:
    from retorch.caffe2.release_differences import Shapes
    from retorch.caffe2.versions import Lack

RELEASE = "0.8.1"
EXAMPLES = """
Examples:

  retorch check out --ops 0.8.1

  retorch check squeezenet/predict_net.pb --json
"""


def check(
    network: Annotated[Path, typer.Argument(parser=local, help="A folder of Caffe2 files, or one of them.")],
    ops: Annotated[str, typer.Option(help="The release: 0.8.1, the mobile builds of 2017.")] = RELEASE,
    as_json: AsJson = False,
) -> None:
    if ops != RELEASE:
        raise UsageError(f"--ops {ops}: the operators of {RELEASE} are known")
    with about(network):
        found, notes, count = _lacks(network)
    if as_json:
        lacks = [asdict(x) for x in found]
        print_json({"network": str(network), "release": ops, "operators": count, "lacks": lacks, "notes": notes})
    else:
        _show(found, count, ops)
        for note in notes:
            console().print(f"[yellow]note:[/yellow] {plain(note)}")
    raise typer.Exit(DIFFERS if found else DONE)


def _lacks(path: Path) -> tuple[list[Lack], list[str], int]:
    """What is missing, what later releases understand differently, and how many operators were looked at."""
    import numpy as np

    from retorch.caffe2 import files, fill_encoding, pairs, release_differences, versions

    predict, init = pairs.locate(path)
    net = files.read(predict)
    kinds = {name: fill_encoding.operator(array.dtype) for name, array in net.params.items()}
    kinds |= dict.fromkeys(net.precisions, fill_encoding.operator(np.dtype(np.uint8)))
    size = 0 if init == predict else init.stat().st_size
    shapes = _shapes(predict)
    lacks = versions.lacks(net, shapes, kinds, size)
    notes = [*net.notes, *release_differences.release_differences(net, shapes)]
    return lacks, notes, len(net.predict.op)


def _shapes(path: Path) -> Shapes:
    """The shapes of blobs, where the net can be read as a graph; its operators are checked all the same."""
    from retorch.errors import ConversionError
    from retorch.graph.ports import value_shapes
    from retorch.network import Network

    try:
        return value_shapes(Network.load(path).model)
    except ConversionError:
        return {}


def _show(found: list[Lack], count: int, release: str) -> None:
    screen = console()
    if not found:
        screen.print(f"[green]Caffe2 {release} has all of it[/green] ({counted(count, 'operator')}, by its sources)")
        return
    rows = table("blob", "operator", f"what Caffe2 {release} lacks", "instead")
    for lack in found:
        rows.add_row(lack.blob, lack.operator, lack.what, lack.instead.removeprefix("instead: "))
    print_table(screen, rows, spare=["instead"])
    screen.print(
        f"[red]{counted(len(found), 'thing')}[/red] that Caffe2 {release} lacks, in {counted(count, 'operator')}"
    )
