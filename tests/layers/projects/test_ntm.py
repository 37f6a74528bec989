"""What the heads of neural Turing machines compute, element by element as their Lua."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from benchmarks.nngraph import Node, graph

from building import module, torch_object
from layers.rows import named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module

Rows = Iterator[tuple[str, Module, Any, Any]]


def circular(rng: np.random.Generator) -> Rows:
    for size, taps in ((5, 3), (4, 3), (6, 1), (7, 5), (3, 2), (3, 3)):
        v, k = noise(rng, size), noise(rng, taps)
        y = np.zeros(size)
        for i in range(1, size + 1):
            for j in range(1, taps + 1):
                at = i + taps // 2 - j + 1
                at += size if at < 1 else -size if at > size else 0
                y[i - 1] += float(k[j - 1]) * float(v[at - 1])
        yield f"{size}-{taps}", module("nn.CircularConvolution", size=size), [v, k], y


def outer(rng: np.random.Generator) -> Rows:
    u, v, w = noise(rng, 2), noise(rng, 3), noise(rng, 4)
    yield "2", module("nn.OuterProd"), [u, v], np.array([[float(a) * float(b) for b in v] for a in u])
    three = [[[float(a) * float(b) * float(c) for c in w] for b in v] for a in u]
    yield "3", module("nn.OuterProd"), [u, v, w], np.array(three)


def by_numbers(rng: np.random.Generator) -> Rows:
    for shape in ((4,), (2, 3)):
        v = np.abs(noise(rng, *shape)) + np.float32(0.1)
        for numbers in (np.array([1.7], np.float32), np.array([0.6, 5.0], np.float32)):
            s = float(numbers[0])
            wide = v.astype(float)
            yield f"{shape}-{s:.1f}-pow", module("nn.PowTable"), [v, numbers], np.exp(s * np.log(wide))
            yield f"{shape}-{s:.1f}-mul", module("nn.ScalarMulTable"), [v, numbers], wide * s
            yield f"{shape}-{s:.1f}-div", module("nn.ScalarDivTable"), [v, numbers], wide / s


def cosines(rng: np.random.Generator) -> Rows:
    for smooth in (1e-3, 0.5):
        m, k = noise(rng, 4, 3), noise(rng, 3)
        m[1] = 0
        y: list[float] = []
        for row in m.astype(float):
            dot = sum(float(a) * float(b) for a, b in zip(row, k, strict=True))
            size = math.sqrt(sum(float(a) ** 2 for a in row)) * math.sqrt(sum(float(b) ** 2 for b in k))
            y.append(dot / (size + smooth))
        yield f"{smooth}", module("nn.SmoothCosineSimilarity", smooth=smooth), [m, k], np.array(y)


def printers(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 3)
    yield "print", module("nn.Print", label="here"), x, x


def machines(rng: np.random.Generator) -> Rows:
    """NTM.lua's ``forward``, once and once more: a memory of rows, and a place in it that the step moves."""
    weight = noise(rng, 3, 2)
    start = graph_of_states(rng, weight)
    x, memory, place = (Node(torch_object("nn.Identity")) for _ in range(3))
    moved = Node(torch_object("nn.SoftMax"), Node(torch_object("nn.CAddTable"), place, x))
    held = Node(torch_object("nn.CAddTable"), memory, Node(torch_object("nn.OuterProd"), moved, x))
    read = Node(torch_object("nn.Sum", dimension=1), memory)
    cell = graph([x, memory, place], [read, held, moved], rng)
    net = module("ntm.NTM", master_cell=cell, init_module=start, cells=[], depth=0, mem_rows=3)
    given = noise(rng, 3, 3)
    held_by_now, at, outs = np.tanh(weight[:, :1] @ np.ones((1, 3))), np.tanh(weight[:, 1]), []
    for step in given.astype(float):
        outs.append(held_by_now.sum(axis=0))
        at = np.exp(at + step) / np.exp(at + step).sum()
        held_by_now = held_by_now + np.outer(at, step)
    yield "steps", net, given, np.array(outs)
    yield "one", net, given[0], outs[0]


def graph_of_states(rng: np.random.Generator, weight: np.ndarray) -> Any:
    """{output, memory, place} of zero, as ``new_init_module`` makes them: Tanh of a Linear's bias."""
    zero = Node(torch_object("nn.Identity"))

    def begun(bias: np.ndarray) -> Node:
        linear = torch_object("nn.Linear", weight=noise(rng, bias.size, 1), bias=bias)
        return Node(torch_object("nn.Tanh"), Node(linear, zero))

    rows = Node(torch_object("nn.View", size=(3, 3)), begun(np.repeat(weight[:, 0], 3)))
    return graph([zero], [begun(weight[:, 0]), rows, begun(weight[:, 1])], rng)


ROWS = named(machines, circular, outer, by_numbers, cosines, printers)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


@pytest.mark.parametrize(
    ("net", "shapes"),
    [
        (module("nn.CircularConvolution"), [(2,), (9,)]),
        (module("nn.OuterProd"), [(2,)]),
        (module("nn.SmoothCosineSimilarity"), [(3,), (3,)]),
    ],
    ids=["around twice", "one vector", "no matrix"],
)
def test_inputs_that_do_not_fit(net: Module, shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(UnsupportedError):
        net.forward([np.zeros(shape, np.float32) for shape in shapes])
