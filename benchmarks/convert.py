"""``python -m benchmarks.convert``: a network of the shape of VGG-16 (553 MB) from Torch7 to Caffe2, whole processes.

Compared in one run: the command ``retorch convert`` with and without its proof, the published recipe (``recipe.py``, in
the interpreter of ``make caffe2``), and ``cp``. Seconds are those of the fastest of several runs; seconds of CPU do not
depend on what else the machine does. Memory is what a process had at the most, besides mapped files and in all. Cold is
the command after the file was taken out of memory. Writing is timed alone. Prints a Markdown table. torchfile is
installed into a folder of its own for the recipe.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import retorch
from benchmarks import networks
from benchmarks.measuring import Run, against, machine, old_python, show, watch
from retorch.caffe2 import files

HERE = Path(__file__).parent
SHAPE = "1x3x224x224"
WITHOUT_PROOF, WITH_PROOF = "retorch convert --no-verify", "retorch convert, with proof"
#: Seconds and MB with maps at the most.
GOALS = {WITHOUT_PROOF: (1.0, None), WITH_PROOF: (3.0, 1200.0)}


def torchfile_folder(python: Path) -> Path:
    """Where torchfile is, for the old interpreter; installed where it is missing."""
    home = Path(os.environ.get("RETORCH_HOME") or Path.home() / ".cache" / "retorch")
    folder = home / "recipe"
    if not (folder / "torchfile.py").exists():
        command = [python, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, "torchfile"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


def best(command: list[str | Path], runs: int, before: Callable[[], None] = lambda: None) -> Run:
    """The fastest of several runs of a command; ``before`` is done before each."""
    found: list[Run] = []
    for _ in range(runs):
        before()
        found.append(watch(command))
    return min(found, key=lambda run: run.seconds)


def forget(path: Path) -> None:
    """Take a file out of memory, so that the next to read it reads the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def writing(model: Path, out: Path, runs: int) -> float:
    """Seconds to write a network that has been converted, and no more."""
    net = retorch.convert(retorch.load(model), (1, 3, 224, 224), fold=False).caffe2()
    found: list[float] = []
    for _ in range(runs):
        for path in out.glob("*"):
            path.unlink()
        started = time.perf_counter()
        files.write(out, net, apart=False)
        found.append(time.perf_counter() - started)
    return min(found)


def _row(name: str, run: Run, faster: float) -> tuple[object, ...]:
    """One way in figures, with the goals that it has."""
    seconds, memory = GOALS.get(name, (None, None))
    return (
        name,
        run.seconds if seconds is None else against(run.seconds, seconds),
        against(faster, least=40) if name == WITHOUT_PROOF else faster,
        run.cpu,
        run.anonymous,
        run.resident if memory is None else against(run.resident, memory),
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=4)
    arguments = parser.parse_args()
    runs = arguments.runs
    print(machine(), end="\n\n")
    with tempfile.TemporaryDirectory() as folder:
        model, out, theirs = (Path(folder) / name for name in ("vgg16.t7", "ours", "theirs"))
        retorch.write(model, networks.vgg16())
        command = [sys.executable, "-m", "retorch", "convert", model, "-o", out, "--input", SHAPE, "--no-fold"]
        python = old_python()
        recipe = best([python, HERE / "recipe.py", torchfile_folder(python), model, theirs], 1)
        copy = Path(folder) / "copy"
        ways = {
            "published recipe": recipe,
            WITHOUT_PROOF: best([*command, "--no-verify"], runs),
            "the same, from a cold disk": best([*command, "--no-verify"], 1, lambda: forget(model)),
            WITH_PROOF: best(command, 2),
            "cp": best(["cp", model, copy], runs, lambda: copy.unlink(missing_ok=True)),
        }
        headings = ("whole process", "seconds", "times faster", "CPU seconds", "own memory, MB", "with maps, MB")
        show(headings, [_row(name, run, recipe.seconds / run.seconds) for name, run in ways.items()])
        sizes = [(path / "init_net.pb").stat().st_size / 1e6 for path in (theirs, out)]
        print(f"\ninit_net.pb has {sizes[0]:.0f} MB by the recipe and {sizes[1]:.0f} MB by retorch.")
        steps = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in recipe.result["steps"].items())
        print(f"The recipe: {steps}.")
        seconds, copied = writing(model, Path(folder) / "again", runs), ways["cp"].seconds
        print(f"Writing alone takes {seconds:.2f} s, {against(seconds / copied, 1.3)} x cp.")


if __name__ == "__main__":
    main()
