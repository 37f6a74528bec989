"""Tables of rows kept as trains of tensors: a row is a product of one slice of each of three cores."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Results, Rule
from retorch.caffe2.parse.graph import RefusalError
from retorch.caffe2.parse.lengths import integers
from retorch.caffe2.parse.segments import filled, rows_of, scattered, segment_ids

_CORES = 3


def sparse_lengths_sum(call: Call) -> Results:
    """Rows of a table, picked by number and summed over segments. Inputs: three cores, numbers, lengths.

    Then what the first core gives for each number, what the first two give, and which slices each number means.
    """
    g, factors, columns, ranks = call.graph, call.ints("factor_i"), call.ints("factor_j"), call.ints("ranks")
    _check(call)
    numbers, lengths = integers(call, 3), integers(call, 4)
    weights = np.cumprod([1, *factors[:-1]])
    sizes = [*factors[:-1], 1 << 62]
    split = g.op("Div", g.unsqueeze(numbers, 1), g.constant(weights))
    index = g.op("Mod", split, g.constant(np.asarray(sizes, np.int64)))
    made: list[ir.Value] = []
    width = 1
    for at in range(_CORES):
        core = g.reshape(call.input(at), (-1, ranks[at], columns[at] * ranks[at + 1]))
        chosen = g.op("Gather", core, g.squeeze(g.slice(index, 1, at, at + 1), 1), axis=0)
        product = g.op("MatMul", made[-1], chosen) if made else chosen
        width *= columns[at]
        made.append(g.reshape(product, (-1, width, ranks[at + 1])))
    rows = g.reshape(made[-1], (-1, width))
    base = filled(g, 0, rows, rows_of(g, lengths))
    return (scattered(g, base, segment_ids(g, lengths), rows, "add"), made[0], made[1], index)


def _check(call: Call) -> None:
    columns, ranks = call.ints("factor_j"), call.ints("ranks")
    if not len(call.ints("factor_i")) == len(columns) == len(ranks) - 1 == _CORES:
        raise RefusalError("factor_i and factor_j are of three numbers, ranks of four")
    if min(*call.ints("factor_i"), *columns, *ranks) < 1 or ranks[0] != 1 or ranks[-1] != 1:
        raise RefusalError(f"ranks {ranks}")
    if call.int("emb_size", 64) != math.prod(columns):
        raise RefusalError(f"emb_size {call.int('emb_size', 64)} for rows of {math.prod(columns)} numbers")


RULES: Mapping[str, Rule] = {"TTSparseLengthsSum": sparse_lengths_sum}
