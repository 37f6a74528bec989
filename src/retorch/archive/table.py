"""The table of a batch: a folder of Parquet files, one for every few hundred rows until they are put together.

Each file appears whole. Whoever reads meanwhile sees all rows so far.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from retorch.archive.options import TARGETS
from retorch.archive.row import Row
from retorch.files import file_set
from retorch.files.atomic import replacing

# pyarrow has no types
pa: Any = importlib.import_module("pyarrow")
ds: Any = importlib.import_module("pyarrow.dataset")
pq: Any = importlib.import_module("pyarrow.parquet")

_TEXTS: Final = pa.list_(pa.string())
_BEFORE: Final[list[tuple[str, Any]]] = [
    ("path", pa.string()),
    ("outcome", pa.string()),
    ("kind", pa.string()),
    ("bytes", pa.int64()),
    ("sha256", pa.string()),
    ("dialect", pa.string()),
    ("networks", _TEXTS),
    ("at", pa.string()),
    ("classes", pa.list_(pa.struct([("class", pa.string()), ("count", pa.int64())]))),
    ("parameters", pa.int64()),
    ("multiply_adds", pa.int64()),
    ("input", pa.string()),
    ("input_why", pa.string()),
]
_OF_TARGET: Final[list[tuple[str, Any]]] = [
    ("outcome", pa.string()),
    ("seconds", pa.float64()),
    ("peak_mb", pa.float64()),
    ("max_error", pa.float64()),
    ("error", pa.string()),
]
_AFTER: Final[list[tuple[str, Any]]] = [
    ("refusals", pa.list_(pa.struct([("path", pa.string()), ("class", pa.string()), ("reason", pa.string())]))),
    ("error", pa.string()),
    ("hint", pa.string()),
    ("notes", _TEXTS),
    ("seconds", pa.float64()),
    ("peak_mb", pa.float64()),
    ("artifacts", pa.string()),
    ("same_as", pa.string()),
]
_TARGET_COLUMNS: Final = [(f"{target}_{name}", kind) for target in TARGETS for name, kind in _OF_TARGET]
#: One column for each fact; those of a target are named after it: ``onnx_outcome``.
SCHEMA: Final = pa.schema([*_BEFORE, *_TARGET_COLUMNS, *_AFTER])
_PART: Final = "part-{:06}.parquet"
_ROWS_AT_A_TIME: Final = 4096


def record(row: Row) -> dict[str, Any]:
    """A row as the table has it; nothing where there is nothing to say."""
    plain = row.as_dict()
    targets = plain.pop("targets")
    flat = {f"{target}_{name}": value for target, made in targets.items() for name, value in made.items()}
    classes = [{"class": name, "count": count} for name, count in row.classes.items()]
    refusals = [{"path": p.path, "class": p.typename, "reason": p.reason} for p in row.refusals]
    texts = {name: value or None for name, value in plain.items() if isinstance(value, str) and name != "at"}
    return plain | texts | flat | {"classes": classes, "refusals": refusals}


class Table:
    """The rows in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self._next = max((int(name[1]) for p in folder.iterdir() if (name := _number(p))), default=0) + 1
        self._waiting: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return self._dataset().count_rows()

    @property
    def waiting(self) -> int:
        """How many rows are not written yet."""
        return len(self._waiting)

    def append(self, row: Row) -> None:
        """Take a row, to be written with the next ones."""
        self._waiting.append(record(row))

    def flush(self) -> None:
        """Write what is waiting."""
        if self._waiting:
            made = pa.Table.from_pylist(self._waiting, schema=SCHEMA)
            with replacing(self._folder / _PART.format(self._next)) as part:
                pq.write_table(made, part, compression="zstd")
            self._next += 1
            self._waiting.clear()

    def records(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Some columns of all rows that are written."""
        for batch in self._dataset().to_batches(columns=list(columns), batch_size=_ROWS_AT_A_TIME):
            yield from batch.to_pylist()

    def compact(self) -> None:
        """Put all files together, as one that takes their place in one step."""
        names = [path.name for path in self._folder.iterdir() if _number(path)]
        if len(names) < 2:
            return
        whole = _PART.format(self._next)
        with (
            file_set.replacing(self._folder, [*names, whole]) as staging,
            pq.ParquetWriter(staging / whole, SCHEMA, compression="zstd") as writer,
        ):
            for batch in self._dataset().to_batches(batch_size=_ROWS_AT_A_TIME):
                if batch.num_rows:
                    writer.write_batch(batch)
        self._next += 1

    def _dataset(self) -> Any:
        return ds.dataset(self._folder, schema=SCHEMA, format="parquet")


def _number(path: Path) -> re.Match[str] | None:
    return re.fullmatch(r"part-(\d+)\.parquet", path.name)
