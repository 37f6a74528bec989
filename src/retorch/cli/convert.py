"""``retorch convert``: a .t7 file in, Caffe2 files or ONNX out, verified on what was written."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retorch.cli.arguments import (
    Aliases,
    AsJson,
    At,
    NnAge,
    NoRecorded,
    Plugins,
    ReportPage,
    Source,
    load_module,
    printed_file,
)
from retorch.cli.convert_network import convert_again
from retorch.cli.exit_codes import about
from retorch.cli.given_input import Given, Input
from retorch.cli.output_format import Caffe2Style, Style
from retorch.cli.progress import progress
from retorch.cli.terminal import console, plain
from retorch.cli.verify import conclude
from retorch.errors import UnsupportedError, UsageError
from retorch.files import digests
from retorch.files.artifacts import is_written
from retorch.files.formats import NAMES, listed
from retorch.files.precision import PRECISIONS
from retorch.files.unchanged import Unchanged

if TYPE_CHECKING:
    from retorch.module import Module
    from retorch.network import Network
    from retorch.verification import Report

EXAMPLES = """
Examples:

  retorch convert model.t7 -o out --input 1x3x224x224

  retorch convert checkpoint.t7 -o model.onnx --to onnx --at model.generator

  retorch convert model.t7 -o out --to pytorch

  retorch convert model.t7 -o out --weights half

  retorch convert squeezenet/predict_net.pb -o squeezenet.onnx --input 1x3x227x227
"""


@dataclass(frozen=True, slots=True)
class Checks:
    """What verification compares beside the outputs: every layer's, and what the file recorded."""

    layers: bool
    recordings: bool


def formats(incomplete: str) -> list[str]:
    """The names that begin so, for the shell."""
    return [name for name in NAMES if name.startswith(incomplete)]


def precisions(incomplete: str) -> list[str]:
    """The same for what weights are stored in."""
    return [name for name in PRECISIONS if name.startswith(incomplete)]


def convert(
    file: Source,
    output: Annotated[str, typer.Option("-o", "--output", help="A folder; .onnx, .pb, .py, .minidb; - prints it.")],
    to: Annotated[
        str, typer.Option("--to", "--format", autocompletion=formats, help=f"{listed(NAMES)}; by default by OUTPUT.")
    ] = "",
    input: Input = None,
    at: At = None,
    plugin: Plugins = None,
    alias: Aliases = None,
    nn_age: NnAge = None,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not compare the result.")] = False,
    no_recorded: NoRecorded = False,
    no_fold: Annotated[bool, typer.Option("--no-fold", help="Keep one operator per layer.")] = False,
    state: Annotated[bool, typer.Option("--state", help="Recurrent states as inputs and outputs.")] = False,
    init: Annotated[str, typer.Option(help="Caffe2's weights as pb, or as minidb: of any size.")] = "pb",
    weights: Annotated[
        str, typer.Option(autocompletion=precisions, help="Stored as float, half or int8: smaller files for phones.")
    ] = "float",
    unpacked: Annotated[bool, typer.Option("--unpacked", help="Weights as protobuf itself writes them.")] = False,
    caffe2: Annotated[str, typer.Option(help="1.0: right on every Caffe2; 1.10: its operators too.")] = "1.0",
    nnpack: Annotated[bool, typer.Option("--nnpack", help="The NNPACK engine where it is right.")] = False,
    mkldnn: Annotated[bool, typer.Option("--mkldnn", help="MKL-DNN where it is right; not for phones.")] = False,
    in_place: Annotated[bool, typer.Option("--in-place", help="Use blobs again where it is safe.")] = False,
    brew: Annotated[bool, typer.Option("--brew", help="What brew and mobile_exporter would write.")] = False,
    page: ReportPage = None,
    as_json: AsJson = False,
) -> None:
    _check_report(page, no_verify)
    printed = output == "-"
    with printed_file(to) if printed else nullcontext(output) as output:
        looks = Caffe2Style(init, unpacked, caffe2, nnpack, in_place, brew, mkldnn)
        style = Style.of(to, output, looks, weights)
        target = style.target
        given = Given.of(input)
        if is_written(file):
            _refuse_for_written(file, at, [*(plugin or []), *(alias or [])], page)
            code = convert_again(file, style, given, check=not no_verify, as_json=as_json, error=printed)
            raise typer.Exit(code)
        before = Unchanged.since_now(file)
        digests.begin(file)
        net = load_module(file, at, plugin, alias, nn_age)
        if net.taken in net.notes and not (as_json or printed):
            console().print(f"[yellow]note:[/yellow] {plain(net.taken)}")
        made = _converted(file, net, given, style, fold=not (no_fold or brew), state=state)
        with about(output):
            checks = None if no_verify else Checks(layers=page is not None, recordings=not no_recorded)
            report, notes = _write(before, net, made, style, given, checks)
        if page is not None and report is not None:
            _write_report(page, file, net, target, report)
        shown = notes if as_json or printed else [note for note in notes if note != net.taken]
        raise typer.Exit(conclude(target, shown, report, as_json=as_json, page=page, error=printed))


def _refuse_for_written(file: Path, at: str | None, rules: list[Path | str], page: Path | None) -> None:
    if at is not None or rules or page is not None:
        unfit = "--at, --plugin, --alias and --report are for Torch7 files"
        raise UsageError(unfit, hint=f"{file} was written already")


def _converted(file: Path, net: Module, given: Given, style: Style, *, fold: bool, state: bool) -> Network:
    """The network for inputs of these shapes, or of a shape found out."""
    from retorch import conversion

    example = given.example(net)
    with about(file):
        try:
            return conversion.convert(net, example, to=style.kind, fold=fold, state=state)
        except UnsupportedError as error:
            if given.shapes:
                error.hint = error.hint or f"that is for --input {' --input '.join(given.shapes)}: it may fit another"
            raise


def _write(
    source: Unchanged, net: Module, made: Network, style: Style, given: Given, checks: Checks | None
) -> tuple[Report | None, list[str]]:
    """Write the files and their record, verified in between; the verdict, where there is one, and the notes."""
    from retorch.verification.record import record_of

    with style.replacing() as place:
        written = style.save(made, place)
        _ = console()  # imports what prints, while threads go on hashing what was written
        notes = [*net.notes, *made.notes]
        able = checks is not None and (style.kind != "pytorch" or _has_pytorch(notes))
        report = _verified(net, made, place, given, checks) if checks is not None and able else None
        notes += [] if report is None else [note for note in report.notes if note not in notes]
        source.check()
        options, weights = style.options(), style.weights
        record = record_of(
            source.path, net, made, written, options=options, report=report, notes=notes, weights=weights
        )
        record.write(place)
    return report, notes


def _has_pytorch(notes: list[str]) -> bool:
    """Whether there is an interpreter with PyTorch; where not, the notes say so."""
    from retorch.engines import environments, real_pytorch

    if any(True for _ in real_pytorch.interpreters()):
        return True
    notes.append(f"not verified: PyTorch is not installed; {environments.hint('pytorch')}")
    return False


def _verified(net: Module, made: Network, target: Path, given: Given, checks: Checks) -> Report:
    from retorch.conversion import as_converted
    from retorch.verification import Trial, verify
    from retorch.verification.inputs import trials_at

    # What brew writes does not say which inputs it was made for; the network in the hand does.
    inputs = given.tensors(made, net, 0) if given.file is not None else None
    trials = trials_at(as_converted(net, made), made) if inputs is None else [Trial("the given input", tuple(inputs))]
    with progress() as watch:
        return verify(net, target, trials=trials, layers=checks.layers, ask_recordings=checks.recordings, watch=watch)


def _check_report(page: Path | None, no_verify: bool) -> None:
    if page is None:
        return
    from retorch.report import check

    if no_verify:
        raise UsageError("--report shows what verification finds", hint="leave out --no-verify")
    check(page)


def _write_report(page: Path, file: Path, net: Module, target: Path, report: Report) -> None:
    from retorch.report import Subject, write_report

    with about(page):
        write_report(page, Subject(net, target, file), report)
