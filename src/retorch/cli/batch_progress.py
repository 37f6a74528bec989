"""What a person sees while a batch runs: how much is done, how fast, what comes out, and what takes long."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from retorch.cli.terminal import console
from retorch.files import json_text
from retorch.files.visible import visible

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from retorch.archive import Row
    from retorch.archive.folder import OutputFolder
    from retorch.archive.scheduling import Watcher

#: The slowest files that are shown.
_SLOWEST = 3
#: Seconds after which a file is slow.
_SLOW = 2.0


@contextmanager
def watching(*, as_json: bool) -> Generator[Watcher]:
    """Lines of JSON on standard output, or a live view on standard error where that is a terminal, or nothing."""
    if as_json:
        yield _Lines()
        return
    screen = console(error=True)
    view = View()
    if not screen.is_terminal:
        yield view
        return
    with _shown(view, screen):
        yield view


@contextmanager
def _shown(view: View, screen: Console) -> Generator[None]:
    from rich.live import Live

    with Live(get_renderable=view.draw, console=screen, refresh_per_second=2, transient=True):
        yield


class _Lines:
    """A line of JSON for each row."""

    def begun(self, folder: OutputFolder, total: int, recorded: int) -> None:
        """The rows say it all."""

    def recorded(self, row: Row) -> None:
        print(json_text.dumps(row.as_dict(), indent=None), flush=True)


class View:
    """The numbers behind the live view."""

    def __init__(self) -> None:
        self._folder: OutputFolder | None = None
        self._total = self._before = self._done = 0
        self._outcomes: Counter[str] = Counter()
        self._begun = time.monotonic()

    def begun(self, folder: OutputFolder, total: int, recorded: int) -> None:
        self._folder, self._total, self._before = folder, total, recorded
        self._begun = time.monotonic()

    def recorded(self, row: Row) -> None:
        self._done += 1
        self._outcomes[row.outcome] += 1

    def draw(self) -> RenderableType:
        """The view of this moment."""
        from rich.console import Group
        from rich.padding import Padding
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        seconds = max(time.monotonic() - self._begun, 1e-3)
        rate = self._done / seconds
        left = max(self._total - self._before - self._done, 0)
        head = f"{self._before + self._done:,} of {max(self._total, self._before + self._done):,} files"
        head += f", {rate:.1f} a second, {_clock(left / rate)} left" if self._done and left else ""
        outcomes = "  ".join(f"{name} {count:,}" for name, count in self._outcomes.most_common())
        bar = ProgressBar(total=max(self._total, 1), completed=self._before + self._done, width=60)
        slow = [Text(f"{seconds:6.0f} s  {visible(name)}", style="yellow") for name, seconds in self._slowest()]
        return Group(Text(head, style="bold"), Padding(bar, 0), Text(outcomes), *slow)

    def _slowest(self) -> list[tuple[str, float]]:
        """What is under way for longest."""
        under_way = self._folder.under_way() if self._folder else []
        return [(path, age) for path, age in under_way[:_SLOWEST] if age > _SLOW]


def _clock(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"
