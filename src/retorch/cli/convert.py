"""``retorch convert``: a .t7 file in, Caffe2 files or ONNX out, verified on what was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from retorch.cli.arguments import example, load_module
from retorch.cli.outcome import DIFFERS, DONE, about
from retorch.cli.terminal import console, print_json
from retorch.errors import UsageError

if TYPE_CHECKING:
    from retorch.module import Module
    from retorch.network import Network
    from retorch.verification import Report

EXAMPLES = """
[bold]Examples[/bold]

  retorch convert model.t7 -o out --input 1x3x224x224

  retorch convert checkpoint.t7 -o model.onnx --to onnx --at model.generator
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(help="Convert a network to Caffe2 or ONNX and verify what was written.", epilog=EXAMPLES)(convert)


def convert(
    file: Annotated[Path, typer.Argument(help="A Torch7 file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder (Caffe2) or a file (ONNX).")],
    to: Annotated[str, typer.Option(help="caffe2 or onnx; by default what OUTPUT looks like.")] = "",
    input: Annotated[list[str] | None, typer.Option("--input", help="The input's shape, 1x8x384x512.")] = None,
    at: Annotated[str | None, typer.Option(help="Where the network is in the file, as model.generator.")] = None,
    plugin: Annotated[list[Path] | None, typer.Option(help="A Python file that registers layers.")] = None,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not compare the result.")] = False,
    no_fold: Annotated[bool, typer.Option("--no-fold", help="Keep one operator per layer.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from retorch import conversion, guess
    from retorch.verification import verify

    kind = _kind(to, output)
    net = load_module(file, at, plugin)
    with about(file):
        assumed = guess.input_shape(net) if not input else None
        made = conversion.convert(net, assumed.shape if assumed else example(input or []), fold=not no_fold)
    target = output / "model.onnx" if kind == "onnx" and output.suffix != ".onnx" else output
    with about(output):
        made.save(target, format=kind)
    notes = [*net.notes, *made.notes, *([assumed.note] if assumed else [])]
    report = None if no_verify else verify(net, target)
    with about(output):
        _write_sidecar(file, net, made, target, report, notes)
    if as_json:
        print_json({"output": str(target), "notes": notes, "report": report.as_dict() if report else None})
    else:
        _show(target, notes, report)
    raise typer.Exit(DONE if report is None or report.ok else DIFFERS)


def _kind(to: str, output: Path) -> Literal["caffe2", "onnx"]:
    if to not in {"", "caffe2", "onnx"}:
        raise UsageError(f"--to {to}: there are caffe2 and onnx")
    return "onnx" if to == "onnx" or (not to and output.suffix == ".onnx") else "caffe2"


def _show(target: Path, notes: list[str], report: Report | None) -> None:
    from retorch.cli.verify import show_report

    screen = console()
    for note in notes:
        screen.print(f"[yellow]note:[/yellow] {note}")
    screen.print(f"wrote {target}")
    if report:
        show_report(screen, report)


def _write_sidecar(
    file: Path, net: Module, made: Network, target: Path, report: Report | None, notes: list[str]
) -> None:
    from retorch import sidecar

    inputs = tuple({"name": p.name, "dtype": p.dtype.name, "shape": list(p.shape or ())} for p in made.inputs)
    record = sidecar.Sidecar(
        source=str(file.resolve()),
        source_sha256=sidecar.digest(file),
        at=net.at,
        network_sha256=sidecar.digest(sidecar.running_file(target)),
        inputs=inputs,
        layers=sidecar.layer_maps(made, caffe2=target.is_dir()),
        tolerance=report.tolerance if report else None,
        max_error=report.max_error if report else None,
        engines=tuple(dict.fromkeys(w.engine for w in report.witnesses)) if report else (),
        notes=tuple(notes),
    )
    record.write(target if target.is_dir() else target.parent)
