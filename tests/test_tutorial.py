"""The tutorial and the README are true: their commands run and print what the pages say."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import retorch
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
    text = re.sub(r"\d\.\d+e-\d+(?:\s+\d+\s+1\.0+\s+\d\.\d+e-\d+)?", "(rounding)", text)
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


def listing(page: str, language: str, word: str) -> str:
    """The listing of a page that holds a word."""
    found = BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
    return next(text for kind, text in found if kind == language and word in text)


def test_the_layer_of_ones_own_works(folder: Path) -> None:
    tanh, swish = retorch.TorchObject("nn.Tanh", {}), retorch.TorchObject("my.Swish", {"beta": 2.0})
    weight = retorch.TorchObject("nn.Linear", {"weight": np.eye(4, dtype=np.float32), "bias": np.ones(4, np.float32)})
    chain = retorch.TorchObject("nn.Sequential", {"modules": retorch.LuaTable.of(weight, tanh, swish)})
    retorch.write(folder / "model.t7", chain)
    # in a process of its own: a class stays registered
    command = [sys.executable, "-m", "retorch.cli", *shlex.split(listing("plugins.md", "sh", "--plugin"))[1:]]
    without = subprocess.run(command[: command.index("--plugin")], capture_output=True, text=True, check=False)
    assert without.returncode == 3
    assert without.stderr == listing("plugins.md", "text", "error:")
    (folder / "my_layers.py").write_text(listing("plugins.md", "python", "Swish"), encoding="utf-8")
    subprocess.run(command, check=True)
    x = np.array([[-1.5, 0, 0.25, 3]], np.float32)
    y = np.tanh(x.astype(float) + 1)
    np.testing.assert_allclose(retorch.Network.load(folder / "out").run(x)[0], y / (1 + np.exp(-2 * y)), atol=1e-6)


def test_what_torchfile_did_is_done(folder: Path) -> None:
    retorch.write(folder / "checkpoint.t7", retorch.LuaTable({"model": retorch.read("digits.t7"), "epoch": 7}))
    said = play(listing("migrate/torchfile.md", "python", "retorch.read")).splitlines()
    assert [line.split()[0] for line in said[:3]] == [
        "nn.SpatialConvolution",
        "nn.SpatialBatchNormalization",
        "nn.ReLU",
    ]
    assert len(said) == 14
