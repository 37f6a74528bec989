"""Read broken files and check that nothing happens but a FormatError.

``python tests/fuzz/fuzz.py --count 1000000 --seed 1`` runs the whole of it and prints one line of result; ``check`` is
what the tests use. Checked for each file: no exception but ours, with an offset inside the file; no array outside the
file's bytes; no peak of memory above four times the file and one mebibyte (see ``EXACT``); not above a second.
"""

from __future__ import annotations

import argparse
import ctypes
import resource
import sys
import time
import tracemalloc
from collections.abc import Iterator
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
from mutations import mutant, seeds
from numpy.lib.array_utils import byte_bounds

from retorch.errors import FormatError
from retorch.torch7 import LuaFunction, LuaTable, TorchObject, TorchStorage, TorchTensor, read

SLOWEST = 1.0
"""Seconds that one file may take."""
EXACT = 8
"""One file in so many is read under tracemalloc, which is slow; the others under a limit of the address space."""
LARGEST_GROWTH = 2**21
"""Bytes that the process may grow by for a file read in the fast way."""
MMAP_THRESHOLD = -3
"""``M_MMAP_THRESHOLD`` of glibc's ``mallopt``."""


def check(raw: bytes) -> str | None:
    """What is wrong about reading ``raw``, None where nothing is; tracemalloc must be running."""
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    fault = _check_result(raw)
    _, peak = tracemalloc.get_traced_memory()
    if fault is None and peak - before > 4 * len(raw) + 2**20:
        return f"{peak - before} bytes for a file of {len(raw)}"
    return fault


def check_fast(raw: bytes) -> str | None:
    """As ``check``, but the memory is only bounded: the process may not grow by more than ``LARGEST_GROWTH``."""
    unlimited = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + LARGEST_GROWTH, unlimited[1]))
    try:
        return _check_result(raw)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, unlimited)


def _check_result(raw: bytes) -> str | None:
    started = time.process_time()
    try:
        value = read(raw)
    except FormatError as error:
        value = None
        if error.offset is None or not 0 <= error.offset <= len(raw):
            return f"an error at byte {error.offset} of {len(raw)}: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    taken = time.process_time() - started
    if taken > SLOWEST:
        return f"{taken:.2f} s"
    return next((f"an array outside the file: {array!r}" for array in _arrays(value) if not _inside(array, raw)), None)


def _arrays(value: Any) -> Iterator[TorchTensor | TorchStorage]:
    met: set[int] = set()
    stack = [value]
    while stack:
        item = stack.pop()
        if id(item) in met:
            continue
        match item:
            case LuaTable() | TorchObject():
                met.add(id(item))
                stack += [part for pair in item.items() for part in pair]
            case LuaFunction():
                met.add(id(item))
                stack.append(item.upvalues)
            case TorchTensor() | TorchStorage():
                yield item
            case _:
                pass


def _inside(array: TorchTensor | TorchStorage, raw: bytes) -> bool:
    if not array.size:
        return True
    low, high = byte_bounds(array)
    if isinstance(array, TorchTensor):
        assert array.facts is not None
        assert array.facts.storage is not None
        start, stop = byte_bounds(array.facts.storage)
        if not start <= low <= high <= stop:
            return False
        array = array.facts.storage
    start, stop = byte_bounds(np.frombuffer(raw, np.uint8))
    low, high = byte_bounds(array)
    is_copy = array.base is None or not isinstance(array.base, bytes)
    return (start <= low <= high <= stop) or (is_copy and array.nbytes <= 4 * len(raw))


def _run(job: tuple[int, int, int]) -> tuple[int, list[str]]:
    """Files ``first`` to ``last`` of a seed: how many, and what was wrong."""
    seed, first, last = job
    originals, wrong = seeds(), list[str]()
    for number in range(first, last):
        raw = mutant(number, seed, originals)
        fault = None
        if number % EXACT:
            fault = check_fast(raw)
        if fault or not number % EXACT:
            tracemalloc.start()
            fault = check(raw)
            tracemalloc.stop()
        if fault:
            wrong.append(f"seed {seed} number {number}: {fault}")
    return last - first, wrong


def _map_large_blocks() -> None:
    """Have malloc map every block of a mebibyte, so that none hides from the limit in memory freed before."""
    if not ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, 2**20):
        raise OSError("mallopt refused the threshold")


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    started, done, wrong = time.monotonic(), 0, list[str]()
    step = 2000
    end = arguments.first + arguments.count
    jobs = [(arguments.seed, first, min(first + step, end)) for first in range(arguments.first, end, step)]
    with Pool(arguments.jobs, initializer=_map_large_blocks) as pool:
        for count, faults in pool.imap_unordered(_run, jobs):
            done += count
            if done % 50_000 == 0:
                print(f"{done} files, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
            wrong += faults
            for fault in faults:
                print(fault, flush=True)
    print(f"{done} files of seed {arguments.seed} in {time.monotonic() - started:.0f} s: {len(wrong)} faults")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
