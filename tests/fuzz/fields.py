"""Modules with senseless fields: each is shown, and converted, refused by name, or one error of ours.

``python tests/fuzz/fields.py --count 100000 --seed 1`` runs it at length, over every registered class, and prints one
line of result; ``check`` is what the tests use. Checked for each: no exception but ours, not above two seconds, memory
under the limit that :func:`retorch.limits.limit_memory` sets.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from readers import HANGING, MEMORY, SLOWEST, TooSlowError

import retorch
from retorch import limits
from retorch.errors import RetorchError
from retorch.layers import registered
from retorch.module import bind
from retorch.torch7 import LuaFunction, LuaTable, TorchObject, read

GOLDEN = Path(__file__).parent.parent / "golden"
LARGEST = 200_000
SHAPES: list[Any] = [(1, 4, 8, 8), (2, 4), (4, 8, 8), (2, 3, 4), (1,), [(2, 4), (2, 4)], [(1, 4, 8, 8), (1, 4, 8, 8)]]


def _senseless(rng: random.Random, fields: dict[Any, Any]) -> Any:
    """A value that no author meant."""
    values: list[Any] = [
        *(0, -1, 1, 2, 3, 1000, 10**9, -(10**9), 2**31, 2**53, 10**300),
        *(0.5, -0.5, float("nan"), float("inf"), -float("inf"), 1e300),
        *("", "x", b"\xff", True, False, None, LuaTable(), LuaTable.of(1, 2), LuaTable.of(10**9), LuaTable.of("x")),
        *(LuaTable.of(0.5), LuaTable.of(LuaTable.of(1)), LuaTable({"x": 1}), LuaFunction(b"")),
        *(TorchObject("nn.Identity"), TorchObject("nn.Nobody"), LuaTable.of(TorchObject("nn.Identity"))),
        *(np.zeros(0), np.ones(1), np.full((2, 3), np.nan), np.array([0, -1, 10**9]), np.zeros((3, 0, 2))),
        np.broadcast_to(np.float32(1), (1 << 16, 1 << 16)),
    ]
    if fields and rng.random() < 0.1:
        return rng.choice(list(fields.values()))
    return rng.choice(values)


def originals() -> dict[str, list[dict[Any, Any]]]:
    """The fields of every module in the golden files, by class."""
    found: dict[str, list[dict[Any, Any]]] = {}
    for path in sorted(GOLDEN.rglob("*.t7"), key=lambda path: path.relative_to(GOLDEN).as_posix()):
        if path.stat().st_size > LARGEST:
            continue
        try:
            stack, seen = [read(path)], set[int]()
        except RetorchError:
            continue
        while stack:
            value = stack.pop()
            if isinstance(value, (TorchObject, LuaTable)) and id(value) not in seen:
                seen.add(id(value))
                stack.extend(value.values())
                if isinstance(value, TorchObject):
                    found.setdefault(value.typename, []).append(dict(value.items()))
    return found


def mutant(number: int, seed: int, known: dict[str, list[dict[Any, Any]]]) -> tuple[TorchObject, Any]:
    """The ``number``-th senseless module of a seed, every class in turn, and the shape of an input."""
    rng = random.Random(f"fields/{seed}/{number}")
    names = sorted(registered())
    name = names[number % len(names)]
    fields = dict(rng.choice(known[name])) if name in known and rng.random() < 0.9 else {}
    declared = [*registered()[name].fields, *fields]
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        if declared:
            fields[rng.choice(declared)] = _senseless(rng, fields)
    made = TorchObject(name, {key: value for key, value in fields.items() if value is not None})
    if rng.random() < 0.05:
        made["modules"] = LuaTable.of(made)
    if rng.random() < 0.2:
        made = TorchObject("nn.Sequential", {"modules": LuaTable.of(made, made)})
    return made, rng.choice(SHAPES)


def _stop(*_: object) -> None:
    raise TooSlowError


def check(made: TorchObject, shape: Any) -> str | None:
    """What is wrong about a module, None where nothing is."""
    started = time.process_time()
    signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, HANGING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _use(made, shape)
    except RetorchError:
        pass
    except (Exception, TooSlowError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    taken = time.process_time() - started
    return f"{taken:.2f} s" if taken > SLOWEST else None


def _use(made: TorchObject, shape: Any) -> None:
    net = bind(made)
    for layer in net.layers():
        layer.settings()
        layer.parameters()
    retorch.convert(net, shape, fold=True)
    net.forward(_zeros(shape))


def _zeros(shape: Any) -> Any:
    return [_zeros(item) for item in shape] if isinstance(shape, list) else np.ones(shape, np.float32)


def main() -> int:
    """Run a range of numbers; the exit code says whether anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    limits.limit_memory(MEMORY)
    known, wrong, started = originals(), 0, time.monotonic()
    for number in range(asked.first, asked.first + asked.count):
        made, shape = mutant(number, asked.seed, known)
        fault = check(made, shape)
        if fault is not None:
            wrong += 1
            print(f"seed {asked.seed} number {number}, {made.typename} on {shape}: {fault}"[:300], flush=True)
        if number % 2000 == 1999:
            print(f"# {number + 1} done, {wrong} wrong, {time.monotonic() - started:.0f} s", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"fields: {asked.count} modules of seed {asked.seed}, {wrong} wrong, {peak} MB at most", flush=True)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
