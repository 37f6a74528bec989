"""``python -m benchmarks.startup``: seconds of whole commands, from the start of the process to its end.

The fastest of several runs, and the least CPU, which depends less on what else the machine does. ``python`` alone and
``import numpy`` are there for comparison. The sources are compiled first, as an installation does. Prints a Markdown
table.
"""

from __future__ import annotations

import argparse
import compileall
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import against, environment, machine, show

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "examples" / "digits" / "digits.t7"
#: Seconds that a command may take.
GOALS = {"retorch --help": 0.12, "retorch inspect digits.t7": 0.25, "retorch convert digits.t7": 0.7}


def measure(command: list[str], runs: int) -> tuple[float, float]:
    """The fewest seconds, and the fewest of CPU."""
    seconds: list[float] = []
    cpu: list[float] = []
    for _ in range(runs):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, env=environment())
        seconds.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds), min(cpu)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    arguments = parser.parse_args()
    print(machine(), end="\n\n")
    compileall.compile_dir(ROOT / "src", quiet=1)
    with tempfile.TemporaryDirectory() as folder:
        retorch = ["-m", "retorch.cli"]
        commands = {
            "python, doing nothing": ["-c", "pass"],
            "import numpy": ["-c", "import numpy"],
            "import all that convert needs": ["-c", "import retorch.cli, retorch.conversion, retorch.verification"],
            "retorch --help": [*retorch, "--help"],
            "retorch inspect digits.t7": [*retorch, "inspect", str(DIGITS)],
            "retorch convert digits.t7": [*retorch, "convert", str(DIGITS), "-o", f"{folder}/out"],
        }
        rows: list[tuple[object, ...]] = []
        for name, command in commands.items():
            seconds, cpu = measure(command, arguments.runs)
            rows.append((name, against(seconds, GOALS[name]) if name in GOALS else seconds, cpu))
    show(("command", "seconds", "CPU seconds"), rows)


if __name__ == "__main__":
    main()
