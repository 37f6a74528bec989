"""``retorch verify``: is what was written the same network?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retorch.cli.arguments import Aliases, AsJson, At, NnAge, NoRecorded, Plugins, ReportPage, load_module, local
from retorch.cli.engine_names import Engines
from retorch.cli.exit_codes import DIFFERS, DONE, about
from retorch.cli.given_input import Bgr, Given, Image, Input, Mean, Std, Top
from retorch.cli.progress import progress
from retorch.cli.terminal import console, plain, print_json, print_table, table
from retorch.errors import UsageError
from retorch.files.artifacts import is_written, python_file

if TYPE_CHECKING:
    from rich.console import Console

    from retorch.module import Module
    from retorch.verification import Report, Witness
    from retorch.verification.metrics import Measure

EXAMPLES = """
Examples:

  retorch verify model.t7 out --layers

  retorch verify model.t7 out --engine caffe2 --inputs x.npz

  retorch verify model.t7 out --report report.html

  retorch verify model.t7 out --image cat.png --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
"""


def verify(
    file: Annotated[Path, typer.Argument(parser=local, help="The Torch7 file; or what was written, which names it.")],
    output: Annotated[Path | None, typer.Argument(help="What was written: a folder, or a file.")] = None,
    engine: Engines = None,
    input: Input = None,
    image: Image = None,
    mean: Mean = "",
    std: Std = "",
    bgr: Bgr = False,
    top: Top = 1.0,
    trials: Annotated[str, typer.Option(help="random; or all: zeros, a constant, large values, batches too.")] = "",
    at: At = None,
    plugin: Plugins = None,
    alias: Aliases = None,
    nn_age: NnAge = None,
    layers: Annotated[bool, typer.Option("--layers", help="Compare every layer's output.")] = False,
    seed: Annotated[int, typer.Option(help="Of the random input.")] = 0,
    no_recorded: NoRecorded = False,
    page: ReportPage = None,
    as_json: AsJson = False,
) -> None:
    _check_page(page)
    source, target, place = (file, output, at) if output else _recorded(file, at)
    net = load_module(source, place, plugin, alias, nn_age)
    given = Given.of(input, image, mean, std, bgr, top)
    thorough = layers or page is not None
    adversarial = _all_trials(trials, thorough)
    report = _compared(net, source, target, given, engine, thorough, adversarial, seed, recordings=not no_recorded)
    if page is not None:
        _write_page(page, net, source, target, report, {"Seed": str(seed)})
    if as_json:
        print_json(report.as_dict())
    else:
        screen = console()
        for note in dict.fromkeys(report.notes):
            screen.print(f"[yellow]note:[/yellow] {plain(note)}")
        show_report(screen, report)
        if page is not None:
            screen.print(f"wrote {plain(str(page))}")
    raise typer.Exit(DONE if report.ok else DIFFERS)


def _recorded(target: Path, at: str | None) -> tuple[Path, Path, str | None]:
    from retorch.files import record

    if target.exists() and not is_written(target) and python_file(target) is None:
        raise UsageError(
            f"{target}: what was written of it is missing",
            hint=f"retorch verify {target} OUT, with the folder or file that convert wrote",
        )
    source, place = record.source_of(target)
    return source, target, place if at is None else at


def _compared(
    net: Module,
    source: Path,
    target: Path,
    given: Given,
    engines: list[str] | None,
    layers: bool,
    adversarial: bool,
    seed: int,
    *,
    recordings: bool,
) -> Report:
    from retorch import verification
    from retorch.network import described

    with about(target), progress() as watch:
        return verification.verify(
            net,
            target,
            engines=engines,
            inputs=given.tensors(described(target), net, seed) if given else None,
            layers=layers,
            seed=seed,
            source=source,
            adversarial=adversarial,
            ask_recordings=recordings,
            watch=watch,
        )


def _check_page(page: Path | None) -> None:
    if page is not None:
        from retorch.report import check

        check(page)


def _write_page(page: Path, net: Module, source: Path, target: Path, report: Report, options: dict[str, str]) -> None:
    from retorch.report import Subject, write_report

    with about(page):
        write_report(page, Subject(net, target, source, options), report)


def _all_trials(trials: str, thorough: bool) -> bool:
    if trials not in {"", "random", "all"}:
        raise UsageError(f"--trials {trials}: there are random and all")
    return trials == "all" or (thorough and not trials)


def conclude(
    target: Path,
    notes: list[str],
    report: Report | None,
    *,
    as_json: bool,
    page: Path | None = None,
    error: bool = False,
) -> int:
    """Say what was written and what its verification found, None without one; the exit code."""
    if as_json and not error:
        print_json({"output": str(target), "notes": notes, "report": report.as_dict() if report else None})
    else:
        screen = console(error=error)
        for note in dict.fromkeys(notes):
            screen.print(f"[yellow]note:[/yellow] {plain(note)}")
        if not error:
            screen.print(f"wrote {plain(str(target))}")
        if page is not None:
            screen.print(f"wrote {plain(str(page))}")
        if report:
            show_report(screen, report)
    return DONE if report is None or report.ok else DIFFERS


def show_report(screen: Console, report: Report) -> None:
    """The verdict and its numbers."""
    colour = "green" if report.ok else "red"
    rows = table("engine", "input", "output", "shape", ">max error", ">mean error", ">scale", ">relative")
    for witness in report.witnesses:
        if witness.failed:
            rows.add_row(witness.engine, witness.trial, "-", f"[red]{plain(witness.failed)}[/red]")
        if not witness.outputs and witness.measures:
            worst = max(witness.measures, key=lambda m: m.relative)
            numbers = (f"{worst.max_abs:.2e}", f"{worst.mean_abs:.2e}", f"{worst.scale:.3g}", f"{worst.relative:.2e}")
            rows.add_row(witness.engine, witness.trial, "-", "worst", *numbers)
        for i, m in enumerate(witness.outputs):
            numbers = (f"{m.max_abs:.2e}", f"{m.mean_abs:.2e}", f"{m.scale:.3g}", f"{m.relative:.2e}")
            rows.add_row(witness.engine, witness.trial, str(i + 1), "x".join(map(str, m.shape)) or "-", *numbers)
    print_table(screen, rows, spare=("mean error", "scale", "max error"))
    shown: list[Witness] = []
    for witness in report.witnesses:
        # each engine once, and every input on which something is off
        known = any(witness.engine == other.engine for other in shown)
        if witness.layers and (not known or not witness.agrees(report.tolerance)):
            shown.append(witness)
    for witness in shown:
        if len(shown) > 1:
            screen.print(f"\n{witness.engine} on {witness.trial}", style="bold")
        show_layers(screen, report, witness)
    screen.print(f"[bold {colour}]{plain(report.verdict)}[/bold {colour}]")


def show_layers(screen: Console, report: Report, witness: Witness) -> None:
    """Every layer: its error in the whole network, and alone."""
    rows = table(
        "layer", "class", "blob", ">max error", ">mean error", ">relative", ">roundings", ">cosine", ">alone", ""
    )
    for row in witness.layers:
        mark = "[red]wrong[/red]" if row.guilty(report.tolerance) else ""
        mark = mark or ("[yellow]off[/yellow]" if row.diverges(report.tolerance) else "[green]ok[/green]")
        whole = row.whole
        numbers = _numbers(whole) if whole else ("-",) * 5
        alone = f"{row.alone.relative:.2e}" if row.alone else "-"
        rows.add_row(plain(row.path or "(root)"), plain(row.typename), plain(row.blob), *numbers, alone, mark)
    print_table(screen, rows, spare=("mean error", "cosine", "roundings", "max error", "blob"))


def _numbers(whole: Measure) -> tuple[str, ...]:
    errors = f"{whole.max_abs:.2e}", f"{whole.mean_abs:.2e}", f"{whole.relative:.2e}"
    return *errors, f"{whole.roundings:.0f}", f"{whole.cosine:.6f}"
