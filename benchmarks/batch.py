"""``python -m benchmarks.batch --files 1000``: what ``retorch batch`` costs a file, beside a loop and the shell's.

The files are the networks of ``tests/golden`` with other weights, drawn from ``--seed``: none equals another. The plain
loop reads, converts, writes and compares them one after the other in one warm process. The shell's loop calls
``retorch convert`` for each of a few. Seconds are those of a processor, of all processes of a way together, so that
one core is compared with one core whatever else the machine does. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import retorch
from benchmarks.measuring import environment, machine, self_run, show
from retorch import cli
from retorch.module import weights

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
#: A file of the shell's loop takes about a second.
SHELL_FILES = 40


def vary(folder: Path, count: int, seed: int) -> None:
    """Write so many networks with weights of their own."""
    random = np.random.default_rng(seed)
    sources = sorted(GOLDEN.glob("*.t7"))
    for number in range(count):
        source = sources[number % len(sources)]
        root = retorch.read(source, writable=True)
        net = retorch.load(root)
        for array in weights(net):
            if array.dtype.kind == "f":
                array *= 1 + random.uniform(-0.01, 0.01)
        retorch.write(folder / f"{source.stem}_{number}.t7", {"model": root, "number": number})


def plain_loop(folder: Path, out: Path) -> None:
    """The command, for one file after the other, in this process."""
    for path in sorted(folder.iterdir()):
        cli.main(["convert", str(path), "-o", str(out / path.stem), "-q"])


def measure(way: str, folder: Path, out: Path) -> None:
    """Run one way in this process and its children; print its seconds."""
    if way == "plain":
        plain_loop(next(folder.parent.glob("warm")), out / "warm")
    begun, before = time.perf_counter(), _cpu()
    if way == "plain":
        plain_loop(folder, out)
    elif way == "batch":
        retorch.batch(folder, out, workers=1)
    else:
        for path in sorted(folder.iterdir())[:SHELL_FILES]:
            command = [sys.executable, "-m", "retorch", "convert", str(path), "-o", str(out / path.stem), "-q"]
            subprocess.run(command, env=environment(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    print(json.dumps({"seconds": time.perf_counter() - begun, "cpu": _cpu() - before}))


def _cpu() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=16)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        way, folder, out = arguments.measure
        measure(way, Path(folder), Path(out))
        return
    print(machine(), end="\n\n")
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as scratch:
        models, warm = Path(scratch, "models"), Path(scratch, "warm")
        for folder, count in ((models, arguments.files), (warm, 20)):
            folder.mkdir()
            vary(folder, count, arguments.seed + count)
        rows: list[tuple[str, int, float, float]] = []
        for way in ("plain", "batch", "shell"):
            done = min(arguments.files, SHELL_FILES) if way == "shell" else arguments.files
            command = [str(part) for part in self_run(__file__, way, models, Path(scratch, way))]
            said = json.loads(
                subprocess.check_output(command, env=environment(), text=True, stderr=subprocess.DEVNULL).splitlines()[
                    -1
                ]
            )
            rows.append((way, done, said["seconds"] / done * 1000, said["cpu"] / done * 1000))
    plain = rows[0][3]
    show(
        ("way", "files", "ms a file", "CPU ms a file", "times the plain loop"), [(*row, row[3] / plain) for row in rows]
    )


if __name__ == "__main__":
    main()
