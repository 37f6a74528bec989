"""A bar for work that takes longer than a second; nothing where nobody watches."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from retorch.cli.terminal import console

if TYPE_CHECKING:
    from rich.console import Console

    from retorch.verification.compare import Watch


@contextmanager
def progress(screen: Console | None = None, *, after: float = 1.0) -> Generator[Watch]:
    """What reports progress inside is shown as a bar with a rate, on standard error, ``after`` so many seconds.

    Where that is no terminal nothing is shown.
    """
    screen = screen or console(error=True)
    if not screen.is_terminal:
        yield lambda what, done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    rate = TextColumn("{task.fields[rate]}")
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        rate,
        TimeElapsedColumn(),
        console=screen,
        transient=True,
    )
    task = bar.add_task("working", total=None, rate="")

    def watch(what: str, done: int, total: int) -> None:
        if bar.tasks[0].description != what:
            bar.reset(task, description=what, total=total, rate="")
        speed = bar.tasks[0].speed
        bar.update(task, completed=done, rate=f"{speed:.1f}/s" if speed else "")

    timer = threading.Timer(after, bar.start)
    timer.start()
    try:
        yield watch
    finally:
        timer.cancel()
        timer.join()
        bar.stop()
