"""``python -m benchmarks.predict``: seconds per image, of the nets that retorch writes and of those of the recipe.

Two networks with random weights: one level of SpyNet (five 7x7 convolutions, 8-32-64-32-16-2) on 384x512, and the
shape of ResNet-50 on 224x224. Compared in one run, the fastest of several runs each: what ``brew`` and
``mobile_exporter`` write (``--brew``, which a test holds to their bytes), retorch's nets in the same Caffe2 (of torch
1.10.2), and retorch's embedded engine on the same files. CPU time counts all threads, and depends less on what else
the machine does. The error is the largest difference to the network in float64, over the largest value, for SpyNet on
an image of a quarter of the height and width. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import retorch
from benchmarks import networks
from benchmarks.measuring import environment, machine, old_python, show
from retorch.caffe2.emit.net import EmitOptions

HERE = Path(__file__).parent
# Kind of net: the options, and whether layers are merged.
STYLES: dict[str, tuple[EmitOptions, bool]] = {
    "recipe (brew)": (EmitOptions(brew=True), False),
    "retorch --no-fold": (EmitOptions(), False),
    "retorch": (EmitOptions(), True),
    "retorch --in-place": (EmitOptions(in_place=True), True),
    "retorch --nnpack": (EmitOptions(nnpack=True), True),
    "retorch --mkldnn": (EmitOptions(mkldnn=True), True),
}
TORCH7_RESNET = 0.42  # seconds of the real Torch7 for ResNet-50 on two cores of this kind


@dataclass(frozen=True, slots=True)
class Case:
    """A network and the images that it is timed and compared on."""

    title: str
    net: retorch.TorchObject
    timed: tuple[int, ...]
    compared: tuple[int, ...]


def caffe2(python: Path, folders: list[Path], image: np.ndarray, runs: int) -> list[tuple[float, float]]:
    """The fastest run of each net in the real Caffe2, which leaves the outputs beside the nets; and the least CPU."""
    path = folders[0].parent / "x.npy"
    np.save(path, image)
    command = [python, HERE / "timing.py", str(runs), path, *folders]
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return list(zip(found["seconds"], found["cpu"], strict=True))


def embedded(net: retorch.Network, image: np.ndarray, runs: int) -> tuple[float, float]:
    """The fastest run in this process, and the least CPU."""
    found: list[tuple[float, float]] = []
    for _ in range(runs + 1):  # the first one makes the session
        started, used = time.perf_counter(), time.process_time()
        net.run(image)
        found.append((time.perf_counter() - started, time.process_time() - used))
    return min(seconds for seconds, _ in found), min(cpu for _, cpu in found)


def report(case: Case, python: Path, folder: Path, runs: int) -> None:
    """The table of one network."""
    model = folder / "model.t7"
    retorch.write(model, case.net)
    net = retorch.load(model)
    folders = [folder / str(number) for number in range(len(STYLES))]
    for target, (options, fold) in zip(folders, STYLES.values(), strict=True):
        retorch.convert(net, case.timed, fold=fold).save(target, options=options)
    rng = np.random.default_rng(1)
    image = rng.standard_normal(case.timed, np.float32)
    small = image if case.compared == case.timed else rng.standard_normal(case.compared, np.float32)
    ours = retorch.Network.load(folders[2])
    fastest = embedded(ours, image, runs)
    seconds = caffe2(python, folders, image, runs)
    caffe2(python, folders, small, 1)
    exact = net.forward(small.astype(np.float64))
    results = [np.load(target / "y.npy") for target in folders] + [ours.run(small)[0]]
    errors = [float(abs(result - exact).max() / abs(exact).max()) for result in results]
    print(f"\n{case.title}\n")
    names = [f"{name}, in Caffe2" for name in STYLES] + ["retorch, embedded"]
    rows = [
        (name, 1000 * each, f"{seconds[0][0] / each:.2f} x", 1000 * cpu, f"{seconds[0][1] / cpu:.2f} x", f"{error:.1e}")
        for name, (each, cpu), error in zip(names, [*seconds, fastest], errors, strict=True)
    ]
    show(("net", "milliseconds", "faster", "CPU milliseconds", "less", "error"), rows)
    if "ResNet" in case.title:
        print(f"\nThe real Torch7 took {1000 * TORCH7_RESNET:.0f} ms: embedded is {TORCH7_RESNET / fastest[0]:.1f} x.")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    print(machine())
    python = old_python()
    cases = [
        Case("SpyNet level, 1x8x384x512", networks.level(), (1, 8, 384, 512), (1, 8, 96, 128)),
        Case("ResNet-50, 1x3x224x224", networks.resnet50(), (1, 3, 224, 224), (1, 3, 224, 224)),
    ]
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            report(case, python, Path(folder), arguments.runs)


if __name__ == "__main__":
    main()
