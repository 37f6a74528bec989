"""``retorch run``: a network on an input, from the original or from what was written."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retorch.cli.arguments import arrays, check_apart, load_module, nested
from retorch.cli.exit_codes import about
from retorch.cli.terminal import console, plain, print_json, print_table, table
from retorch.errors import MissingFileError, UsageError
from retorch.files.artifacts import is_written
from retorch.files.atomic import replacing

if TYPE_CHECKING:
    from retorch.layers.base.layer import Array

EXAMPLES = """
Examples:

  retorch run out --input x.npz -o y.npz

  retorch run model.t7 --input x.npz -o y.npz --engine reference
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(help="Run a network on an input.", epilog=EXAMPLES)(run)


def run(
    network: Annotated[Path, typer.Argument(help="A Torch7 file, a folder of Caffe2 files, or an .onnx file.")],
    input: Annotated[Path, typer.Option("--input", help="An .npz or .npy file: the input's tensors in order.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="An .npz file for output_0, output_1, …")],
    engine: Annotated[str, typer.Option(help="reference, embedded or caffe2; by default what NETWORK is.")] = "",
    at: Annotated[str | None, typer.Option(help="Where the network is in the file.")] = None,
    plugin: Annotated[list[Path] | None, typer.Option(help="A Python file that registers layers.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    import numpy as np

    _check_engine(engine)
    if not network.exists():
        raise MissingFileError(network)
    check_apart(output, input)
    check_apart(output, network)
    written = is_written(network)
    which = engine or ("embedded" if written else "reference")
    if written and which != "reference" and (at is not None or plugin):
        raise UsageError("--at and --plugin are for Torch7 files", hint=f"{network} was written already")
    given = arrays(input)
    with about(network):
        if written and which != "reference":
            results = _from_files(network, given, which)
        elif written:
            source, place = _source(network)
            results = _from_torch(source, at or place, plugin, nested(input), which)
        else:
            results = _from_torch(network, at, plugin, nested(input), which)
    named: Any = {f"output_{i}": y for i, y in enumerate(results)}
    with about(output), replacing(output) as part, part.open("wb") as file:
        np.savez(file, **named)
    if as_json:
        outputs = {name: {"shape": list(y.shape), "dtype": y.dtype.name} for name, y in named.items()}
        print_json({"output": str(output), "engine": which, "outputs": outputs})
    else:
        _show(output, which, results)


def _check_engine(engine: str) -> None:
    from retorch.engines.caffe2_runtime import AGES

    known = ("reference", "embedded", "caffe2", *(f"caffe2-{age}" for age in AGES))
    if engine and engine not in known:
        raise UsageError(f"--engine {engine}: there are {', '.join(known)}")


def _show(output: Path, which: str, results: list[Array]) -> None:
    rows = table("output", "shape", ">min", ">mean", ">max")
    for i, y in enumerate(results):
        numbers = (f"{y.min():.4g}", f"{y.mean():.4g}", f"{y.max():.4g}") if y.size else ("-",) * 3
        rows.add_row(f"output_{i}", "x".join(map(str, y.shape)), *numbers)
    screen = console()
    print_table(screen, rows)
    screen.print(f"wrote {plain(str(output))} ({which})")


def _from_torch(file: Path, at: str | None, plugin: list[Path] | None, x: Any, which: str) -> list[Array]:
    from retorch.conversion import convert
    from retorch.layers.base.layer import tensors

    net = load_module(file, at, plugin)
    if which == "reference":
        return list(tensors(net.forward(x)))
    with tempfile.TemporaryDirectory() as folder:
        convert(net, x).save(folder)
        return _from_files(Path(folder), list(tensors(x)), which)


def _source(written: Path) -> tuple[Path, str | None]:
    from retorch.files import record

    return record.source_of(written)


def _from_files(path: Path, given: list[Array], which: str) -> list[Array]:
    from retorch.engines.choice import engine

    one = engine(which, path)
    try:
        return one.run(given)
    finally:
        one.close()
