"""``retorch batch``: every Torch7 file that there is, and a table of what became of each."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retorch.cli.arguments import Aliases, NnAge, Plugins, example
from retorch.cli.exit_codes import DIFFERS, DONE
from retorch.cli.terminal import console, plain, table
from retorch.errors import MissingFileError, UsageError, counted

if TYPE_CHECKING:
    from distributed import Client

    from retorch.archive import Summary

EXAMPLES = """
Examples:

  retorch batch models/ -o out

  retorch batch 'scrape/**/*.t7' disk.tar s3://bucket/models -o out --to onnx --to caffe2 --workers 8

  retorch batch models/ -o out --scheduler tcp://10.0.0.1:8786 --resume
"""


def batch(
    sources: Annotated[list[str], typer.Argument(help="Folders, globs, files, lists of paths, archives, URLs.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder for the table and what is written.")],
    to: Annotated[
        list[str] | None, typer.Option("--to", help="caffe2 (the default), onnx, pytorch; repeatable.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify/--no-verify", help="Compare what is written.")] = True,
    reports: Annotated[bool, typer.Option("--reports", help="Write a report page beside each network.")] = False,
    workers: Annotated[int | None, typer.Option(help="Files at a time; by default one for each core.")] = None,
    scheduler: Annotated[str, typer.Option(help="A Dask scheduler, as tcp://HOST:PORT.")] = "",
    max_memory: Annotated[str, typer.Option("--max-memory", help="What one file may use, as 4G.")] = "4G",
    time_limit: Annotated[float, typer.Option("--time-limit", help="Seconds that one file may take.")] = 120.0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the batch in OUTPUT.")] = False,
    input_map: Annotated[
        Path | None, typer.Option("--input-map", help="Lines of a file's name, a tab, a shape.")
    ] = None,
    plugin: Plugins = None,
    alias: Aliases = None,
    nn_age: NnAge = None,
    weights: Annotated[str, typer.Option(help="Stored as float, half or int8.")] = "float",
    as_json: Annotated[bool, typer.Option("--json", help="Print each row as a line of JSON.")] = False,
) -> None:
    from retorch import archive
    from retorch.cli.batch_progress import watching
    from retorch.layers.plugins import parse_aliases

    if scheduler and workers is not None:
        raise UsageError("--workers is for this machine", hint="the cluster behind --scheduler has its own")
    asked: dict[str, Any] = {
        "to": to or ["caffe2"],
        "verify": verify,
        "reports": reports,
        "inputs": _input_map(input_map) if input_map else {},
        "plugins": plugin or [],
        "aliases": parse_aliases(alias or []),
        "nn_age": nn_age,
        "weights": weights,
        "max_memory": max_memory,
        "time_limit": time_limit,
        "workers": workers,
        "resume": resume,
    }
    connected = _connected(scheduler) if scheduler else nullcontext()
    with connected as client, watching(as_json=as_json) as watcher:
        done = archive.batch(sources, output, client, watcher=watcher, **asked)
    if not as_json:
        _show(done)
    raise typer.Exit(DIFFERS if done.outcomes.get("different") else DONE)


def _connected(address: str) -> Client:
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("--scheduler needs dask", hint="pip install 'retorch[batch]'") from None
    # what goes wrong is said once, by this command
    libraries = {"distributed", "tornado", "asyncio"}
    for name in [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in libraries]:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        return Client(address, timeout="5s")
    except (OSError, ValueError) as error:
        raise UsageError(f"--scheduler {address}: cannot be reached: {error}") from error


def _input_map(path: Path) -> dict[str, Any]:
    """Names and shapes: what follows the second tab of a line, and lines without a shape, are left out."""
    found: dict[str, Any] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise MissingFileError(path) from None
    except OSError as error:
        raise UsageError(f"--input-map {path}: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, tab, rest = line.partition("\t")
        shape = rest.partition("\t")[0].strip()
        if number == 1 and shape == "input":
            continue
        if not tab:
            raise UsageError(f"--input-map {path}: line {number} has no tab", hint="a line is NAME, a tab, 1x3x224x224")
        found[name] = example([shape])
    return found


def _show(done: Summary) -> None:
    screen = console()
    rows = table("outcome", ">files")
    for outcome, count in sorted(done.outcomes.items(), key=lambda item: -item[1]):
        rows.add_row(outcome, f"{count:,}")
    screen.print(rows)
    screen.print(f"{counted(done.total, 'file')}, {done.done:,} of them now: {plain(str(done.out / 'index.html'))}")
