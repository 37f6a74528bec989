"""``retorch convert`` of what was written already: a Caffe2 network, anyone's, as ONNX; or a net in another form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from retorch.cli.arguments import shape
from retorch.cli.exit_codes import about
from retorch.cli.given_input import Given
from retorch.cli.output_format import Style
from retorch.cli.verify import conclude
from retorch.errors import UsageError

if TYPE_CHECKING:
    from retorch.network import Network
    from retorch.verification import Report

_UNKNOWN = "not verified: nothing says which sizes the input has (--input 1x3x227x227)"
_DRAWS = "not verified: the network draws random numbers in every run, and no two runs agree"


def convert_again(file: Path, style: Style, given: Given, *, check: bool, as_json: bool, error: bool) -> int:
    """Read, write and compare; the exit code.

    Raises:
        RetorchError: what cannot be read, said or written.
    """
    from retorch.network import Network

    target = style.target
    if target.resolve() == file.resolve():
        raise UsageError(f"{target}: is the network that is read")
    if given.file is not None:
        raise UsageError(f"--input {given.file}: of a network that was written, only the shape can be said")
    sizes = [shape(text) for text in given.shapes]
    with about(file):
        read = Network.load(file)
        network = read.sized(*sizes) if sizes else read
    with about(target), style.replacing() as place:
        style.save(network, place)
        compared = _compared(file, place, network, sizes, drawn=read.has_drawn_weights) if check else None
    report = None if isinstance(compared, str) else compared
    notes = [*network.notes, *(report.notes if report else [compared] if isinstance(compared, str) else [])]
    return conclude(target, notes, report, as_json=as_json, error=error)


def _compared(file: Path, target: Path, network: Network, sizes: list[tuple[int, ...]], *, drawn: bool) -> Report | str:
    """The comparison, or why there is none."""
    from retorch.verification.round_trip import SourceError, draws_in_every_run, known_shapes, verify_copy

    known = sizes or known_shapes(network)
    if known is None:
        return _UNKNOWN
    if draws_in_every_run(network):
        return _DRAWS
    try:
        return verify_copy(file, target, known, drawn=network if drawn else None)
    except SourceError as error:
        return f"not verified: {file} does not run on random numbers: {error}"
