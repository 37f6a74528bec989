"""OpenNMT's encoders and decoders over whole sentences, against their Lua's loops written out in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.nngraph import Node, graph

import retorch
from building import module, torch_object
from golden_cases import check, flatten
from layers.rows import Row, named, noise, row_tests
from retorch.errors import UnsupportedError, UsageError
from retorch.module import Module
from retorch.torch7 import LuaTable, TorchObject

Rows = Iterator[tuple[str, Module, Any, Any]]
States = list[np.ndarray]
WORDS, SIZE = 7, 3


def gate(node: Node) -> Node:
    return Node(torch_object("nn.Tanh"), node)


def add(*nodes: Node) -> Node:
    return Node(torch_object("nn.CAddTable"), *nodes)


def half(node: Node) -> Node:
    return Node(torch_object("nn.MulConstant", constant_scalar=0.5), node)


def step(rng: np.random.Generator, rows: np.ndarray | None) -> TorchObject:
    """{c, h, x} ↦ {c', h'}: c' = c / 2 + tanh(rows[x]), h' = tanh(c' + h)"""
    c, h, x = (Node(torch_object("nn.Identity")) for _ in range(3))
    words = x if rows is None else Node(torch_object("nn.LookupTable", weight=rows), x)
    new = add(half(c), gate(words))
    return graph([c, h, x], [new, gate(add(new, h))], rng)


def stepped(x: np.ndarray) -> tuple[States, np.ndarray]:
    """The same over (N, T, C), from zeros on: the last states, and every h."""
    c = h = np.zeros((len(x), x.shape[2]))
    seen = []
    for t in range(x.shape[1]):
        c = c / 2 + np.tanh(x[:, t])
        h = np.tanh(c + h)
        seen.append(h)
    return [c, h], np.stack(seen, axis=1)


def encoder(made: TorchObject, states: int = 2) -> TorchObject:
    return torch_object("onmt.Encoder", modules=[made], args=LuaTable({"rnnSize": SIZE, "numStates": states}))


def both_ways(rng: np.random.Generator, merge: str, rows: States | None) -> TorchObject:
    inside = [encoder(step(rng, None if rows is None else own)) for own in (rows or [noise(rng, 1)] * 2)]
    return torch_object("onmt.BiEncoder", modules=inside, args=LuaTable({"brnn_merge": merge, "numStates": 2}))


def merged(merge: str, forth: np.ndarray, back: np.ndarray) -> tuple[States, np.ndarray]:
    (f, seen), (b, again) = stepped(forth), stepped(back[:, ::-1])
    join: Callable[[np.ndarray, np.ndarray], np.ndarray] = np.add
    if merge == "concat":
        join = lambda one, other: np.concatenate([one, other], axis=-1)  # noqa: E731
    return [join(*pair) for pair in zip(f, b, strict=True)], join(seen, again[:, ::-1])


def words(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(1, WORDS + 1, shape)


def one_way(rng: np.random.Generator) -> Rows:
    rows, x = noise(rng, WORDS, SIZE), words(rng, 2, 4)
    yield "words", module_of(encoder(step(rng, rows))), x, list(stepped(rows[x - 1]))
    vectors = noise(rng, 2, 1, SIZE)
    yield "one vector", module_of(encoder(step(rng, None))), vectors, list(stepped(vectors))


def with_features(rng: np.random.Generator) -> Rows:
    """{words, feature}: the step's input is a table too."""
    rows, x = [noise(rng, WORDS, SIZE) for _ in range(2)], [words(rng, 2, 4) for _ in range(2)]
    h, given = Node(torch_object("nn.Identity")), Node(torch_object("nn.Identity"))
    tables = [torch_object("nn.LookupTable", weight=own) for own in rows]
    both = Node(torch_object("nn.ParallelTable", modules=tables), given)
    out = gate(add(h, Node(torch_object("nn.CAddTable"), both)))
    y = np.zeros((2, SIZE))
    seen = []
    for t in range(4):
        y = np.tanh(y + rows[0][x[0][:, t] - 1] + rows[1][x[1][:, t] - 1])
        seen.append(y)
    yield "one state", module_of(encoder(graph([h, given], [out], rng), 1)), x, [[y], np.stack(seen, axis=1)]


def two_ways(rng: np.random.Generator) -> Rows:
    rows, x = [noise(rng, WORDS, SIZE) for _ in range(2)], words(rng, 2, 4)
    for merge in ("sum", "concat"):
        y = merged(merge, rows[0][x - 1], rows[1][x - 1])
        yield merge, module_of(both_ways(rng, merge, rows)), x, list(y)


def stacked(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 4, SIZE)
    first, context = merged("sum", x, x)
    bottom = both_ways(rng, "sum", None)
    net = torch_object("onmt.GoogleEncoder", modules=[bottom, encoder(step(rng, None))], args=LuaTable())
    last, seen = stepped(context)
    yield "Google", module_of(net), x, [[*first, *last], seen]
    for name, merge, times in (("D", "sum", 1), ("PD", "sum", 2)):
        args = LuaTable({"pdbrnn_reduction": times, "pdbrnn_merge": merge})
        net = torch_object(f"onmt.{name}BiEncoder", modules=[bottom, both_ways(rng, "sum", None)], args=args)
        given = context if times == 1 else context[:, :2] + context[:, 2:]
        last, seen = merged("sum", given, given)
        yield name, module_of(net), x, [[*first, *last], seen]


def side_by_side(rng: np.random.Generator) -> Rows:
    """``view(N, T / r, C · r)``: two words after each other make one of twice the size."""
    x = noise(rng, 2, 4, SIZE)
    first, context = merged("sum", x, x)
    inside = [encoder_of(SIZE), encoder_of(2 * SIZE)]
    pair = [torch_object("onmt.BiEncoder", modules=[i(rng), i(rng)], args=LuaTable({"merge": "sum"})) for i in inside]
    args = LuaTable({"pdbrnn_reduction": 2, "pdbrnn_merge": "concat"})
    last, seen = merged("sum", *[context.reshape(2, 2, 2 * SIZE)] * 2)
    yield "PD", module_of(torch_object("onmt.PDBiEncoder", modules=pair, args=args)), x, [[*first, *last], seen]


def encoder_of(size: int) -> Callable[[np.random.Generator], TorchObject]:
    args = LuaTable({"rnnSize": size, "numEffectiveLayers": 2})
    return lambda rng: torch_object("onmt.Encoder", modules=[step(rng, None)], args=args)


def convolutions(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 4, SIZE)
    given, lengths = Node(torch_object("nn.Identity")), Node(torch_object("nn.Identity"))
    rows = noise(rng, 3, SIZE)
    place = Node(torch_object("onmt.PositionEmbedding", weight=rows, max_pos=2, dimension=2), given, lengths)
    net = torch_object("onmt.CNNEncoder", modules=[graph([given, lengths], [add(given, place)], rng)], args=LuaTable())
    y = x + rows[[1, 2, 2, 2]]
    yield "positions", module_of(net), x, [[y.sum(axis=1)], y]


def decoders(rng: np.random.Generator) -> Rows:
    rows, y = noise(rng, WORDS, SIZE), words(rng, 2, 3)
    state, context = noise(rng, 2, SIZE), noise(rng, 2, 4, SIZE)
    for feed in (True, False):
        h, x, seen, fed = (Node(torch_object("nn.Identity")) for _ in range(4))
        look = Node(torch_object("nn.LookupTable", weight=rows), x)
        new = gate(add(h, look, *[fed] * feed))
        mean = Node(torch_object("nn.Mean", dimension=2), seen)
        made = graph([h, x, seen, *[fed] * feed], [new, gate(add(new, mean))], rng)
        args = LuaTable({"rnnSize": SIZE, "numStates": 1, "inputFeed": feed})
        net = torch_object("onmt.Decoder", modules=[made, torch_object("nn.Identity")], args=args)
        last, out, outs = state, np.zeros((2, SIZE)), []
        for t in range(3):
            last = np.tanh(last + rows[y[:, t] - 1] + (out if feed else 0))
            out = np.tanh(last + context.mean(axis=1))
            outs.append(out)
        yield f"fed {feed}", module_of(net), [y, [state], context], outs


def module_of(made: TorchObject) -> Module:
    return retorch.load(made)


ROWS = named(one_way, with_features, two_ways, stacked, side_by_side, convolutions, decoders)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


def checkpoint(rng: np.random.Generator, rows: np.ndarray) -> LuaTable:
    """What ``Saver:_save`` writes: tables that ``serialize`` made, without classes."""
    inside = [
        LuaTable({"name": "Encoder", "modules": LuaTable.of(step(rng, rows)), "args": made})
        for made in [LuaTable({"rnnSize": SIZE, "numStates": 2})] * 2
    ]
    args = LuaTable({"brnn_merge": "sum"})
    whole = LuaTable({"name": "BiEncoder", "modules": LuaTable.of(*inside), "args": args})
    scores = torch_object("onmt.Generator", net=torch_object("nn.ConcatTable", modules=[torch_object("nn.Tanh")]))
    decoder = LuaTable({"modules": LuaTable.of(step(rng, rows), scores), "args": LuaTable({"rnnSize": SIZE})})
    return LuaTable({"models": LuaTable({"encoder": whole, "decoder": decoder}), "options": LuaTable()})


def test_a_checkpoint_holds_them_as_tables(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows, x = noise(rng, WORDS, SIZE), words(rng, 2, 4)
    retorch.write(root := tmp_path / "model.t7", checkpoint(rng, rows))
    net = retorch.load(root, at="models.encoder")
    assert net.layer.typename == "onmt.BiEncoder"
    (_, context), (_, expected) = net.forward(x), merged("sum", rows[x - 1], rows[x - 1])
    np.testing.assert_allclose(context, expected, rtol=1e-5)
    assert {net.at, *net.alternatives} <= {"models.encoder", "models.decoder"}
    one = retorch.load(root, at="models.encoder.modules[1].modules[1]")
    zeros = np.zeros((2, SIZE))
    np.testing.assert_allclose(one.forward([zeros, zeros, x[:, 0]])[1], stepped(rows[x[:, :1] - 1])[0][1], rtol=1e-5)


def test_a_length_that_cannot_be_divided_is_refused() -> None:
    rng = np.random.default_rng(3)
    args = LuaTable({"pdbrnn_reduction": 2, "pdbrnn_merge": "sum"})
    net = module("onmt.PDBiEncoder", modules=[both_ways(rng, "sum", None)] * 2, args=args)
    with pytest.raises(UnsupportedError, match="3 cannot be divided"):
        net.forward(noise(rng, 1, 3, SIZE))


def sizes(x: Any) -> Any:
    """Of a nested input, those that the network says: the batch and the steps may be others."""
    return [sizes(item) for item in x] if isinstance(x, list) else x.shape[2:]


@pytest.mark.parametrize("row", [row for row in ROWS if "convolutions" not in row.name], ids=lambda row: row.name)
def test_the_sentences_that_it_takes_are_worked_out(row: Row) -> None:
    made = retorch.convert(row.net)
    shape = row.net.input_shape()
    assert sizes([np.zeros(given) for given in leaves(shape)]) == sizes(flatten(row.x))
    got = made.run(*[np.ones(given, x.dtype) for given, x in zip(leaves(shape), flatten(row.x), strict=True)])
    check(list(got), flatten(row.net.forward(ones(shape, row.x))), 1e-5)


def leaves(shape: Any) -> list[tuple[int, ...]]:
    return [shape] if isinstance(shape, tuple) else [leaf for item in shape for leaf in leaves(item)]


def ones(shape: Any, like: Any) -> Any:
    if isinstance(shape, tuple):
        return np.ones(shape, like.dtype)
    return [ones(given, x) for given, x in zip(shape, like, strict=True)]


def test_another_number_of_words_is_refused_by_sizes() -> None:
    net = ROWS[0].net
    made = retorch.convert(net, np.array([[1, 4, 2]]))
    with pytest.raises(UsageError, match="N×3 does not take 1×4"):
        made.run(np.array([[1, 4, 2, 6]]))
