"""Graphs of modules against the same graphs worked out in NumPy as they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from benchmarks.nngraph import Node, graph

from building import module, torch_object
from layers.rows import named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module, bind
from retorch.torch7 import LuaTable, TorchObject

Rows = Iterator[tuple[str, Module, Any, Any]]
Drawn = tuple[Node, np.ndarray]
WIDTH = 4


def identity() -> TorchObject:
    return torch_object("nn.Identity")


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _grow(rng: np.random.Generator, have: list[Drawn]) -> Drawn:
    """One more node on some of those that are there, and what it gives."""
    node, x = have[int(rng.integers(len(have)))]
    other, y = have[int(rng.integers(len(have)))]
    kind = rng.choice(["Linear", "Tanh", "Sigmoid", "CAddTable", "CMulTable", "JoinTable", "Split", "Identity"])
    if kind == "Linear":
        w, b = noise(rng, WIDTH, WIDTH) * np.float32(0.5), noise(rng, WIDTH)
        return Node(torch_object("nn.Linear", weight=w, bias=b), node), x @ w.T.astype(float) + b
    if kind in ("CAddTable", "CMulTable") and other is not node:
        return Node(torch_object(f"nn.{kind}"), node, other), x + y if kind == "CAddTable" else x * y
    if kind == "JoinTable" and other is not node:
        joined = Node(torch_object("nn.JoinTable", dimension=2), node, other)
        return Node(torch_object("nn.Narrow", dimension=2, index=2, length=WIDTH), joined), np.hstack([x, y])[:, 1:5]
    if kind == "Split":
        parts = Node(torch_object("nn.SplitTable", dimension=2), node).split(WIDTH)
        picked = [parts[i] for i in range(WIDTH)]
        back = Node(torch_object("nn.JoinTable", dimension=1), *picked[::-1])
        return Node(torch_object("nn.View", size=(WIDTH, -1)), back), x.T[::-1]
    function = {"Tanh": np.tanh, "Sigmoid": sigmoid}.get(str(kind), lambda v: v)
    return Node(torch_object(f"nn.{kind}" if kind in ("Tanh", "Sigmoid") else "nn.Identity"), node), function(x)


def random_graphs(rng: np.random.Generator) -> Rows:
    for at in range(120):
        # the Split of above turns (N, 4) over, so that the batch is as wide as the features
        xs = [noise(rng, WIDTH, WIDTH) for _ in range(int(rng.integers(1, 4)))]
        have: list[Drawn] = [(Node(identity()), x.astype(float)) for x in xs]
        inputs = [node for node, _ in have]
        for _ in range(int(rng.integers(2, 12))):
            have.append(_grow(rng, have))
        loose = [d for d in have if not d[0].children]
        old = bool(at % 3 == 0)
        net = bind(graph(inputs, [node for node, _ in loose], rng, old))
        expected = [y for _, y in loose]
        yield "old" if old else "new", net, xs if len(xs) > 1 else xs[0], expected if len(loose) > 1 else expected[0]


def _cell(rng: np.random.Generator, d: int, h: int) -> tuple[TorchObject, Callable[..., list[np.ndarray]]]:
    """The LSTM of char-rnn: {x, c, h} to {c, h}."""
    x, c, h_ = Node(identity()), Node(identity()), Node(identity())
    (wi, bi), (wh, bh) = ((noise(rng, 4 * h, k), noise(rng, 4 * h)) for k in (d, h))
    sums = Node(
        torch_object("nn.CAddTable"),
        Node(torch_object("nn.Linear", weight=wi, bias=bi), x),
        Node(torch_object("nn.Linear", weight=wh, bias=bh), h_),
    )
    cut = Node(torch_object("nn.Reshape", size=(4, h), nelement=4 * h), sums)
    i, f, o, g = Node(torch_object("nn.SplitTable", dimension=2), cut).split(4)
    gates = [Node(torch_object("nn.Sigmoid"), n) for n in (i, f, o)]
    written = Node(torch_object("nn.CMulTable"), gates[0], Node(torch_object("nn.Tanh"), g))
    c2 = Node(torch_object("nn.CAddTable"), Node(torch_object("nn.CMulTable"), gates[1], c), written)
    h2 = Node(torch_object("nn.CMulTable"), gates[2], Node(torch_object("nn.Tanh"), c2))

    def step(x: np.ndarray, c: np.ndarray, h0: np.ndarray) -> list[np.ndarray]:
        a = x @ wi.T.astype(float) + bi + h0 @ wh.T.astype(float) + bh
        i, f, o = (sigmoid(a[:, k * h : (k + 1) * h]) for k in range(3))
        c = f * c + i * np.tanh(a[:, 3 * h :])
        return [c, o * np.tanh(c)]

    return graph([x, c, h_], [c2, h2], rng), step


def nested_cells(rng: np.random.Generator) -> Rows:
    """Two cells as nodes of a graph around them, whose outputs are split again."""
    for _ in range(12):
        n, d, h = (int(v) for v in rng.integers(1, 5, 3))
        (first, step1), (second, step2) = _cell(rng, d, h), _cell(rng, h, h)
        ins = [Node(identity()) for _ in range(5)]
        c1, h1 = Node(first, *ins[:3]).split(2)
        c2, h2 = Node(second, h1, *ins[3:]).split(2)
        net = bind(graph(ins, [c1, h1, c2, h2], rng))
        x = [noise(rng, n, k) for k in (d, h, h, h, h)]
        below = step1(*x[:3])
        yield "", net, x, [*below, *step2(below[1], *x[3:])]


def tables(rng: np.random.Generator) -> Rows:
    """Nodes without modules pass on what they are given: one input as it is, several as a table."""
    x = [noise(rng, 2, 3), noise(rng, 2, 3)]
    a, b = Node(identity()), Node(identity())
    pair = Node(None, a, b)
    yield "table", bind(graph([a, b], [Node(identity(), pair), a], rng)), x, [[x[0], x[1]], x[0]]
    a = Node(identity())
    yield "one", bind(graph([a], [Node(None, a)], rng)), x[0], x[0]
    a = Node(identity())
    both = a.split(2)
    yield "given a table", bind(graph([a], both[::-1], rng)), x, x[::-1]
    a = Node(identity())
    row = Node(None, a, selectindex=2)
    yield "old files select from tensors", bind(graph([a], [row], rng, old=True)), x[0], x[0][1]


def shared_module(rng: np.random.Generator) -> Rows:
    """A module that is two nodes has one output: the second call overwrites what the first one gave."""
    x = [noise(rng, 2, 3), noise(rng, 2, 3)]
    tanh = torch_object("nn.Tanh")
    a, b = Node(identity()), Node(identity())
    first = Node(tanh, a)
    second = Node(tanh, Node(torch_object("nn.CAddTable"), first, b))
    wanted = np.tanh(np.tanh(x[0].astype(float)) + x[1])
    yield "", bind(graph([a, b], [first, second], rng)), x, [wanted, wanted]


ROWS = named(random_graphs, nested_cells, tables, shared_module)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


def _two() -> Module:
    a, b = Node(identity()), Node(identity())
    return bind(graph([a, b], [Node(torch_object("nn.CAddTable"), a, b)], np.random.default_rng(0)))


def test_a_wrong_number_of_inputs_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="takes a table of 2 inputs"):
        _two().forward([np.zeros(3), np.zeros(3), np.zeros(3)])
    with pytest.raises(UnsupportedError, match="takes a table of 2 inputs"):
        _two().forward(np.zeros(3))


def test_a_triplet_network_is_a_graph_with_what_it_was_made_of() -> None:
    made = _two().layer.raw
    fields = {**made.fields, "num": 2, "nets": LuaTable(), "EmbeddingNet": identity(), "distMetric": identity()}
    net = bind(TorchObject("nn.TripletNet", fields))
    assert not net.problems and not net.notes
    assert np.array_equal(net.forward([np.ones(3), np.full(3, 2.0)]), np.full(3, 3.0))


def test_a_split_of_another_table_is_refused() -> None:
    a = Node(identity())
    net = bind(graph([a], a.split(3), np.random.default_rng(0)))
    with pytest.raises(UnsupportedError, match="splits into 3"):
        net.forward([np.zeros(2), np.zeros(2)])


def test_a_criterion_as_a_node_is_a_problem() -> None:
    a = Node(identity())
    odd = Node(None, a, criterion=torch_object("nn.MSECriterion"))
    net = bind(graph([a], [odd], np.random.default_rng(0)))
    assert "criterion" in net.problems[0].reason


def test_a_graph_without_its_nodes_is_a_problem() -> None:
    empty = torch_object("nngraph.Node")
    net = module("nn.gModule", forwardnodes=LuaTable(), innode=empty, outnode=empty)
    assert "node without data" in net.problems[0].reason


def test_modules_are_found_under_the_path_that_lua_would_write() -> None:
    assert [at.path for at in _two().layers()] == ["", "modules[1]", "modules[2]", "modules[3]"]


def test_a_module_that_only_a_node_knows_has_the_nodes_path() -> None:
    a = Node(identity())
    stored = graph([a], [Node(torch_object("nn.Tanh"), a)], np.random.default_rng(0))
    stored["modules"] = LuaTable()
    assert [at.path for at in bind(stored).layers()] == [
        "",
        "forwardnodes[2].data.module",
        "forwardnodes[3].data.module",
    ]


def test_a_graph_that_goes_round_says_where() -> None:
    first = Node(identity())
    raw = graph([first], [Node(torch_object("nn.Tanh"), first)], np.random.default_rng(1))
    nodes = raw["forwardnodes"]
    last = len(nodes)
    nodes[last]["children"] = LuaTable.of(nodes[1])
    (problem,) = bind(raw).problems
    assert problem.reason == f"has a cycle: forwardnodes[{last}] feeds forwardnodes[1], which runs before it"
