"""``retorch caffe2 install``, ``retorch pytorch install``: the interpreters that these engines live in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from retorch.cli.arguments import AsJson
from retorch.cli.terminal import console, plain, print_json
from retorch.errors import RetorchError, UsageError

if TYPE_CHECKING:
    from retorch.engines.environments import EngineName

CAFFE2_EXAMPLES = """
Examples:

  retorch caffe2 install

  retorch caffe2 install 1.10.2
"""
PYTORCH_EXAMPLES = """
Examples:

  retorch pytorch install
"""

Action = Annotated[Literal["install"], typer.Argument(help="install: make the Python that the engine lives in.")]
Index = Annotated[str, typer.Option("--index", help="The package index that pip asks, instead of its own.")]


def caffe2(
    action: Action,
    versions: Annotated[list[str] | None, typer.Argument(help="1.10.2, 1.0.0; by default both.")] = None,
    index: Index = "",
    as_json: AsJson = False,
) -> None:
    _install("caffe2", versions or [], index, as_json=as_json)


def pytorch(action: Action, index: Index = "", as_json: AsJson = False) -> None:
    _install("pytorch", [], index, as_json=as_json)


def _install(engine: EngineName, versions: list[str], index: str, *, as_json: bool) -> None:
    from retorch.engines import environments

    known = environments.environments(engine)
    unknown = set(versions) - {one.version for one in known}
    if unknown:
        raise UsageError(f"{', '.join(sorted(unknown))}: there are {', '.join(one.version for one in known)}")
    screen, failed = console(error=as_json), list[RetorchError]()
    wanted = [one for one in known if not versions or one.version in versions]
    for one in wanted:
        try:
            environments.install(one, lambda line: screen.print(plain(line)), index=index)
        except RetorchError as error:
            failed.append(error)
    for error in failed[1:]:
        screen.print(f"[red]{plain(str(error))}[/red]")
    if failed:
        raise failed[0]
    if as_json:
        print_json([{"engine": one.engine, "version": one.version, "python": str(one.python)} for one in wanted])
