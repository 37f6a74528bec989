"""How terms flow through modules that hold modules: containers, graphs, tables and steps of recurrences."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from retorch.graph.input_shape.sentences import bi_encoder, convolutional, decoder, encoder, stacked
from retorch.graph.input_shape.terms import Size, Term
from retorch.layers.base.layer import Layer
from retorch.layers.container import Bottle, ConcatTable, Joined, MapTable, Parallel, ParallelTable, Sequential
from retorch.layers.nngraph import Flow, GModule
from retorch.layers.projects.opennmt_sequences import BiEncoder, ConvolutionalEncoder, Decoder, Encoder, Stacked
from retorch.layers.projects.recurrent import LanguageModel, SharedParallelTable
from retorch.layers.recurrent.recursor import FastLSTM, HiddenStep, RecGRU, Recurrence, Recurrent
from retorch.layers.recurrent.sequencer import Repeater, Sequencer
from retorch.layers.table.selection import FlattenTable, NarrowTable, ReverseTable, SelectTable, ZipTable

if TYPE_CHECKING:
    from retorch.graph.input_shape.walk import Walk

#: (walk, layer, what it takes) to what it gives.
Structure: TypeAlias = "Callable[[Walk, Any, Term], Term]"


def structure_of(layer: Layer) -> Structure | None:
    """How terms flow through a layer, where it holds others."""
    return next((_STRUCTURES[cls] for cls in type(layer).__mro__ if cls in _STRUCTURES), None)


def _chain(walk: Walk, layer: Any, x: Term) -> Term:
    for module in layer.modules:
        x = walk.call(module, x)
    return x


def _each_given(walk: Walk, layer: Any, x: Term) -> Term:
    return Term(items=[walk.call(module, x) for module in layer.modules])


def _each_own(walk: Walk, layer: ParallelTable, x: Term) -> Term:
    items = walk.facts.entries(x, len(layer.modules), exactly=x.is_open).items
    return Term(items=[walk.call(module, item) for module, item in zip(layer.modules, items, strict=False)])


def _mapped(walk: Walk, module: Layer, x: Term) -> Term:
    """One module on every entry: entries of one shape."""
    each = walk.call(module, walk.facts.alike(x))
    y = Term()
    given, made = walk.facts.entries(x), walk.facts.entries(y)
    made.each = each
    walk.facts.equal(given.count, made.count)
    if not given.open:
        walk.facts.entries(y, len(given.items), exactly=True)
    return y


def _map_table(walk: Walk, layer: MapTable, x: Term) -> Term:
    return _mapped(walk, layer.modules[0], x)


def _shared_map(walk: Walk, layer: SharedParallelTable, x: Term) -> Term:
    return _mapped(walk, layer.unit, x)


def _joined(walk: Walk, layer: Any, x: Term) -> Term:
    """Parts that have all sizes in common but one."""
    parts = [walk.call(module, x) for module in layer.modules]
    return walk.later(layer, Term(items=parts))


def _parallel(walk: Walk, layer: Parallel, x: Term) -> Term:
    rank = x.rank or 3
    sizes = walk.facts.rank(x, rank)
    axis = layer.inputDimension - 1
    walk.facts.fix(sizes[axis], len(layer.modules), layer.typename)
    rest = [size for i, size in enumerate(sizes) if i != axis]
    for module in layer.modules:
        walk.call(module, Term(rest))
    return Term()


def _bottle(walk: Walk, layer: Bottle, x: Term) -> Term:
    """All leading dimensions as one."""
    inner = Term([Size() for _ in range(layer.nInputDim)])
    made = walk.call(layer.modules[0], inner)
    sizes = walk.facts.rank(x, layer.nInputDim + 1) if x.rank is None else x.sizes or []
    if len(sizes) <= layer.nInputDim:
        walk.facts.same(x, inner)
        return made
    for size, own in zip(sizes[2 - len(sizes) :], (inner.sizes or [])[1:], strict=False):
        walk.facts.equal(size, own)
    given = (made.sizes or [])[1:]
    return Term([*sizes[: len(sizes) - layer.nInputDim + 1], *given]) if made.sizes is not None else Term()


def _select(walk: Walk, layer: SelectTable, x: Term) -> Term:
    index = int(cast("int", layer.index))
    if index > 0:
        return walk.facts.entries(x, index).items[index - 1]
    table = walk.facts.entries(x)
    return walk.facts.alike(x) if table.open else table.items[index]


def _narrow_table(walk: Walk, layer: NarrowTable, x: Term) -> Term:
    last = layer.offset - 1 + layer.length
    return Term(items=walk.facts.entries(x, last).items[layer.offset - 1 : last])


def _flat(walk: Walk, layer: Layer, x: Term) -> Term:
    if x.table is None or x.table.open:
        return x
    found: list[Term] = []
    for item in x.table.items:
        found += [item] if item.table is None else (_flat(walk, layer, item).table or item.table).items
    return Term(items=found)


def _reversed(walk: Walk, layer: Layer, x: Term) -> Term:
    table = walk.facts.entries(x)
    return x if table.open else Term(items=table.items[::-1])


def _zipped(walk: Walk, layer: Layer, x: Term) -> Term:
    rows = [walk.facts.entries(item) for item in walk.facts.entries(x, 2).items]
    return Term(items=[Term(items=column) for column in zip(*(row.items for row in rows), strict=False)])


def _graph(walk: Walk, layer: GModule, x: Term) -> Term:
    """An nngraph: its own flow, with terms."""

    def table(value: object, least: int) -> list[object] | None:
        if isinstance(value, list):
            return cast("list[object]", value)
        if not isinstance(value, Term) or value.sizes is not None:
            return None
        return cast("list[object]", walk.facts.entries(value, least).items)

    def run(module: Layer, value: object) -> object:
        return walk.call(module, _as_term(value))

    if layer.inputs > 1 and x.is_open:
        walk.facts.entries(x, layer.inputs, exactly=True)
    flow = Flow(run, lambda _, __: Term(), lambda _: [], table)
    return _as_term(layer.flow(x, flow))


def _as_term(value: object) -> Term:
    if isinstance(value, list):
        return Term(items=[_as_term(item) for item in cast("list[object]", value)])
    return cast("Term", value)


def _hidden_step(walk: Walk, layer: HiddenStep, x: Term) -> Term:
    """One step, from states of which the layer knows the size."""
    start: list[tuple[object, int]] = cast("Any", layer).start() if isinstance(layer, (FastLSTM, RecGRU)) else []
    sizes = x.sizes or walk.facts.rank(x, 2)
    states = [Term([*sizes[:-1], Size(size)]) for _, size in start]
    y = walk.call(layer.inner, Term(items=[x, *states]))
    return y if y.table is None else y.table.items[0]


def _whole_or_step(walk: Walk, layer: Any, x: Term) -> Term:
    """torch-rnn's whole sequence, or a step of the package rnn's."""
    if getattr(layer, "whole", False):
        return walk.later(layer, x)
    return _hidden_step(walk, layer, x)


def _recurrence(walk: Walk, layer: Recurrence, x: Term) -> Term:
    def state(sizes: Any) -> Term:
        if isinstance(sizes, list):
            return Term(items=[state(s) for s in cast("list[Any]", sizes)])
        return Term([Size(), *(Size(int(s)) for s in sizes)])

    if x.is_open and not isinstance(layer.sizes, list):
        walk.facts.rank(x, layer.nInputDim + 1)
    y = state(layer.sizes)
    walk.call(layer.inner, Term(items=[x, y]))
    if x.sizes and y.sizes:
        walk.facts.equal(x.sizes[0], y.sizes[0])
    return y


def _recurrent(walk: Walk, layer: Recurrent, x: Term) -> Term:
    y = walk.call(layer.initialModule, x)
    walk.call(layer.recurrentModule, Term(items=[x, y]))
    return y


def _sequencer(walk: Walk, layer: Sequencer, x: Term) -> Term:
    """One module for every step: a table of steps, or a tensor with the steps first."""
    if x.sizes is None:
        return _mapped(walk, layer.inner, x)
    made = walk.call(layer.inner, Term(x.sizes[1:]))
    return Term([x.sizes[0], *made.sizes]) if made.sizes is not None else Term()


def _repeater(walk: Walk, layer: Repeater, x: Term) -> Term:
    return Term(items=[walk.call(layer.inner, x)] * layer.count)


def _language_model(walk: Walk, layer: LanguageModel, x: Term) -> Term:
    """Indices of batch and time."""
    walk.facts.rank(x, 2)
    if layer.chain:
        walk.call(layer.chain[0], x)
    return Term()


_STRUCTURES: dict[type, Structure] = {
    Sequential: _chain,
    ConcatTable: _each_given,
    ParallelTable: _each_own,
    MapTable: _map_table,
    SharedParallelTable: _shared_map,
    Joined: _joined,
    Parallel: _parallel,
    Bottle: _bottle,
    SelectTable: _select,
    NarrowTable: _narrow_table,
    FlattenTable: _flat,
    ReverseTable: _reversed,
    ZipTable: _zipped,
    GModule: _graph,
    HiddenStep: _whole_or_step,
    Recurrence: _recurrence,
    Recurrent: _recurrent,
    Sequencer: _sequencer,
    Repeater: _repeater,
    LanguageModel: _language_model,
    Encoder: encoder,
    BiEncoder: bi_encoder,
    Stacked: stacked,
    ConvolutionalEncoder: convolutional,
    Decoder: decoder,
}
