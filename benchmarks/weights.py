"""``python -m benchmarks.weights``: VGG-16 with weights in 32, 16 and 8 bits: sizes, loading, and what rounding moves.

Each is converted by the command, a whole process, to Caffe2 and to ONNX; then each Caffe2 that is installed loads it
and runs it on one image. Seconds are CPU seconds; memory is the most that the process had, mapped files included. The
outputs are compared with those of float32 weights, relative to max(1, the largest). Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

import retorch
from benchmarks import networks
from benchmarks.measuring import machine, show, watch
from retorch.engines.caffe2_runtime import VERSIONS, Runtime
from retorch.files.precision import PRECISIONS

SCRIPT = Path(__file__).with_name("caffe2_load.py")


def pythons() -> dict[str, Path]:
    """The interpreters that have Caffe2, by version."""
    found: dict[str, Path] = {}
    for version in VERSIONS:
        runtime = Runtime.find(version)
        if runtime is not None:
            with runtime:
                found[version] = runtime.python
    return found


def main() -> None:
    """Run the command line."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(machine(), end="\n\n")
    old = pythons()
    rows: list[tuple[object, ...]] = []
    exact: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        model, out, onnx, result = (Path(folder) / name for name in ("vgg16.t7", "out", "m.onnx", "y.npy"))
        retorch.write(model, networks.vgg16())
        for weights in PRECISIONS:
            command = [sys.executable, "-m", "retorch.cli", "convert", model, "--input", "1x3x224x224", "--no-verify"]
            made = watch([*command, "-o", out, "--weights", weights])
            watch([*command, "-o", onnx, "--weights", weights])
            sizes = [path.stat().st_size / 1e6 for path in (out / "init_net.pb", onnx)]
            for version, python in old.items():
                run = watch([python, SCRIPT, out, result])
                y = np.load(result)
                exact.setdefault(version, y)
                moved = float(abs(y - exact[version]).max() / max(1, abs(exact[version]).max()))
                loaded = (run.result["load"], run.resident, f"{moved:.1e}")
                rows.append((weights, *sizes, made.cpu, version, *loaded))
    show(
        ("weights", "init_net.pb, MB", "ONNX, MB", "convert, s", "Caffe2", "load, s", "memory, MB", "outputs move"),
        rows,
    )


if __name__ == "__main__":
    main()
