"""A batch from the client's side: tasks go out, rows come in."""

from __future__ import annotations

import importlib
import logging
import os
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from retorch.archive.folder import OutputFolder
from retorch.archive.row import Row
from retorch.archive.sources import Found, look, opened, shown
from retorch.archive.table import Table
from retorch.archive.worker import BatchPlugin, Elsewhere, Job, Unpackable, do, full
from retorch.errors import EngineError

if TYPE_CHECKING:
    from distributed import Client

# their types are partial
dask: Any = importlib.import_module("dask")
distributed: Any = importlib.import_module("distributed")

#: Rows are written when there are so many, or when the first of them has waited so long.
_ROWS = 500
_SECONDS = 5.0
#: Tasks under way for each thread of the cluster: enough that none waits for the client.
_AHEAD = 4
#: A task costs Dask some milliseconds, so it takes as many small files as this lasts, and no more than so many.
_TASK_SECONDS = 0.5
_MOST_FILES = 16


#: What Dask looks at for its dashboard costs as much as the files: its threads here only wait.
_UNWATCHED: Final = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
}


class Watcher(Protocol):
    """Who wants to know how it goes."""

    def begun(self, folder: OutputFolder, total: int, recorded: int) -> None:
        """So many files are to be done, so many of them were before."""

    def recorded(self, row: Row) -> None:
        """A file is done."""


@contextmanager
def local_cluster(workers: int | None) -> Generator[Client]:
    """A cluster in this process: its threads only wait for the processes that do the files."""
    count = workers or len(os.sched_getaffinity(0))
    with (
        tempfile.TemporaryDirectory() as scratch,
        dask.config.set({"temporary-directory": scratch, **_UNWATCHED}),
        distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=count,
            processes=False,
            memory_limit=0,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@contextmanager
def _on_workers(client: Any, job: Job) -> Generator[None]:
    """Warm processes on all workers, those that come later included."""
    plugin = BatchPlugin(job)
    client.register_plugin(plugin)
    try:
        yield
    finally:
        if client.status == "running":
            client.unregister_worker_plugin(plugin.name)


@dataclass
class _Book:
    """Rows on their way into the table."""

    table: Table
    watcher: Watcher
    outcomes: Counter[str] = field(default_factory=Counter[str])
    due: float = 0.0

    def record(self, row: Row) -> None:
        self.table.append(row)
        self.outcomes[row.outcome] += 1
        self.watcher.recorded(row)
        now = time.monotonic()
        if self.table.waiting == 1:
            self.due = now + _SECONDS
        if self.table.waiting >= _ROWS or now >= self.due:
            self.table.flush()


class _Round:
    """The tasks under way, and the files whose content another task does."""

    def __init__(self, client: Any, job: Job, book: _Book, done: set[str]) -> None:
        self._client, self._job, self._book, self._done = client, job, book, done
        self._completed = distributed.as_completed(with_results=True, raise_errors=False, loop=client.loop)
        self._under_way: dict[str, tuple[Found, ...]] = {}
        self._waiting: dict[str, list[tuple[Found, Elsewhere]]] = {}
        self._seconds = _TASK_SECONDS

    def go(self, files: Iterator[Found]) -> None:
        """Do all files; what an archive gives, and what waits for others, in turn."""
        most = _AHEAD * max(1, sum(self._client.nthreads().values()))
        while True:
            while len(self._under_way) < most and (some := self._next(files)):
                self._begin(some)
            if self._under_way:
                future, results = next(self._completed)
                files = self._end(future, results, files)
            elif self._waiting:
                files = self._stranded()
            else:
                return

    def _next(self, files: Iterator[Found]) -> tuple[Found, ...]:
        """The files of the next task, as many as it should last; those that need no work are recorded on the way."""
        most = max(1, min(_MOST_FILES, int(_TASK_SECONDS / max(self._seconds, 1e-3))))
        some: list[Found] = []
        for found in files:
            if found.row is None:
                some.append(found)
            else:
                self._book.record(found.row)
                _remove(found)
            if len(some) == most:
                break
        return tuple(some)

    def _begin(self, files: tuple[Found, ...]) -> None:
        key = f"files-{uuid.uuid4().hex}"
        future = self._client.submit(do, files, self._job.run, key=key, pure=False)
        self._under_way[key] = files
        self._completed.add(future)

    def _end(self, future: Any, results: Any, others: Iterator[Found]) -> Iterator[Found]:
        files = self._under_way.pop(future.key)
        if future.status == "cancelled":
            raise EngineError("the scheduler is gone", hint="--resume goes on with what is recorded")
        if future.status == "error" and isinstance(results, distributed.KilledWorker) and len(files) > 1:
            for found in files:  # one of them may be to blame
                self._begin((found,))
            return others
        if future.status == "error":
            results = [_lost(found, results, self._job.out) for found in files]
        for found, result in zip(files, results, strict=True):
            if isinstance(result, Elsewhere):
                self._wait(found, result)
            elif isinstance(result, Unpackable):
                members = look(found.path, result.local, self._job.out.incoming, self._done)
                others = _chain(members, result.local, others)
            else:
                self._record(found, result)
        return others

    def _record(self, found: Found, row: Row) -> None:
        self._seconds += (row.seconds - self._seconds) / 20
        self._book.record(row)
        _remove(found)
        for other, same in self._waiting.pop(row.sha256, []):
            self._book.record(row.for_file(same.path))
            _remove(other)

    def _wait(self, found: Found, same: Elsewhere) -> None:
        """The task that does this content may have ended between."""
        row = self._job.out.row(same.sha256)
        if row is not None:
            self._record(found, row.for_file(same.path))
        else:
            self._waiting.setdefault(same.sha256, []).append((found, same))

    def _stranded(self) -> Iterator[Found]:
        """Files that wait for a task which has gone: they are done after all."""
        waiting, self._waiting = self._waiting, {}
        for sha256 in waiting:
            self._job.out.release(sha256)
        return iter([found for others in waiting.values() for found, _ in others])


def _lost(found: Found, error: BaseException, out: OutputFolder) -> Row:
    """The row of a file whose task has failed.

    Raises:
        EngineError: that has nothing to do with the file.
    """
    if isinstance(error, distributed.KilledWorker):
        return Row(path=found.path, outcome="crash", error="its worker died each time")
    if isinstance(error, OSError) and full(error):
        raise EngineError(f"{out.path}: no space is left", hint="make room, then --resume") from error
    raise EngineError(f"{found.path}: {type(error).__name__}: {error}") from error


def _chain(members: Iterator[Found], archive: str, files: Iterator[Found]) -> Iterator[Found]:
    """The members of an archive that was fetched, and then the other files."""
    yield from members
    Path(archive).unlink(missing_ok=True)
    yield from files


def _remove(found: Found) -> None:
    if found.is_copy:
        Path(found.local).unlink(missing_ok=True)


def do_all(cluster: AbstractContextManager[Client], job: Job, paths: Sequence[str], watcher: Watcher) -> Counter[str]:
    """Do what is not done yet; what became of it, counted. The cluster is not started where all is done.

    Raises:
        EngineError: the cluster or the disk does not bear it.
    """
    table = Table(job.out.index)
    done = {str(record["path"]) for record in table.records(["path"])}
    book = _Book(table, watcher)
    left = [path for path in paths if shown(path) not in done]
    if left:
        with cluster as client:
            watcher.begun(job.out, len(paths), len(paths) - len(left))
            try:
                with _on_workers(client, job):
                    _Round(client, job, book, done).go(opened(left, job.out.incoming, done))
            finally:
                table.flush()
    table.compact()
    return book.outcomes
