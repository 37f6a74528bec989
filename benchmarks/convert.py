"""``python -m benchmarks.convert``: a network of the shape of VGG-16 (553 MB) from Torch7 to Caffe2.

Compared in one run: retorch, the published recipe (``recipe.py``, in the interpreter of ``make caffe2``), and copying
the file. Seconds count from the ``.t7`` to the three files on disk, imports not counted, and for the whole process;
the fastest of several runs; seconds of CPU do not depend on what else the machine does. Memory is what the process had
at the most, besides mapped files and in all. Prints a Markdown table. torchfile is installed into a folder of its own
for the recipe.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import Run, best, machine, old_python, self_run, show, watch

HERE = Path(__file__).parent


def measure(model: str, out: str) -> None:
    """Convert in this process and print the seconds."""
    import retorch

    retorch.load, retorch.convert  # noqa: B018 (their modules are imported by these names)
    started, cpu = time.perf_counter(), time.process_time()
    net = retorch.load(model)
    made = retorch.convert(net, (1, 3, 224, 224), fold=False)
    made.save(out)
    print(json.dumps({"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}))


def torchfile_folder(python: Path) -> Path:
    """Where torchfile is, for the old interpreter; installed where it is missing."""
    home = Path(os.environ.get("RETORCH_HOME") or Path.home() / ".cache" / "retorch")
    folder = home / "recipe"
    if not (folder / "torchfile.py").exists():
        command = [python, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, "torchfile"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


def copying(model: Path, runs: int) -> tuple[float, float]:
    """Seconds to copy the file, and those of the processor."""
    found: list[tuple[float, float]] = []
    target = model.with_name("copy")
    for _ in range(runs):
        started, cpu = time.perf_counter(), time.process_time()
        shutil.copyfile(model, target)
        found.append((time.perf_counter() - started, time.process_time() - cpu))
        target.unlink()
    return min(found)


def line(name: str, run: Run, recipe: Run | None, written: int) -> tuple[object, ...]:
    """One row of the table."""
    times = f"{recipe.result['seconds'] / run.result['seconds']:.0f} x" if recipe else "1 x"
    seconds = float(run.result["seconds"]), times, float(run.result["cpu"]), run.seconds
    return name, *seconds, run.anonymous, run.resident, written / 1e6


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure)
        return
    print(machine(), end="\n\n")
    import retorch
    from benchmarks import networks

    with tempfile.TemporaryDirectory() as folder:
        model, out, theirs = (Path(folder) / name for name in ("vgg16.t7", "ours", "theirs"))
        retorch.write(model, networks.vgg16())
        python = old_python()
        packages = torchfile_folder(python)
        recipe = best(watch([python, HERE / "recipe.py", packages, model, theirs]) for _ in range(2))
        ours = best(watch(self_run(__file__, model, out)) for _ in range(arguments.runs))
        copied, copied_cpu = copying(model, arguments.runs)
        sizes = [(path / "init_net.pb").stat().st_size for path in (theirs, out)]
        headings = ["way", "seconds", "faster", "CPU seconds", "whole process, s", "own memory, MB", "with maps, MB"]
        headings.append("init_net.pb, MB")
        show(headings, [line("published recipe", recipe, None, sizes[0]), line("retorch", ours, recipe, sizes[1])])
        steps = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in recipe.result["steps"].items())
        more, more_cpu = ours.result["seconds"] - copied, ours.result["cpu"] - copied_cpu
        megabytes = model.stat().st_size / 1e6
        print(
            f"\nThe recipe: {steps}. Copying the {megabytes:.0f} MB takes {copied:.2f} s ({copied_cpu:.2f} s of CPU);"
        )
        print(f"retorch takes {more:.2f} s more ({more_cpu:.2f} s of CPU).")


if __name__ == "__main__":
    main()
