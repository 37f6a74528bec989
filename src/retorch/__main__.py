"""``python -m retorch``, and what the command ``retorch`` starts: an interrupt ends it in one line, whenever it comes.

It imports the rest only inside of what catches the interrupt: a person who presses Ctrl-C at once sees no traceback.
"""

import signal
import sys


def _begin(arguments: list[str]) -> None:
    """What ``convert MODEL`` waits for longest, the digest of a large model, begins before the parser is there."""
    if arguments[:1] == ["convert"] and len(arguments) > 1 and not arguments[1].startswith("-"):
        from pathlib import Path

        from retorch.files import artifacts, digests

        file = Path(arguments[1])
        if file.is_file() and not artifacts.is_written(file):
            digests.begin(file)


def run() -> None:
    """The ``retorch`` program."""
    try:
        _begin(sys.argv[1:])
        from retorch.cli import main

        code = main()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        code = 128 + signal.SIGINT
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # there is nothing left to interrupt but Python's own clearing up
    raise SystemExit(code)


if __name__ == "__main__":
    run()
