"""The user's own layers: Python files that register classes when they run."""

from __future__ import annotations

import runpy
from collections.abc import Iterable
from pathlib import Path

from retorch.errors import MissingFileError, UsageError


def load_plugins(files: Iterable[Path]) -> None:
    """Run the user's own layer files, which register their classes.

    Raises:
        UsageError: a file that cannot be run.
    """
    for file in files:
        if not file.is_file():
            raise MissingFileError(f"--plugin {file}")
        try:
            runpy.run_path(str(file), run_name=f"retorch_plugin_{file.stem}")
        except (Exception, SystemExit) as error:
            raise UsageError(f"--plugin {file}: {type(error).__name__}: {error}") from error
