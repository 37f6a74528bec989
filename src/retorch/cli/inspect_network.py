"""``retorch inspect`` of what was written: a Caffe2 net's operators and weights, or an ONNX model's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from retorch.cli.terminal import console, plain, print_json, print_table, size, table
from retorch.errors import counted
from retorch.files.artifacts import onnx_file

if TYPE_CHECKING:
    from retorch.caffe2.files import Caffe2Net
    from retorch.caffe2.release_differences import Shapes
    from retorch.network import Network


#: The inputs and the outputs, as they are shown.
Ports: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator, as it stands in the file; ``parameters`` are those of its inputs that are weights."""

    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: dict[str, tuple[int, ...]]
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in the files. ``problems`` says of each operator that retorch cannot run why not."""

    format: str
    files: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operators: tuple[Operator, ...]
    parameters: int
    weight_bytes: int
    problems: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())


def show(path: Path, *, as_json: bool) -> None:
    """Print what is at ``path``. Raises UsageError or FormatError where that is no network."""
    model = onnx_file(path)
    contents = _of_caffe2(path) if model is None else _of_onnx(model)
    if as_json:
        print_json({"network": asdict(contents)})
    else:
        _print(path, contents)


def _of_caffe2(path: Path) -> Contents:
    from retorch.caffe2 import files, messages, pairs
    from retorch.caffe2.release_differences import release_differences

    net = files.read(path)
    arrays = net.params
    operators = tuple(
        Operator(
            f"{op.type} ({op.engine})" if op.engine else op.type,
            tuple(name for name in op.input if name not in arrays),
            tuple(op.output),
            {name: arrays[name].shape for name in op.input if name in arrays},
            {arg.name: messages.argument(arg) for arg in op.arg},
        )
        for op in net.predict.op
    )
    ports, problems, notes, shapes = _ports(path, net)
    return Contents(
        "Caffe2",
        tuple(dict.fromkeys(file.name for file in pairs.locate(path))),
        *ports,
        operators,
        sum(array.size for array in arrays.values()),
        sum(array.nbytes for array in arrays.values()),
        problems,
        (*_declared(net), *notes, *_small(net.precisions.values()), *release_differences(net, shapes)),
    )


def _small(precisions: Iterable[str]) -> Iterator[str]:
    """A note on weights that are stored in fewer bits than they are shown in."""
    for precision, count in Counter(precisions).items():
        yield f"{counted(count, 'weight tensor')} stored as {precision}, and float32 from load on"


def _declared(net: Caffe2Net) -> Iterator[str]:
    """What lies beside the net about its inputs."""
    from retorch.caffe2 import value_info

    for name, blob in net.declared.items():
        yield f"{value_info.NAME}: {name} is {blob}"


def _ports(path: Path, net: Caffe2Net) -> tuple[Ports, tuple[str, ...], tuple[str, ...], Shapes]:
    """The inputs and outputs, with their shapes where the operators can be read; what cannot; what there is to say; and
    the shapes of blobs."""
    from retorch.caffe2.parse.graph import NeedsShapeError
    from retorch.errors import UnsupportedError
    from retorch.graph.ports import value_shapes
    from retorch.network import Network

    try:
        network = Network.load(path)
    except UnsupportedError as error:
        return (net.inputs, tuple(net.predict.external_output)), tuple(map(str, error.problems)), net.notes, {}
    try:
        shapes: Shapes = value_shapes(network.model)
    except NeedsShapeError:
        shapes = {}
    return _listed(network), (), network.notes or net.notes, shapes


def _listed(network: Network) -> Ports:
    return tuple(map(str, network.inputs)), tuple(map(str, network.outputs))


def _of_onnx(path: Path) -> Contents:
    from retorch.graph.narrow_weights import small_weights
    from retorch.network import Network

    network = Network.load(path)
    graph, small = network.model.graph, small_weights(network.model)
    widening = {id(one.node) for one in small.values()}
    stored = {value.name for one in small.values() for value in one.node.inputs if value is not None}
    weights = {n: v.const_value.numpy() for n, v in graph.initializers.items() if v.const_value and n not in stored}
    weights |= {name: one.widened() for name, one in small.items()}
    operators = tuple(
        Operator(
            node.op_type,
            tuple(str(v.name) for v in node.inputs if v is not None and v.name not in weights),
            tuple(str(v.name) for v in node.outputs),
            {str(v.name): weights[v.name].shape for v in node.inputs if v and v.name in weights},
            {name: attribute.value for name, attribute in node.attributes.items()},
        )
        for node in graph
        if id(node) not in widening
    )
    count, held = sum(t.size for t in weights.values()), sum(t.nbytes for t in weights.values())
    notes = tuple(_small(one.precision for one in small.values()))
    return Contents("ONNX", (path.name,), *_listed(network), operators, count, held, notes=notes)


def _print(path: Path, contents: Contents) -> None:
    screen = console()
    screen.print(f"[bold]{plain(str(path))}[/bold]  {contents.format}: {plain(', '.join(contents.files))}")
    for what, ports in (("input", contents.inputs), ("output", contents.outputs)):
        for port in ports:
            screen.print(f"{what}  {plain(port)}")
    rows = table(">", "operator", "reads", "writes", "parameters", "settings")
    for number, op in enumerate(contents.operators, 1):
        held = (f"{name} {'x'.join(map(str, shape)) or 'scalar'}" for name, shape in op.parameters.items())
        settings = (f"{name}={_brief(value)}" for name, value in op.arguments.items())
        cells = (op.type, _lines(op.inputs), _lines(op.outputs), _lines(held), " ".join(settings))
        rows.add_row(str(number), *(plain(cell) for cell in cells))
    print_table(screen, rows, spare=("settings", "writes"))
    for note in contents.notes:
        screen.print(f"[yellow]note:[/yellow] {plain(note)}")
    count = len(contents.operators)
    screen.print(
        f"{counted(count, 'operator')}, {contents.parameters:,} parameters, {size(contents.weight_bytes)} of weights"
    )
    if contents.problems:
        screen.print(f"[red]{counted(len(contents.problems), 'operator')} that retorch cannot run:[/red]")
        for problem in contents.problems:
            screen.print(f"  [red]{plain(problem)}[/red]")


def _lines(names: Iterable[str]) -> str:
    return "\n".join(names)


def _brief(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return "x".join(map(_brief, value))  # type: ignore[arg-type]
    return str(value)
