"""How long a search may take."""

from __future__ import annotations

import time


class OutOfTimeError(Exception):
    """The time for a search is over."""


class Clock:
    """So many seconds of this process's own time."""

    def __init__(self, seconds: float) -> None:
        self._end = time.process_time() + seconds

    def check(self) -> None:
        """Raise OutOfTimeError once the time is over."""
        if time.process_time() > self._end:
            raise OutOfTimeError
