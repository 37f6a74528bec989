"""Kill conversions at any moment: what stands there is the old network or the new one, and no record of the other.

``python tests/fuzz/kills.py FORMAT --count 500`` converts two networks in turn onto one target and kills each run, at
moments spread evenly over how long a run takes. It prints one line of result.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np

import retorch
from building import sequential, torch_object
from retorch.cli import main as command
from retorch.files import record
from retorch.files.atomic import PREFIX
from retorch.files.record import Record

TARGETS = {"caffe2": "out", "onnx": "m.onnx", "external": "m.onnx", "predictor": "m.minidb", "pytorch": "out/"}


def convert(source: Path, target: str, kind: str) -> int:
    """The command, in this process."""
    if kind == "external":
        from retorch.graph import onnx_file

        onnx_file.LIMIT = 1000
    options = ["--to", "pytorch"] if kind == "pytorch" else []
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return command(["convert", str(source), "-o", target, "--input", "1x40", *options])


def child(source: Path, target: str, kind: str) -> int:
    """A process that converts."""
    process = os.fork()
    if process == 0:
        os._exit(convert(source, target, kind))
    return process


def contents(path: Path) -> dict[str, bytes]:
    """All files but hidden leftovers and records, by name."""
    places = path.iterdir() if path.is_dir() else path.parent.glob(f"{path.name}*")
    return {at.name: at.read_bytes() for at in places if at.suffix != ".json" and not at.name.startswith(PREFIX)}


def models(folder: Path) -> list[Path]:
    """Two networks of the same shape."""
    made: list[Path] = []
    for number in (1.0, 2.0):
        weight, bias = np.full((30, 40), number, np.float32), np.zeros(30, np.float32)
        net = sequential(torch_object("nn.Linear", weight=weight, bias=bias))
        made.append(folder / f"{number:.0f}.t7")
        retorch.write(made[-1], net.layer.raw)
    return made


def whole(path: Path, known: list[dict[str, bytes]], sources: list[Path]) -> str | None:
    """What is wrong about what stands there, None where nothing is."""
    found = contents(path)
    # a data file that is named after its content may stand beside a model that does not name it
    fits = [i for i, files in enumerate(known) if files.items() <= found.items()]
    others = set(found) - set(known[0]) - set(known[1])
    if not fits or others:
        return f"a mixed set: {sorted(found)}"
    said = Record.read(path)
    if said is not None and Path(said.source) not in {sources[i] for i in fits}:
        return "a record of the other network counts"
    return None


def kill(kind: str, count: int) -> int:
    """Kill so many runs; how many left something wrong."""
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        sources, known, lengths = models(at), list[dict[str, bytes]](), list[float]()
        (at / "x").mkdir()
        target = f"{at}/x/{TARGETS[kind]}"
        for source in (*sources, *sources):
            started = time.monotonic()
            assert os.waitpid(child(source, target, kind), 0)[1] == 0
            lengths.append(time.monotonic() - started)
            known.append(contents(Path(target)))
        known, length = known[:2], max(lengths[2:])
        wrong = passed = early = 0
        for number in range(count):
            process = child(sources[number % 2], target, kind)
            time.sleep(length * (number + 0.5) / count)
            if os.waitpid(process, os.WNOHANG)[0] == 0:
                os.kill(process, signal.SIGKILL)
                early += 1
            if fault := _settled(process, Path(target), known, sources):
                wrong += 1
                print(f"{kind} kill {number}: {fault}", flush=True)
            passed += bool(record.passed_over(Path(target)))
        assert convert(sources[0], target, kind) == 0
        left = [path.name for path in Path(target.rstrip("/")).parent.iterdir() if path.name.startswith(PREFIX)]
        print(f"{kind}: {early} of {count} runs killed within {length:.2f} s: {wrong} wrong, {left} left")
        return wrong + len(left)


def _settled(process: int, target: Path, known: list[dict[str, bytes]], sources: list[Path]) -> str | None:
    with contextlib.suppress(ChildProcessError):  # it had ended before
        os.waitpid(process, 0)
    return whole(target, known, sources)


def main() -> int:
    """The exit code says whether anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=TARGETS)
    parser.add_argument("--count", type=int, default=500)
    asked = parser.parse_args()
    return int(bool(kill(asked.kind, asked.count)))


if __name__ == "__main__":
    sys.exit(main())
