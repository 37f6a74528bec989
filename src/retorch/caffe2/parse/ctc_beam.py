"""The likeliest labels of a sequence, by a search that keeps some prefixes of them at each step.

A prefix is a row of labels, -1 behind its last one. Those that are kept (the beam) are in the order of a dictionary,
since that decides between equally likely ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.detection import number
from retorch.caffe2.parse.graph import Graph, size
from retorch.caffe2.parse.lengths import integers
from retorch.caffe2.parse.loop import Step, repeat
from retorch.caffe2.parse.segments import arange, int64, rows_of

INT32, INT64, FLOAT = ir.DataType.INT32, ir.DataType.INT64, ir.DataType.FLOAT


@dataclass(frozen=True, slots=True)
class _Prefixes:
    """Prefixes (n, steps), and of each its last label, -1 for none, and its number of labels (n,)."""

    labels: ir.Value
    last: ir.Value
    lengths: ir.Value


@dataclass(frozen=True, slots=True)
class _Odds:
    """How likely prefixes are: followed by a blank, and not."""

    blank: ir.Value
    label: ir.Value


@dataclass(frozen=True, slots=True)
class _Beam:
    """The prefixes that are kept, where ``real``; and the odds of each with one more label (n, labels)."""

    prefixes: _Prefixes
    odds: _Odds
    longer: _Odds
    real: ir.Value

    def values(self) -> list[ir.Value]:
        """The parts, as a loop holds them."""
        kept, odds, longer = self.prefixes, self.odds, self.longer
        parts = [kept.labels, kept.last, kept.lengths, odds.blank, odds.label, longer.blank, longer.label]
        return [*parts, self.real]

    @classmethod
    def of(cls, values: Sequence[ir.Value]) -> _Beam:
        """From the parts."""
        a, b, c, d, e, f, g, real = values
        return cls(_Prefixes(a, b, c), _Odds(d, e), _Odds(f, g), real)


@dataclass(frozen=True, slots=True)
class _Found:
    """What may be kept after a step: each prefix of the beam, then each with each further label, flat."""

    odds: _Odds
    real: ir.Value
    order: ir.Value  # that of a dictionary


@dataclass(frozen=True, slots=True)
class _Search:
    """The settings: how many labels there are, how many prefixes are kept, how many are handed over, and the bound."""

    labels: int
    width: int
    wanted: int
    bound: float

    @property
    def all(self) -> int:
        return self.width * (1 + self.labels)


def beam_search(call: Call) -> Results:
    """The likeliest prefixes of each sequence: how many labels each has, all of these after each other, how likely.

    Inputs: likelihoods (steps, batch, labels), of which 0 is the blank, and how many steps each sequence has.
    """
    g, x = call.graph, call.x
    # Without the third output only the Caffe2 of torch 1.0 runs it, which gives one prefix of each sequence.
    wanted = call.count("num_candidates", 1, 1 << 12) if call.outputs > 2 else 1
    search = _Search(size(x, 2), call.count("beam_width", 10, 1 << 10), wanted, call.float("prune_threshold", 0.001))
    steps = rows_of(g, x)
    batch = g.reshape(g.shape_of(x, 1, 2), ())
    lengths = integers(call, 1) if len(call.inputs) > 1 else g.op("Expand", steps, g.reshape(batch, (1,)))

    def decode(body: Graph, at: ir.Value, held: Sequence[ir.Value]) -> Step:
        found, odds = _decoded(body, body.op("Gather", x, at, axis=1), body.op("Gather", lengths, at), search)
        spoken = body.op("GreaterOrEqual", body.reshape(found.labels, (-1,)), int64(body, 0))
        said = body.op("Compress", body.reshape(found.labels, (-1,)), spoken, axis=0)
        return Step(None, [body.op("Concat", held[0], said, axis=0)], [found.lengths, odds])

    values, counts, odds = repeat(g, [g.constant(np.zeros(0, np.int64))], decode, times=batch)
    return (g.cast(g.reshape(counts, (-1,)), INT32), g.cast(values, INT32), g.reshape(odds, (-1,)))


def _decoded(graph: Graph, scores: ir.Value, times: ir.Value, search: _Search) -> tuple[_Prefixes, ir.Value]:
    """The likeliest prefixes of one sequence (steps, labels), and how likely they are; nothing is empty, and 0."""
    g, places = graph, arange(graph, rows_of(graph, scores))

    def onward(body: Graph, at: ir.Value, held: Sequence[ir.Value]) -> Step:
        beam = _Beam.of(held[:8])
        found = _found(body, beam, body.op("Gather", scores, at, axis=0), search)
        kept, best = _next(body, beam, found, places, search)
        return Step(None, [*kept.values(), *best])

    none = _empty(g, places, search.wanted)
    start = [*_first(g, places, search).values(), none.labels, none.lengths, _filled(g, (search.wanted,))]
    labels, lengths, odds = repeat(g, start, onward, times=times)[8:11]
    return _Prefixes(labels, none.last, lengths), odds


def _filled(graph: Graph, shape: tuple[int, ...], first: float = 0.0) -> ir.Value:
    values = np.zeros(shape, np.float32)
    values.flat[0] = first
    return graph.constant(values)


def _empty(graph: Graph, places: ir.Value, count: int) -> _Prefixes:
    """Prefixes without labels."""
    g, none = graph, graph.constant(np.full(count, -1))
    labels = g.op("Sub", g.op("Mul", g.unsqueeze(none, 1), g.op("Mul", places, int64(g, 0))), int64(g, 1))
    return _Prefixes(labels, none, g.constant(np.zeros(count, np.int64)))


def _first(graph: Graph, places: ir.Value, search: _Search) -> _Beam:
    """The beam before the first step: one prefix, without labels."""
    g, width = graph, search.width
    nothing = _filled(g, (width, search.labels))
    odds = _Odds(_filled(g, (width,), 1.0), _filled(g, (width,)))
    return _Beam(_empty(g, places, width), odds, _Odds(nothing, nothing), g.constant(np.arange(width) == 0))


def _all_equal(graph: Graph, equal: ir.Value) -> ir.Value:
    return graph.cast(
        graph.op("ReduceMin", graph.cast(equal, INT32), graph.constant([2]), keepdims=0), ir.DataType.BOOL
    )


def _is_longer(graph: Graph, longer: _Prefixes, shorter: _Prefixes, real: ir.Value) -> ir.Value:
    """Which of the longer ones (n) are which of the shorter ones (m) with one more label: (m, n)."""
    g = graph
    places = arange(g, g.reshape(g.shape_of(longer.labels, 1, 2), ()))
    at_end = g.op("Equal", places, g.unsqueeze(g.op("Sub", longer.lengths, int64(g, 1)), 1))
    cut = g.op("Where", at_end, int64(g, -1), longer.labels)
    same = _all_equal(g, g.op("Equal", g.unsqueeze(cut, 0), g.unsqueeze(shorter.labels, 1)))
    some = g.op("And", g.op("Greater", longer.lengths, int64(g, 0)), real)
    return g.op("And", same, g.unsqueeze(some, 0))


def _found(graph: Graph, beam: _Beam, scores: ir.Value, search: _Search) -> _Found:
    """How likely each prefix of the beam, and each with each further label, is after a step with these likelihoods."""
    g, kept, odds = graph, beam.prefixes, beam.odds
    every = g.constant(np.arange(search.labels))
    taken = g.op("Greater", scores, number(g, search.bound))
    some = g.cast(g.op("ReduceMax", g.cast(taken, INT32), g.constant([0]), keepdims=1), ir.DataType.BOOL)
    taken = g.op("Or", taken, g.op("Not", some))
    blank = g.slice(scores, 0, 0, 1)
    either = g.op("Add", odds.blank, odds.label)
    again = g.op("Equal", g.unsqueeze(kept.last, 1), every)  # (beam, labels)
    more = g.op("Where", again, g.unsqueeze(odds.blank, 1), g.unsqueeze(either, 1))
    said = g.op("And", g.op("Greater", every, int64(g, 0)), taken)
    may = g.op("And", said, g.unsqueeze(beam.real, 1))
    more = g.op("Where", may, g.op("Mul", scores, more), number(g, 0.0))

    longer = g.op("And", _is_longer(g, kept, kept, beam.real), g.unsqueeze(beam.real, 1))  # (shorter, longer)
    spelled = g.op("And", g.unsqueeze(longer, 2), g.unsqueeze(again, 0))  # (shorter, longer, labels)
    held = g.op("ReduceMax", g.cast(spelled, INT32), g.constant([1]), keepdims=0)
    new = g.op("And", may, g.op("Equal", held, g.constant(np.asarray(0, np.int32))))

    own, stays = _own(g, beam, scores, (taken, blank, either))
    from_shorter = g.op("Where", spelled, g.unsqueeze(more, 1), number(g, 0.0))
    label = g.op("Add", g.op("ReduceSum", from_shorter, g.constant([0, 2]), keepdims=0), own.label)
    before = beam.longer
    label_new = g.op("Add", more, g.op("Mul", scores, before.label))
    blank_new = g.op("Mul", blank, g.op("Add", before.blank, before.label))
    joined = [
        g.op("Concat", one, g.reshape(g.op("Where", new, many, number(g, 0.0)), (-1,)), axis=0)
        for one, many in ((own.blank, blank_new), (label, label_new))
    ]
    real = g.op("Concat", stays, g.reshape(new, (-1,)), axis=0)
    return _Found(_Odds(joined[0], joined[1]), real, _order(g, beam, search))


def _own(
    graph: Graph, beam: _Beam, scores: ir.Value, step: tuple[ir.Value, ir.Value, ir.Value]
) -> tuple[_Odds, ir.Value]:
    """The odds of a prefix of the beam from itself, by a blank or its last label said on; and whether it has any."""
    g, zero = graph, number(graph, 0.0)
    taken, blank, either = step
    at = g.op("Max", beam.prefixes.last, int64(g, 0))
    ends = g.op("And", g.op("Greater", beam.prefixes.lengths, int64(g, 0)), g.op("Gather", taken, at))
    ends = g.op("And", ends, beam.real)
    on = g.op("Where", ends, g.op("Mul", g.op("Gather", scores, at), beam.odds.label), zero)
    silent = g.op("And", beam.real, g.slice(taken, 0, 0, 1))
    off = g.op("Where", silent, g.op("Mul", blank, either), zero)
    return _Odds(off, on), g.op("Or", silent, ends)


def _order(graph: Graph, beam: _Beam, search: _Search) -> ir.Value:
    """The places of all that may be kept, in the order of a dictionary; those in the beam are in it already.

    What lies between the same two of the beam is behind nested prefixes: the longest comes first.
    """
    g, kept, labels = graph, beam.prefixes, search.labels
    steps = g.reshape(g.shape_of(kept.labels, 1, 2), ())
    shorter, longer = g.unsqueeze(kept.labels, 1), g.unsqueeze(kept.labels, 0)
    begins = _all_equal(g, g.op("Or", g.op("Equal", shorter, longer), g.op("Less", shorter, int64(g, 0))))
    begins = g.op("And", begins, g.unsqueeze(beam.real, 0))
    follows = g.transpose(g.op("Gather", kept.labels, kept.lengths, axis=1), (1, 0))  # (shorter, longer)
    every = g.constant(np.arange(labels))
    before = g.op("And", g.unsqueeze(begins, 2), g.op("Less", g.unsqueeze(follows, 2), every))
    rank = g.constant(np.arange(search.width)[:, None])
    behind = g.op("Add", rank, g.op("ReduceSum", g.cast(before, INT64), g.constant([1]), keepdims=0))
    depth = g.unsqueeze(g.op("Sub", steps, kept.lengths), 1)
    span = g.op("Add", steps, int64(g, 1))
    key = g.op("Add", g.op("Mul", g.op("Mul", behind, int64(g, 2)), span), depth)
    key = g.op("Add", g.op("Mul", key, int64(g, labels)), every)
    own = g.op("Mul", g.op("Add", g.op("Mul", rank, int64(g, 2)), int64(g, 1)), g.op("Mul", span, int64(g, labels)))
    keys = g.op("Concat", g.reshape(own, (-1,)), g.reshape(key, (-1,)), axis=0)
    return g.ops("TopK", [keys, g.constant([search.all])], 2, axis=0, largest=0)[1]


def _next(
    graph: Graph, beam: _Beam, found: _Found, places: ir.Value, search: _Search
) -> tuple[_Beam, Sequence[ir.Value]]:
    """The next beam, in the order of a dictionary; and what may be handed over."""
    g, every = graph, search.all
    odds = g.op("Add", found.odds.blank, found.odds.label)
    ranked = g.op("Gather", g.op("Where", found.real, odds, number(g, -np.inf)), found.order)
    # Of equally likely ones the first is taken.
    most = min(max(search.width, search.wanted), every)
    _, best = g.ops("TopK", [ranked, g.constant([most])], 2, axis=0)
    real = g.op("Gather", g.op("Gather", found.real, found.order), best)
    # Those that are not real go behind all others.
    moved = g.op("Add", best, g.op("Mul", g.cast(g.op("Not", real), INT64), int64(g, every)))
    kept, _ = g.ops("TopK", [g.slice(moved, 0, 0, search.width), g.constant([search.width])], 2, axis=0, largest=0)
    rows = g.op("Gather", found.order, g.op("Mod", kept, int64(g, every)))
    prefixes = _prefixes(g, beam, rows, places, search)
    next_odds = _Odds(g.op("Gather", found.odds.blank, rows), g.op("Gather", found.odds.label, rows))
    longer = _longer(g, beam, found, (prefixes, rows), search)
    following = _Beam(prefixes, next_odds, longer, g.op("Less", kept, int64(g, every)))

    rows = g.op("Gather", found.order, g.slice(best, 0, 0, search.wanted))
    said, chance = _prefixes(g, beam, rows, places, search), g.op("Gather", odds, rows)
    return following, _handed_over(g, said, chance, g.slice(real, 0, 0, search.wanted), (places, search))


def _handed_over(
    graph: Graph, said: _Prefixes, odds: ir.Value, real: ir.Value, asked: tuple[ir.Value, _Search]
) -> Sequence[ir.Value]:
    """The labels, lengths and odds of as many as are wanted, best first; of those that there are not, nothing and 0."""
    g, (places, search) = graph, asked
    labels = g.op("Where", g.unsqueeze(real, 1), said.labels, int64(g, -1))
    lengths = g.op("Where", real, said.lengths, int64(g, 0))
    odds = g.op("Where", real, odds, number(g, 0.0))
    missing = search.wanted - search.all
    if missing <= 0:
        return [labels, lengths, odds]
    none = _empty(g, places, missing)
    rest = (none.labels, none.lengths, _filled(g, (missing,)))
    return [g.op("Concat", one, more, axis=0) for one, more in zip((labels, lengths, odds), rest, strict=True)]


def _prefixes(graph: Graph, beam: _Beam, rows: ir.Value, places: ir.Value, search: _Search) -> _Prefixes:
    """The prefixes at these places among all that may be kept."""
    g, kept = graph, beam.prefixes
    further = g.op("Sub", rows, int64(g, search.width))
    longer = g.op("GreaterOrEqual", further, int64(g, 0))
    origin = g.op("Where", longer, g.op("Div", further, int64(g, search.labels)), rows)
    label = g.op("Mod", further, int64(g, search.labels))
    labels, last, lengths = (g.op("Gather", part, origin, axis=0) for part in (kept.labels, kept.last, kept.lengths))
    here = g.op("And", g.op("Equal", places, g.unsqueeze(lengths, 1)), g.unsqueeze(longer, 1))
    return _Prefixes(
        g.op("Where", here, g.unsqueeze(label, 1), labels),
        g.op("Where", longer, label, last),
        g.op("Add", lengths, g.cast(longer, INT64)),
    )


def _longer(graph: Graph, beam: _Beam, found: _Found, following: tuple[_Prefixes, ir.Value], search: _Search) -> _Odds:
    """The odds of each of the next beam with one more label, as far as this step gave any."""
    g, (kept, rows), width = graph, following, search.width
    stays = g.unsqueeze(g.op("Less", rows, int64(g, width)), 1)
    origin = g.op("Min", rows, int64(g, width - 1))
    child = g.cast(_is_longer(g, beam.prefixes, kept, beam.real), FLOAT)  # (next, beam)
    spelled = g.cast(g.op("Equal", g.unsqueeze(beam.prefixes.last, 1), g.constant(np.arange(search.labels))), FLOAT)
    parts: list[ir.Value] = []
    for odds in (found.odds.blank, found.odds.label):
        further = g.reshape(g.slice(odds, 0, width, 2**31 - 1), (width, search.labels))
        mine = g.op("Where", stays, g.op("Gather", further, origin, axis=0), number(g, 0.0))
        held = g.op("Mul", spelled, g.unsqueeze(g.slice(odds, 0, 0, width), 1))
        parts.append(g.op("Add", mine, g.op("MatMul", child, held)))
    return _Odds(parts[0], parts[1])


RULES: Mapping[str, Rule] = {"CTCBeamSearchDecoder": beam_search}
