"""Which modules leave the batch open when they are converted, and run at another batch size than the example's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import retorch
from building import module, reference, sequential, torch_object
from golden_cases import check, flatten
from layers.rows import noise
from retorch.module import Module

RNG = np.random.default_rng(2)
IDENTITY = torch_object("nn.Identity")


def linear(rows: int, columns: int) -> Any:
    return torch_object("nn.Linear", weight=noise(RNG, rows, columns), bias=noise(RNG, rows))


#: Modules and the sizes of their inputs without the batch.
OPEN: list[tuple[Module, list[tuple[int, ...]]]] = [
    (module("nn.View", size=(12,)), [(3, 4)]),
    (module("nn.View", size=(12,), numInputDims=2), [(3, 4)]),
    (module("nn.View", size=(-1, 12)), [(3, 4)]),
    (module("nn.View", size=(-1,), numInputDims=3), [(2, 3, 4)]),
    (module("nn.View", size=(6,)), [(3, 4)]),
    (module("nn.Reshape", size=(2, 6)), [(3, 4)]),
    (module("nn.Reshape", size=(2, 6), batchMode=True), [(3, 4)]),
    (module("nn.Collapse", nInputDim=2), [(3, 4)]),
    (module("nn.Transpose", permutations=[[2, 3]]), [(3, 4)]),
    (module("nn.Squeeze", dim=2), [(1, 4)]),
    (module("nn.Squeeze", numInputDims=2), [(1, 4)]),
    (module("nn.Unsqueeze", pos=1, numInputDims=2), [(3, 4)]),
    (module("nn.Narrow", dimension=2, index=2, length=2), [(3, 4)]),
    (module("nn.Narrow", dimension=1, index=1, length=-1), [(3, 4)]),
    (module("nn.Select", dimension=3, index=-1), [(3, 4)]),
    (module("nn.Replicate", nfeatures=3, dim=2), [(3, 4)]),
    (module("nn.Convert", inputShape="bchw", outputShape="bf"), [(2, 3, 4)]),
    (module("nn.SplitTable", dimension=2), [(3, 4)]),
    (module("nn.JoinTable", dimension=2), [(3, 4), (2, 4)]),
    (module("nn.CAddTable"), [(3, 4), (12,)]),
    (module("nn.MixtureTable", dim=3), [(3,), (2, 3, 4)]),
    (sequential(linear(3, 4)), [(4,)]),
    (module("nn.Bilinear", weight=noise(RNG, 2, 3, 4)), [(3,), (4,)]),
    (module("nn.Euclidean", weight=noise(RNG, 3, 4)), [(3,)]),
    (module("nn.Cosine", weight=noise(RNG, 4, 3)), [(3,)]),
    (module("nn.MM"), [(2, 3), (3, 4)]),
    (module("nn.MV"), [(2, 3), (3,)]),
    (module("nn.CosineDistance"), [(3,), (3,)]),
    (module("nn.PairwiseDistance", norm=3), [(3,), (3,)]),
    (module("nn.Concat", dimension=2, modules=[IDENTITY, IDENTITY]), [(3, 4)]),
    (module("nn.Parallel", inputDimension=2, outputDimension=2, modules=[linear(2, 4), linear(5, 4)]), [(2, 4)]),
    (module("nn.Bottle", modules=[linear(2, 4)], nInputDim=2, nOutputDim=2), [(3, 4)]),
    (module("nn.MapTable", module=linear(2, 4), modules=[]), [(4,), (4,)]),
    # a table's views in place: what is written back must not hold the batch size either
    (
        sequential(
            torch_object(
                "nn.ConcatTable",
                modules=[
                    torch_object(
                        "nn.Sequential",
                        modules=[torch_object("nn.View", size=(12,)), torch_object("nn.ReLU", inplace=True)],
                    ),
                    IDENTITY,
                ],
            )
        ),
        [(3, 4)],
    ),
]

#: Modules whose output depends on the batch otherwise than by its size: they hold for the example's only.
CLOSED: list[tuple[Module, list[tuple[int, ...]]]] = [
    (module("nn.View", size=(2, 12)), [(3, 4)]),
    (module("nn.Reshape", size=(6, 4), batchMode=False), [(3, 4)]),
    (module("nn.SplitTable", dimension=1), [(3, 4)]),
    (module("nn.Narrow", dimension=1, index=2, length=1), [(3, 4)]),
]


def inputs(sizes: list[tuple[int, ...]], batch: int) -> Any:
    made = [noise(RNG, batch, *size) for size in sizes]
    return made if len(made) > 1 else made[0]


@pytest.mark.parametrize(("net", "sizes"), OPEN, ids=[str(n.layer) for n, _ in OPEN])
def test_the_batch_is_left_open(net: Module, sizes: list[tuple[int, ...]]) -> None:
    network = retorch.convert(net, inputs(sizes, 2), fold=False)
    assert [port.shape[0] for port in network.inputs if port.shape] == ["N"] * len(sizes)
    # a batch of one is another matter: nn.View without numInputDims then drops it
    for batch in (2, 3, 5):
        x = inputs(sizes, batch)
        check(reference(net, x), network.run(*flatten(x)), 1e-5)


TIME_FIRST = [
    module("nn.SeqLSTM", weight=noise(RNG, 7, 12), bias=noise(RNG, 12), inputsize=4, outputsize=3),
    module("nn.Sequencer", modules=[torch_object("nn.Recursor", module=linear(3, 4), modules=[linear(3, 4)])]),
]


@pytest.mark.parametrize("net", TIME_FIRST, ids=[net.layer.typename for net in TIME_FIRST])
@pytest.mark.parametrize("example", [1, 2, 3])
def test_the_batch_behind_the_time_is_left_open(net: Module, example: int) -> None:
    network = retorch.convert(net, (5, example, 4), fold=False)
    assert [port.shape for port in network.inputs] == [(5, "N", 4)]
    for batch in (1, 2, 4):
        x = noise(RNG, 5, batch, 4)
        check(reference(net, x), network.run(x), 1e-5)


@pytest.mark.parametrize(("net", "sizes"), CLOSED, ids=[str(n.layer) for n, _ in CLOSED])
def test_the_batch_is_fixed_where_it_matters(net: Module, sizes: list[tuple[int, ...]]) -> None:
    x = inputs(sizes, 2)
    network = retorch.convert(net, x, fold=False)
    assert all(isinstance(size, int) for port in network.inputs for size in port.shape or ())
    check(reference(net, x), network.run(*flatten(x)), 1e-5)
