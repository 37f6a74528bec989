"""How fast ``.t7`` files are read, as ratios to torchfile in the same run.

``python -m benchmarks.read`` writes three files to a temporary folder (a network of the shape of VGG-16, 553 MB; a
table of a million small tables; a tensor in ASCII), reads each in a process of its own, and prints a table. torchfile
is needed for the ratios (``pip install torchfile``). A reading counts from the open file to the value, imports
excluded; of three readings the best is taken.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from retorch.torch7 import LuaTable, TorchObject, read, write

READINGS = 3
# Input channels, output channels of VGG-16's 3x3 convolutions; then its linear layers.
CONVOLUTIONS = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 512)]
CONVOLUTIONS += [(512, 512)] * 5
LINEARS = [(25088, 4096), (4096, 4096), (4096, 1000)]
RECORDS = 1_000_000
NUMBERS = 1_000_000


def vgg(path: Path) -> None:
    """A network of the shape of VGG-16, its parameters zero."""
    layers: list[TorchObject] = []
    for inputs, outputs in CONVOLUTIONS:
        weight = np.zeros((outputs, inputs, 3, 3), np.float32)
        fields = {
            "nInputPlane": inputs,
            "nOutputPlane": outputs,
            "kW": 3,
            "kH": 3,
            "dW": 1,
            "dH": 1,
            "padW": 1,
            "padH": 1,
        }
        bias = np.zeros(outputs, np.float32)
        layers.append(TorchObject("nn.SpatialConvolution", {**fields, "weight": weight, "bias": bias}))
        layers.append(TorchObject("nn.ReLU", {"inplace": True, "threshold": 0, "val": 0}))
    for inputs, outputs in LINEARS:
        weight = np.zeros((outputs, inputs), np.float32)
        layers.append(TorchObject("nn.Linear", {"weight": weight, "bias": np.zeros(outputs, np.float32)}))
    write(path, TorchObject("nn.Sequential", {"train": False, "modules": LuaTable.of(*layers)}))


def records(path: Path) -> None:
    """A million tables of a number, a fraction and a name of varying length."""
    rows = ({"id": n, "score": n / 7, "name": f"row {n}"} for n in range(1, RECORDS + 1))
    write(path, LuaTable.of(*rows))


def ascii_tensor(path: Path) -> None:
    """A million doubles, normally distributed, in decimal."""
    write(path, np.random.default_rng(0).standard_normal(NUMBERS), format="ascii")


FILES: dict[str, Callable[[Path], None]] = {"vgg": vgg, "records": records, "ascii": ascii_tensor}


def measure(reader: str, path: str) -> None:
    """Read ``path`` and print the seconds it took and the most memory this process had, in MB."""
    load: Any = read if reader == "retorch" else importlib.import_module("torchfile").load
    started = time.perf_counter()
    value = load(path)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "megabytes": peak_memory(), "type": type(value).__name__}))


def peak_memory() -> float:
    """The most memory that this process had, in MB; what ``getrusage`` says may be the parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) / 1024


def best(reader: str, path: Path) -> dict[str, float] | None:
    """The fastest of a few readings, each in a new process; None where the reader is missing or fails."""
    found: list[dict[str, float]] = []
    for _ in range(READINGS):
        command = [sys.executable, __file__, "--measure", reader, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return None
        found.append(json.loads(done.stdout))
    return min(found, key=lambda reading: reading["seconds"])


def report(name: str, path: Path) -> None:
    """One line of the table."""
    size = path.stat().st_size / 1e6
    ours, theirs = best("retorch", path), best("torchfile", path)
    if ours is None:
        raise SystemExit(f"retorch could not read {path}")
    rate, memory = size / ours["seconds"], ours["megabytes"]
    line = f"{name:8} {size:7.1f} MB   retorch {ours['seconds']:9.4f} s {rate:9.1f} MB/s {memory:6.0f} MB of memory"
    if theirs:
        ratio, memory = theirs["seconds"] / ours["seconds"], theirs["megabytes"]
        line += f"   torchfile {theirs['seconds']:9.4f} s {memory:6.0f} MB   {ratio:.1f} times as fast"
    print(line, flush=True)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(FILES), help=", ".join(FILES))
    parser.add_argument("--measure", choices=("retorch", "torchfile"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.names[0])
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.names:
            path = Path(folder) / f"{name}.t7"
            FILES[name](path)
            report(name, path)
            path.unlink()


if __name__ == "__main__":
    main()
