"""The walk from a module tree to an ONNX model.

A network is lowered with all sizes known, which keeps every rule simple: behind a layer whose output is as long as its
input's values say, only rules that ask for no size go on. Whether the result also holds at other batch
sizes is then found out, not promised: the network is lowered once more with another batch, and where both graphs are
equal the batch dimension becomes ``N``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import onnx_ir as ir

from retorch import limits
from retorch.errors import Problem, RetorchError, UnsupportedError, UsageError
from retorch.graph.builder import Builder, Value, flatten
from retorch.graph.builder import Nested as Values
from retorch.graph.free_sizes import Names, Shapes, Varied, free_batch, free_sizes, name_sizes
from retorch.graph.nodes import OPSET
from retorch.layers.base.layer import Array, Layer, calls
from retorch.layers.base.random_source import has_noise, never_run, random_layers

IR_VERSION = 10

#: The nesting of an input: a tuple is a shape, an array an example, a list a table. What layers draw at random may be
#: left out: their shapes follow from the input's.
Example: TypeAlias = "tuple[int, ...] | Array | list[Example]"


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One tensor that the network takes."""

    shape: tuple[int, ...]
    integer: bool = False


def specs(example: Example) -> tuple[list[InputSpec], object]:
    """The tensors of an example in order, and their nesting as positions (``[0, [1, 2]]``).

    Raises:
        UsageError: something that is neither shape nor array nor list.
    """
    found: list[InputSpec] = []

    def visit(item: object) -> object:
        if isinstance(item, list):
            return [visit(i) for i in cast("list[object]", item)]
        if isinstance(item, tuple):
            found.append(InputSpec(_shape(cast("tuple[object, ...]", item))))
        elif isinstance(item, np.ndarray):
            array = cast("Array", item)
            found.append(InputSpec(array.shape, array.dtype.kind in "iub"))
        else:
            raise UsageError(f"an input is a shape (tuple), an array or a list of such, not {item!r}")
        return len(found) - 1

    _check_kind(example)
    return found, visit(example)


def _check_kind(example: object) -> None:
    """Refuse what people give for a shape, each in words of its own."""
    if isinstance(example, list) and example and all(isinstance(d, int) for d in cast("list[object]", example)):
        sizes = ", ".join(map(str, cast("list[object]", example)))
        raise UsageError(f"{example}: a list is a table of inputs", hint=f"a shape is a tuple: ({sizes})")
    if isinstance(example, str):
        sizes = ", ".join(example.lower().split("x"))
        raise UsageError(f"{example!r}: a shape is a tuple of whole numbers", hint=f"for example ({sizes})")


def _shape(sizes: tuple[object, ...]) -> tuple[int, ...]:
    """The sizes, checked.

    Raises:
        UsageError: what is no size.
    """
    for size in sizes:
        if isinstance(size, (tuple, list, np.ndarray)):
            raise UsageError(f"{sizes}: a table of inputs is a list", hint=f"for example {list(sizes)}")
        if size is None or isinstance(size, str):
            raise UsageError(
                f"{sizes}: every size is a whole number", hint="the batch is left open where the network allows it"
            )
        if not isinstance(size, (int, np.integer)) or isinstance(size, bool) or size < 1:
            raise UsageError(f"{sizes}: sizes are whole numbers from 1")
    return tuple(int(cast("int", size)) for size in sizes)


@dataclass(frozen=True, slots=True)
class _Lowered:
    op: Builder
    inputs: list[Value]
    outputs: Values

    def values(self) -> Iterator[ir.Value]:
        """Inputs, and what live nodes make, in order."""
        yield from (value.read() for value in self.inputs)
        for node in _live_nodes(self):
            yield from node.outputs

    def signature(self) -> object:
        """What is equal for two graphs that compute the same: nodes, attributes, constants."""
        live = _live_nodes(self)
        nodes = [(n.op_type, _names(n.inputs), _names(n.outputs), _attributes(n)) for n in live]
        read = {v for n in live for v in n.inputs} | {v.read() for v in flatten(self.outputs)}
        return nodes, [(k, v.name) for k, v in self.op.initializer_keys() if v in read]


def _names(values: Sequence[ir.Value | None]) -> list[str | None]:
    return [None if v is None else v.name for v in values]


def _attributes(node: ir.Node) -> list[str]:
    return sorted(f"{name}={attribute.value}" for name, attribute in cast("Any", node.attributes).items())


def _live_nodes(lowered: _Lowered) -> list[ir.Node]:
    wanted = {v.read() for v in flatten(lowered.outputs)}
    live: list[ir.Node] = []
    for node in reversed(lowered.op.nodes):
        if wanted.intersection(node.outputs):
            live.append(node)
            wanted.update(v for v in node.inputs if v is not None)
    return live[::-1]


def lower(root: Layer, example: Example, name: str = "network", *, vary: bool = False) -> ir.Model:
    """Rebuild a network as an ONNX model.

    Args:
        root: the network.
        example: its input, see :data:`Example`.
        name: the graph's name.
        vary: find out whether heights, widths and lengths may vary, as is always done for the batch.

    Raises:
        UnsupportedError: layers without a rule, or that the rule cannot follow; all of them.
        UsageError: an example that does not fit.
    """
    limits.check_steps(calls(root), "this network")
    draws = len(random_layers(root))
    x, noise = example, list[Example]()
    if has_noise(example, draws):
        x, *noise = example
    wanted, nesting = specs(x)
    lowered = _lower_once(root, wanted, nesting)
    if noise:
        _check_noise(root, lowered, noise)
    shapes = [value.shape for value in lowered.inputs]
    given = tuple(spec.shape for spec in wanted)

    def again(sizes: Shapes) -> _Lowered | None:
        return _at_sizes(root, wanted, nesting, sizes, lowered)

    states = len(root.state_sizes)
    batch = free_batch(lowered, given, again, _batch_axes(root), states)
    sizes = free_sizes(lowered, given, again, _size_names(wanted, batch, states)) if vary else None
    name_sizes(lowered, batch, sizes)
    model = _assemble(lowered, name)
    if sizes is not None:
        model.metadata_props.update(_of_free_sizes(sizes))
    count = len(wanted)
    nesting = [nesting, *range(count, count + draws)] if draws else nesting
    model.metadata_props["retorch.inputs"] = json.dumps(nesting)
    model.metadata_props["retorch.example_shapes"] = json.dumps(shapes)
    return model


def _of_free_sizes(sizes: Varied) -> dict[str, str]:
    """What a model keeps of sizes that may vary: the shapes of its inputs at others, and their step."""
    others = [value.shape for value in sizes.others[0].inputs]
    return {"retorch.other_shapes": json.dumps(others), "retorch.size_step": str(sizes.step)}


def _lower_once(
    root: Layer, wanted: Sequence[InputSpec], nesting: object, *, after: _Lowered | None = None
) -> _Lowered:
    """The network for one example; strictly where it was lowered before, at other sizes."""
    op = Builder(strict=after is not None)
    if after is not None:
        op.nan.finite = after.op.nan.finite
    x, inputs = lower_inputs(op, root, wanted, nesting)
    outputs = op.current(op.call(root, x))
    if problems := op.problems or never_run(random_layers(root), op.noise):
        raise UnsupportedError(_once_each(problems))
    return _Lowered(op, [*inputs, *(op.noise[id(made)] for made in random_layers(root))], outputs)


def lower_inputs(op: Builder, root: Layer, wanted: Sequence[InputSpec], nesting: object) -> tuple[Values, list[Value]]:
    """The network's inputs as it takes them, and the graph's inputs (which no in-place layer rewrites).

    What layers draw becomes an input when its layer runs.
    """
    noisy = random_layers(root)
    count = len(wanted) + len(noisy)
    names = ["data"] if count == 1 else [f"data_{i}" for i in range(1, count + 1)]
    op.noise_names = {id(made): name for made, name in zip(noisy, names[len(wanted) :], strict=True)}
    inputs = [
        op.input(n, spec.shape, ir.DataType.INT64 if spec.integer else ir.DataType.FLOAT)
        for n, spec in zip(names, wanted, strict=False)
    ]

    def nest(item: object) -> Values:
        return inputs[item] if isinstance(item, int) else [nest(i) for i in cast("list[object]", item)]

    return nest(nesting), [Value(v.read()) for v in inputs]


def _check_noise(root: Layer, lowered: _Lowered, noise: list[Example]) -> None:
    for made, given in zip(random_layers(root), noise, strict=True):
        shapes = [spec.shape for spec in specs(given)[0]]
        if shapes != [drawn := lowered.op.noise[id(made)].shape]:
            what = " and ".join(map(str, shapes))
            raise UsageError(f"{made.path or '(root)'} {made.typename}: draws a tensor of {drawn}, not {what}")


def _at_sizes(
    root: Layer, wanted: Sequence[InputSpec], nesting: object, sizes: Shapes, before: _Lowered
) -> _Lowered | None:
    """The network at other sizes, or nothing where it does not allow them."""
    other = [InputSpec(shape, spec.integer) for shape, spec in zip(sizes, wanted, strict=True)]
    try:
        return _lower_once(root, other, nesting, after=before)
    except (RetorchError, ValueError, IndexError, ZeroDivisionError):
        # a network for one size only: three-dimensional images, sequences of a given length
        return None


def _size_names(wanted: Sequence[InputSpec], batch: Varied | None, states: int) -> Names:
    """What dimensions of the inputs may count: rows, columns and frames of images, steps of sequences; none of states.

    The last ``states`` inputs are states.
    """
    found: list[tuple[str | None, ...]] = []
    for at, spec in enumerate(wanted):
        rank = len(spec.shape)
        row: list[str | None] = [None] * rank
        if at >= len(wanted) - states:
            pass
        elif rank in (4, 5):
            row[2:] = ["D", "H", "W"][5 - rank :]
        elif rank == 3 or (rank == 2 and spec.integer):
            row[:2] = ["T", None] if batch is not None and batch.names[at][1] else [None, "T"]
        found.append(tuple(row))
    return tuple(found)


def _once_each(problems: Sequence[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))


def _batch_axes(root: Layer) -> tuple[int, ...]:
    """Where the inputs' batch may be, the likelier first: in front, or behind the time that recurrent modules take."""
    if all(made.batch_axis() == 0 for made in root.every()):
        return (0,)
    first: Layer | None = root
    while first is not None and first.batch_axis() == 0:
        first = next(iter(first.children()), None)
    return (0, 1) if first is None else (1, 0)


def _assemble(lowered: _Lowered, name: str) -> ir.Model:
    op = lowered.op
    nodes = _live_nodes(lowered)
    inputs = [v.read() for v in lowered.inputs]
    outputs: list[ir.Value] = []
    made = {out for node in nodes for out in node.outputs}
    for value in flatten(lowered.outputs):
        content = value.read()
        if content not in made or content in outputs:
            content = op.output_copy(content)
            nodes.append(op.nodes[-1])
        outputs.append(content)
    read = {v for node in nodes for v in node.inputs}
    initializers = [v for v in op.initializers.values() if v in read]
    graph = ir.Graph(inputs, outputs, nodes=nodes, initializers=initializers, opset_imports={"": OPSET}, name=name)
    model = ir.Model(graph, ir_version=IR_VERSION, producer_name="retorch")
    model.metadata_props["retorch.outputs"] = json.dumps(_positions(lowered.outputs))
    model.metadata_props["retorch.layers"] = json.dumps(
        [[module.path, module.typename, [v.name for v in values]] for module, values in op.finished]
    )
    return model


def _positions(outputs: Values) -> object:
    count = iter(range(1_000_000))

    def visit(item: Values) -> object:
        return next(count) if isinstance(item, Value) else [visit(i) for i in item]

    return visit(outputs)
