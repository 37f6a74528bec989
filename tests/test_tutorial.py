"""The tutorial and the README are true: their commands run and print what the pages say."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
from pathlib import Path

import pytest

from retorch.cli import main

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the two files that the pages speak of."""
    for name in ("digits.t7", "images.npz"):
        shutil.copy(ROOT / "examples" / "digits" / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def alike(text: str) -> str:
    """Text without what depends on the machine: line breaks, errors down at rounding, versions."""
    text = re.sub(r"\d\.\d+e-\d+(?:\s+\d+\s+\d\.\d+e-\d+)?", "(rounding)", text)
    text = re.sub(r"onnxruntime [\d.]+|at scale [\d.]+", "", text)
    return " ".join(text.split())


def shows(listing: str, said: str) -> None:
    """A listing is what was said; ``…`` stands for what it leaves out."""
    whole = alike(said)
    for part in re.split(r"(?:├── )?…", listing):
        assert alike(part) in whole, f"the page says\n{part}\nbut this came:\n{said}"


def run(line: str) -> str:
    """What a command prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(shlex.split(line)[1:]) == 0, line
    return out.getvalue()


def play(code: str) -> str:
    """What a Python listing prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "listing", "exec"), {"__name__": "listing"})
    return out.getvalue()


def test_the_tutorial_prints_what_it_says(folder: Path) -> None:
    said, shown = None, 0
    for language, text in BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")):
        if "caffe2.python" in text or "--engine caffe2" in text:
            said = ""  # only where the real Caffe2 is
        elif language == "sh":
            said = "\n".join(run(line) for line in text.splitlines())
        elif language == "python":
            said = play(text)
        elif said != "":
            shows(text, (folder / "out" / "predict_net.pbtxt").read_text() if said is None else said)
            said, shown = None, shown + 1
        else:
            said = None
    assert shown == 6


def test_the_readmes_minute_is_true(folder: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    minute = next(text for _, text in BLOCK.findall(readme) if text.startswith("$ retorch inspect"))
    for part in re.split(r"^\$ ", minute, flags=re.MULTILINE)[1:]:
        command, _, listing = part.partition("\n")
        shows(listing, run(command))
    assert {"init_net.pb", "predict_net.pb", "predict_net.pbtxt"} <= {path.name for path in (folder / "out").iterdir()}
