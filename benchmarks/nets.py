"""``python -m benchmarks.nets``: milliseconds per image on every way that a network can run, in one table.

A level of SpyNet (384x512), the shapes of ResNet-50 and VGG-16 (224x224), with random weights; ``--model FILE --input
SHAPE`` is one more. The ways: the nets for Caffe2 in the real one (of torch 1.10.2), onnxruntime (embedded), the
PyTorch source that retorch writes, and OpenCV 4's own reader of Torch7 files, where an interpreter has them:
``RETORCH_OPENCV_PYTHON`` names one with opencv-python 4 (5 has no such reader). The fastest of several runs each.
Beside OpenCV's stands how far its output is from the formulas in float64. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import retorch
from benchmarks import networks
from benchmarks.measuring import environment, machine, old_python, show
from benchmarks.predict import caffe2, embedded
from retorch.caffe2.emit.net import EmitOptions
from retorch.engines import real_pytorch

HERE = Path(__file__).parent
STYLES = {"Caffe2": EmitOptions(), "--nnpack": EmitOptions(nnpack=True), "--mkldnn": EmitOptions(mkldnn=True)}
HEADINGS = ("network", *(f"{style}, ms" for style in STYLES), "embedded, ms", "PyTorch, ms", "OpenCV, ms")


@dataclass(frozen=True, slots=True)
class Case:
    """A network and its input's shape."""

    title: str
    model: Path
    shape: tuple[int, ...]


def other(way: str, python: str | Path | None, source: Path, data: Path, runs: int) -> tuple[float | None, Path]:
    """Milliseconds in OpenCV or PyTorch, None where it is missing or does not take the network; and its output."""
    output = data.with_name(f"{way}.npy")
    if python is None:
        return None, output
    command = [python, HERE / "timing_others.py", way, source, data, str(runs), output]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{way}: {(done.stderr.splitlines() or ['failed'])[-1]}", file=sys.stderr)
        return None, output
    return 1000 * json.loads(done.stdout.splitlines()[-1])["seconds"], output


def measure(case: Case, python: Path, folder: Path, runs: int) -> tuple[object, ...]:
    """One row of the table."""
    net = retorch.load(case.model)
    data = folder / "x.npy"
    image = np.random.default_rng(1).standard_normal(case.shape, np.float32)
    np.save(data, image)
    made = retorch.convert(net, case.shape)
    folders = [folder / f"style{number}" for number in range(len(STYLES))]
    for target, options in zip(folders, STYLES.values(), strict=True):
        made.save(target, options=options)
    nets = [1000 * seconds for seconds, _ in caffe2(python, folders, image, runs)]
    own = 1000 * embedded(retorch.Network.load(folders[0]), image, runs)[0]
    twin = folder / "twin"
    retorch.convert(net, case.shape, to="pytorch").save(twin)
    torch, _ = other("pytorch", next(real_pytorch.interpreters(), None), twin, data, runs)
    theirs, output = other("opencv", os.environ.get("RETORCH_OPENCV_PYTHON", sys.executable), case.model, data, runs)
    cell: object = "does not run"
    if theirs is not None:
        exact = net.forward(image.astype(np.float64))
        error = float(abs(np.load(output).reshape(exact.shape) - exact).max() / abs(exact).max())
        cell = f"{theirs:,.0f} (embedded is {theirs / own:.1f} x; error {error:.0e})"
    return case.title, *nets, own, "not there" if torch is None else torch, cell


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--model", type=Path, help="one more Torch7 file")
    parser.add_argument("--input", help="the shape of its input, as 1x3x224x224")
    asked = parser.parse_args()
    print(machine(), end="\n\n")
    python = old_python()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        made = {
            "SpyNet level": (networks.level, (1, 8, 384, 512)),
            "ResNet-50": (networks.resnet50, (1, 3, 224, 224)),
            "VGG-16": (networks.vgg16, (1, 3, 224, 224)),
        }
        cases = [Case(title, home / f"{title}.t7", shape) for title, (_, shape) in made.items()]
        for case in cases:
            retorch.write(case.model, made[case.title][0]())
        if asked.model:
            cases.append(Case(asked.model.stem, asked.model, tuple(map(int, asked.input.split("x")))))

        def rows():
            for number, case in enumerate(cases):
                folder = home / str(number)
                folder.mkdir()
                yield measure(case, python, folder, asked.runs)

        show(HEADINGS, rows())


if __name__ == "__main__":
    main()
