"""Features of many examples, each with its key, brought together from several tensors.

A list or a map of an example is a run of values; ``lengths`` say how many there are. A slot is an example and an input,
examples first: what an example has in the first input, then in the second one, …
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.graph import Graph, RefusalError, dtype, rank, size
from retorch.caffe2.parse.lengths import integers
from retorch.caffe2.parse.segments import INT64, int64, layout, starts

INT32 = ir.DataType.INT32


def _groups(call: Call, count: int) -> Sequence[Sequence[ir.Value]]:
    """The inputs, so many for each tensor of features."""
    if not call.inputs or len(call.inputs) % count:
        raise RefusalError(f"{len(call.inputs)} inputs, not a multiple of {count}")
    return [call.inputs[at : at + count] for at in range(0, len(call.inputs), count)]


def _slots(graph: Graph, columns: Sequence[ir.Value]) -> ir.Value:
    """Vectors over the examples as one over the slots: (examples, inputs)."""
    return graph.op("Concat", *(graph.unsqueeze(column, 1) for column in columns), axis=1)


def _flat(graph: Graph, x: ir.Value) -> ir.Value:
    return graph.reshape(x, (-1,))


def _ints(call: Call, x: ir.Value) -> ir.Value:
    return call.graph.cast(x, INT64)


@dataclass(frozen=True, slots=True)
class _Present:
    """Which slots there are, how many of each example, and their keys."""

    chosen: ir.Value
    lengths: ir.Value
    keys: ir.Value


def _present(call: Call, there: ir.Value) -> _Present:
    g, ids = call.graph, np.asarray(call.ints("feature_ids"), np.int64)
    if size(there, 1) > len(ids):
        raise RefusalError(f"{len(ids)} feature_ids for {size(there, 1)} features")
    there = g.cast(there, ir.DataType.BOOL)
    counts = g.cast(there, INT64)
    keys = g.op("Add", g.op("Mul", counts, int64(g, 0)), g.constant(ids[: size(there, 1)]))
    chosen = _flat(g, there)
    lengths = g.op("ReduceSum", counts, g.constant([1]), keepdims=0)
    return _Present(chosen, g.cast(lengths, INT32), g.op("Compress", _flat(g, keys), chosen, axis=0))


def dense(call: Call) -> Results:
    """The columns of a matrix that are present, row by row: lengths, keys, values."""
    present = _present(call, call.input(1))
    g = call.graph
    return (present.lengths, present.keys, g.op("Compress", _flat(g, call.x), present.chosen, axis=0))


def single_scalars(call: Call) -> Results:
    """One number an example and input. Inputs: values and presence of each. Outputs: lengths, keys, values."""
    g, groups = call.graph, _groups(call, 2)
    present = _present(call, _slots(g, [there for _, there in groups]))
    values = _flat(g, _slots(g, [values for values, _ in groups]))
    return (present.lengths, present.keys, g.op("Compress", values, present.chosen, axis=0))


def single_runs(payloads: int) -> Rule:
    """A rule for one list (values) or map (keys and values) an example and input.

    Inputs: lengths, what the runs consist of, and presence of each. Outputs: lengths, keys, lengths of the runs, runs.
    """

    def rule(call: Call) -> Results:
        g, groups = call.graph, _groups(call, payloads + 2)
        present = _present(call, _slots(g, [group[-1] for group in groups]))
        # What is not present has no values either.
        lengths = [g.op("Mul", _ints(call, group[0]), _ints(call, group[-1])) for group in groups]
        begin = _flat(g, _slots(g, _begins(g, lengths, [group[1] for group in groups])))
        runs = g.op("Compress", _flat(g, _slots(g, lengths)), present.chosen, axis=0)
        index = _run_index(g, g.op("Compress", begin, present.chosen, axis=0), runs)
        return (
            present.lengths,
            present.keys,
            g.cast(runs, INT32),
            *_payloads(g, groups, range(1, payloads + 1), index),
        )

    return rule


def _begins(graph: Graph, lengths: Sequence[ir.Value], payloads: Sequence[ir.Value]) -> list[ir.Value]:
    """Where each run begins when the payloads lie after each other."""
    g, made, base = graph, list[ir.Value](), int64(graph, 0)
    for length, payload in zip(lengths, payloads, strict=True):
        made.append(g.op("Add", starts(g, length), base))
        base = g.op("Add", base, g.reshape(g.shape_of(payload, 0, 1), ()))
    return made


def _run_index(graph: Graph, begin: ir.Value, lengths: ir.Value) -> ir.Value:
    """The places of runs, after each other."""
    where = layout(graph, lengths)
    return graph.op("Add", graph.op("Gather", begin, where.ids), where.offsets)


def _payloads(
    graph: Graph, groups: Sequence[Sequence[ir.Value]], which: Sequence[int], index: ir.Value
) -> list[ir.Value]:
    g = graph
    return [g.op("Gather", g.op("Concat", *(group[at] for group in groups), axis=0), index, axis=0) for at in which]


def several(payloads: int) -> Rule:
    """A rule for any number of features an example and input, with their keys.

    Inputs: lengths, keys, and values of each; with lists (1) or maps (2) the lengths of the runs and what they consist
    of in the place of values. Outputs: the same of all.
    """

    def rule(call: Call) -> Results:
        g, inputs = call.graph, _groups(call, payloads + 3 if payloads else 3)
        groups = [[x if rank(x) == 1 else _flat(g, x) for x in group] for group in inputs]
        lengths = [_ints(call, group[0]) for group in groups]
        total = g.cast(_added(g, lengths), INT32)
        begin = _flat(g, _slots(g, _begins(g, lengths, [group[1] for group in groups])))
        index = _run_index(g, begin, _flat(g, _slots(g, lengths)))
        keys, second = _payloads(g, groups, (1, 2), index)
        if not payloads:
            return (total, keys, second)
        runs = [_ints(call, group[2]) for group in groups]
        places = g.op("Concat", *_begins(g, runs, [group[3] for group in groups]), axis=0)
        inner = _run_index(g, g.op("Gather", places, index), _ints(call, second))
        return (total, keys, second, *_payloads(g, groups, range(3, payloads + 3), inner))

    return rule


def _added(graph: Graph, numbers: Sequence[ir.Value]) -> ir.Value:
    total = numbers[0]
    for more in numbers[1:]:
        total = graph.op("Add", total, more)
    return total


def ngrams(call: Call) -> ir.Value:
    """One number for each row: the places of its chosen columns among ``vals``, in mixed radix, as int64."""
    g, x = call.graph, call.x
    if rank(x) != 2:
        x = g.op("Flatten", x, axis=1)
    limits, values = call.ints("categorical_limits"), iter(call.ints("vals"))
    columns = call.ints("col_ids")
    if len(columns) != len(limits) or not columns or sum(limits) != len(call.ints("vals")):
        raise RefusalError("col_ids, categorical_limits and vals do not belong together")
    terms: list[ir.Value] = []
    base = 1
    for column, limit in zip(columns, limits, strict=True):
        codes = {next(values): place * base for place in range(limit)}
        number = g.op("Gather", g.cast(x, ir.DataType.DOUBLE), g.constant([column]), axis=1)
        size_of = g.op("Floor", g.op("Add", g.op("Abs", number), g.constant(np.asarray(0.5))))
        rounded = g.cast(g.op("Mul", g.op("Sign", number), size_of), INT64)  # halves away from zero
        hit = g.cast(g.op("Equal", rounded, g.constant(list(codes))), INT64)
        terms.append(g.op("ReduceSum", g.op("Mul", hit, g.constant(list(codes.values()))), g.constant([1]), keepdims=0))
        base *= limit
    return _added(g, terms)


def index_hash(call: Call) -> ir.Value:
    """Each number's bytes as digits of a number to the base 65537 that begins with ``seed``; its rest by ``modulo``."""
    g, modulo, kind = call.graph, call.int("modulo", 0), dtype(call.x)
    if modulo <= 0 or kind not in (INT32, INT64):
        raise RefusalError(f"modulo {modulo} of {kind.name.lower()}")
    wide = np.int32 if kind == INT32 else np.int64
    unsigned, width = (ir.DataType.UINT32, 4) if kind == INT32 else (ir.DataType.UINT64, 8)
    seed = np.asarray((call.int("seed", 0) * 0xDEADBEEF) & (2 ** (8 * width) - 1), unsigned.numpy()).astype(wide)
    bits, hashed = g.cast(call.x, unsigned), g.constant(seed)
    for at in range(width):
        shifted = g.op("BitShift", bits, g.scalar(8 * at, bits), direction="RIGHT")
        byte = g.cast(g.op("BitwiseAnd", shifted, g.scalar(255, bits)), kind)
        signed = g.op("Where", g.op("Greater", byte, g.scalar(127, byte)), g.op("Sub", byte, g.scalar(256, byte)), byte)
        hashed = g.op("Add", g.op("Mul", hashed, g.scalar(65537, byte)), signed)
    return g.cast(g.op("Mod", g.cast(hashed, INT64), int64(g, modulo)), kind)


def lengths_to_shape(call: Call) -> ir.Value:
    """How many lengths there are, and the first of them, which all are."""
    g, lengths = call.graph, integers(call, 0)
    pair = g.op("Concat", g.shape_of(lengths), g.slice(lengths, 0, 0, 1), axis=0)
    return g.cast(pair, INT32)


RULES: Mapping[str, Rule] = {
    "MergeDenseFeatureTensors": dense,
    "MergeSingleScalarFeatureTensors": single_scalars,
    "MergeSingleListFeatureTensors": single_runs(1),
    "MergeSingleMapFeatureTensors": single_runs(2),
    "MergeMultiScalarFeatureTensors": several(0),
    "MergeMultiListFeatureTensors": several(1),
    "MergeMultiMapFeatureTensors": several(2),
    "NGramFromCategorical": ngrams,
    "IndexHash": index_hash,
    "LengthsToShape": lengths_to_shape,
}
