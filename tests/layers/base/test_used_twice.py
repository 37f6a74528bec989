"""Modules that run twice in one pass: each hands out the one tensor, or the one table, that it owns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from benchmarks.nngraph import Node, graph

from building import module, sequential, torch_object
from layers.rows import named, noise, row_tests
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def scale(by: float, inplace: bool = False) -> Any:
    return torch_object("nn.MulConstant", constant_scalar=by, inplace=inplace)


def row(*modules: Any) -> Any:
    return torch_object("nn.Sequential", modules=list(modules))


def both(*modules: Any) -> Any:
    return torch_object("nn.ConcatTable", modules=list(modules))


def pick(index: int) -> Any:
    return torch_object("nn.SelectTable", index=index)


def views_in_two_branches(rng: np.random.Generator) -> Rows:
    """``self.output:view(input, …)`` and ``self.output:set(…)`` turn the tensor that the first branch was given."""
    x = noise(rng, 2, 3)
    for shared, y in [
        (torch_object("nn.View", size=(6,)), 3 * x.reshape(6)),
        (torch_object("nn.View", size=(-1,), numInputDims=1), 3 * x),
        (torch_object("nn.Unsqueeze", pos=2), 3 * x[:, None]),
        (torch_object("nn.GradientReversal"), 3 * x),
        (torch_object("nn.Contiguous"), 3 * x),
        (torch_object("nn.Replicate", nfeatures=2), 3 * np.stack([x, x])),
    ]:
        net = sequential(both(row(scale(2), shared), row(scale(3), shared)), torch_object("nn.CAddTable"))
        yield shared.typename, net, x, 2 * y


def copied_over_what_was_given(rng: np.random.Generator) -> Rows:
    """Contiguous.lua: ``self.output:set(input)``, or ``…:resizeAs(input):copy(input)`` into the same memory."""
    x = noise(rng, 2, 3)
    shared = torch_object("nn.Contiguous")
    rows = torch_object("nn.Replicate", nfeatures=4, dim=2), torch_object("nn.SplitTable", dimension=2)
    out_of_order = row(rows[0], scale(5), rows[1], pick(1), shared)
    reader = scale(7)
    yield "later", sequential(scale(2), both(shared, out_of_order, reader)), x, [10 * x, 10 * x, 70 * x]
    yield "earlier", sequential(scale(2), both(shared, reader, out_of_order)), x, [10 * x, 14 * x, 10 * x]
    # its own tensor is let go of: the second input is the output of both
    yield "own", sequential(scale(2), both(out_of_order, shared, reader)), x, [2 * x, 2 * x, 14 * x]


def tables_in_two_branches(rng: np.random.Generator) -> Rows:
    """``self.output[i] = …``: the table of the first branch holds what the second one made."""
    x = noise(rng, 2, 3)
    flat = torch_object("nn.FlattenTable")
    shared = both(torch_object("nn.Identity"), scale(5))
    net = sequential(both(row(scale(2), shared), row(scale(3), shared)), flat)
    yield "ConcatTable", net, x, [3 * x, 15 * x, 3 * x, 15 * x]
    pair = both(scale(2), scale(3)), both(scale(5), scale(7))
    for shared, y in [
        (torch_object("nn.ParallelTable", modules=[torch_object("nn.Identity"), scale(11)]), [5 * x, 77 * x]),
        (torch_object("nn.ReverseTable"), [7 * x, 5 * x]),
        (torch_object("nn.NarrowTable", offset=2), [7 * x]),
    ]:
        net = sequential(both(row(pair[0], shared), row(pair[1], shared)), flat)
        yield shared.typename, net, x, [*y, *y]
    first = Node(torch_object("nn.Identity"))
    shared = graph([first], [first, Node(scale(5), first)], rng)
    net = sequential(both(row(scale(2), shared), row(scale(3), shared)), flat)
    yield "gModule", net, x, [3 * x, 15 * x, 3 * x, 15 * x]


def new_tables_in_two_branches(rng: np.random.Generator) -> Rows:
    """``self.output = {}``: the first branch keeps its table."""
    x = noise(rng, 2, 3)
    for shared in torch_object("nn.ZipTable"), torch_object("nn.FlattenTable"):
        inside = [both(both(scale(a), scale(b))) for a, b in ((2, 3), (5, 7))]
        net = sequential(both(*[row(made, shared) for made in inside]), torch_object("nn.FlattenTable"))
        yield shared.typename, net, x, [2 * x, 3 * x, 5 * x, 7 * x]


def fed_with_its_own_table(rng: np.random.Generator) -> Rows:
    """The second module of the second run finds what the first one has just put into the table."""
    x, y = noise(rng, 2, 3), noise(rng, 2, 3)
    swap = both(pick(2), pick(1))
    yield "swap", sequential(swap, swap), [x, y], [x, x]
    step = both(row(torch_object("nn.CAddTable"), scale(2)), pick(1))
    once = 2 * (x + y)
    # then the first entry is 2 · (once + x), and the second is that too
    yield "step", sequential(step, step), [x, y], [2 * (once + x)] * 2
    parallel = torch_object("nn.ParallelTable", modules=[scale(2), scale(3)])
    yield "parallel", sequential(parallel, parallel), [x, y], [4 * x, 9 * y]


def added_to_its_own_sum(rng: np.random.Generator) -> Rows:
    """``self.output:set(input[1])`` comes first: a sum that stands further behind is x1 by then."""
    x = noise(rng, 2, 3)
    add = torch_object("nn.CAddTable", inplace=True)
    block = [row(both(scale(by), torch_object("nn.Identity")), add) for by in (2, 5)]
    yield "inplace", sequential(*block), x, 2 * 5 * 3 * x
    add = torch_object("nn.CAddTable")
    block = [row(both(scale(by), torch_object("nn.Identity")), add) for by in (2, 5)]
    yield "copied", sequential(*block), x, 2 * 5 * 3 * x
    for typename, y in [("nn.CMaxTable", 5 * np.maximum(2 * x, x)), ("nn.CMinTable", 5 * np.minimum(2 * x, x))]:
        shared = torch_object(typename)
        block = [row(both(scale(by), torch_object("nn.Identity")), shared) for by in (2, 5)]
        yield typename, sequential(*block), x, y
    shared = torch_object("nn.CSubTable")
    three = [both(scale(by), torch_object("nn.Identity"), scale(7)) for by in (2, 5)]
    # x1 - x2 of the first three is x; the third is not read
    yield "nn.CSubTable", sequential(three[0], shared, three[1], shared), x, np.zeros_like(x)


def clones(rng: np.random.Generator) -> Rows:
    """A clone of nn.MapTable owns its output; clones of the file have statistics of their own."""
    x, y = noise(rng, 4, 3), noise(rng, 4, 3)
    shared = torch_object("nn.MapTable", module=scale(5), modules=[])
    twice = both(row(both(scale(2), scale(3)), shared), row(both(scale(7), scale(11)), shared))
    net = sequential(twice, torch_object("nn.FlattenTable"))
    yield "twice", net, x, [35 * x, 55 * x, 35 * x, 55 * x]
    mean = [noise(rng, 3) for _ in range(2)]
    norms = [
        torch_object("nn.BatchNormalization", running_mean=m, running_var=np.ones(3, np.float32), eps=0.0) for m in mean
    ]
    net = module("nn.MapTable", module=norms[0], modules=norms)
    yield "statistics", net, [x, y, y], [x - mean[0], y - mean[1], y - mean[0]]
    # the first item runs the module itself, which the rest of the network may run too
    outside = torch_object("nn.MulConstant", constant_scalar=5)
    mapped = torch_object("nn.MapTable", module=outside, modules=[outside])
    net = sequential(both(outside, row(both(scale(2), scale(3)), mapped)), torch_object("nn.FlattenTable"))
    yield "module itself", net, x, [10 * x, 10 * x, 15 * x]


def one_copy_is_a_view(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 3)
    net = both(
        row(torch_object("nn.Replicate", nfeatures=1, dim=2), scale(3, inplace=True)), torch_object("nn.Identity")
    )
    yield "", sequential(scale(1), net), x, [3 * x[:, None], 3 * x]


def normalized_in_one_branch(rng: np.random.Generator) -> Rows:
    """Batch normalization gives its module's input four dimensions, and the module gives it three again."""
    x, mean = noise(rng, 3, 2, 4), noise(rng, 3)
    norm = torch_object("nn.SpatialBatchNormalization", running_mean=mean, running_var=np.ones(3, np.float32), eps=0.0)
    shared = torch_object("nn.Abs")
    branches = both(row(shared, norm), row(scale(2), shared), row(scale(3), shared))
    y = np.abs(x)
    yield "", sequential(branches), x, [(y - mean[:, None, None])[None], 3 * y, 3 * y]


def joined_by_position(rng: np.random.Generator) -> Rows:
    """``narrow(…):copy(…)`` asks for equally many elements only."""
    x, y, z = noise(rng, 2, 3), noise(rng, 2, 4, 1), noise(rng, 2, 3)
    joined = np.concatenate([x, y.reshape(2, 4)], 1)
    yield "table", module("nn.JoinTable", dimension=2), [x, y], joined
    heads = [torch_object("nn.SelectTable", index=1), torch_object("nn.SelectTable", index=2)]
    yield "concat", module("nn.Concat", dimension=2, modules=heads), [x, y], joined
    flat = torch_object("nn.Reshape", size=(3, 1), batchMode=False)
    net = module("nn.Parallel", inputDimension=1, outputDimension=1, modules=[torch_object("nn.Identity"), flat])
    yield "parallel", net, z, z.reshape(6)


ROWS = named(
    views_in_two_branches,
    copied_over_what_was_given,
    tables_in_two_branches,
    new_tables_in_two_branches,
    fed_with_its_own_table,
    added_to_its_own_sum,
    clones,
    one_copy_is_a_view,
    normalized_in_one_branch,
    joined_by_position,
)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)
