"""``retorch run``: a network on an input, from the original or from what was written."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retorch.cli.arguments import arrays, check_apart, load_module, nested
from retorch.cli.exit_codes import about
from retorch.cli.run_pictures import PictureOptions, is_picture, picture_network, run_pictures
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

  retorch run candy.t7 --input cat.png -o candy.png --preprocess caffe-bgr

  retorch run resnet-18.t7 --input cat.png --preprocess imagenet --labels imagenet.txt
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(help="Run a network on an input.", epilog=EXAMPLES)(run)


def run(
    network: Annotated[Path, typer.Argument(help="A Torch7 file, a folder of Caffe2 files, or an .onnx file.")],
    input: Annotated[list[str], typer.Option("--input", help="An .npz or .npy file of its tensors, or pictures.")],
    output: Annotated[str, typer.Option("-o", "--output", help="An .npz file; a picture, .npy or folder.")] = "",
    engine: Annotated[str, typer.Option(help="reference, embedded or caffe2; by default what NETWORK is.")] = "",
    at: Annotated[str | None, typer.Option(help="Where the network is in the file.")] = None,
    plugin: Annotated[list[Path] | None, typer.Option(help="A Python file that registers layers.")] = None,
    preprocess: Annotated[str, typer.Option(help="How the network wants pictures: imagenet, caffe-bgr, tanh, …")] = "",
    mean: Annotated[str, typer.Option(help="Subtracted from a picture's planes: 0.485,0.456,0.406.")] = "",
    std: Annotated[str, typer.Option(help="The planes are divided by it.")] = "",
    top: Annotated[float, typer.Option("--range", help="What the brightest pixel is: 1 or 255.")] = 1.0,
    bgr: Annotated[bool, typer.Option("--bgr", help="Blue first.")] = False,
    size: Annotated[str, typer.Option(help="Scale pictures to this height and width: 480x640.")] = "",
    tile: Annotated[int | None, typer.Option(help="Run large pictures in tiles of so many pixels; 0: whole.")] = None,
    labels: Annotated[Path | None, typer.Option(help="A text file that names the classes, one a line.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    _check_engine(engine)
    if not network.exists():
        raise MissingFileError(network)
    for source in (*input, network):
        check_apart(Path(output), Path(source))
    written = is_written(network)
    which = engine or ("embedded" if written else "reference")
    if written and which != "reference" and (at is not None or plugin):
        raise UsageError("--at and --plugin are for Torch7 files", hint=f"{network} was written already")
    if any(is_picture(text) for text in input):
        options = PictureOptions(preprocess, mean, std, top, bgr, size, tile, labels)
        taken, notes = picture_network(network, which if engine else "embedded", at, plugin, options)
        with about(network):
            run_pictures(taken, input, output, options, notes, as_json)
        return
    results = _on_arrays(network, _only(input), which, at, plugin)
    _finish(Path(_named(output)), which, results, as_json)


def _only(inputs: list[str]) -> Path:
    if len(inputs) != 1:
        raise UsageError(f"--input is given {len(inputs)} times", hint="one .npz file holds several tensors")
    return Path(inputs[0])


def _named(output: str) -> str:
    if not output:
        raise UsageError("where should the outputs go?", hint="-o y.npz")
    return output


def _on_arrays(network: Path, input: Path, which: str, at: str | None, plugin: list[Path] | None) -> list[Array]:
    written = is_written(network)
    given = arrays(input)
    with about(network):
        if written and which != "reference":
            return _from_files(network, given, which)
        if written:
            source, place = _source(network)
            return _from_torch(source, at or place, plugin, nested(input), which)
        return _from_torch(network, at, plugin, nested(input), which)


def _finish(output: Path, which: str, results: list[Array], as_json: bool) -> None:
    import numpy as np

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
