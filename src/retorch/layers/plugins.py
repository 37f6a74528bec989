"""The user's own layers: Python files that register classes when they run, and classes under other names."""

from __future__ import annotations

import runpy
from collections.abc import Iterable, Mapping
from pathlib import Path

from retorch.errors import MissingFileError, UsageError
from retorch.layers.base.layer import alias


def load_plugins(files: Iterable[Path], aliases: Mapping[str, str] | None = None) -> None:
    """Run the user's own layer files, which register their classes; then take classes under other names for those.

    Args:
        files: Python files.
        aliases: classes that have a rule, by the names under which files hold them.

    Raises:
        UsageError: a file that cannot be run; a name that is known already, or a class that is not.
    """
    for file in files:
        if not file.is_file():
            raise MissingFileError(f"--plugin {file}")
        try:
            runpy.run_path(str(file), run_name=f"retorch_plugin_{file.stem}")
        except (Exception, SystemExit) as error:
            raise UsageError(f"--plugin {file}: {type(error).__name__}: {error}") from error
    for name, of in (aliases or {}).items():
        try:
            alias(name, of)
        except ValueError as error:
            raise UsageError(f"--alias {name}={of}: {error}") from None


def parse_aliases(given: Iterable[str]) -> dict[str, str]:
    """``NAME=CLASS`` as the commands take it.

    Raises:
        UsageError: anything else.
    """
    found: dict[str, str] = {}
    for text in given:
        name, equals, of = text.partition("=")
        if not (name and equals and of):
            raise UsageError(f"--alias {text}: should be NAME=CLASS", hint="as --alias nn.CustomLinear=nn.Linear")
        found[name] = of
    return found
