"""What the benchmarks share: a process that is watched while it runs, and Markdown tables."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retorch.engines.caffe2_runtime import Runtime

INTERVAL = 0.004  # seconds between two looks at a process


@dataclass(frozen=True, slots=True)
class Run:
    """A process that has ended: its seconds, those of all processors, what it printed, its memory at the most in MB.

    ``result`` is the JSON object in the last line, if it is one; ``anonymous`` is memory of its own; ``resident``
    counts mapped files too.
    """

    seconds: float
    cpu: float
    result: dict[str, Any]
    anonymous: float
    resident: float


def watch(command: Sequence[str | Path]) -> Run:
    """Run a command and look at its memory all the while."""
    before, started = _children(), time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True, env=environment())
    anonymous = resident = 0
    while process.poll() is None:
        sizes = _status(process.pid)
        anonymous, resident = max(anonymous, sizes.get("RssAnon", 0)), max(resident, sizes.get("VmHWM", 0))
        time.sleep(INTERVAL)
    seconds = time.perf_counter() - started
    output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{command[1]} failed with exit code {process.returncode}")
    last = (output.splitlines() or [""])[-1]
    result = json.loads(last) if last.startswith("{") else {}
    return Run(seconds, _children() - before, result, anonymous / 1024, resident / 1024)


def _children() -> float:
    """Seconds of all processors that processes which have ended took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def environment() -> dict[str, str]:
    """The environment without what is meant for this interpreter only; modules are compiled once, as when installed."""
    root = Path(__file__).parents[1]
    path = os.pathsep.join([str(root / "src"), str(root)])
    own = {"PYTHONHOME", "PYTHONDONTWRITEBYTECODE"}
    return {name: value for name, value in os.environ.items() if name not in own} | {"PYTHONPATH": path}


def _status(pid: int) -> dict[str, int]:
    """The sizes in ``/proc/PID/status``, in kB; none once the process has gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    lines = [line.split() for line in text.splitlines()]
    return {line[0].rstrip(":"): int(line[1]) for line in lines if line[-1] == "kB"}


def old_python() -> Path:
    """The interpreter that has the real Caffe2 of torch 1.10.2."""
    with Runtime.require("1.10") as runtime:
        return runtime.python


def show(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A Markdown table; numbers as people read them."""
    print(f"| {' | '.join(headings)} |")
    print(f"|{'|'.join('---' for _ in headings)}|")
    for row in rows:
        print(f"| {' | '.join(_text(cell) for cell in row)} |", flush=True)


def _text(cell: object) -> str:
    if not isinstance(cell, float):
        return str(cell)
    return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}" if abs(cell) < 0.01 else f"{cell:.2f}"


def against(value: float, most: float | None = None, *, least: float | None = None) -> str:
    """The figure with what it may be at most, or must be at least, and whether it is."""
    bound = f"at most {most:,g}" if most is not None else f"at least {least:,g}"
    met = (most is None or value <= most) and (least is None or value >= least)
    return f"{_text(float(value))} ({bound}: {'met' if met else 'missed'})"


def machine() -> str:
    """One line about where this was measured."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    load = os.getloadavg()[0]
    python = f"Python {platform.python_version()}, NumPy {np.__version__}"
    return f"{os.cpu_count()} cores, {model}; {python}; load of the machine at the start {load:.1f}"


def self_run(script: str, *arguments: str | Path) -> list[str | Path]:
    """The command that runs one measurement of a benchmark in a process of its own."""
    return [sys.executable, "-m", f"benchmarks.{Path(script).stem}", "--measure", *arguments]
