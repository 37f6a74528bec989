"""Ctrl-C at any moment: one line, the exit code of an interrupt, and nothing left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from golden_cases import GOLDEN

DIGITS = GOLDEN / "digits" / "digits.t7"
#: Python's own start is not ours: an interrupt counts from where the program begins, before it imports the rest.
READY = "import sys; from retorch.__main__ import run; sys.argv[1:] = {arguments}; print('ready', flush=True); run()"
MOMENTS = 24


def converting(out: Path) -> subprocess.Popen[str]:
    script = READY.format(arguments=["convert", str(DIGITS), "-o", str(out), "--json"])
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
def test_an_interrupt_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    begun = time.monotonic()
    assert converting(tmp_path / "whole").communicate()[1] == ""
    length = time.monotonic() - begun
    stopped = 0
    for moment in range(MOMENTS):
        out = tmp_path / f"out{moment}"
        process = converting(out)
        time.sleep(0.02 + length * moment / MOMENTS)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
        assert (process.returncode, said) in ((130, "stopped\n"), (0, "")), said
        stopped += process.returncode == 130
        assert not out.exists() or {p.name for p in out.iterdir()} == {p.name for p in (tmp_path / "whole").iterdir()}
    assert stopped > MOMENTS // 4
    assert all(path.name == "whole" or path.name.startswith("out") for path in tmp_path.iterdir())
