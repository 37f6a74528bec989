"""What a person looks at: ``index.html`` and ``refused.md``, made from the table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final

from retorch.archive.folder import OutputFolder
from retorch.archive.options import TARGETS
from retorch.archive.row import OUTCOMES
from retorch.archive.table import Table
from retorch.errors import counted
from retorch.files import json_text
from retorch.files.atomic import replacing
from retorch.files.visible import visible

_NUMBERS: Final = ("bytes", "parameters", "multiply_adds", "seconds", "peak_mb")
_TEXTS: Final = ("outcome", "kind", "input", "error", "hint", "artifacts", "same_as")
_OF_TARGET: Final = ("outcome", "max_error")
_SOURCE: Final = (
    "path",
    *_NUMBERS,
    *_TEXTS,
    *(f"{target}_{name}" for target in TARGETS for name in _OF_TARGET),
    "classes",
    "refusals",
)
#: Files that are named under each class of ``refused.md``.
_NAMED: Final = 20
#: Classes that the page lists.
_MOST_CLASSES: Final = 50


@dataclass(slots=True)
class Blocker:
    """A class that keeps networks from being converted.

    Attributes:
        reasons: why, counted by files.
        files: how many hold it.
        alone: in how many nothing else is in the way.
        named: the first of these files, alone in the way or not.
    """

    reasons: Counter[str] = field(default_factory=Counter[str])
    files: int = 0
    alone: int = 0
    named: list[str] = field(default_factory=list[str])


def blockers(records: Iterable[dict[str, Any]]) -> list[tuple[str, Blocker]]:
    """The classes in the way, those first that alone would unlock most files."""
    found: dict[str, Blocker] = {}
    for record in records:
        reasons = {refusal["class"]: str(refusal["reason"]) for refusal in record["refusals"] or ()}
        for name, reason in reasons.items():
            blocker = found.setdefault(name, Blocker())
            blocker.files += 1
            blocker.alone += len(reasons) == 1
            blocker.reasons[reason] += 1
            if len(blocker.named) < _NAMED:
                blocker.named.append(str(record["path"]))
    return sorted(found.items(), key=lambda item: (-item[1].alone, -item[1].files, item[0]))


def write_pages(folder: OutputFolder, *, reports: bool) -> None:
    """Write both pages; with ``reports`` the first has links to them."""
    table = Table(folder.index)
    ranked = blockers(table.records(("path", "refusals")))
    with replacing(folder.path / "refused.md") as part:
        part.write_text(_refused(table, ranked), encoding="utf-8")
    with replacing(folder.path / "index.html") as part:
        part.write_text(index_page(table.records(_SOURCE), ranked, reports=reports), encoding="utf-8")


def index_page(
    records: Iterable[dict[str, Any]], ranked: Sequence[tuple[str, Blocker]], *, reports: bool = False
) -> str:
    """The page: a frame, and the table as JSON in columns, from which a script draws what is in sight."""
    content = {
        "outcomes": OUTCOMES,
        "reports": reports,
        "columns": _columns(sorted(records, key=lambda record: str(record["path"]))),
        "blockers": [
            {"class": name, "files": b.files, "alone": b.alone, "reason": b.reasons.most_common(1)[0][0]}
            for name, b in ranked[:_MOST_CLASSES]
        ],
    }
    templates = resources.files("retorch.archive") / "templates"
    page = (templates / "index.html").read_text(encoding="utf-8")
    for name in ("index.css", "index.js"):
        page = page.replace(f"/* {name} */", (templates / name).read_text(encoding="utf-8"))
    data = json.dumps(json_text.finite(content), ensure_ascii=False, separators=(",", ":"))
    return page.replace("{}", data.replace("<", "\\u003c"), 1)


def _columns(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Numbers as they are; texts, which repeat, as positions in the sorted list of all of them."""
    made: dict[str, Any] = {"path": [record["path"] for record in records]}
    for name in (*_NUMBERS, *(f"{target}_max_error" for target in TARGETS)):
        made[name] = [_short(record[name]) for record in records]
    for name in (*_TEXTS, *(f"{target}_outcome" for target in TARGETS)):
        made[name] = _coded([record[name] or "" for record in records])
    made["classes"] = _coded([_classes(record["classes"]) for record in records])
    made["refused"] = _coded([", ".join(sorted({r["class"] for r in record["refusals"] or ()})) for record in records])
    return made


def _short(number: Any) -> Any:
    return float(f"{number:.3g}") if isinstance(number, float) else number


def _coded(texts: Sequence[str]) -> dict[str, Any]:
    values = sorted(set(texts))
    place = {text: i for i, text in enumerate(values)}
    return {"values": values, "codes": [place[text] for text in texts]}


def _classes(counts: Sequence[dict[str, Any]] | None) -> str:
    return ", ".join(f"{item['class']} ×{item['count']}" for item in counts or ())


def _refused(table: Table, ranked: Sequence[tuple[str, Blocker]]) -> str:
    """What was refused, by class, and what else did not come through."""
    outcomes = Counter(str(record["outcome"]) for record in table.records(["outcome"]))
    lines = [
        "# What was refused",
        "",
        f"{counted(outcomes.total(), 'file')}.",
        "",
        "| files | outcome | |",
        "|---:|---|---|",
    ]
    lines += [f"| {outcomes[name]:,} | {name} | {what} |" for name, what in OUTCOMES.items() if outcomes[name]]
    lines += ["", "## By class", ""]
    lines += [] if ranked else ["No layer was refused.", ""]
    for name, blocker in ranked:
        lines += [
            f"### {_code(name)}",
            "",
            f"In {counted(blocker.files, 'file')}; alone in the way in {blocker.alone:,}.",
            "",
        ]
        lines += [f"- {_plain(reason)} ({count:,})" for reason, count in blocker.reasons.most_common(5)]
        lines += ["", *(f"    {_visible_line(path)}" for path in blocker.named)]
        lines += [f"    … {blocker.files - _NAMED:,} more"] if blocker.files > _NAMED else []
        lines += [""]
    return "\n".join([*lines, *_others(table), ""])


def _others(table: Table) -> list[str]:
    """What stands in the way of files whose layers are all known."""
    reasons: dict[str, Counter[str]] = {}
    for record in table.records(("outcome", "error", "refusals")):
        if record["error"] and not record["refusals"]:
            reasons.setdefault(str(record["outcome"]), Counter())[str(record["error"])] += 1
    lines = ["## Other reasons", ""]
    for outcome in OUTCOMES:
        if outcome in reasons:
            lines += [f"### {outcome}", ""]
            lines += [f"- {_plain(text)} ({count:,})" for text, count in reasons[outcome].most_common(_NAMED)]
            lines += [""]
    return lines if len(lines) > 2 else []


def _visible_line(text: str) -> str:
    return visible(text).replace("\n", " ")


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|" else c for c in _visible_line(text))


def _code(text: str) -> str:
    return f"`{_visible_line(text).replace('`', chr(39))}`"
