"""What a Dask worker does: the files of a task, each in a process that it cannot hurt others in."""

from __future__ import annotations

import hashlib
import queue
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from distributed import Worker, WorkerPlugin, get_worker

from retorch.archive.contents import classify
from retorch.archive.fetching import fetch
from retorch.archive.folder import MOST_ATTEMPTS, OutputFolder
from retorch.archive.options import Limits, Options
from retorch.archive.row import Row
from retorch.archive.sandbox import Columns, Sandbox
from retorch.archive.sources import Found
from retorch.archive.steps import NO_SPACE, Request

#: A warm process is replaced after so many files.
_MOST_FILES: Final = 2000


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another task does the same content: the row is to be had when that is done."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Unpackable:
    """What was fetched is an archive; it lies at ``local``."""

    path: str
    local: str


Result: TypeAlias = "Row | Elsewhere | Unpackable"


@dataclass(frozen=True)
class Job:
    """What all tasks of a batch have in common."""

    out: OutputFolder
    options: Options
    limits: Limits
    run: str


class BatchPlugin(WorkerPlugin):
    """Keeps warm processes on a worker, one for each of its threads."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.name = f"retorch-{job.run}"

    def setup(self, worker: Worker) -> None:
        """On the worker, when it starts."""
        self._idle: queue.LifoQueue[tuple[Sandbox, int]] = queue.LifoQueue()

    def teardown(self, worker: Worker) -> None:
        """On the worker, when it stops or the batch is over."""
        while not self._idle.empty():
            self._idle.get()[0].close()

    def do(self, request: Request) -> Columns:
        """One file in a warm process; one that has died itself is replaced, and the file tried once more."""
        for _ in range(2):
            try:
                sandbox, served = self._idle.get_nowait()
            except queue.Empty:
                sandbox, served = Sandbox(self.job.options), 0
            found = sandbox.do(request, self.job.limits)
            if found is None or served >= _MOST_FILES:
                sandbox.close()
            else:
                self._idle.put((sandbox, served + 1))
            if found is not None:
                return found
        return {"outcome": "crash", "error": "killed the process that runs it, twice"}


def full(error: OSError) -> bool:
    """Whether it says that the disk is full: that is no outcome of a file."""
    return error.errno in NO_SPACE


def do(files: Sequence[Found], run: str) -> list[Result]:
    """The task: fetch, hash, claim, do, put in place; one file after the other."""
    worker = get_worker()
    plugin = worker.plugins[f"retorch-{run}"]
    if not isinstance(plugin, BatchPlugin):
        raise TypeError(f"{plugin} has the name of a batch")
    task = str(worker.get_current_task())
    return [_result(found, plugin, task) for found in files]


def _result(found: Found, plugin: BatchPlugin, task: str) -> Result:
    try:
        if found.local:
            return _done(found, Path(found.local), plugin, task)
        name = hashlib.sha256(found.path.encode()).hexdigest()
        return _done(found, fetch(found.path, plugin.job.out.incoming / name), plugin, task)
    except OSError as error:
        if full(error):
            raise
        return Row(path=found.path, outcome="unreadable", error=error.strerror or str(error))


def _done(found: Found, local: Path, plugin: BatchPlugin, task: str) -> Result:
    fetched = not found.local
    if fetched:
        kind = classify(local)
        if kind.is_archive:
            return Unpackable(found.path, str(local))
        if kind.outcome:
            return kind.row(found.path, local.stat().st_size)
    job = plugin.job
    with local.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    size = local.stat().st_size
    done = job.out.row(sha256)
    if done is not None:
        return done.for_file(found.path)
    attempts = job.out.claim(sha256, job.run, task, found.path)
    if not attempts:
        return Elsewhere(found.path, size, sha256)
    staging = job.out.staging(sha256, task)
    begun = time.perf_counter()
    known: Columns = {"outcome": "crash", "error": f"killed its worker {MOST_ATTEMPTS} times"}
    if attempts <= MOST_ATTEMPTS:
        name = found.path.replace("!", "/").rpartition("/")[2].partition(".")[0]
        known = plugin.do(Request(local, name, found.path, staging, shape=job.options.input_of(found.path, sha256)))
    if fetched:
        local.unlink()
    row = _row(found.path, size, sha256, known, time.perf_counter() - begun)
    if any(staging.iterdir()):
        row = replace(row, artifacts=job.out.contents(sha256).name)
    return job.out.commit(staging, row)


def _row(path: str, size: int, sha256: str, known: Columns, seconds: float) -> Row:
    """The row of a file that was done."""
    told = dict(known)
    if told["outcome"] == "needs input":
        told["hint"] = "name its shape in --input-map"
    told |= {"path": path, "bytes": size, "sha256": sha256, "seconds": round(seconds, 4)}
    return Row.from_dict(told)
