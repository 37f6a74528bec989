"""Arguments that several commands take."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retorch.errors import UsageError

if TYPE_CHECKING:
    from retorch.lowering import Example
    from retorch.module import Module


def shape(text: str) -> tuple[int, ...]:
    """``1x8x384x512`` as sizes.

    Raises:
        UsageError: anything else.
    """
    parts = text.lower().replace(",", "x").split("x")
    if not all(p.isdigit() and int(p) > 0 for p in parts):
        raise UsageError(
            f"--input {text}: a shape is whole numbers joined by x", hint="for example --input 1x3x224x224"
        )
    return tuple(int(p) for p in parts)


def example(shapes: list[str]) -> Example:
    """The ``--input`` options as an example: one shape, or a table of several."""
    made: list[Any] = [shape(s) for s in shapes]
    return made[0] if len(made) == 1 else made


def load_plugins(files: list[Path]) -> None:
    """Run the user's own layer files, which register their classes.

    Raises:
        UsageError: a file that cannot be run.
    """
    for file in files:
        try:
            runpy.run_path(str(file), run_name=f"retorch_plugin_{file.stem}")
        except Exception as error:
            raise UsageError(f"--plugin {file}: {type(error).__name__}: {error}") from error


def load_module(file: Path, at: str | None, plugins: list[Path] | None = None) -> Module:
    """The network in a file, with everything in the way of errors said about that file."""
    from retorch.cli.outcome import about
    from retorch.module import load

    load_plugins(plugins or [])
    with about(file):
        return load(file, at=at)


def arrays(file: Path) -> list[Any]:
    """The arrays of an ``.npz`` (in order; ``input_0…`` where it has such) or ``.npy`` file.

    Raises:
        UsageError: a file that holds no arrays.
    """
    import numpy as np

    try:
        loaded = np.load(file)
    except (ValueError, OSError) as error:
        raise UsageError(f"{file}: not a readable .npy or .npz file ({error})") from error
    if isinstance(loaded, np.ndarray):
        return [loaded]
    names = [n for n in loaded.files if n.startswith("input_") and n[6:].isdigit()]
    names = sorted(names, key=lambda n: int(n[6:])) or [n for n in loaded.files if loaded[n].dtype.kind in "fiub"]
    if not names:
        raise UsageError(f"{file}: holds no arrays")
    return [loaded[n] for n in names]
