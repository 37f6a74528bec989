"""Matrix products; Caffe2 flattens where NumPy would broadcast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import Graph, RefusalError, axis_of, rank, size


def matrix(graph: Graph, x: ir.Value, axis: int) -> ir.Value:
    """x as a matrix: dimensions before ``axis`` are the rows, the rest the columns."""
    return x if rank(x) == 2 and axis == 1 else graph.op("Flatten", x, axis=axis)


def fully_connected(call: Call) -> ir.Value:
    """X as a matrix at ``axis``, times W transposed, plus b; the dimensions before ``axis`` stay."""
    return _linear(call, transposed=True)


def fully_connected_transposed(call: Call) -> ir.Value:
    """As FC, with W stored (inputs, outputs)."""
    return _linear(call, transposed=False)


def _linear(call: Call, *, transposed: bool) -> ir.Value:
    g, x, weight, bias = call.graph, call.input(0), call.input(1), call.input(2)
    axis = axis_of(x, call.int("axis", 1))
    weight = matrix(g, weight, axis_of(weight, call.int("axis_w", 1)))
    y = g.op("Gemm", matrix(g, x, axis), weight, bias, transB=int(transposed))
    if axis == 1:
        return y
    if axis == 0:
        return g.reshape(y, (-1,))
    lead = g.shape_of(x, 0, axis)
    if lead.const_value is not None:
        return g.reshape(y, (*lead.const_value.numpy().tolist(), -1))
    result = g.op("Reshape", y, g.op("Concat", lead, g.constant([-1]), axis=0))
    known = x.shape
    if known is not None and y.shape is not None:
        result.shape = ir.Shape([*known[:axis], y.shape[1]])
    return result


def matmul(call: Call) -> ir.Value:
    """The product of two matrices: A flattened at ``axis_a``, B at ``axis_b``, each transposed where asked."""
    g = call.graph
    a = matrix(g, call.input(0), axis_of(call.input(0), call.int("axis_a", 1)))
    b = matrix(g, call.input(1), axis_of(call.input(1), call.int("axis_b", 1)))
    if call.int("trans_a", 0):
        a = g.transpose(a, (1, 0))
    if call.int("trans_b", 0):
        b = g.transpose(b, (1, 0))
    return g.op("MatMul", a, b)


def batch_matmul(call: Call) -> ir.Value:
    """Products of the last two dimensions, batch by batch; batches broadcast only with ``broadcast``."""
    a, b = call.input(0), call.input(1)
    if not call.int("broadcast", 0) and rank(a) != rank(b):
        raise RefusalError(f"BatchMatMul of {rank(a)} and {rank(b)} dimensions without broadcast")
    if call.int("trans_a", 0):
        a = _swapped(call.graph, a)
    if call.int("trans_b", 0):
        b = _swapped(call.graph, b)
    y = call.graph.op("MatMul", a, b)
    if rank(a) == 1 and rank(b) == 1:
        # Caffe2 gives the product of two vectors one dimension.
        return call.graph.reshape(y, (1,))
    return y


def _swapped(graph: Graph, x: ir.Value) -> ir.Value:
    last = rank(x)
    if last < 2:
        return x
    return graph.transpose(x, (*range(last - 2), last - 1, last - 2))


def elementwise_linear(call: Call) -> ir.Value:
    """X as a matrix at ``axis``, each column times a number of its own and plus another one."""
    g, x = call.graph, call.x
    axis = axis_of(x, call.int("axis", 1))
    y = g.op("Add", g.op("Mul", matrix(g, x, axis), call.input(1)), call.input(2))
    return y if rank(x) == 2 and axis == 1 else g.reshape_like(y, x)


def dot_product(call: Call) -> ir.Value:
    """One sum of products per row."""
    g = call.graph
    product = g.op("Mul", call.x, call.input(1))
    if rank(call.x) == 1:
        return product
    return g.op("ReduceSum", product, g.constant(list(range(1, rank(call.x)))), keepdims=0)


def _rows(call: Call) -> Sequence[ir.Value]:
    """The first two inputs; of vectors each number is a row."""
    return [call.graph.unsqueeze(side, 1) if rank(side) == 1 else side for side in call.inputs[:2]]


def cosine_similarity(call: Call) -> ir.Value:
    """x·y / (|x| |y|) per row, each norm at least 1e-12."""
    g, (x, y) = call.graph, _rows(call)
    rest = g.constant(list(range(1, rank(x))))
    norms = [g.op("Max", g.op("ReduceL2", side, rest, keepdims=0), g.scalar(1e-12, x)) for side in (x, y)]
    dot = g.op("ReduceSum", g.op("Mul", x, y), rest, keepdims=0)
    return g.op("Div", g.op("Div", dot, norms[0]), norms[1])


def l1_distance(call: Call) -> ir.Value:
    """The sum of |x - y| per row."""
    g = call.graph
    gap = g.op("Sub", *_rows(call))
    return g.op("ReduceL1", gap, g.constant(list(range(1, rank(gap)))), keepdims=0)


def squared_l2_distance(call: Call) -> ir.Value:
    """Half the sum of (x - y)^2 per row."""
    g = call.graph
    gap = g.op("Sub", *_rows(call))
    total = g.op("ReduceSumSquare", gap, g.constant(list(range(1, rank(gap)))), keepdims=0)
    return g.op("Mul", total, g.scalar(0.5, call.x))


def dot_product_with_padding(call: Call) -> ir.Value:
    """The dot product of rows, the shorter ones filled up with ``pad_value``, or with themselves (``replicate``)."""
    g, (a, b) = call.graph, sorted(_rows(call), key=lambda x: size(x, 1))
    short, long = size(a, 1), size(b, 1)
    if call.int("replicate", 0):
        if short == 0 or long % short:
            raise RefusalError(f"{long} columns are not a multiple of {short}")
        a = g.op("Concat", *[a] * (long // short), axis=1)
    elif long > short:
        pads = g.constant([0, 0, 0, long - short])
        a = g.op("Pad", a, pads, g.scalar(call.float("pad_value", 0.0), a))
    return g.op("ReduceSum", g.op("Mul", a, b), g.constant([1]), keepdims=0)


def concat_products(call: Call) -> ir.Value:
    """All dot products between the inputs after the first, of each example; those that the first input numbers."""
    g = call.graph
    rows = g.op("Concat", *(g.unsqueeze(x, 1) for x in call.inputs[1:]), axis=1)
    if rank(rows) > 3:
        rows = g.reshape(rows, (0, 0, -1))
    products = g.op("MatMul", rows, g.transpose(rows, (0, 2, 1)))
    return g.op("Gather", g.reshape(products, (0, -1)), call.x, axis=1)


def tensor_train(call: Call) -> ir.Value:
    """x times a matrix that is a product of cores, plus a bias. Inputs: x, bias, the cores after each other."""
    g, cores = call.graph, call.input(2)
    ins, outs, ranks = (call.ints(name) for name in ("inp_sizes", "out_sizes", "tt_ranks"))
    if not ins or len(ins) != len(outs) or len(ranks) != len(ins) + 1 or min(*ins, *outs, *ranks) < 1:
        raise RefusalError(f"inp_sizes {ins}, out_sizes {outs}, tt_ranks {ranks}")
    y, begin = g.reshape(call.x, (-1,)), 0
    for at in reversed(range(len(ins))):
        rows, columns = ins[at] * ranks[at + 1], ranks[at] * outs[at]
        core = g.reshape(g.slice(cores, 0, begin, begin + rows * columns), (rows, columns))
        product = g.reshape(g.op("MatMul", g.reshape(y, (-1, rows)), core), (-1, outs[at]))
        y, begin = g.reshape(g.transpose(product, (1, 0)), (-1,)), begin + rows * columns
    batch = g.op("Concat", g.shape_of(call.x, 0, 1), g.constant([-1]), axis=0)
    spread = g.op("Reshape", y, batch)
    spread.shape = ir.Shape([None, None])
    swapped = g.op("Reshape", g.transpose(spread, (1, 0)), batch)
    return g.op("Add", swapped, call.input(1))


RULES: Mapping[str, Rule] = {
    "DotProductWithPadding": dot_product_with_padding,
    "ConcatBatchMatMulBatchGatherOp": concat_products,
    "TT": tensor_train,
    "FC": fully_connected,
    "FCTransposed": fully_connected_transposed,
    "MatMul": matmul,
    "BatchMatMul": batch_matmul,
    "ElementwiseLinear": elementwise_linear,
    "DotProduct": dot_product,
    "CosineSimilarity": cosine_similarity,
    "L1Distance": l1_distance,
    "SquaredL2Distance": squared_l2_distance,
}
