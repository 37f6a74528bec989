"""The judge: an interpreter with torch that compares twins with Torch7's own numbers."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from retorch.engines import real_pytorch

HERE = Path(__file__).parent
Judge = Callable[..., list[str]]


@cache
def interpreter(version: str) -> Path | None:
    """The first interpreter whose torch is of that version."""
    for python in real_pytorch.interpreters():
        done = subprocess.run(
            [str(python), "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True, check=False
        )
        if done.returncode == 0 and done.stdout.startswith(version):
            return python
    return None


@pytest.fixture(scope="session", params=["2", "1.10"])
def judge(request: pytest.FixtureRequest) -> Iterator[Judge]:
    """What differs from Torch7, of a ``model.py``, a case's input and output and its truth of training; by version."""
    python = interpreter(request.param)
    if python is None:
        pytest.skip(f"PyTorch {request.param} is not installed (make pytorch)")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    process = subprocess.Popen(
        [str(python), "-u", "-W", "ignore", str(HERE / "judge.py"), str(real_pytorch.WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=clean,
    )

    def ask(source: Path, npz: Path, train: Path | None = None, before: Path | None = None) -> list[str]:
        assert process.stdin is not None
        assert process.stdout is not None
        trains = None if train is None or request.param != "2" else str(train)
        job = {"source": str(source), "npz": str(npz), "train": trains, "before": before and str(before)}
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield ask
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        stream.close()
