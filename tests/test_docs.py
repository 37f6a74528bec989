"""What the documentation says is so: commands and names exist, links lead somewhere, every layer has a case."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import retorch
from golden_cases import GOLDEN
from layers.rows import Row
from retorch.cli import app
from retorch.layers import registered

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("migrate/*.md"))]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def cases() -> set[str]:
    """The classes that have a case: in a network that Torch wrote and ran, or in a test of the layers."""
    ran = [path.read_bytes() for path in GOLDEN.rglob("*.t7") if path.with_suffix(".npz").exists()]
    found = {name.decode() for data in ran for name in re.findall(rb"[A-Za-z]\w*(?:\.\w+)*", data)}
    for path in (Path(__file__).parent / "layers").rglob("test_*.py"):
        found |= in_rows(".".join(path.relative_to(Path(__file__).parent).with_suffix("").parts)) | named_in(path)
    return found


def in_rows(test: str) -> set[str]:
    """The classes of the networks in a test's tables."""
    tables = [value for value in vars(importlib.import_module(test)).values() if isinstance(value, list)]
    rows = [row for table in tables for row in table if isinstance(row, Row)]
    return {layer.typename for row in rows for layer in row.net.layers()}


def named_in(path: Path) -> set[str]:
    """The strings that stand in a test."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated pages."""
    folder = tmp_path_factory.mktemp("docs") / "reference"
    subprocess.run([sys.executable, str(ROOT / "tools" / "reference.py"), str(folder)], check=True)
    return folder


def blocks(page: Path, *languages: str) -> list[str]:
    """The listings of a page in these languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def commands(page: Path) -> list[list[str]]:
    """The calls of retorch on a page, in listings and in running text, as lists of words."""
    text = page.read_text(encoding="utf-8")
    listed = [line.removeprefix("$ ") for block in blocks(page, "", "sh") for line in block.splitlines()]
    inline = re.findall(r"`(retorch [^`]+)`", text)
    return [shlex.split(line) for line in [*listed, *inline] if line.startswith("retorch ")]


def options() -> dict[str, set[str]]:
    """The options of every command, under ``""`` those of the program."""
    group: Any = typer.main.get_command(app)
    everything = {"": group, **group.commands}
    return {
        name: {"-h", "--help", "--debug"}
        | {option for p in command.params for option in p.opts if option.startswith("-")}
        for name, command in everything.items()
    }


def test_every_layer_has_a_case() -> None:
    lacking = sorted(set(registered()) - cases())
    assert not lacking, f"classes without a golden case and without a test in tests/layers: {lacking}"


def test_every_layer_says_its_formula() -> None:
    silent = sorted(name for name, kind in registered().items() if not (vars(kind).get("__doc__") or "").strip())
    assert not silent


@every_page
def test_commands_exist(page: Path) -> None:
    known = options()
    for words in commands(page):
        command = words[1] if not words[1].startswith("-") else ""
        assert command in known, f"there is no `retorch {command}`"
        for word in words[1:]:
            if word.startswith("-"):
                assert word.partition("=")[0] in known[command], f"`{' '.join(words)}`: there is no {word}"


def test_the_pages_show_commands() -> None:
    shown = {words[1] for page in PAGES for words in commands(page)}
    assert {"inspect", "convert", "verify", "run", "clean", "export"} <= shown


@every_page
def test_python_uses_names_that_exist(page: Path) -> None:
    for block in blocks(page, "python"):
        used = re.findall(r"\bretorch\.([A-Za-z_]\w*)\s*[(.]", block)
        for name in used:
            assert hasattr(retorch, name) or (ROOT / "src" / "retorch" / name).exists(), f"there is no retorch.{name}"
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module == "retorch":
                assert {alias.name for alias in node.names} <= set(retorch.__all__)


def test_the_readmes_calls_have_those_parameters() -> None:
    trees = [ast.parse(block) for page in PAGES for block in blocks(page, "python")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    checked = 0
    for call in calls:
        if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
            owner, name = call.func.value.id, call.func.attr
            if owner == "retorch" and name in ("load", "read", "write", "convert", "verify"):
                code = getattr(retorch, name).__code__
                accepted = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
                assert {k.arg for k in call.keywords} <= set(accepted), ast.unparse(call)
                checked += 1
    assert checked >= 10


@every_page
def test_links_lead_somewhere(page: Path, reference: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        if path.parent == DOCS / "reference":
            path = reference / path.name
        assert path.exists(), f"{target} leads nowhere"
        if anchor:
            assert anchor in anchors(path), f"{target}: there is no such heading"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


def test_the_architecture_names_files_and_tests_that_exist() -> None:
    """A path is meant from the root, from ``src/retorch``, or, in the table of packages, from its package."""
    missing = []
    for line in (DOCS / "architecture.md").read_text(encoding="utf-8").splitlines():
        spans = re.findall(r"`([\w/.]+(?:\.py|/))(?:::(\w+))?`", line)
        packages = (
            [ROOT / "src/retorch" / name for name, _ in spans if name.endswith("/")] if line.startswith("| `") else []
        )
        for name, test in spans:
            places = [folder / name for folder in (ROOT, ROOT / "src/retorch", *packages)]
            found = [place for place in places if place.exists()]
            if not found or (test and f"def {test}(" not in found[0].read_text(encoding="utf-8")):
                missing.append(f"{name}::{test}" if test else name)
    assert missing == ["model.py"]  # what a conversion to PyTorch writes


def test_the_navigation_names_every_page(reference: Path) -> None:
    listed = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    made = {str(page.relative_to(DOCS)) for page in PAGES if DOCS in page.parents}
    assert listed == made | {f"reference/{page.name}" for page in reference.iterdir()}


def test_the_reference_lists_every_command_and_class(reference: Path) -> None:
    cli, table = (reference / "cli.md").read_text("utf-8"), (reference / "layers.md").read_text("utf-8")
    for command, known in options().items():
        if command:
            assert f"## retorch {command}\n" in cli
            section = cli.partition(f"## retorch {command}\n")[2].partition("\n## ")[0]
            assert all(f"`{option}`" in section for option in known - {"-h", "--help", "--debug"})
            assert f"```sh\nretorch {command} " in section, f"`retorch {command} --help` has no example"
    assert all(f"`{name}`" in table for name in registered())


def test_the_reference_documents_every_public_name(reference: Path) -> None:
    api = (reference / "api.md").read_text("utf-8")
    for name in retorch.__all__:
        section = api.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert len(section.split("```")[2].split()) > 4, f"retorch.{name} says nothing of itself"


def test_the_readme_counts_right() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    said = int(re.findall(r"over (\d+) classes", re.sub(r"<!--.*?-->", "", readme))[0])
    assert said <= len(registered()) < said + 100
    networks = int(re.findall(r"some (\d+) networks", readme)[0])
    ran = sum(path.with_suffix(".npz").exists() for path in GOLDEN.rglob("*.t7"))
    assert abs(ran - networks) < 50


def test_what_is_said_to_be_refused_has_no_rule() -> None:
    told = (DOCS / "limits.md").read_text(encoding="utf-8").partition("## Torch classes that are refused")[2]
    names = re.findall(r"`((?:nn|cudnn|fbnn)\.\w+)`", told.partition("- **Modules that write")[0])
    assert len(names) > 6
    assert [name for name in names if name in registered()] == []
