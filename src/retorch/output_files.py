"""The files that a network is written as, and how they take their places: together with their record, or not at all."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from retorch.caffe2 import files
from retorch.errors import UsageError
from retorch.files import file_set
from retorch.files.artifacts import any_external_data
from retorch.files.atomic import named_file
from retorch.files.formats import Destination
from retorch.files.record import NAME, path_for


@contextmanager
def replacing(target: Destination) -> Generator[Path]:
    """A hidden place for all that is written: the files and their record take their places together, at the end.

    Raises UsageError where the target cannot be written.
    """
    if not target.is_folder:
        beside = path_for(target.path).name
        stale = any_external_data(named_file(target.path))
        with file_set.replacing_file(target.path, name=target.format.file, record=beside, stale=stale) as place:
            yield place
        return
    names, last = _files_of(target)
    try:
        with file_set.replacing(target.path, {*names, NAME}, last=last) as place:
            yield place
    except OSError as error:
        raise UsageError(f"{target.path}: cannot be written: {error.strerror or error}") from error


def _files_of(target: Destination) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The files of a folder, and those that a reader looks for first."""
    if target.format.name == "pytorch":
        from retorch.pytorch.twin import MODEL, WEIGHTS

        return (MODEL, Path(MODEL).with_suffix(WEIGHTS).name), (MODEL,)
    names = files.Names()
    return tuple(names), (names.predict, names.text)
