"""``python -m benchmarks.spynet``: pairs of frames per second with SpyNet, on every engine there is.

The levels have the shape of the published ones (five 7 × 7 convolutions, 8-32-64-32-16-2) and random weights: what they
compute is noise, how long it takes is not. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from examples.spynet import SpyNet, pyramid, whole
from examples.spynet.pyramid import Array

import retorch
from retorch.caffe2.emit.net import EmitOptions
from retorch.engines.caffe2_runtime import VERSIONS, Runtime

CHANNELS = (8, 32, 64, 32, 16, 2)
KERNEL = 7


def write_levels(folder: Path, count: int) -> None:
    """Levels with random weights, small enough that flows stay flows."""
    rng = np.random.default_rng(1)
    for level in range(1, count + 1):
        modules: list[retorch.TorchObject] = []
        for inputs, outputs in pairwise(CHANNELS):
            fan = inputs * KERNEL * KERNEL
            sizes = {"nInputPlane": inputs, "nOutputPlane": outputs, "kW": KERNEL, "kH": KERNEL}
            weight = rng.normal(0, (1 / fan) ** 0.5, (outputs, inputs, KERNEL, KERNEL)).astype(np.float32)
            fields = {**sizes, "dW": 1, "dH": 1, "padW": 3, "padH": 3}
            bias = np.zeros(outputs, np.float32)
            modules.append(retorch.TorchObject("cudnn.SpatialConvolution", {**fields, "weight": weight, "bias": bias}))
            modules.append(retorch.TorchObject("cudnn.ReLU", {"inplace": True}))
        net = retorch.TorchObject("nn.Sequential", {"modules": retorch.LuaTable.of(*modules[:-1])})
        retorch.write(folder / f"modelL{level}.t7", net)


def operations(height: int, width: int, levels: int) -> float:
    """Floating-point operations of the convolutions for one pair."""
    per_pixel = sum(2 * KERNEL * KERNEL * a * b for a, b in pairwise(CHANNELS))
    return per_pixel * height * width * sum(0.25**level for level in range(levels))


@dataclass(frozen=True, slots=True)
class Row:
    """One engine: seconds of its fastest run, and how far its flow is from the first row's, in pixels."""

    name: str
    seconds: float
    apart: float

    def line(self, work: float) -> str:
        """The row of a Markdown table; ``work`` is the GFLOP of a pair."""
        speed = f"{self.seconds:.2f} | {1 / self.seconds:.2f} | {work / self.seconds:.0f}"
        return f"| {self.name} | {speed} | {self.apart:.0e} |"


def fastest(run: Callable[[], Array], times: int) -> tuple[float, Array]:
    """Seconds of the fastest of several runs after one that warms up, and what it gave."""
    found = run()
    seconds: list[float] = []
    for _ in range(times):
        start = time.perf_counter()
        found = run()
        seconds.append(time.perf_counter() - start)
    return min(seconds), found


def measure(folder: Path, size: tuple[int, int], levels: int, times: int, engines: Sequence[str]) -> list[Row]:
    """One row for each engine and route."""
    frames = np.random.default_rng(2).integers(0, 256, (2, *size, 3), np.uint8)
    network = whole.build([folder / f"modelL{level}.t7" for level in range(1, levels + 1)], *size)
    network.save(folder / "spynet.onnx", "onnx")
    rows: list[Row] = []
    wanted: Array | None = None
    for engine, nnpack in ((engine, nnpack) for engine in engines for nnpack in (False, True)):
        if engine == "embedded" and nnpack:
            continue  # onnxruntime has convolutions of its own
        name = engine + ", NNPACK" * nnpack
        files = folder / name
        files.mkdir()
        network.save(files, "caffe2", options=EmitOptions(nnpack=nnpack, in_place=nnpack))
        with SpyNet(folder, engine=engine, levels=levels, nnpack=nnpack, cache=folder / "cache") as spynet:
            for route, run in _routes(spynet, frames, folder / "spynet.onnx", files).items():
                if engine != "embedded" and route == "one ONNX file":
                    continue
                print(f"{name}: {route} …", file=sys.stderr)
                seconds, flow = fastest(run, times)
                wanted = flow if wanted is None else wanted
                rows.append(Row(f"{name}: {route}", seconds, float(np.abs(flow - wanted).max())))
    return rows


def without_networks(size: tuple[int, int], levels: int, times: int) -> float:
    """Seconds for everything but the networks."""
    frames = np.random.default_rng(2).integers(0, 256, (2, *size, 3), np.uint8)

    def still(stack: Array) -> Array:
        return np.zeros((1, 2, *stack.shape[2:]), np.float32)

    def run() -> Array:
        first, second = map(pyramid.prepared, frames)
        return pyramid.flows(first, second, [still] * levels)[-1]

    return fastest(run, times)[0]


def _routes(spynet: SpyNet, frames: Array, onnx: Path, caffe2: Path) -> dict[str, Callable[[], Array]]:
    return {
        "levels one by one": lambda: spynet.flow(frames[0], frames[1]),
        "one ONNX file": lambda: spynet.run_file(onnx, frames[0], frames[1]),
        "one Caffe2 net": lambda: spynet.run_file(caffe2, frames[0], frames[1]),
    }


def main() -> None:
    """Measure and print."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    made.add_argument("--size", default="512x384", help="width and height")
    made.add_argument("--levels", type=int, default=5)
    made.add_argument("--times", type=int, default=3, help="how often each route runs after warming up")
    asked = made.parse_args()
    width, height = map(int, asked.size.split("x"))
    found = [runtime for version in VERSIONS if (runtime := Runtime.find(version)) is not None]
    engines = ["embedded", *(f"caffe2-{runtime.version}" for runtime in found)]
    for runtime in found:
        runtime.close()
    with tempfile.TemporaryDirectory() as folder:
        write_levels(Path(folder), asked.levels)
        rows = measure(Path(folder), (height, width), asked.levels, asked.times, engines)
    work = operations(height, width, asked.levels) / 1e9
    print(f"{width} × {height}, {asked.levels} levels, {work:.0f} GFLOP in convolutions\n")
    print("| engine and route | s per pair | pairs per s | GFLOP/s | px apart |\n|---|---:|---:|---:|---:|")
    print("\n".join(row.line(work) for row in rows))
    around = without_networks((height, width), asked.levels, asked.times)
    print(f"\nWithout its networks, the pyramid takes {around:.2f} s: pooling, warping and upsampling in NumPy.")


if __name__ == "__main__":
    main()
