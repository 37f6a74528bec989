"""``python -m retorch``, and what the command ``retorch`` starts: an interrupt ends it in one line, whenever it comes.

It imports the rest only inside of what catches the interrupt: a person who presses Ctrl-C at once sees no traceback.
"""

import gc
import signal
import sys


def run() -> None:
    """The ``retorch`` program."""
    try:
        from retorch.cli import main

        code = main()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        code = 128 + signal.SIGINT
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # there is nothing left to interrupt but Python's own clearing up
    gc.freeze()  # nor to look for garbage, which Python does again and again as it ends
    raise SystemExit(code)


if __name__ == "__main__":
    run()
