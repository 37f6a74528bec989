"""``--engine``: who computes, by name."""

from __future__ import annotations

from typing import Annotated

import typer

NAMES = ("reference", "embedded", "caffe2", "caffe2-1.10.2", "caffe2-1.0.0", "caffe2-all", "pytorch", "torch7")


def complete(incomplete: str) -> list[str]:
    """The names that begin so, for the shell."""
    return [name for name in NAMES if name.startswith(incomplete)]


Engines = Annotated[
    list[str] | None,
    typer.Option(
        "--engine",
        autocompletion=complete,
        help="embedded, caffe2, caffe2-1.0.0, caffe2-all, pytorch, reference, torch7.",
    ),
]
