"""The command line: the only code that prints or picks an exit code.

Exit codes: 0 done (and verified, unless told not to); 1 converted, but the numbers differ; 2 unusable arguments; 3 the
file cannot be read or converted.

Comes in: the words of a command line. Goes out: text or JSON, and an exit code. Open first:
``commands.py``; every command is a file of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

import retorch
from retorch.cli.commands import Commands
from retorch.cli.exit_codes import INTERRUPTED, explain, worded_by_parser
from retorch.cli.interrupt import interruptible
from retorch.cli.terminal import reporting
from retorch.limits import bytes_of, limit_memory, memory

EXAMPLES = """
Examples:

  retorch inspect model.t7

  retorch convert model.t7 -o out

  retorch verify model.t7 out --layers

With any command: -q prints errors only, -v how long it took and with what, --debug the traceback of an error;
--max-memory 4G allows so much memory (by default half of the machine's). retorch --version says which one this is.
"""

app = typer.Typer(
    name="retorch",
    cls=Commands,
    help="Open Torch7 models (.t7), look inside, run them, and turn them into Caffe2 or ONNX, with proof.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    rich_markup_mode=None,  # importing what formats help in colours takes longer than all the rest
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def program() -> None:
    """Takes no options of its own: those that any command has are taken out before the parser sees them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] in (["--version"], ["-V"]):
        print(f"retorch {retorch.__version__}")
        return 0
    debug, quiet, verbose = (
        _taken(arguments, *names) for names in (("--debug",), ("-q", "--quiet"), ("-v", "--verbose"))
    )
    with reporting(quiet=quiet, verbose=verbose):
        return _run(arguments, debug=debug)


def _run(arguments: list[str], *, debug: bool) -> int:
    as_json = "--json" in arguments
    try:
        limit_memory(_most_memory(arguments))
        with interruptible():
            code = app(arguments, prog_name="retorch", standalone_mode=False)
        if code == INTERRUPTED:  # which the parser makes of an interrupt
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        return explain(worded_by_parser(error), debug=debug, as_json=as_json)


def _taken(arguments: list[str], *names: str) -> bool:
    """Whether one of these options is given, before any ``--``; it is taken out of the arguments."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    found = [i for i in range(end) if arguments[i] in names]
    for i in reversed(found):
        del arguments[i]
    return bool(found)


def _most_memory(arguments: list[str]) -> int:
    """What ``--max-memory`` allows, which is taken out of the arguments; else half of the machine's.

    ``batch`` has an option of that name for each of its files.

    Raises:
        UsageError: no number of bytes.
    """
    for i, argument in enumerate(arguments if arguments[:1] != ["batch"] else ()):
        name, _, value = argument.partition("=")
        if argument == "--":
            break
        if name == "--max-memory":
            given = [value] if value else arguments[i + 1 : i + 2]
            del arguments[i : i + (1 if value else 2)]
            return bytes_of(given[0] if given else "")
    return memory()
