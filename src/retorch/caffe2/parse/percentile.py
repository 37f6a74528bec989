"""Numbers by their rank: percentiles, curves of straight pieces, thresholds and histograms."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.graph import Array, Graph, RefusalError, dtype, rank, size
from retorch.caffe2.parse.lengths import integers
from retorch.caffe2.parse.loop import Step, repeat
from retorch.caffe2.parse.segments import INT64, arange, int64, rows_of, segment_ids, starts

FLOAT = ir.DataType.FLOAT


def _counted(graph: Graph, hit: ir.Value) -> ir.Value:
    """How many are true along the last dimension."""
    return graph.op("ReduceSum", graph.cast(hit, INT64), graph.constant([rank(hit) - 1]), keepdims=0)


def percentile(call: Call) -> ir.Value:
    """Each number's place in the distribution of its column, between 0 and 1, interpolated between samples.

    Inputs: numbers (N,D), pairs of a sample and its percentile, in rising order, and how many belong to each column.
    """
    g, x, lengths = call.graph, call.x, integers(call, 2)
    samples, shares = (g.reshape(part, (-1,)) for part in g.ops("Split", [call.input(1)], 2, axis=1, num_outputs=2))
    own = g.op("Equal", g.unsqueeze(arange(g, rows_of(g, lengths)), 1), g.unsqueeze(segment_ids(g, lengths), 0))
    below = _counted(g, g.op("And", own, g.op("Less", g.unsqueeze(samples, 0), g.unsqueeze(x, 2))))
    at = g.op("Add", below, starts(g, lengths))
    last = g.op("Sub", rows_of(g, samples), int64(g, 1))
    upper, lower = g.op("Min", at, last), g.op("Max", g.op("Sub", at, int64(g, 1)), int64(g, 0))
    high, low = (g.op("Gather", samples, place) for place in (upper, lower))
    high_share, low_share = (g.op("Gather", shares, place) for place in (upper, lower))
    way = g.op("Div", g.op("Sub", x, low), g.op("Sub", high, low))
    between = g.op("Add", low_share, g.op("Mul", way, g.op("Sub", high_share, low_share)))
    y = g.op("Where", g.op("Equal", below, int64(g, 0)), g.scalar(0.0, x), between)
    y = g.op("Where", g.op("Equal", x, high), high_share, y)
    return g.op("Where", g.op("Equal", below, lengths), g.scalar(1.0, x), y)


def bisect_percentile(call: Call) -> ir.Value:
    """The same with distributions in arguments, and two percentiles at each sample: from below and from above."""
    g, lengths = call.graph, call.ints("lengths")
    names = ("percentile_raw", "percentile_mapping", "percentile_lower", "percentile_upper")
    tables = [np.asarray(call.floats(name), np.float32) for name in names]
    if any(len(table) != sum(lengths) for table in tables) or min(lengths, default=0) < 1:
        raise RefusalError("the distributions are not as long as lengths say")
    bounds = list(itertools.accumulate(lengths, initial=0))
    columns = [
        _bisected(g, g.slice(call.x, 1, at, at + 1), *(table[bounds[at] : bounds[at + 1]] for table in tables))
        for at in range(len(lengths))
    ]
    return g.op("Concat", *columns, axis=1)


def _bisected(graph: Graph, x: ir.Value, raw: Array, mapping: Array, lower: Array, upper: Array) -> ir.Value:
    g, last = graph, len(raw) - 1
    below = _counted(g, g.op("LessOrEqual", g.constant(raw), x))
    at = g.unsqueeze(g.op("Max", g.op("Sub", below, int64(g, 1)), int64(g, 0)), 1)
    after = g.op("Min", g.op("Add", at, int64(g, 1)), int64(g, last))
    sample, following = (g.op("Gather", g.constant(raw), place) for place in (at, after))
    width = g.op("Add", g.op("Sub", following, sample), g.scalar(1e-10, x))
    way = g.op("Div", g.op("Sub", x, sample), width)
    up, down = g.op("Gather", g.constant(upper), at), g.op("Gather", g.constant(lower), after)
    between = g.op("Add", g.op("Mul", g.op("Sub", g.scalar(1.0, x), way), up), g.op("Mul", way, down))
    y = g.op("Where", g.op("Equal", x, sample), g.op("Gather", g.constant(mapping), at), between)
    y = g.op("Where", g.op("Less", x, g.constant(raw[:1])), g.scalar(0.0, x), y)
    return g.op("Where", g.op("Greater", x, g.constant(raw[-1:])), g.scalar(1.0, x), y)


def piecewise_linear(call: Call) -> ir.Value:
    """slope * x + intercept of the piece between whose bounds x is, each column with pieces of its own.

    Outside of the bounds, the value at the nearest one. With ``binary`` there is one curve, for the last column, and a
    first column of two is 1 less it.
    """
    g, x = call.graph, call.x
    binary = bool(call.int("binary", 0))
    if not binary or rank(x) == 1:
        return _curve(call, x, binary)
    columns = size(x, 1)
    if columns not in (1, 2):
        raise RefusalError(f"binary with {columns} columns")
    y = _curve(call, g.slice(x, 1, -1, 2**31 - 1), binary)
    return y if columns == 1 else g.op("Concat", g.op("Sub", g.scalar(1.0, y), y), y, axis=1)


def _pieces(call: Call, binary: bool) -> Sequence[ir.Value]:
    """Bounds, slopes and intercepts: (columns, pieces); one row where binary."""
    g = call.graph
    given = [np.asarray(call.floats(name), np.float32) for name in ("bounds", "slopes", "intercepts")]
    if all(len(table) for table in given):
        columns = len(given[0]) - len(given[1])
        if columns < 1 or len(given[1]) % columns or len(given[1]) != len(given[2]):
            raise RefusalError("bounds, slopes and intercepts do not belong together")
        return [g.constant(table.reshape(columns, -1)) for table in given]
    tables = [g.reshape(call.input(at), (-1,)) for at in (1, 2, 3)]
    if binary:
        return [g.unsqueeze(table, 0) for table in tables]
    columns = g.op("Sub", g.shape_of(tables[0]), g.shape_of(tables[1]))
    made = [g.op("Reshape", table, g.op("Concat", columns, g.constant([-1]), axis=0)) for table in tables]
    for table in made:
        table.shape = ir.Shape([None, None])
    return made


def _curve(call: Call, x: ir.Value, binary: bool) -> ir.Value:
    g = call.graph
    bounds, slopes, intercepts = _pieces(call, binary)
    column = g.unsqueeze(x, rank(x))
    low = g.slice(bounds, 1, 0, 1)
    high = g.slice(bounds, 1, -1, 2**31 - 1)
    last = g.op("Sub", g.reshape(g.shape_of(bounds, 1, 2), ()), int64(g, 2))
    piece = g.op("Sub", _counted(g, g.op("Less", bounds, column)), int64(g, 1))
    piece = g.op("Min", g.op("Max", piece, int64(g, 0)), last)
    piece = g.op("Where", g.op("GreaterOrEqual", x, g.reshape(high, (-1,))), last, piece)
    held = g.op("Min", g.op("Max", x, g.reshape(low, (-1,))), g.reshape(high, (-1,)))
    places = g.op("Equal", g.unsqueeze(piece, rank(x)), arange(g, g.op("Add", last, int64(g, 1))))
    slope, intercept = (
        g.op("ReduceSum", g.op("Mul", g.cast(places, FLOAT), table), g.constant([rank(x)]), keepdims=0)
        for table in (slopes, intercepts)
    )
    return g.op("Add", g.op("Mul", slope, held), intercept)


def histogram(call: Call) -> ir.Value:
    """How many numbers of all inputs are between each two of ``bin_edges``, the lower one included, as int64."""
    edges = np.asarray(call.floats("bin_edges"), np.float32)
    if len(edges) < 2 or (np.diff(edges) <= 0).any():
        raise RefusalError("bin_edges do not rise")
    g, x = call.graph, _together(call)
    return _binned(g, x, g.constant(edges.astype(dtype(x).numpy())))


def _together(call: Call) -> ir.Value:
    g = call.graph
    flat = [g.reshape(x, (-1,)) for x in call.inputs]
    return flat[0] if len(flat) == 1 else g.op("Concat", *flat, axis=0)


def _binned(graph: Graph, x: ir.Value, edges: ir.Value) -> ir.Value:
    g = graph
    reached = g.cast(g.op("GreaterOrEqual", g.unsqueeze(x, 0), g.unsqueeze(edges, 1)), INT64)
    counts = g.op("ReduceSum", reached, g.constant([1]), keepdims=0)
    end = 2**31 - 1
    return g.op("Sub", g.slice(counts, 0, 0, -1), g.slice(counts, 0, 1, end))


def self_binning_histogram(call: Call) -> Results:
    """``num_bins`` edges between the smallest and the largest number, and one more; how many numbers follow each."""
    g, bins, spacing = call.graph, call.count("num_bins", 0, 1 << 24), call.string("bin_spacing", "linear")
    x = _together(call)
    x = g.op("Abs", x) if call.int("abs", 0) else x
    low, high = (g.op(kind, x, g.constant([0]), keepdims=1) for kind in ("ReduceMin", "ReduceMax"))
    ratio = g.constant((np.arange(bins + 1) / np.asarray(bins, dtype(x).numpy())).astype(dtype(x).numpy()))
    match spacing:
        case "linear":
            width = g.op("Mul", g.op("Sub", high, low), g.scalar(1.0001, x))
            edges = g.op("Add", low, g.op("Mul", ratio, width))
        case "logarithmic":
            least = g.scalar(call.float("logspace_start", 1e-24), x)
            low, high = g.op("Max", low, least), g.op("Max", high, least)
            width = g.op("Mul", g.op("Sub", high, low), g.scalar(1.0001, x))
            growth = g.op("Sub", g.op("Log", g.op("Add", low, width)), g.op("Log", low))
            edges = g.op("Mul", low, g.op("Exp", g.op("Mul", growth, ratio)))
        case _:
            raise RefusalError(f"bin_spacing {spacing}")
    return _self_binned(g, x, edges, (high, g.op("Add", low, width)))


def _self_binned(graph: Graph, x: ir.Value, edges: ir.Value, ends: tuple[ir.Value, ir.Value]) -> Results:
    """Where rounding leaves no edge above the largest number, all of them are in the first bin."""
    g, (high, reach) = graph, ends
    inner, last = g.slice(edges, 0, 0, -1), g.slice(edges, 0, -1, 2**31 - 1)
    narrow = g.op("LessOrEqual", last, high)
    values = g.op("Concat", inner, g.op("Where", narrow, reach, last), axis=0)
    # What is below the first edge counts there too; nothing follows the last one.
    held = g.op("Max", x, g.slice(edges, 0, 0, 1))
    counts = g.op("Concat", _binned(g, held, edges), g.constant([0]), axis=0)
    first = g.op("Equal", arange(g, g.op("Size", edges)), int64(g, 0))
    whole = g.op("Mul", g.cast(first, INT64), g.op("Size", x))
    return (values, g.op("Where", narrow, whole, counts))


def stump(call: Call) -> ir.Value:
    """``low_value`` up to ``threshold``, ``high_value`` above, and for NaN."""
    g, x = call.graph, call.x
    under = g.op("LessOrEqual", x, g.scalar(call.float("threshold", 0.0), x))
    high, low = (g.scalar(call.float(name, 0.0), x) for name in ("high_value", "low_value"))
    return g.op("Where", under, low, high)


def stump_index(call: Call) -> Results:
    """The places of the numbers up to ``threshold``, and of those above and NaN, as int64."""
    g, x = call.graph, call.graph.reshape(call.x, (-1,))
    under = g.op("LessOrEqual", x, g.scalar(call.float("threshold", 0.0), x))
    return [g.reshape(g.op("NonZero", chosen), (-1,)) for chosen in (under, g.op("Not", under))]


def quantile(call: Call) -> ir.Value:
    """The number below which a share of all magnitudes is (or of all numbers, without ``abs``), found by halving.

    It is within ``tol`` of the true one, and to the bit the one that Caffe2 stops at.
    """
    g, share, x = call.graph, call.float("quantile", -1.0), _together(call)
    if not 0 <= share <= 1 or call.float("tol", 1e-3) <= 0:
        raise RefusalError(f"quantile {share}")
    x = g.op("Abs", x) if call.int("abs", 1) else x
    low, high = (g.op(kind, x, g.constant([0]), keepdims=0) for kind in ("ReduceMin", "ReduceMax"))
    count = g.op("Size", x)
    part = g.op("Mul", g.cast(count, FLOAT), g.constant(np.asarray(share, np.float32)))
    wanted = g.cast(g.op("Ceil", part), INT64)
    least = g.op("GreaterOrEqual", _counted(g, g.op("LessOrEqual", x, low)), wanted)
    settled = g.op("Or", least, g.op("Equal", wanted, count))
    begins = g.op("And", g.op("Not", settled), _apart(g, call, low, high))

    def halve(body: Graph, _: ir.Value, states: Sequence[ir.Value]) -> Step:
        low, high = states
        middle = body.op("Add", low, body.op("Div", body.op("Sub", high, low), body.scalar(2.0, low)))
        reached = _counted(body, body.op("LessOrEqual", x, middle))
        low = body.op("Where", body.op("Less", reached, wanted), middle, low)
        high = body.op("Where", body.op("GreaterOrEqual", reached, wanted), middle, high)
        goes_on = body.op("And", body.op("Not", body.op("Equal", reached, wanted)), _apart(body, call, low, high))
        return Step(goes_on, [low, high])

    _, found = repeat(g, [low, high], halve, begins=begins, times=int64(g, 4096))
    return g.reshape(g.op("Where", least, low, found), (1,))


def _apart(graph: Graph, call: Call, low: ir.Value, high: ir.Value) -> ir.Value:
    g = graph
    reach = g.op("Mul", g.op("Add", g.op("Abs", high), g.op("Abs", low)), g.scalar(call.float("tol", 1e-3), low))
    return g.op("Greater", g.op("Abs", g.op("Sub", high, low)), reach)


RULES: Mapping[str, Rule] = {
    "Percentile": percentile,
    "BisectPercentile": bisect_percentile,
    "PiecewiseLinearTransform": piecewise_linear,
    "Histogram": histogram,
    "SelfBinningHistogram": self_binning_histogram,
    "Quantile": quantile,
    "StumpFunc": stump,
    "StumpFuncIndex": stump_index,
}
