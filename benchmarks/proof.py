"""``python -m benchmarks.proof``: what it costs to verify, in time and memory.

The shape of VGG-16 (553 MB) to Caffe2 with its proof, and every layer with a report page; whole processes. Then the
formulas in NumPy against onnxruntime, both in float32, on the shape of ResNet-50 and 224x224. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import retorch
from benchmarks import networks
from benchmarks.measuring import against, machine, show, watch

SHAPE = (1, 3, 224, 224)


def fastest(run: Callable[[], object], runs: int) -> tuple[float, float]:
    """Seconds of the fastest run after one that warms up, and the fewest of all processors."""
    run()
    found: list[tuple[float, float]] = []
    for _ in range(runs):
        started, used = time.perf_counter(), time.process_time()
        run()
        found.append((time.perf_counter() - started, time.process_time() - used))
    return min(seconds for seconds, _ in found), min(cpu for _, cpu in found)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    print(machine(), end="\n\n")
    with tempfile.TemporaryDirectory() as folder:
        model, out, page = Path(folder) / "vgg16.t7", Path(folder) / "out", Path(folder) / "report.html"
        retorch.write(model, networks.vgg16())
        start = [sys.executable, "-m", "retorch"]
        commands = {
            "convert, with proof": [*start, "convert", model, "-o", out, "--input", "x".join(map(str, SHAPE))],
            "verify --layers --report": [*start, "verify", model, out, "--layers", "--report", page],
        }
        rows: list[tuple[object, ...]] = []
        for name, command in commands.items():
            runs = [watch(command) for _ in range(2)]
            run = min(runs, key=lambda run: run.seconds)
            cpu, layers = min(run.cpu for run in runs), "--layers" in name
            seconds = run.seconds if layers else against(run.seconds, 3)
            memory = against(run.resident, 1500 if layers else 1200)
            rows.append((name, seconds, against(cpu, 20) if layers else cpu, run.anonymous, memory))
        show(("VGG-16", "seconds", "CPU seconds", "own memory, MB", "with maps, MB"), rows)
        retorch.write(model, networks.resnet50())
        net = retorch.load(model)
        x = np.random.default_rng(1).standard_normal(SHAPE, np.float32)
        made = retorch.convert(net, SHAPE)
        formulas, engine = (fastest(run, arguments.runs) for run in (lambda: net.forward(x), lambda: made.run(x)))
    ratio = against(formulas[0] / engine[0], 2)
    print()
    show(
        ("ResNet-50 in float32", "seconds", "CPU seconds", "times onnxruntime"),
        [("formulas (NumPy)", *formulas, ratio), ("onnxruntime", *engine, 1)],
    )


if __name__ == "__main__":
    main()
