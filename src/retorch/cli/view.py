"""``retorch view``: a network in Netron, in the browser."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retorch.cli.arguments import Aliases, At, NnAge, Plugins, example, load_module, local
from retorch.cli.exit_codes import about
from retorch.cli.terminal import console
from retorch.errors import UsageError
from retorch.files.artifacts import onnx_file

if TYPE_CHECKING:
    from retorch.module import Module

EXAMPLES = """
Examples:

  retorch view out

  retorch view model.t7 --input 1x3x224x224
"""


def view(
    network: Annotated[
        Path, typer.Argument(parser=local, help="A Torch7 file, a folder of Caffe2 files, or an .onnx file.")
    ],
    input: Annotated[list[str] | None, typer.Option("--input", help="A Torch7 file's input, 1x8x384x512.")] = None,
    at: At = None,
    plugin: Plugins = None,
    alias: Aliases = None,
    nn_age: NnAge = None,
    port: Annotated[int, typer.Option(help="Of the local server; 0 picks one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Serve only; open the page yourself.")] = False,
) -> None:
    netron = _netron()
    with tempfile.TemporaryDirectory(prefix="retorch-view-") as folder, about(network):
        shown = written(network)
        if shown is None:
            shown = _converted(
                load_module(network, at, plugin, alias, nn_age), input or [], Path(folder) / f"{network.stem}.onnx"
            )
        address = netron.start(str(shown), ("localhost", port) if port else None, browse=not no_browser)
        console().print(f"{shown.name} at {_url(address)}; Ctrl-C ends it")
        netron.wait()


def written(path: Path) -> Path | None:
    """The file to show of what was written; None for a Torch7 file.

    Raises:
        UsageError: a folder with nothing in it to show.
    """
    if path.is_dir():
        nets = [path / name for name in ("predict_net.pb", "predict_net.pbtxt") if (path / name).exists()]
        found = nets[0] if nets else onnx_file(path)
        if found is None:
            raise UsageError("there is no predict_net.pb and no .onnx file in this folder")
        return found
    return path if path.suffix in {".onnx", ".pb", ".pbtxt"} else None


def _converted(net: Module, shapes: list[str], target: Path) -> Path:
    from retorch import conversion

    conversion.convert(net, example(shapes) if shapes else None, fold=False).save(target)
    return target


def _netron() -> Any:
    try:
        return importlib.import_module("netron")
    except ImportError:
        raise UsageError("`retorch view` needs Netron", hint="pip install 'retorch[view]'") from None


def _url(address: Any) -> str:
    return f"http://{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)
