"""The facts as a page, as Markdown, or as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

from retorch.errors import UsageError
from retorch.files import json_text
from retorch.files.atomic import replacing
from retorch.files.visible import visible
from retorch.report.drawing import draw, level
from retorch.report.summary import Facts, LayerFacts, Subject, decades, gather
from retorch.verification import Report

SUFFIXES = (".html", ".json", ".md")


def write_report(path: Path, about: Subject, report: Report) -> None:
    """Write a report as what its suffix says: one self-contained ``.html`` page, ``.md``, or ``.json``.

    Args:
        path: the file; it is replaced when all is written.
        about: the network, its file, and what was written.
        report: what verification found.

    Raises:
        UsageError: another suffix; or jinja2 is missing, which pages and Markdown need; or the file cannot be written.
    """
    check(path)
    facts = gather(about, report)
    text = as_json(facts) if path.suffix == ".json" else render(facts, path.suffix)
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def check(path: Path) -> None:
    """Refuse early what :func:`write_report` cannot write.

    Raises:
        UsageError: see there.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"--report {path}: a report is {', '.join(SUFFIXES)}")
    if path.suffix != ".json":
        _environment(path.suffix)


def as_json(facts: Facts) -> str:
    """Everything, with ``null`` for numbers that JSON does not have."""
    whole = {
        **facts.report.as_dict(),
        "converted": [list(pair) for pair in facts.converted],
        "layers": [asdict(layer) for layer in facts.layers],
        "inputs": facts.inputs,
        "outputs": facts.outputs,
        "flows": facts.flows,
    }
    return json_text.dumps(whole) + "\n"


def _environment(suffix: str) -> Any:
    try:
        import jinja2
    except ImportError:
        raise UsageError(
            "a report needs jinja2", hint="pip install 'retorch[report]', or --report report.json"
        ) from None
    folder = resources.files("retorch.report") / "templates"
    loader = jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8"))
    made = jinja2.Environment(
        loader=loader,
        autoescape=lambda name: bool(name) and str(name).endswith(".html"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown if suffix == ".html" else _shown_in_markdown,
    )
    made.filters.update(number=_number, error=_error, width=_width, cell=_cell)
    return made


def render(facts: Facts, suffix: str) -> str:
    """The text of a page (``.html``) or of Markdown (``.md``)."""
    template = _environment(suffix).get_template(f"page{suffix}")
    tolerance = facts.report.tolerance
    levels = [level(layer, tolerance) for layer in facts.layers]
    compared = sum(1 for layer in facts.layers if layer.verdict)
    return template.render(
        facts=facts,
        report=facts.report,
        rows=list(zip(facts.layers, levels, strict=True)),
        compared=compared,
        drawing=draw(facts),
        mark=100 * decades(tolerance),
        heaviest=max((layer.cost for layer in facts.layers), default=0),
        histograms=[layer for layer in facts.layers if layer.histograms],
        name=_name(facts),
        classes=sorted({layer.typename for layer in facts.layers}),
    )


def _shown(value: object) -> object:
    return visible(value) if type(value) is str else value


def _shown_in_markdown(value: object) -> object:
    """Markdown passes HTML on: a tag in a name is text."""
    return visible(value).replace("<", "&lt;") if isinstance(value, str) else value


def _name(facts: Facts) -> str:
    return next((text.partition(",")[0] for key, text in facts.converted if key == "Torch7 file"), "network")


def _number(value: float) -> str:
    """Thousands for people: ``1.23 M``."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.4g}"


def _error(value: float | None) -> str:
    return "–" if value is None else "0" if value == 0 else f"{value:.1e}" if math.isfinite(value) else "∞"


def _width(value: float | None) -> str:
    return f"{100 * decades(value):.1f}"


def _cell(value: object) -> str:
    """Text for a cell of a Markdown table."""
    return str(value).replace("|", "\\|").replace("\n", " ")


def worst(layer: LayerFacts) -> float | None:
    """The error that a layer's bar shows."""
    return layer.whole if layer.whole is not None else layer.alone
