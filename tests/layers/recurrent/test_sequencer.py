"""The package rnn: step modules and sequencers, against loops over the formulas of its documentation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from building import module, reference, stored, torch_object
from layers.rnn_modules import (
    concat,
    fast_lstm,
    gru,
    linear,
    para,
    peephole_lstm,
    plain,
    select,
    seq,
    sigmoid,
    steps,
)
from layers.rows import Row, named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module, bind
from retorch.torch7 import TorchObject

Rows = Iterator[tuple[str, Module, Any, Any]]

#: Class, inner module and its formula, how many tensors the state has.
STEPS = [
    ("nn.FastLSTM", fast_lstm, 2),
    ("nn.LSTM", peephole_lstm, 2),
    ("nn.LSTM", fast_lstm, 2),
    ("nn.GRU", gru, 1),
    ("nn.MuFuRu", gru, 1),
]


def sizes(rng: np.random.Generator) -> tuple[int, int, int, int]:
    """N, D, H, T; H is more than one, which Reshape would take for a batch."""
    return int(rng.choice([1, 3])), int(rng.integers(1, 5)), int(rng.integers(2, 5)), int(rng.integers(1, 5))


def stepper(name: str, inner: TorchObject, h: int, **more: Any) -> TorchObject:
    return torch_object(name, modules=[inner], recurrentModule=inner, outputSize=h, step=1, rho=9999, **more)


def sequencer(inner: TorchObject, **more: Any) -> TorchObject:
    return torch_object("nn.Sequencer", module=inner, modules=[inner], **more)


def alone(rng: np.random.Generator) -> Rows:
    """A step module without a sequencer makes its first step."""
    for (name, make, count), batched in itertools.product(STEPS, (True, False)):
        n, d, h, _ = sizes(rng)
        inner, step = make(rng, d, h)
        lead = (n,) if batched else ()
        x = noise(rng, *lead, d)
        yield name, bind(stepper(name, inner, h)), x, steps(step, [x], [np.zeros((*lead, h))] * count)[0]


def clones(rng: np.random.Generator) -> Rows:
    """MapTable runs clones: each has a state of its own."""
    inner, step = gru(rng, 2, 3)
    x, zeros = noise(rng, 3, 2, 2), [np.zeros((2, 3))]
    cell = stepper("nn.GRU", inner, 3)
    yield "", bind(torch_object("nn.MapTable", module=cell, modules=[cell])), list(x), [step(v, *zeros)[0] for v in x]


def sequences(rng: np.random.Generator) -> Rows:
    """Tables of steps, and tensors with the steps first."""
    for (name, make, count), as_table, _ in itertools.product(STEPS, (True, False), range(4)):
        n, d, h, t = sizes(rng)
        inner, step = make(rng, d, h)
        x = noise(rng, t, n, d)
        ys = steps(step, x, [np.zeros((n, h))] * count)
        net = bind(sequencer(stepper(name, inner, h)))
        yield name, net, list(x) if as_table else x, ys if as_table else np.stack(ys)


def given_states(rng: np.random.Generator) -> Rows:
    """States that the user has set stand in the file; cleared ones are empty."""
    for (name, make, count), kept in itertools.product(STEPS[:4], (True, False)):
        n, d, h, t = sizes(rng)
        inner, step = make(rng, d, h)
        x, states = noise(rng, t, n, d), [noise(rng, n, h) for _ in range(count)]
        fields = ("userPrevOutput", "userPrevCell")[:count]
        stored = {f: s if kept else np.zeros(0, np.float32) for f, s in zip(fields, states, strict=True)}
        net = bind(sequencer(stepper(name, inner, h, **stored)))
        yield name, net, list(x), steps(step, x, states if kept else [np.zeros((n, h))] * count)


def stacks(rng: np.random.Generator) -> Rows:
    """A recursor around two recurrent modules: each keeps its own state."""
    for _ in range(6):
        n, d, h, t = sizes(rng)
        (first, step1), (second, step2) = fast_lstm(rng, d, h), gru(rng, h, h)
        both = seq(stepper("nn.FastLSTM", first, h), stepper("nn.GRU", second, h))
        x = noise(rng, t, n, d)
        below = steps(step1, x, [np.zeros((n, h))] * 2)
        recursor = torch_object("nn.Recursor", module=both, modules=[both], recurrentModule=both)
        yield "", bind(sequencer(recursor)), list(x), steps(step2, below, [np.zeros((n, h))])


def without_memory(rng: np.random.Generator) -> Rows:
    w, b = noise(rng, 3, 4), noise(rng, 3)
    x = noise(rng, 2, 5, 4)
    layer = seq(linear(w, b), plain("ReLU"))
    inner = torch_object("nn.Recursor", module=layer, modules=[layer], recurrentModule=layer)
    wanted = [np.maximum(v @ w.T.astype(float) + b, 0) for v in x]
    yield "recursor", bind(sequencer(inner)), list(x), wanted
    yield "sequencer of 2015", bind(sequencer(layer, isRecurrent=False, sharedClones=[layer])), list(x), wanted
    yield "alone", bind(inner), x[0], wanted[0]
    twice = concat(plain("Identity"), layer)
    yield "tables", bind(sequencer(twice)), list(x), [[a, b] for a, b in zip(x, wanted, strict=True)]


def recurrents(rng: np.random.Generator) -> Rows:
    """y = σ(W x + s) first, then y = σ(W x + R y)."""
    for t in range(1, 5):
        n, d, h, _ = sizes(rng)
        w, b, r, s = noise(rng, h, d), noise(rng, h), noise(rng, h, h), noise(rng, h)
        inputs, transfer = linear(w, b), plain("Sigmoid")
        first = seq(linear(w, b), plain("Add", bias=s), plain("Sigmoid"))
        later = seq(para(inputs, linear(r)), plain("CAddTable"), transfer)
        x = noise(rng, t, n, d)
        ys: list[np.ndarray] = []
        for v in x.astype(float):
            more = ys[-1] @ r.T if ys else s
            ys.append(sigmoid(v @ w.T + b + more))
        net = torch_object("nn.Recurrent", initialModule=first, recurrentModule=later, modules=[first])
        yield "", bind(sequencer(net)), list(x), ys


def recurrences(rng: np.random.Generator) -> Rows:
    for name, size in (("nn.Recurrence", (3,)), ("nn.LinearRNN", [3]), ("nn.LookupRNN", [3]), ("nn.Recurrence", 3)):
        w, b = noise(rng, 3, 7), noise(rng, 3)
        inner = seq(plain("JoinTable", dimension=1, nInputDims=1), linear(w, b), plain("Tanh"))
        net = torch_object(name, modules=[inner], recurrentModule=inner, outputSize=size, nInputDim=1)
        for lead in ((), (2,)):
            for y in (np.zeros((*lead, 3), np.float32), noise(rng, *lead, 3)):
                net["userPrevOutput"] = None
                net["startState" if name == "nn.LookupRNN" else "userPrevOutput"] = y if y.any() else y[:0, ...]
                x, ys = noise(rng, 3, *lead, 4), []
                for v in x.astype(float):
                    y = np.tanh(np.concatenate([v, y], -1) @ w.T + b)
                    ys.append(y)
                yield name, bind(sequencer(net)), list(x), ys


def recurrences_of_tables(rng: np.random.Generator) -> Rows:
    """{x, {a, b}} to {b + x, a · b}, from zeros of (2, 3) each, or from a table that is given.

    The new a stands where the old one stood, so the product reads the new one; but the last version of rnn hands the
    module a copy of its output.
    """
    ahead = seq(concat(seq(select(2), select(2)), select(1)), plain("CAddTable"))
    inner = concat(ahead, seq(select(2), plain("CMulTable")))
    for lead, given in itertools.product(((), (4,)), ("", "userPrevOutput", "startState")):
        net = torch_object("nn.Recurrence", modules=[inner], outputSize=[[2, 3], [2, 3]], nInputDim=2)
        net["recurrentModule"] = None if given == "startState" else inner
        x = noise(rng, 3, *lead, 2, 3)
        a, b = (noise(rng, *lead, 2, 3) if given else np.zeros((*lead, 2, 3)) for _ in "ab")
        net[given or "startState"] = stored([a, b]) if given else None
        ys = []
        for t, v in enumerate(x.astype(float)):
            read = a if t == 0 or given == "startState" else b + v
            a, b = b + v, read * b
            ys.append([a, b])
        yield "", bind(sequencer(net)), list(x), ys


def repeaters(rng: np.random.Generator) -> Rows:
    for rho in (1, 2, 4):
        n, d, h, _ = sizes(rng)
        inner, step = gru(rng, d, h)
        cell = stepper("nn.GRU", inner, h)
        x = noise(rng, n, d)
        net = bind(torch_object("nn.Repeater", module=cell, modules=[cell], rho=rho))
        yield "", net, x, steps(step, [x] * rho, [np.zeros((n, h))])
        for count in ("nStep", "seqlen"):
            net = bind(torch_object("nn.Repeater", modules=[cell], **{count: rho}))
            yield count, net, x, steps(step, [x] * rho, [np.zeros((n, h))])


def both_ways(rng: np.random.Generator) -> Rows:
    for t in range(2, 6):
        n, d, h, _ = sizes(rng)
        (ahead, step1), (back, step2) = fast_lstm(rng, d, h), fast_lstm(rng, d, h)
        ahead, back = sequencer(stepper("nn.FastLSTM", ahead, h)), sequencer(stepper("nn.FastLSTM", back, h))
        merge = sequencer(plain("JoinTable", dimension=1, nInputDims=1))
        turned = seq(plain("ReverseTable"), back, plain("ReverseTable"))
        x, zeros = noise(rng, t, n, d), [np.zeros((n, h))] * 2
        f, b = steps(step1, x, zeros), steps(step2, x[::-1], zeros)[::-1]
        whole = seq(concat(ahead, turned), plain("ZipTable"), merge)
        net = bind(torch_object("nn.BiSequencer", module=whole, modules=[whole]))
        yield "all", net, list(x), [np.hstack(v) for v in zip(f, b, strict=True)]

        f, b = steps(step1, x[:-1], zeros), steps(step2, x[:0:-1], zeros)[::-1]
        lm = torch_object("nn.BiSequencerLM", modules=[ahead, turned, seq(plain("ZipTable"), merge)])
        pairs = zip([zeros[0], *f], [*b, zeros[0]], strict=True)
        yield "all but itself", bind(lm), list(x), [np.hstack(v) for v in pairs]


def remembering(rng: np.random.Generator) -> Rows:
    """One sequencer, called twice: what it remembers, and that its second outputs overwrite the first."""
    for remember in ("neither", "train", "eval", "both"):
        n, d, h, t = sizes(rng)
        inner, step = gru(rng, d, h)
        once = sequencer(stepper("nn.GRU", inner, h), _remember=remember)
        x = noise(rng, t, n, d)
        repeated = [*x, *x] if remember in ("eval", "both") else x
        ys = steps(step, repeated, [np.zeros((n, h))])[-t:]
        # the first outputs live on in a copy of their sum only
        yield remember, bind(concat(once, once)), list(x), [ys, ys]


def attention(rng: np.random.Generator) -> Rows:
    """Every step's output is one tensor: at evaluation the table holds the last one, again and again."""
    for count, forwards in ((1, False), (3, False), (1, True)):
        n, d, h, _ = sizes(rng)
        (wa, ba), (wr, br) = (noise(rng, 2, h), noise(rng, 2)), (noise(rng, h, d + 2), noise(rng, h))
        action = seq(linear(wa, ba), plain("Tanh"), plain("ReinforceNormal", stdev=0.1))
        rnn = seq(plain("JoinTable", dimension=2), linear(wr, br), plain("Sigmoid"))
        fields = {"nStep": count, "hiddenSize": [h], "forwardActions": forwards}
        net = bind(torch_object("nn.RecurrentAttention", rnn=rnn, action=action, **fields))
        x, y = noise(rng, n, d), np.zeros((n, h))
        for _ in range(count):
            where = np.tanh(y @ wa.T + ba)
            y = sigmoid(np.hstack([x, where]) @ wr.T.astype(float) + br)
        yield "", net, x, [[y, where] if forwards else y] * count


def small_ones(rng: np.random.Generator) -> Rows:
    x = noise(rng, 2, 3)
    yield "element", module("nngraph.JustElement"), [x], x
    yield "table", module("nngraph.JustTable"), x, [x]
    for name in ("nn.ReinforceCategorical", "nn.ReinforceBernoulli", "nn.ReinforceNormal"):
        yield name, module(name), x, x
    scale = noise(rng, 3)
    yield "scale", module("nn.ReinforceGamma", scale=2.5), x, 2.5 * x.astype(float)
    yield "scales", module("nn.ReinforceGamma", scale=scale), x, x.astype(float) * scale
    yield "given scale", module("nn.ReinforceGamma"), [x, x + 1], x.astype(float) * (x + 1)
    yield "mean and deviation", module("nn.ReinforceNormal"), [x, x + 1], x
    yield "rows", module("nn.ExpandAs"), [x, x[:, :1]], [x, np.repeat(x[:, :1], 3, 1)]
    yield "columns", module("nn.ExpandAs"), [x, x[:1]], [x, np.repeat(x[:1], 2, 0)]


ROWS = named(
    alone,
    attention,
    small_ones,
    clones,
    sequences,
    given_states,
    stacks,
    without_memory,
    recurrents,
    recurrences,
    recurrences_of_tables,
    repeaters,
    both_ways,
    remembering,
)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


def test_every_pass_starts_from_forgotten_states() -> None:
    rng = np.random.default_rng(1)
    inner, _ = fast_lstm(rng, 2, 3)
    net, x = bind(stepper("nn.FastLSTM", inner, 3)), noise(rng, 2, 2)
    assert np.array_equal(reference(net, x)[0], reference(net, x)[0])


def test_a_layer_that_remembers_says_that_it_starts_anew() -> None:
    inner = plain("Identity")
    net = bind(sequencer(inner, _remember="both"))
    assert net.notes == ("(root) nn.Sequencer: goes on where its last sequence ended; here it starts anew",)


def test_an_initial_state_for_another_batch_is_refused() -> None:
    rng = np.random.default_rng(2)
    inner, _ = fast_lstm(rng, 2, 3)
    net = bind(stepper("nn.FastLSTM", inner, 3, userPrevOutput=noise(rng, 1, 3)))
    with pytest.raises(UnsupportedError, match="holds an initial state of"):
        net.forward(noise(rng, 4, 2))
    with pytest.raises(UnsupportedError, match="holds an initial state of"):
        Row("", net, noise(rng, 4, 2), None).agrees_converted()


@pytest.mark.parametrize(
    ("net", "why"),
    [
        (module("nn.FastLSTM", outputSize=3), "lacks its field 'modules'"),
        (module("nn.LSTM", outputSize=3), "neither the class of the package rnn nor that of torch-rnn"),
        (module("nn.BiSequencerLM", modules=[]), "should hold three modules"),
        (module("nn.ReinforceCategorical", stochastic=True), "draws samples at evaluation too"),
        (module("nn.ReinforceGamma", scale="x"), "neither a number nor a tensor"),
        (module("nn.Recurrence", modules=[plain("Identity")], outputSize="x", nInputDim=1), "size of its output"),
    ],
)
def test_what_cannot_be_run_says_why(net: Module, why: str) -> None:
    assert why in str(net.problems[0])


def test_a_recurrence_of_other_dimensions_is_refused() -> None:
    inner = plain("SelectTable", index=1)
    net = module("nn.Recurrence", modules=[inner], outputSize=[3], nInputDim=1)
    with pytest.raises(UnsupportedError, match="takes inputs of 1 dimensions"):
        net.forward(np.zeros((2, 3, 4)))
