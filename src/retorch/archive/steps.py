"""What is done with one file, step by step; each step says what it found, so that a crash loses only what comes after.

This runs in a process of its own (see ``sandbox``), which may be killed at any moment.
"""

from __future__ import annotations

import errno
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from retorch.archive.options import Options, Target
from retorch.archive.process import means_no_memory, peak_mb, reset_peak
from retorch.archive.row import TargetResult
from retorch.caffe2.emit.net import EmitOptions
from retorch.conversion import as_converted, convert
from retorch.engines import real_pytorch
from retorch.errors import ConversionError, EngineError, FormatError, RetorchError, UnsupportedError, UsageError
from retorch.layers.base.likeness import remedy
from retorch.module import Module, networks, pick, weights
from retorch.report import Subject, write_report
from retorch.report.flops import multiply_adds, with_sizes
from retorch.torch7 import open_file
from retorch.verification import Report, verify
from retorch.verification.compare import example_shapes
from retorch.verification.inputs import trials_at
from retorch.verification.record import record_of

if TYPE_CHECKING:
    from retorch.graph.lowering import Example
    from retorch.network import Network

#: Columns of a row that became known.
Update: TypeAlias = dict[str, Any]
#: What is written for a target: its place inside the folder of the file.
PLACES: Final = {"caffe2": "caffe2", "onnx": "onnx/model.onnx", "pytorch": "pytorch"}
#: What the system says where a disk, or a user's share of it, is full.
NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)
#: Characters of an error.
_LONGEST: Final = 500
#: What a row of many thousand layers is cut to.
_MOST_REFUSALS: Final = 1000


@dataclass(frozen=True, slots=True)
class Request:
    """One file to be done.

    Attributes:
        path: where its bytes are.
        name: what it is called, which names the nets.
        source: where it was found, for the record.
        folder: an empty folder for what is written.
        options: what is asked for.
        shape: of its input, where it was given.
    """

    path: Path
    name: str
    source: str
    folder: Path
    options: Options = field(default_factory=Options)
    shape: Example | None = None


def steps(request: Request) -> Iterator[Update]:
    """Read, look, convert, write, verify: what became known, as it does.

    The last update, or the row that all of them make, has an ``outcome`` where there are no targets.
    """
    yield {"stage": "reading"}
    try:
        document = open_file(request.path)
    except FormatError as error:
        yield {"outcome": "damaged", **_about(error)}
        return
    yield {"dialect": str(document.dialect), "notes": list(document.damage), "kind": "a Torch7 file"}
    found = networks(document.root)
    net = pick(document.root, name=request.name, nn_age=request.options.nn_age)
    if net is None:
        yield {"outcome": "no network"}
        return
    yield {"kind": "a Torch7 network" if "" in found else "a Torch7 file with networks inside"}
    yield _facts(net, list(found))
    if net.problems:
        yield {"outcome": "refused", **_about(UnsupportedError(net.problems, hint=remedy(net.layer)))}
        return
    yield from _conversions(request, net, document.damage)


def _facts(net: Module, found: list[str]) -> Update:
    return {
        "networks": found,
        "at": net.at,
        "classes": dict(Counter(layer.typename for layer in net.layers())),
        "parameters": sum(array.size for array in weights(net)),
    }


def _conversions(request: Request, net: Module, damage: tuple[str, ...]) -> Iterator[Update]:
    yield {"stage": "converting"}
    given = request.shape
    try:
        made = convert(net, given)
    except UsageError as error:
        yield {"outcome": "needs input" if given is None else "refused", **_about(error)}
        return
    except ConversionError as error:
        yield {"outcome": "refused", **_about(error)}
        return
    shapes = example_shapes(made)
    yield {
        "input": ",".join("x".join(map(str, shape)) for shape in shapes),
        "input_why": "; ".join(made.notes) if given is None else "given",
        "notes": [*damage, *net.notes, *made.notes],
        "multiply_adds": sum(map(multiply_adds, with_sizes(made.sized(*shapes).model).graph)),
    }
    for target in request.options.to:
        yield {"stage": target}
        yield from _to_target(target, request, net, made)


def _to_target(target: Target, request: Request, net: Module, made: Network) -> Iterator[Update]:
    reset_peak()
    begun = time.perf_counter()
    place = request.folder / PLACES[target]
    try:
        report = _written(target, place, request, net, made)
    except ConversionError as error:
        result = TargetResult("refused", error=_brief(error))
        yield _refusals(error)
    except EngineError as error:
        result = TargetResult("different", error=_brief(error))
    else:
        wrong = report is not None and not report.ok
        error = report.verdict[:_LONGEST] if report is not None and wrong else ""
        result = TargetResult("different" if wrong else "converted", max_error=report and report.max_error, error=error)
    if means_no_memory(result.error):
        raise MemoryError
    seconds = round(time.perf_counter() - begun, 4)
    yield {"target": target, "result": asdict(result) | {"seconds": seconds, "peak_mb": peak_mb()}}


def _written(target: Target, place: Path, request: Request, net: Module, made: Network) -> Report | None:
    """Write, compare if that is asked for and can be done, and put the record beside it."""
    if target == "pytorch":
        made = convert(net, request.shape, to=target)
    written = made.save(place, weights=request.options.weights)
    notes, report = [*net.notes, *made.notes], None
    if request.options.verify and (target != "pytorch" or any(True for _ in real_pytorch.interpreters())):
        trials = trials_at(as_converted(net, made), made)
        report = verify(net, place, trials=trials, layers=request.options.reports)
    options = EmitOptions() if target == "caffe2" else None
    weights = request.options.weights
    record = record_of(request.path, net, made, written, options=options, report=report, notes=notes, weights=weights)
    replace(record, source=request.source).write(place)
    if request.options.reports and report is not None:
        write_report(request.folder / f"{target}.html", Subject(net, place, request.path), report)
    return report


def _about(error: RetorchError) -> Update:
    return {"error": _brief(error), "hint": error.hint or "", **_refusals(error)}


def _brief(error: RetorchError) -> str:
    """An error in one line; of several layers the first."""
    return ": ".join(line.strip() for line in str(error).splitlines()[:2])[:_LONGEST]


def _refusals(error: RetorchError) -> Update:
    if not isinstance(error, UnsupportedError):
        return {}
    return {"refusals": [asdict(problem) for problem in error.problems[:_MOST_REFUSALS]]}


Send: TypeAlias = Callable[[Update], None]


def run(request: Request, send: Send) -> None:
    """All steps; errors that nobody foresaw are outcomes too."""
    reset_peak()
    try:
        for update in steps(request):
            send(update)
    except MemoryError:
        send({"ended": "memory", "error": "needs more memory than it may have"})
    except (RetorchError, OSError) as error:
        send(_ended(error))
    except Exception as error:  # a bug, and one file's bug must not end a batch
        send({"ended": "bug", "error": f"{type(error).__name__}: {error}"})
    send({"peak_mb": peak_mb(), "done": True})


def _ended(error: RetorchError | OSError) -> Update:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in NO_SPACE:
            return {"ended": "full", "error": cause.strerror}
        cause = cause.__cause__
    if isinstance(error, OSError):
        return {"ended": "unreadable", "error": error.strerror or str(error)}
    return {"ended": "refused", **_about(error)}
