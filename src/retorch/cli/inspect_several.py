"""``retorch inspect`` of several files: a table with a line for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retorch.cli.exit_codes import DONE, UNREADABLE
from retorch.cli.fetched import as_typed
from retorch.cli.terminal import console, plain, print_json, print_table, size, table
from retorch.errors import RetorchError, counted
from retorch.files.artifacts import is_written


def show(files: Sequence[Path], *, as_json: bool) -> int:
    """Print what is in each file, in one line; the exit code says whether all could be read."""
    lines = [_line(file) for file in files]
    if as_json:
        print_json(lines)
    else:
        rows = table("file", ">size", "holds", ">modules", ">parameters", "converts")
        for line in lines:
            failed = line["error"] or ""
            verdict = f"[red]{plain(failed)}[/red]" if failed else line["converts"]
            numbers = (f"{line[key]:,}" if line[key] is not None else "" for key in ("modules", "parameters"))
            rows.add_row(plain(line["file"]), size(line["bytes"] or 0), plain(line["holds"]), *numbers, verdict)
        print_table(console(), rows, spare=("modules", "size"))
    return UNREADABLE if any(line["error"] for line in lines) else DONE


def _line(file: Path) -> dict[str, Any]:
    line: dict[str, Any] = {
        "file": as_typed(str(file)),
        "bytes": None,
        "holds": "",
        "modules": None,
        "parameters": None,
    }
    line |= {"converts": "", "error": None}
    try:
        line["bytes"] = file.stat().st_size
        return line | (_written(file) if is_written(file) else _torch(file))
    except (RetorchError, OSError) as error:
        return line | {"error": str(error).splitlines()[0].removeprefix(f"{file}: ")}


def _torch(file: Path) -> dict[str, Any]:
    from retorch import module
    from retorch.cli.object_tree import describe
    from retorch.torch7 import open_file

    root = open_file(file).root
    net = module.pick(root, name=file.stem)
    if net is None:
        return {"holds": describe(root)}
    counts = {
        "modules": sum(1 for _ in net.layers()),
        "parameters": sum(array.size for array in module.weights(net)),
    }
    holds = f"{net.at} {net.layer.typename}".strip()
    converts = f"no: {counted(len(net.problems), 'layer')}" if net.problems else "yes"
    return {"holds": holds, **counts, "converts": converts}


def _written(file: Path) -> dict[str, Any]:
    from retorch.network import Network

    network = Network.load(file)
    return {"holds": f"a network with {counted(len(network.inputs), 'input')}"}
