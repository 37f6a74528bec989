"""The order of imports that ``pyproject.toml`` says: it holds, and import-linter sees when it does not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: The titles of the two contracts, as far as they tell them apart.
ONE_WAY, NO_ROUND = "Imports run one way", "No two files"

#: A file, an import that runs back up or round, and the contract that forbids it.
FORBIDDEN = [
    ("errors.py", "from retorch.files import atomic", ONE_WAY),
    ("torch7/paths.py", "from retorch.layers.base import bookkeeping", ONE_WAY),
    ("layers/softmax.py", "from retorch.graph.builder import Builder", ONE_WAY),
    ("engines/choice.py", "from retorch.verification import inputs", ONE_WAY),
    ("layers/base/memory.py", "from retorch.layers.base import layer", NO_ROUND),
    ("layers/base/window.py", "from retorch.layers import padding", NO_ROUND),
]


def lint(source: Path) -> str:
    """What import-linter says of the package in a folder, by this project's contracts; "" where all are kept."""
    environment = {**os.environ, "PYTHONPATH": str(source), "COLUMNS": "200"}
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    command += ["--no-cache", str(ROOT / "pyproject.toml")]
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode else ""


def test_imports_run_one_way() -> None:
    assert lint(ROOT / "src") == ""


@pytest.mark.parametrize(("file", "line", "contract"), FORBIDDEN, ids=[row[0] for row in FORBIDDEN])
def test_an_import_that_runs_back_breaks_the_contract(file: str, line: str, contract: str, tmp_path: Path) -> None:
    package = tmp_path / "retorch"
    shutil.copytree(ROOT / "src" / "retorch", package, ignore=shutil.ignore_patterns("__pycache__"))
    target = package / file
    target.write_text(f"{target.read_text()}\n\n{line}\n")
    said = lint(tmp_path)
    assert any(row.startswith(contract) and row.endswith("BROKEN") for row in said.splitlines()), said


def test_an_import_for_types_only_breaks_nothing(tmp_path: Path) -> None:
    package = tmp_path / "retorch"
    shutil.copytree(ROOT / "src" / "retorch", package, ignore=shutil.ignore_patterns("__pycache__"))
    target = package / "layers" / "softmax.py"
    assert "if TYPE_CHECKING:\n    from retorch.graph" in target.read_text()
    assert lint(tmp_path) == ""
