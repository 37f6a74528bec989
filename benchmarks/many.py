"""``python -m benchmarks.many``: networks of many layers, and many small networks, in one process.

A chain of convolutions of 3,200 layers and of twice and four times as many: seconds to convert, save and load it, and
how they grow, the fewest of three runs. Then the golden cases of the tests: how many are converted, written and read
back in a second. CPU seconds stand beside those of the clock. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import retorch
from benchmarks import networks
from benchmarks.measuring import against, machine, show
from retorch.errors import RetorchError

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
CASES = 200
RUNS = 3
#: Seconds for 3,200 layers: to convert, to save, to load.
GOALS = (1.5, 0.3, 0.8)


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it gives, its seconds, and those of all processors; what was left of earlier work is cleared away before."""
    gc.collect()
    started, used = time.perf_counter(), time.process_time()
    given = work()
    return given, time.perf_counter() - started, time.process_time() - used


def deep(layers: int, folder: Path) -> tuple[float, ...]:
    """Seconds and CPU seconds to convert, save and load a chain of so many layers."""
    modules = [module for _ in range(layers // 2) for module in (networks.conv(4, 4, 3), networks.relu())]
    model = folder / "deep.t7"
    retorch.write(model, networks.row(*modules))
    net = retorch.load(model)
    made, *convert = timed(lambda: retorch.convert(net, (1, 4, 8, 8)))
    _, *save = timed(lambda: made.save(folder / f"deep{layers}"))
    _, *load = timed(lambda: retorch.Network.load(folder / f"deep{layers}"))
    return (*convert, *save, *load)


def shape_of(path: Path) -> Any:
    """The shapes of a golden case's inputs, as ``convert`` takes them."""
    with np.load(path.with_suffix(".npz")) as stored:
        names = sorted(name for name in stored.files if name.startswith("input_") and name[6:].isdecimal())
        shapes = [stored[name].shape for name in names]
    return shapes[0] if len(shapes) == 1 else shapes


def there_and_back(path: Path, example: Any, out: Path) -> None:
    """One case, from the Torch7 file to a network read from what was written."""
    retorch.convert(retorch.load(path), example).save(out)
    retorch.Network.load(out)


def small(folder: Path) -> tuple[int, float, float]:
    """How many golden cases there are that convert, and the seconds for all of them."""
    cases: list[tuple[Path, Any]] = []
    for path in sorted(GOLDEN.glob("*.t7")):
        if len(cases) == CASES:
            break
        try:
            example = shape_of(path)
            there_and_back(path, example, folder / "first" / path.stem)
        except (RetorchError, FileNotFoundError, KeyError, IndexError):
            continue  # no network, or one that Caffe2 cannot say
        cases.append((path, example))

    def every() -> None:
        for path, example in cases:
            there_and_back(path, example, folder / "again" / path.stem)

    return len(cases), *timed(every)[1:]


def main() -> None:
    """Run the command line."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(machine(), end="\n\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        deep(64, folder)  # imports
        rows: list[tuple[float, ...]] = []

        def measured() -> Iterator[tuple[object, ...]]:
            for layers in (3200, 6400, 12800):
                runs = [deep(layers, folder) for _ in range(RUNS)]
                rows.append(tuple(map(min, zip(*runs, strict=True))))
                cells: list[object] = list(rows[-1])
                if layers == 3200:
                    cells[::2] = [against(seconds, goal) for seconds, goal in zip(rows[-1][::2], GOALS, strict=True)]
                yield f"{layers:,}", *cells

        show(("layers", "convert", "CPU", "save", "CPU", "load", "CPU"), measured())
        steps = ((1, "convert"), (3, "save"), (5, "load"))
        growth = ", ".join(f"{what} {against(rows[2][at] / rows[0][at], 4)} x" for at, what in steps)
        print(f"\nFour times the layers take {growth} the CPU seconds.\n")
        count, seconds, cpu = small(folder)
        show(
            ("golden cases", "seconds", "CPU seconds", "cases a second", "a CPU second"),
            [(count, seconds, cpu, against(count / seconds, least=100), count / cpu)],
        )


if __name__ == "__main__":
    main()
