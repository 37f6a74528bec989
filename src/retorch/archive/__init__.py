"""Thousands of files: one task a file, on local cores or a Dask cluster; a table of what became of each.

Comes in: folders, globs, URLs, lists and archives. Goes out: a folder with a row for each file, pages about them, and
what was written. Open first: ``scheduling.py``, then ``steps.py``.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from retorch.archive.options import Limits, Options, absolute, text
from retorch.archive.row import Row
from retorch.errors import UsageError
from retorch.files.precision import precision
from retorch.limits import bytes_of

if TYPE_CHECKING:
    from distributed import Client

    from retorch.archive.folder import OutputFolder
    from retorch.archive.options import Target
    from retorch.archive.scheduling import Watcher
    from retorch.graph.lowering import Example

__all__ = ["Row", "Summary", "batch"]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a batch has done.

    Attributes:
        out: the folder.
        outcomes: of all files in its table, counted.
        done: how many of them this batch has done; the others were done before.
    """

    out: Path
    outcomes: Mapping[str, int]
    done: int

    @property
    def total(self) -> int:
        """The rows of the table."""
        return sum(self.outcomes.values())


class _Unwatched:
    def begun(self, folder: OutputFolder, total: int, recorded: int) -> None:
        """Nobody wants to know."""

    def recorded(self, row: Row) -> None:
        """Nobody wants to know."""


def batch(
    sources: str | Path | Iterable[str | Path],
    out: str | Path,
    client: Client | None = None,
    *,
    to: str | Iterable[str] = "caffe2",
    verify: bool = True,
    reports: bool = False,
    inputs: Mapping[str, Example] | None = None,
    plugins: Iterable[str | Path] = (),
    aliases: Mapping[str, str] | None = None,
    nn_age: str | None = None,
    weights: str = "float",
    max_memory: int | str = "4G",
    time_limit: float = 120.0,
    workers: int | None = None,
    resume: bool = False,
    watcher: Watcher | None = None,
) -> Summary:
    """Convert every Torch7 file that there is, and write down what became of each.

    Args:
        sources: folders, globs, files, text files that list such, archives, URLs.
        out: the folder for the table, the pages and what is written; all workers must see it.
        client: of a Dask cluster; by default one on this machine with ``workers`` processes (one for each core).
        to: the targets.
        verify: compare what was written with the reference.
        reports: write a report page beside it.
        inputs: shapes of inputs, by path, end of a path, name, name without suffix, or SHA-256.
        plugins: Python files that register layers.
        aliases: classes that are read as others, as ``{"nn.CustomLinear": "nn.Linear"}``.
        nn_age: how instance norms are read: ``old``, ``new``, or as the file says.
        weights: what they are stored in: ``float``, ``half`` or ``int8``.
        max_memory: what one file may use, in bytes or as ``"4G"``.
        time_limit: seconds that one file may take.
        resume: go on in a folder that holds rows already.
        watcher: told of each row.

    Raises:
        UsageError: arguments that cannot be used; another batch writes to ``out``; or dask or pyarrow are missing.
        MissingFileError: a source that there is not.
        EngineError: the cluster is gone, or the disk is full; ``resume`` goes on.
    """
    targets = tuple(cast("Iterable[Target]", [to] if isinstance(to, str) else to))
    own, shapes, stored = absolute(tuple(plugins)), dict(inputs or {}), precision(weights)
    options = Options(targets, verify, reports, own, shapes, stored, dict(aliases or {}), nn_age)
    limits = Limits(bytes_of(str(max_memory)), time_limit)
    named = [sources] if isinstance(sources, (str, Path)) else sources
    try:
        from retorch.archive import scheduling
    except ImportError as error:
        raise UsageError(f"a batch needs {error.name}", hint="pip install 'retorch[batch]'") from None
    from retorch.archive.folder import OutputFolder
    from retorch.archive.pages import write_pages
    from retorch.archive.sources import listed
    from retorch.archive.table import Table

    folder = OutputFolder(Path(out).resolve())
    paths = listed(map(str, named), leave_out=folder.path)
    with folder.locked():
        folder.begin(text(options), resume=resume)
        job = scheduling.Job(folder, options, limits, uuid.uuid4().hex[:12])
        cluster = scheduling.local_cluster(workers) if client is None else nullcontext(client)
        done = scheduling.do_all(cluster, job, paths, watcher or _Unwatched())
        write_pages(folder, reports=reports)
        folder.end()
        outcomes = Counter(str(record["outcome"]) for record in Table(folder.index).records(["outcome"]))
    return Summary(folder.path, outcomes, done.total())
