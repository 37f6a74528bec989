"""Calls that nest as deep as a network does, without an end to Python's stack.

What walks a network calls itself for each module inside a module. Python allows a thread about a thousand calls in each
other; so every few levels a new thread goes on, and the one before waits for it.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from retorch.errors import Refusal

T = TypeVar("T")

#: Levels that one thread goes down: about ten calls each.
_A_THREAD = 40
#: Modules in each other, at most.
DEEPEST = 20_000


class _Here(threading.local):
    level = 0
    above = 0


_here = _Here()


def deeper(function: Callable[..., T], *arguments: Any) -> T:
    """``function(*arguments)``, which may come back here as often as a network is deep.

    Raises:
        Refusal: there are more than :data:`DEEPEST` modules in each other.
    """
    if _here.level >= _A_THREAD:
        return _in_a_thread(function, arguments)
    _here.level += 1
    try:
        return function(*arguments)
    finally:
        _here.level -= 1


def _in_a_thread(function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    above = _here.above + _here.level
    if above >= DEEPEST:
        raise Refusal(f"stands inside more than {DEEPEST:,} modules")
    given: list[T] = []
    failed: list[BaseException] = []

    def go_on() -> None:
        _here.above = above
        try:
            given.append(deeper(function, *arguments))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(go_on,), daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return given[0]
