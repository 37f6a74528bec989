"""``python -m benchmarks.large``: a network of 2.3 GB, more than protobuf reads, to Caffe2 and through it.

Four linear layers of 12,000 numbers each. The weights go into a minidb (``--init minidb``); the real Caffe2 loads the
files and its output is compared with NumPy's in float64. Memory is what converting needs at the most besides mapped
files. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

import retorch
from benchmarks.measuring import machine, self_run, show, watch
from retorch.engines.caffe2_runtime import VERSIONS, Runtime

WIDTH, LAYERS = 12_000, 4


def layer(seed: int) -> np.ndarray:
    """The weights of one layer, made again wherever they are needed: all at once they fill the memory."""
    return np.random.default_rng(seed).standard_normal((WIDTH, WIDTH), np.float32) * np.float32(WIDTH**-0.5)


def write_model(path: Path) -> None:
    """The network as Torch would have saved it."""
    bias = np.zeros(WIDTH, np.float32)
    modules = [retorch.TorchObject("nn.Linear", {"weight": layer(seed), "bias": bias}) for seed in range(LAYERS)]
    retorch.write(path, retorch.TorchObject("nn.Sequential", {"modules": retorch.LuaTable.of(*modules)}))


def measure(model: str, out: str) -> None:
    """Convert in this process and print the seconds."""
    started, cpu = time.perf_counter(), time.process_time()
    retorch.convert(retorch.load(model), (1, WIDTH), fold=False).save(out, init="minidb")
    print(json.dumps({"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}))


def expected(x: np.ndarray) -> np.ndarray:
    """The output, in float64."""
    for seed in range(LAYERS):
        weight = layer(seed)
        x = np.concatenate([weight[i : i + 1000].astype(np.float64) @ x for i in range(0, WIDTH, 1000)])
    return x


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure)
        return
    print(machine(), end="\n\n")
    with tempfile.TemporaryDirectory() as folder:
        model, out = Path(folder) / "large.t7", Path(folder) / "out"
        write_model(model)
        run = watch(self_run(__file__, model, out))
        model.unlink()
        written = sum(path.stat().st_size for path in out.iterdir())
        step = (f"converted: {written / 1e9:.2f} GB written", run.result["seconds"], run.result["cpu"], run.anonymous)
        rows: list[tuple[object, ...]] = [(*step, "")]
        x = np.random.default_rng(LAYERS).standard_normal((1, WIDTH), np.float32)
        exact = expected(x[0].astype(np.float64))
        for version in VERSIONS:
            runtime = Runtime.find(version)
            if runtime is None:
                continue
            with runtime:
                started = time.perf_counter()
                (found,) = runtime.run(out, {"data": x})
            error = float(abs(found[0] - exact).max() / abs(exact).max())
            seconds = time.perf_counter() - started
            rows.append((f"loaded and run by Caffe2 {version}", seconds, "", "", f"{error:.1e}"))
        show(("step", "seconds", "CPU seconds", "own memory, MB", "error against float64"), rows)


if __name__ == "__main__":
    main()
