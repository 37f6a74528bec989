"""``python -m benchmarks.nets``: milliseconds per image in every engine that can run a network, in one table.

A level of SpyNet (384x512), ResNet-50 and VGG-16 (224x224), a step of char-rnn's LSTM (two layers of 128), ENet (20
classes, 512x256), all with random weights; ``--model FILE --input SHAPE`` is one more. The engines: the nets for Caffe2
in the real one (of torch 1.10.2), onnxruntime on the first of these nets (embedded), the PyTorch source that retorch
writes, and OpenCV 4's own reader of Torch7 files, where an interpreter has them: ``RETORCH_OPENCV_PYTHON`` names one
with opencv-python 4 (5 has no such reader). Each engine is a process of its own, which keeps to as many processors and
threads as the row says. All engines take their turns, and then all again: what else a machine does for a while falls on
more than one of them. The fastest of several runs.

Prints three Markdown tables: a run once the network is warm; reading the network and the first run together; how far
each engine's outputs are from the formulas in float64, over the largest value.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import retorch
from benchmarks import charrnn, enet, networks
from benchmarks.measuring import environment, machine, old_python, show
from retorch.caffe2.emit.net import EmitOptions
from retorch.engines import real_pytorch
from retorch.graph.session import THREADS

HERE = Path(__file__).parent
STYLES = {"Caffe2": EmitOptions(), "--nnpack": EmitOptions(nnpack=True), "--mkldnn": EmitOptions(mkldnn=True)}
ENGINES = (*STYLES, "embedded", "PyTorch", "OpenCV")
SECONDS = 60  # that one process may take
ROUNDS = 2  # processes of each engine: all once, then all again


@dataclass(frozen=True, slots=True)
class Case:
    """A network and the shapes of its inputs; ``make`` gives what its file holds."""

    title: str
    make: Callable[[], retorch.TorchObject]
    shapes: tuple[tuple[int, ...], ...]

    def inputs(self) -> list[np.ndarray]:
        """Random numbers; what has one dimension is an index."""
        rng = np.random.default_rng(1)
        return [
            rng.standard_normal(shape, np.float32) if len(shape) > 1 else np.full(shape, 7, np.float32)
            for shape in self.shapes
        ]


CASES = (
    Case("SpyNet level", networks.level, ((1, 8, 384, 512),)),
    Case("ResNet-50", networks.resnet50, ((1, 3, 224, 224),)),
    Case("VGG-16", networks.vgg16, ((1, 3, 224, 224),)),
    Case("char-rnn step", lambda: charrnn.step(65, 128, 2), ((1,), *((1, 128),) * 4)),
    Case("ENet", enet.enet, ((1, 3, 256, 512),)),
)


@dataclass(frozen=True, slots=True)
class Engine:
    """The script's name of an engine, the interpreter that has it (None: it is missing) and what it reads."""

    name: str
    python: Path | str | None
    source: Path


@dataclass(frozen=True, slots=True)
class Time:
    """Milliseconds to read a network, of the first run and of a later one; or why there are none."""

    read: float = float("nan")
    first: float = float("nan")
    steady: float = float("nan")
    error: float = float("nan")
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """What one network took in each engine on so many threads."""

    title: str
    threads: int
    times: dict[str, Time]


def run(engine: Engine, inputs: Path, threads: int, seconds: float, exact: list[np.ndarray]) -> Time:
    """One engine in a process of its own."""
    if engine.python is None:
        return Time(problem="is not there")
    outputs = inputs.with_name("y.npz")
    command = [engine.python, HERE / "timing_others.py", engine.name, engine.source, inputs, outputs, threads, seconds]
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", THREADS), str(threads))
    if engine.name == "caffe2":
        limits["DNNL_MAX_CPU_ISA"] = "AVX2"  # the code for AVX-512 of that MKL-DNN gives wrong numbers
    done = subprocess.run(
        [str(part) for part in command],
        env=environment() | limits,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    if done.returncode:
        return Time(problem=reason(done.stderr) or f"exit code {done.returncode}")
    found = {name: 1000 * value for name, value in json.loads(done.stdout.splitlines()[-1]).items()}
    with np.load(outputs) as stored:
        given = [stored[name] for name in stored.files]
    return Time(**found, error=max(map(difference, given, exact)))


def quickest(times: list[Time]) -> Time:
    """The one with the fastest warm run; one that failed, where one did."""
    return next((time for time in times if time.problem), min(times, key=lambda time: time.steady))


def reason(text: str) -> str:
    """The last line of a traceback, without what C++ says of its stack."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("frame #")]
    return lines[-1] if lines else ""


def formulas(net: retorch.Module, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """What the network gives in float64."""
    wide = [array.astype(np.float64) for array in arrays]
    found: Any = net.forward(wide[0] if len(wide) == 1 else wide)
    return found if isinstance(found, list) else [found]


def difference(given: np.ndarray, exact: np.ndarray) -> float:
    """The largest one, over the largest value."""
    return float(abs(given.reshape(exact.shape) - exact).max() / abs(exact).max())


def engines(model: Path, folder: Path, example: Any, caffe2: Path) -> dict[str, Engine]:
    """Each engine with what it runs, which is written here."""
    net = retorch.load(model)
    made = retorch.convert(net, example)
    found: dict[str, Engine] = {}
    for number, (style, options) in enumerate(STYLES.items()):
        made.save(folder / f"style{number}", options=options)
        found[style] = Engine("caffe2", caffe2, folder / f"style{number}")
    retorch.convert(net, example, to="pytorch").save(folder / "twin")
    found["embedded"] = Engine("embedded", sys.executable, folder / "style0")
    found["PyTorch"] = Engine("pytorch", next(real_pytorch.interpreters(), None), folder / "twin")
    found["OpenCV"] = Engine("opencv", os.environ.get("RETORCH_OPENCV_PYTHON", sys.executable), model)
    return found


def measure(case: Case, threads: tuple[int, ...], seconds: float, caffe2: Path) -> Iterator[Row]:
    """One network in all engines."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        retorch.write(folder / "model.t7", case.make())
        arrays = case.inputs()
        np.savez(folder / "x.npz", **{f"x{i}": array for i, array in enumerate(arrays)})
        example = arrays[0] if len(arrays) == 1 else arrays
        ways = engines(folder / "model.t7", folder, example, caffe2)
        exact = formulas(retorch.load(folder / "model.t7"), arrays)
        for count in threads:
            print(f"{case.title}, threads: {count}", file=sys.stderr)
            rounds = [
                {name: run(way, folder / "x.npz", count, seconds, exact) for name, way in ways.items()}
                for _ in range(ROUNDS)
            ]
            yield Row(case.title, count, {name: quickest([times[name] for times in rounds]) for name in ways})


def table(rows: list[Row], cell: Callable[[Time], object]) -> Iterator[tuple[object, ...]]:
    """The cells of all rows; where an engine does not run a network, a dash."""
    for row in rows:
        cells = ["-" if row.times[name].problem else cell(row.times[name]) for name in ENGINES]
        yield row.title, row.threads, *cells


def ratio(row: Row) -> str:
    """How many times longer OpenCV takes than the embedded engine."""
    embedded, opencv = row.times["embedded"], row.times["OpenCV"]
    return "-" if embedded.problem or opencv.problem else f"{opencv.steady / embedded.steady:.2f} x"


def report(rows: list[Row]) -> None:
    """The tables, and why engines do not run networks."""
    heading = ("network", "threads", *ENGINES)
    print("Milliseconds of a run once the network is warm:\n")
    warm = table(rows, lambda time: time.steady)
    show((*heading, "OpenCV / embedded"), ((*cells, ratio(row)) for cells, row in zip(warm, rows, strict=True)))
    print("\nMilliseconds to read the network and run it once, imports left out:\n")
    show(heading, table(rows, lambda time: time.read + time.first))
    print("\nLargest difference to the formulas in float64, over the largest value:\n")
    show(heading, table(rows, lambda time: f"{time.error:.0e}"))
    problems = {(row.title, name, time.problem) for row in rows for name, time in row.times.items() if time.problem}
    for title, name, problem in sorted(problems):
        print(f"\n- {name} does not run {title}: {problem}")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1, help="for the runs of one cell")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", default=[], help="networks, by their titles")
    parser.add_argument("--model", type=Path, help="one more Torch7 file")
    parser.add_argument("--input", help="the shape of its input, as 1x3x224x224")
    asked = parser.parse_args()
    cases = [case for case in CASES if not asked.only or case.title in asked.only]
    if asked.model:
        shape = tuple(map(int, asked.input.split("x")))
        cases.append(Case(asked.model.stem, lambda: retorch.read(asked.model), (shape,)))
    print(machine(), end="\n\n")
    caffe2 = old_python()
    report([row for case in cases for row in measure(case, tuple(asked.threads), asked.seconds, caffe2)])


if __name__ == "__main__":
    main()
