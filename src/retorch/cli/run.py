"""``retorch run``: a network on an input, from the original or from what was written."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retorch.cli.arguments import Aliases, AsJson, At, NnAge, Plugins, Source, check_apart, load_module
from retorch.cli.engine_names import NAMES, complete
from retorch.cli.exit_codes import about
from retorch.cli.given_input import Bgr, Given, Input, Mean, Std, Top
from retorch.cli.run_pictures import PictureOptions, is_picture, picture_network, run_pictures
from retorch.cli.terminal import console, plain, print_json, print_table, table
from retorch.errors import MissingFileError, UsageError
from retorch.files.artifacts import is_written
from retorch.files.atomic import replacing

if TYPE_CHECKING:
    from retorch.layers.base.layer import Array
    from retorch.module import Module

EXAMPLES = """
Examples:

  retorch run out --input x.npz -o y.npz

  retorch run model.t7 --input x.npz -o y.npz --engine reference

  retorch run candy.t7 --input cat.png -o candy.png --preprocess caffe-bgr

  retorch run resnet-18.t7 --input cat.png --preprocess imagenet --labels imagenet.txt
"""


def run(
    network: Source,
    input: Input = None,
    output: Annotated[
        str, typer.Option("-o", "--output", help="y.npz or y.npy (- prints an .npz); a picture or folder.")
    ] = "",
    engine: Annotated[str, typer.Option(autocompletion=complete, help="By default what NETWORK is made for.")] = "",
    preprocess: Annotated[str, typer.Option(help="How the network wants pictures: imagenet, caffe-bgr, tanh, …")] = "",
    mean: Mean = "",
    std: Std = "",
    top: Top = 1.0,
    bgr: Bgr = False,
    size: Annotated[str, typer.Option(help="Scale pictures to this height and width: 480x640.")] = "",
    tile: Annotated[int | None, typer.Option(help="Run large pictures in tiles of so many pixels; 0: whole.")] = None,
    labels: Annotated[Path | None, typer.Option(help="A text file that names the classes, one a line.")] = None,
    palette: Annotated[Path | None, typer.Option(help="Colours of the classes: red green blue, one a line.")] = None,
    seed: Annotated[int, typer.Option(help="Of the random input, where only its shape is known.")] = 0,
    at: At = None,
    plugin: Plugins = None,
    alias: Aliases = None,
    nn_age: NnAge = None,
    as_json: AsJson = False,
) -> None:
    written, which = _chosen(network, engine, for_torch=bool(at or plugin or alias or nn_age))
    load = partial(load_module, plugins=plugin, aliases=alias, nn_age=nn_age)
    for source in (*(input or []), network) if output else ():
        check_apart(Path(output), Path(source))
    if any(is_picture(text) for text in input or []):
        options = PictureOptions(preprocess, mean, std, top, bgr, size, tile, labels, palette)
        taken, notes = picture_network(network, which if engine else "embedded", at, load, options)
        with about(network):
            run_pictures(taken, input or [], output, options, notes, as_json)
        return
    given = Given.of(input)
    with about(network):
        if written and which != "reference":
            results, notes = _from_files(network, _tensors(network, given, seed), which)
        else:
            source, place = _source(network) if written else (network, None)
            results, notes = _from_torch(load(source, at or place), given, seed, which), ()
    if output:
        with about(output):
            _save(output, results)
    if as_json and output != "-":
        outputs = {f"output_{i}": {"shape": list(y.shape), "dtype": y.dtype.name} for i, y in enumerate(results)}
        print_json({"output": output or None, "engine": which, "outputs": outputs, "notes": list(notes)})
    else:
        _show(output, which, results, given, notes)


def _chosen(network: Path, engine: str, *, for_torch: bool) -> tuple[bool, str]:
    """Whether the network was written by a conversion, and the engine that runs it."""
    _check_engine(engine)
    if not network.exists():
        raise MissingFileError(network)
    written = is_written(network)
    which = engine or ("embedded" if written else "reference")
    if written and which != "reference" and for_torch:
        raise UsageError(
            "--at, --plugin, --alias and --nn-age are for Torch7 files", hint=f"{network} was written already"
        )
    return written, which


def _tensors(network: Path, given: Given, seed: int) -> list[Array]:
    from retorch.network import described
    from retorch.verification.compare import example_shapes
    from retorch.verification.inputs import noise
    from retorch.verification.round_trip import known_shapes

    made = described(network)
    found = given.tensors(made, None, seed) if given else None
    return noise(known_shapes(made) or example_shapes(made), seed) if found is None else found


def _save(output: str, results: list[Array]) -> None:
    import numpy as np

    named: Any = {f"output_{i}": y for i, y in enumerate(results)}
    if output == "-":
        memory = io.BytesIO()
        np.savez(memory, **named)
        sys.stdout.buffer.write(memory.getvalue())
        sys.stdout.buffer.flush()
        return
    path = Path(output)
    if path.suffix not in {"", ".npz", ".npy"}:
        raise UsageError(f"{path}: outputs are written as .npz or .npy")
    if path.suffix == ".npy" and len(results) != 1:
        raise UsageError(f"{path}: the network has {len(results)} outputs", hint="an .npz holds several")
    with replacing(path) as part, part.open("wb") as file:
        if path.suffix == ".npy":
            np.save(file, results[0])
        else:
            np.savez(file, **named)


def _check_engine(engine: str) -> None:
    known = [name for name in NAMES if name not in {"caffe2-all", "pytorch", "torch7"}]
    if engine and engine not in known:
        raise UsageError(f"--engine {engine}: there are {', '.join(known)}")


def _show(output: str, which: str, results: list[Array], given: Given, notes: Sequence[str]) -> None:
    rows = table("output", "shape", ">min", ">mean", ">max")
    for i, y in enumerate(results):
        numbers = (f"{y.min():.4g}", f"{y.mean():.4g}", f"{y.max():.4g}") if y.size else ("-",) * 3
        rows.add_row(f"output_{i}", "x".join(map(str, y.shape)), *numbers)
    screen = console(error=output == "-")
    if given.file is None:
        screen.print("[yellow]note:[/yellow] the input is random; --input x.npz or cat.png gives one")
    for note in notes:
        screen.print(f"[yellow]note:[/yellow] {plain(note)}")
    print_table(screen, rows)
    screen.print(f"wrote {plain(output)} ({which})" if output not in {"", "-"} else f"by {which}")


def _from_torch(net: Module, given: Given, seed: int, which: str) -> list[Array]:
    from retorch.conversion import convert
    from retorch.layers.base.layer import tensors

    x = given.nested(net, seed)
    if which == "reference":
        return list(tensors(net.forward(x)))
    with tempfile.TemporaryDirectory() as folder:
        convert(net, x, fold=False).save(folder)
        return _from_files(Path(folder), list(tensors(x)), which)[0]


def _source(written: Path) -> tuple[Path, str | None]:
    from retorch.files import record

    return record.source_of(written)


def _from_files(path: Path, given: list[Array], which: str) -> tuple[list[Array], tuple[str, ...]]:
    """The outputs, and what there is to say of how the files were read."""
    from retorch.engines.choice import engine
    from retorch.engines.embedded import Embedded

    one = engine(which, path)
    try:
        results = one.run(given)
        return results, one.network.notes if isinstance(one, Embedded) else ()
    finally:
        one.close()
