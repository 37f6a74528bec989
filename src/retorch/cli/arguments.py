"""Arguments that several commands take."""

from __future__ import annotations

import atexit
import glob
import io
import json
import re
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from retorch.cli.fetched import fetched
from retorch.errors import MissingFileError, RetorchError, UsageError
from retorch.files.formats import named

if TYPE_CHECKING:
    from retorch.graph.lowering import Example
    from retorch.module import Module


def local(text: str) -> Path:
    """What a command is given, as a file here: ``-`` is standard input, and an address is fetched.

    Raises:
        FormatError: what cannot be fetched.
    """
    address = re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text)
    if text != "-" and not address:
        return Path(text)
    import tempfile

    from retorch.torch7.files import fetch

    folder = tempfile.mkdtemp(prefix="retorch-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    name = "standard input" if text == "-" else text.rstrip("/").rpartition("/")[2].partition("?")[0]
    file = Path(folder) / (name or "file")
    file.write_bytes(sys.stdin.buffer.read() if text == "-" else fetch(text))
    fetched(file, "standard input" if text == "-" else text)
    return file


Source = Annotated[
    Path,
    typer.Argument(parser=local, metavar="FILE", help="A Torch7 file, or a network for Caffe2 or ONNX; - reads it."),
]


def places(context: typer.Context, incomplete: str) -> list[str]:
    """The networks in the file that is named already, and the modules of one, for the shell that completes ``--at``."""
    from retorch.layers.base.networks import modules, networks
    from retorch.torch7 import read

    words = [*context.args, *(word for value in context.params.values() if value for word in _words(value))]
    file = next((word for word in words if Path(word).is_file()), "")
    with suppress(RetorchError, OSError, TypeError):
        found = networks(read(file))
        opened = [
            at for path, net in found.items() if incomplete.startswith(path) for at in modules(net, path, incomplete)
        ]
        return [path for path in (*found, *opened) if path and path.startswith(incomplete)]
    return []


def _words(value: object) -> list[str]:
    return list(map(str, cast("list[object]", value))) if isinstance(value, (list, tuple)) else [str(value)]


At = Annotated[
    str | None, typer.Option(autocompletion=places, help="Where the network is in the file, as model.generator.")
]
Plugins = Annotated[list[Path] | None, typer.Option("--plugin", help="A Python file that registers layers.")]
Aliases = Annotated[list[str] | None, typer.Option("--alias", help="Read a class as another: CustomLinear=nn.Linear.")]
NnAge = Annotated[str | None, typer.Option("--nn-age", help="Instance norms: old measures, new does not.")]
NoRecorded = Annotated[bool, typer.Option("--no-recorded", help="Leave out what the file recorded.")]
ReportPage = Annotated[Path | None, typer.Option("--report", help="Write a page: report.html, .md or .json.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def expanded(files: list[Path]) -> list[Path]:
    """Patterns that the shell left as they are, as the files that they stand for."""
    found: list[Path] = []
    for file in files:
        is_pattern = not file.exists() and set("*?[") & set(str(file))
        found += sorted(map(Path, glob.glob(str(file), recursive=True))) if is_pattern else [file]  # noqa: PTH207
    if not found:
        raise MissingFileError(files[0])
    return found


@contextmanager
def printed_file(to: str) -> Generator[str]:
    """A file that is printed at the end: for ``-o -``.

    Raises:
        UsageError: a format of several files.
    """
    import tempfile

    row = named(to or "onnx")
    if not row.streams:
        raise UsageError(f"-o -: {row.title} are several files", hint="--to onnx is one")
    with tempfile.TemporaryDirectory(prefix="retorch-") as folder:
        file = Path(folder) / row.file
        try:
            yield str(file)
        finally:
            if file.is_file():
                with file.open("rb") as stream:
                    shutil.copyfileobj(stream, sys.stdout.buffer)
                    sys.stdout.buffer.flush()


# kinds of dtype: floats, whole numbers, booleans
_NUMBERS = "fiub"


def shape(text: str) -> tuple[int, ...]:
    """``1x8x384x512`` as sizes.

    Raises:
        UsageError: anything else.
    """
    parts = text.lower().replace(",", "x").split("x")
    if not all(p.isascii() and p.isdigit() and int(p) > 0 for p in parts):
        raise UsageError(
            f"--input {text}: a shape is whole numbers joined by x", hint="for example --input 1x3x224x224"
        )
    return tuple(int(p) for p in parts)


def example(shapes: list[str]) -> Example:
    """The ``--input`` options as an example: one shape, or a table of several; ``{1x3,{1x4,1x5}}`` is a table too."""
    made: list[Any] = [_nested(s) if "{" in s else shape(s) for s in shapes]
    return made[0] if len(made) == 1 else made


def _nested(text: str) -> list[Any]:
    """A table of shapes in Lua's braces; ``{{1x4,1x5}}`` is a table that holds a table."""
    inside: list[list[Any]] = [[]]
    for part in re.findall(r"[{}]|[^{},\s]+", text):
        if part == "{":
            inside.append([])
        elif part == "}" and len(inside) > 1:
            closed = inside.pop()
            inside[-1].append(closed)
        else:
            inside[-1].append(shape(part))
    found: Any = inside[0][0] if len(inside) == 1 and len(inside[0]) == 1 else None
    if not isinstance(found, list):
        raise UsageError(f"--input {text}: the braces do not match", hint="for example --input '{1x3x8x8,{1x4,1x5}}'")
    return cast("list[Any]", found)


def load_module(
    file: Path,
    at: str | None,
    plugins: list[Path] | None = None,
    aliases: list[str] | None = None,
    nn_age: str | None = None,
) -> Module:
    """The network in a file, with everything in the way of errors said about that file."""
    from retorch.cli.exit_codes import about
    from retorch.layers.plugins import load_plugins, parse_aliases
    from retorch.module import load

    load_plugins(plugins or [], parse_aliases(aliases or []))
    with about(file):
        return load(file, at=at, nn_age=nn_age)


def arrays(file: Path) -> list[Any]:
    """The arrays of an ``.npz`` (in order; ``input_0…`` where it has such) or ``.npy`` file.

    Raises:
        UsageError: a file that holds no arrays of numbers.
    """
    from retorch.cli.exit_codes import about

    with about(file):
        return _in_order(_stored(file))


def nested(file: Path) -> Any:
    """The arrays of a file as a network takes them: as its ``input_nesting`` says (``[0, [1, 2]]``), where it has one.

    Without, a single array stands for itself, and several are a table.

    Raises:
        UsageError: as :func:`arrays`; and a nesting of other arrays than there are.
    """
    from retorch.cli.exit_codes import about

    with about(file):
        stored = _stored(file)
        given = _in_order(stored)
        if "input_nesting" in stored:
            return _nested_by(str(stored["input_nesting"]), given)
    return given[0] if len(given) == 1 else given


def _nested_by(text: str, given: list[Any]) -> Any:
    from retorch.graph.nesting import nest

    try:
        nesting = json.loads(text) if re.fullmatch(r"[\[\]\d,\s]+", text) else None
    except ValueError:
        nesting = None
    if nesting is None or sorted(map(int, re.findall(r"\d+", text))) != list(range(len(given))):
        raise UsageError(f"input_nesting is {text}, for {len(given)} arrays")
    return nest(nesting, given)


def _stored(file: Path) -> dict[str, Any]:
    import zipfile
    import zlib

    import numpy as np

    printed = io.BytesIO(sys.stdin.buffer.read()) if str(file) == "-" else None
    if printed is None:
        _check_arrays(file)
    try:
        with printed or file.open("rb") as stream:
            loaded: Any = np.load(stream)
            return {"": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"not a readable .npy or .npz file: {str(error).partition('. ')[0]}") from error


def _in_order(stored: dict[str, Any]) -> list[Any]:
    names = [n for n in stored if n.startswith("input_") and n[6:].isdecimal()]
    names = sorted(names, key=lambda n: int(n[6:])) or [n for n, a in stored.items() if a.dtype.kind in _NUMBERS]
    other = next((n for n in names if stored[n].dtype.kind not in _NUMBERS), None)
    if other is not None or not names:
        raise UsageError("holds no arrays of numbers" if other is None else f"{other} is not an array of numbers")
    return [stored[n] for n in names]


def _check_arrays(file: Path) -> None:
    """Refuse what is no file with arrays, in words of our own."""
    if not file.exists():
        raise MissingFileError(file)
    if not file.is_file():
        raise UsageError("not a file that arrays can be read from")
    with file.open("rb") as stream:
        if not stream.read(6).startswith((b"\x93NUMPY", b"PK")):
            raise UsageError("not an .npy or .npz file", hint="numpy.savez writes one: arrays input_0, input_1, …")


def check_apart(output: Path, source: Path) -> None:
    """Refuse to write over what is read.

    Raises:
        UsageError: both are the same file.
    """
    if output.exists() and source.exists() and output.samefile(source):
        raise UsageError(f"{output}: is the file that is read", hint="give -o another name")
