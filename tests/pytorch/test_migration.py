"""The script on the page about PyTorch: the twin of the bundled digits learns."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.pytorch.conftest import interpreter

import retorch

ROOT = Path(__file__).parents[2]


@pytest.mark.pytorch
def test_the_twin_of_the_digits_learns(tmp_path: Path) -> None:
    python = interpreter("2")
    if python is None:
        pytest.skip("PyTorch is not installed (make pytorch)")
    shutil.copytree(ROOT / "examples" / "digits", tmp_path / "examples" / "digits")
    net = retorch.load(ROOT / "examples" / "digits" / "digits.t7")
    retorch.convert(net, to="pytorch").save(tmp_path / "twin")
    page = (ROOT / "docs" / "migrate" / "pytorch.md").read_text(encoding="utf-8")
    script = next(code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "optimizer" in code)
    assert len(script.splitlines()) <= 30
    (tmp_path / "train.py").write_text(script, encoding="utf-8")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(python), "train.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean, cwd=tmp_path)
    before, after = map(float, re.findall(r"\d+\.\d+", done.stdout))
    assert after < before / 2
