"""HieCoAttenVQA's levels, step by step as their Lua."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from benchmarks.nngraph import Node, graph

from building import module, torch_object
from layers.rows import named, noise, row_tests
from retorch.module import Module
from retorch.torch7 import TorchObject

Rows = Iterator[tuple[str, Module, Any, Any]]
SIZE = 3


def attention(rng: np.random.Generator) -> TorchObject:
    """{q, p, mask} ↦ {q + p, 2 · q, 3 · p}: for its place among the outputs, not for what attention is."""
    q, p, mask = (Node(torch_object("nn.Identity")) for _ in range(3))
    both = Node(torch_object("nn.CAddTable"), q, p)
    twice = Node(torch_object("nn.MulConstant", constant_scalar=2), q)
    unseen = Node(torch_object("nn.MulConstant", constant_scalar=1), mask)
    thrice = Node(torch_object("nn.MulConstant", constant_scalar=3), p)
    return graph([q, p, mask], [both, twice, thrice, unseen], rng)


def words(rng: np.random.Generator) -> Rows:
    rows = noise(rng, 5, SIZE)
    x = np.array([[1, 4, 0], [5, 0, 0]])
    table = torch_object("nn.LookupTableMaskZero", weight=np.concatenate([np.zeros((1, SIZE), np.float32), rows]))
    half = torch_object("nn.MulConstant", constant_scalar=0.5)
    net = module("nn.word_level", LE=table, cnn=half, atten=attention(rng), hidden_size=SIZE, seq_length=3)
    picture = noise(rng, 2, 3, SIZE)
    e = np.where((x == 0)[..., None], 0, rows[x - 1])
    mask = (x == 0).astype(float)
    yield "two", net, [x, picture], [e, picture / 2, e + picture / 2, 2 * e, mask, picture * 1.5, mask]


def phrases(rng: np.random.Generator) -> Rows:
    tanh = torch_object("nn.Tanh")
    net = module("nn.phrase_level", conv=tanh, atten=attention(rng), hidden_size=SIZE, seq_length=2)
    q, p, mask = noise(rng, 2, 2, SIZE), noise(rng, 2, 2, SIZE), np.array([[0, 0], [0, 1]], np.float32)
    made = np.tanh(q.astype(float))
    yield "two", net, [q, np.array([2, 1]), p, mask], [made, made + p, 2 * made, 3 * p, mask]


def core(rng: np.random.Generator) -> TorchObject:
    """{x, c, h} ↦ {c', h', h'}: c' = c / 2 + x + 1, h' = tanh(c' + h)."""
    x, c, h = (Node(torch_object("nn.Identity")) for _ in range(3))
    half = Node(torch_object("nn.MulConstant", constant_scalar=0.5), c)
    one = Node(torch_object("nn.AddConstant", constant_scalar=1), x)
    new = Node(torch_object("nn.CAddTable"), half, one)
    out = Node(torch_object("nn.Tanh"), Node(torch_object("nn.CAddTable"), new, h))
    return graph([x, c, h], [new, out, Node(torch_object("nn.Identity"), out)], rng)


def questions(rng: np.random.Generator) -> Rows:
    q, p = noise(rng, 2, 4, SIZE), noise(rng, 2, 4, SIZE)
    net = module("nn.ques_level", core=core(rng), atten=attention(rng), rnn_size=SIZE, num_layers=1, seq_length=4)
    for lengths, gone in (([3, 1], [[0, 0, 0, 1], [0, 1, 1, 1]]), ([2, 3], [[1, 0, 1, 1], [0, 0, 0, 0]])):
        mask = np.array(gone, np.float32)
        c = h = np.zeros((2, SIZE))
        seen = np.zeros((2, 4, SIZE))
        for t in range(1, max(lengths) + 1):
            c = c / 2 + q[:, t - 1] + 1
            h = np.tanh(c + h)
            if t > min(lengths):
                c[mask[:, t - 1] == 1] = 0
                h[mask[:, t - 1] == 1] = 0
            seen[:, t - 1] = h
        yield f"{lengths}", net, [q, np.array(lengths), p, mask], [seen + p, 2 * seen, 3 * p, mask]


def wrapped(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 3)
    for typename, field in (("nn.recursive_atten", "atten_encode"), ("nn.cnnModel", "cnn_part")):
        inside = torch_object("nn.MulConstant", constant_scalar=2)
        yield typename, module(typename, **{field: inside}), x, 2 * x


ROWS = named(words, phrases, questions, wrapped)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)
