"""Whole sequences in one tensor (SeqLSTM, SeqGRU, torch-rnn's), single steps and masks, against loops."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from building import module, torch_object
from layers.rnn_modules import concat, fast_lstm, linear, plain, seq, sigmoid
from layers.rows import Row, named, noise, row_tests
from retorch.errors import UnsupportedError
from retorch.module import Module, bind

Rows = Iterator[tuple[str, Module, Any, Any]]
Wide = np.ndarray


def lstm(w: Wide, b: Wide, x: Wide, h: Wide, c: Wide, p: Wide | None = None, masked: bool = False) -> list[Wide]:
    """SeqLSTM.lua, sample by sample: gates i, f, o, g along a (D + R, 4H) weight. Gives every h, and the last c."""
    size = w.shape[1] // 4
    ys, cs = np.zeros((*x.shape[:2], h.shape[1])), np.zeros((x.shape[1], size))
    for n in range(x.shape[1]):
        hn, cn = h[n].astype(float), c[n].astype(float)
        for t in range(x.shape[0]):
            a = np.concatenate([x[t, n], hn]) @ w.astype(float) + b
            i, f, o = (sigmoid(a[k * size : (k + 1) * size]) for k in range(3))
            cn = f * cn + i * np.tanh(a[3 * size :])
            hn = o * np.tanh(cn)
            hn = hn if p is None else hn @ p.astype(float)
            if masked and not x[t, n].any():
                hn, cn = np.zeros_like(hn), np.zeros_like(cn)
            ys[t, n], cs[n] = hn, cn
    return [ys, cs]


def gru(w: Wide, b: Wide, x: Wide, h: Wide, masked: bool = False) -> Wide:
    """SeqGRU.lua, sample by sample: gates r, u and the candidate along the columns of a (D + H, 3H) weight."""
    size, d = w.shape[1] // 3, x.shape[2]
    ys = np.zeros((*x.shape[:2], size))
    w = w.astype(float)
    for n in range(x.shape[1]):
        hn = h[n].astype(float)
        for t in range(x.shape[0]):
            fed = x[t, n] @ w[:d] + b
            r, u = (sigmoid(fed[k : k + size] + hn @ w[d:, k : k + size]) for k in (0, size))
            new = np.tanh(fed[2 * size :] + (r * hn) @ w[d:, 2 * size :])
            hn = (1 - u) * new + u * hn
            if masked and not x[t, n].any():
                hn = np.zeros_like(hn)
            ys[t, n] = hn
    return ys


def torch_rnn_gru(w: Wide, b: Wide, x: Wide, h: Wide) -> Wide:
    """GRU.lua of torch-rnn: gates u, r and the candidate; u is the share of the candidate."""
    size, d, ys = w.shape[1] // 3, x.shape[2], np.zeros((*x.shape[:2], w.shape[1] // 3))
    (wu, wr, wn), (bu, br, bn) = np.split(w.astype(float), 3, axis=1), np.split(b.astype(float), 3)
    h = h.astype(float)
    for t in range(len(x)):
        both = np.hstack([x[t], h])
        u, r = sigmoid(both @ wu + bu), sigmoid(both @ wr + br)
        h = h + u * (np.tanh(x[t] @ wn[:d] + (r * h) @ wn[d:] + bn) - h)
        ys[t] = h
    assert size == h.shape[1]
    return ys


def vanilla(w: Wide, b: Wide, x: Wide, h: Wide) -> Wide:
    ys, before = np.zeros((*x.shape[:2], w.shape[1])), h.astype(float)
    for t in range(x.shape[0]):
        before = np.tanh(np.hstack([x[t], before]) @ w.astype(float) + b)
        ys[t] = before
    return ys


def sizes(rng: np.random.Generator) -> tuple[int, int, int, int]:
    return tuple(int(v) for v in rng.integers(1, 5, 4))  # type: ignore[return-value]


def with_gaps(rng: np.random.Generator, *shape: int) -> Wide:
    """A sequence of which some steps of some samples are empty."""
    x = noise(rng, *shape)
    x[rng.random(shape[:2]) < 0.3] = 0
    return x


def lstms(rng: np.random.Generator) -> Rows:
    for first, masked, project, given in itertools.product((False, True), (False, True), (False, True), range(3)):
        t, n, d, h = sizes(rng)
        r = int(rng.integers(1, 4)) if project else h
        w, b = noise(rng, d + r, 4 * h), noise(rng, 4 * h)
        p = noise(rng, h, r) if project else None
        x = with_gaps(rng, t, n, d) if masked else noise(rng, t, n, d)
        h0 = noise(rng, n, r) if given else np.zeros((n, r), np.float32)
        c0 = noise(rng, n, h) if given == 2 else np.zeros((n, h), np.float32)
        y = lstm(w, b, x, h0, c0, p, masked)[0]
        fields = {"weight": w, "bias": b, "batchfirst": first, "maskzero": masked, "inputsize": d, "outputsize": r}
        fields |= {"weightO": p, "hiddensize": h} if project else {}
        net = module("nn.SeqLSTMP" if project else "nn.SeqLSTM", **fields)
        x = x.swapaxes(0, 1) if first else x
        label = f"first{first}-masked{masked}-projected{project}"
        yield label, net, [x, [h0, x], [c0, h0, x]][given], y.swapaxes(0, 1) if first else y


def grus(rng: np.random.Generator) -> Rows:
    for first, masked, given in itertools.product((False, True), (False, True), range(3)):
        t, n, d, h = sizes(rng)
        w, b = noise(rng, d + h, 3 * h), noise(rng, 3 * h)
        x = with_gaps(rng, t, n, d) if masked else noise(rng, t, n, d)
        h0 = noise(rng, n, h) if given else np.zeros((n, h), np.float32)
        y = gru(w, b, x, h0, masked)
        kept = {"userPrevOutput": h0} if given == 2 else {}
        net = module("nn.SeqGRU", weight=w, bias=b, batchfirst=first, maskzero=masked, outputSize=h, **kept)
        x = x.swapaxes(0, 1) if first else x
        yield "", net, [h0, x] if given == 1 else x, y.swapaxes(0, 1) if first else y


def normalized_weights(rng: np.random.Generator) -> Rows:
    """SeqLSTM_WN and SeqGRU_WN: columns of v at length g, the rows of x and of h apart."""
    for name, gates in (("nn.SeqLSTM_WN", 4), ("nn.SeqGRU_WN", 3)):
        t, n, d, h = sizes(rng)
        v, g, b = noise(rng, d + h, gates * h), noise(rng, 2, gates * h), noise(rng, gates * h)
        w = np.empty(v.shape)
        for row, part in ((0, slice(0, d)), (1, slice(d, d + h))):
            for column in range(gates * h):
                w[part, column] = v[part, column] * g[row, column] / np.linalg.norm(v[part, column].astype(float))
        x, zeros = noise(rng, t, n, d), np.zeros((n, h))
        y = lstm(w, b, x, zeros, zeros)[0] if gates == 4 else gru(w, b, x, zeros)
        yield name, module(name, weight=noise(rng, *v.shape), v=v, g=g, bias=b), x, y


def torch_rnns(rng: np.random.Generator) -> Rows:
    """torch-rnn: (N, T, D)."""
    for name, given in itertools.product(("nn.LSTM", "nn.GRU", "nn.VanillaRNN"), range(4)):
        t, n, d, h = sizes(rng)
        gates = {"nn.LSTM": 4, "nn.GRU": 3}.get(name, 1)
        w, b, x = noise(rng, d + h, gates * h), noise(rng, gates * h), noise(rng, t, n, d)
        h0 = noise(rng, n, h) if given % 2 else np.zeros((n, h), np.float32)
        zeros = np.zeros((n, h))
        y = lstm(w, b, x, h0, zeros)[0] if gates == 4 else (torch_rnn_gru if gates == 3 else vanilla)(w, b, x, h0)
        net = module(name, weight=w, bias=b, input_dim=d, hidden_dim=h, remember_states=given > 1)
        x = np.ascontiguousarray(x.swapaxes(0, 1))
        yield name, net, [h0, x] if given % 2 else x, y.swapaxes(0, 1)


def first_seq_lstm(rng: np.random.Generator) -> Rows:
    """SeqLSTM of early 2016: (N, T, D), and no word of ``batchfirst``."""
    for remember in (False, True):
        t, n, d, h = sizes(rng)
        w, b, x, zeros = noise(rng, d + h, 4 * h), noise(rng, 4 * h), noise(rng, t, n, d), np.zeros((n, h))
        net = torch_object("nn.SeqLSTM", weight=w, bias=b, inputsize=d, outputsize=h, remember_states=remember)
        y = lstm(w, b, np.vstack([x, x]) if remember else x, zeros, zeros)[0][-t:].swapaxes(0, 1)
        yield "", bind(concat(net, net)), np.ascontiguousarray(x.swapaxes(0, 1)), [y, y]


def projected_by_normalized_weights(rng: np.random.Generator) -> Rows:
    """SeqLSTMP_WN: the columns of vO at length gO besides."""
    t, n, d, h = sizes(rng)
    w, b, v, g = noise(rng, d + 2, 4 * h), noise(rng, 4 * h), noise(rng, h, 2), noise(rng, 1, 2)
    lengths = np.stack([np.linalg.norm(part.astype(float), axis=0) for part in (w[:d], w[d:])])
    x, p = noise(rng, t, n, d), np.column_stack([v[:, k] * g[0, k] / np.linalg.norm(v[:, k]) for k in range(2)])
    y = lstm(w, b, x, np.zeros((n, 2)), np.zeros((n, h)), p)[0]
    fields = {"v": w, "g": lengths.astype(np.float32), "vO": v, "gO": g, "weightO": noise(rng, h, 2)}
    yield "", module("nn.SeqLSTMP_WN", weight=noise(rng, *w.shape), bias=b, hiddensize=h, outputsize=2, **fields), x, y


def both_ways(rng: np.random.Generator) -> Rows:
    """Two layers, the second one over the reversed sequence; merged as the file says."""
    for name, gates in (("nn.SeqBRNN", 4), ("nn.SeqBLSTM", 4), ("nn.SeqBGRU", 3), ("nn.BRNN", 4)):
        t, n, d, h = sizes(rng)
        x, zeros = noise(rng, t, n, d), np.zeros((n, h))
        layers, ys = [], []
        for steps in (x, x[::-1]):
            w, b = noise(rng, d + h, gates * h), noise(rng, gates * h)
            layers.append(plain("SeqLSTM" if gates == 4 else "SeqGRU", weight=w, bias=b))
            ys.append(lstm(w, b, steps, zeros, zeros)[0] if gates == 4 else gru(w, b, steps, zeros))
        turn = plain("SeqReverseSequence", dim=1) if name == "nn.SeqBRNN" else plain("ReverseSequence")
        turn = plain("ReverseSequence", dim=1) if name == "nn.BRNN" else turn
        back = seq(turn, layers[1], turn)
        back = back if name in ("nn.SeqBRNN", "nn.BRNN") else plain("ReverseUnreverse", modules=[back])
        whole = seq(concat(layers[0], back), plain("CAddTable"))
        yield name, bind(torch_object(name, modules=[whole])), x, ys[0] + ys[1][::-1]


def remembered(rng: np.random.Generator) -> Rows:
    """One layer called twice in a pass: the second sequence goes on where the first one ended, if it remembers."""
    for remember in ("neither", "both"):
        t, n, d, h = sizes(rng)
        w, b, x = noise(rng, d + h, 4 * h), noise(rng, 4 * h), noise(rng, t, n, d)
        net = torch_object("nn.SeqLSTM", weight=w, bias=b, outputsize=h, _remember=remember)
        zeros = np.zeros((n, h))
        last = lstm(w, b, np.vstack([x, x]) if remember == "both" else x, zeros, zeros)[0][-t:]
        yield remember, bind(concat(net, net)), x, [last, last]


def single_steps(rng: np.random.Generator) -> Rows:
    for masked in (False, True):
        _, n, d, h = sizes(rng)
        x = with_gaps(rng, 1, n + 2, d) if masked else noise(rng, 1, n + 2, d)
        h0, c0 = noise(rng, n + 2, h), noise(rng, n + 2, h)
        w, b = noise(rng, d + h, 4 * h), noise(rng, 4 * h)
        net = module("nn.StepLSTM", weight=w, bias=b, inputsize=d, outputsize=h, maskzero=masked)
        y, c = lstm(w, b, x, h0, c0, None, masked)
        yield "lstm", net, [x[0], h0, c0], [y[0], c]
        w, b = noise(rng, d + h, 3 * h), noise(rng, 3 * h)
        net = module("nn.StepGRU", weight=w, bias=b, inputsize=d, outputsize=h, maskzero=masked)
        yield "gru", net, [x[0], h0], gru(w, b, x, h0, masked)[0]


def steps_of_2017(rng: np.random.Generator) -> Rows:
    """RecLSTM and RecGRU: step modules with weights of their own, in a sequencer."""
    for masked in (False, True):
        t, n, d, h = sizes(rng)
        x, zeros = with_gaps(rng, t, n, d) if masked else noise(rng, t, n, d), np.zeros((n, h))
        for name, gates in (("LSTM", 4), ("GRU", 3)):
            w, b = noise(rng, d + h, gates * h), noise(rng, gates * h)
            inner = plain(f"Step{name}", weight=w, bias=b, maskzero=masked, v2=False)
            h0, c0 = noise(rng, n, h), noise(rng, n, h)
            for before in ((zeros, zeros), (h0, c0)):
                ys = lstm(w, b, x, *before, None, masked)[0] if gates == 4 else gru(w, b, x, before[0], masked)
                state = None if before[0] is zeros else [h0, c0] if gates == 4 else h0
                cell = plain(f"Rec{name}", modules=[inner], outputsize=h, hiddensize=h, startState=state)
                yield name, bind(plain("Sequencer", module=cell, modules=[cell])), list(x), list(ys)


def masks(rng: np.random.Generator) -> Rows:
    for name, rank in itertools.product(("nn.MaskZero", "nn.TrimZero"), (1, 2)):
        w, b = noise(rng, 3, 4), noise(rng, 3)
        inner = seq(linear(w, b), plain("Sigmoid"))
        for lead in ((5,), ()):
            x = noise(rng, *lead, 4) if rank == 1 else noise(rng, *lead, 2, 4)
            x[:: 2 if lead else 1] = 0
            if rank == 2:
                inner = plain("Sigmoid")
            y = sigmoid(x @ w.T.astype(float) + b) if rank == 1 else sigmoid(x.astype(float))
            y[:: 2 if lead else 1] = 0
            yield f"{name}-{rank}", module(name, module=inner, modules=[inner], nInputDim=rank), x, y
    inner, step = fast_lstm(rng, 3, 2)
    x, h, c = noise(rng, 4, 3), noise(rng, 4, 2), noise(rng, 4, 2)
    x[1] = 0
    ys = step(x.astype(float), h, c)
    for y in ys:
        y[1] = 0
    yield "states too", module("nn.MaskZero", modules=[inner], nInputDim=1), [x, h, c], ys
    yield "not at all", module("nn.MaskZero", modules=[inner], v2=True, zeroMask=False), [x, h, c], step(x, h, c)


def masks_of_other_sizes(rng: np.random.Generator) -> Rows:
    """An output with other dimensions than a sample's was once masked as a whole, where the first sample is empty."""
    for first, kept in itertools.product((0, 1), ({}, {"batchmode": True}, {"zeroMask": np.zeros((3, 1), np.uint8)})):
        x = noise(rng, 3, 2, 4)
        x[[2, 0][first]] = 0
        y = sigmoid(x.astype(float).max(axis=1))
        if "zeroMask" in kept:
            y = y * (1 - first)
        else:
            y[[2, 0][first]] = 0
        inner = seq(plain("Max", dimension=1, nInputDims=2), plain("Sigmoid"))
        yield f"other-{first}", module("nn.MaskZero", modules=[inner], nInputDim=2, **kept), x, y
    for x in (noise(rng, 4, 3), noise(rng, 3), np.zeros(3, np.float32)):
        x = x if x.ndim == 1 else np.vstack([x[:1] * 0, x])
        alive = x.any(axis=-1, keepdims=True)
        net = module("nn.MaskZero", modules=[seq(plain("SelectTable", index=1), plain("Sigmoid"))])
        yield "of 2015", net, [x, x], sigmoid(x.astype(float)) * alive


def small_ones(rng: np.random.Generator) -> Rows:
    x = noise(rng, 3, 4, 2)
    for dim in (1, 2, 3):
        wanted = (x[::-1], x[:, ::-1], x[:, :, ::-1])[dim - 1]
        yield f"dim{dim}", module("nn.SeqReverseSequence", dim=dim), x, wanted
        yield f"torch-rnn-dim{dim}", module("nn.ReverseSequence", dim=dim), x, wanted
    yield "tensor", module("nn.ReverseSequence"), x, x[::-1]
    yield "table", module("nn.ReverseSequence"), list(x), list(x[::-1])
    yield "", module("nn.SAdd", addend=-1, negate=True), x, 1 - x.astype(float)
    yield "", module("nn.SAdd", addend=2.5), x, x.astype(float) + 2.5
    for name in ("nn.NormStabilizer", "nn.CopyGrad"):
        yield name, module(name), x[0], x[0]


ROWS = named(
    lstms,
    grus,
    normalized_weights,
    torch_rnns,
    first_seq_lstm,
    projected_by_normalized_weights,
    both_ways,
    remembered,
    single_steps,
    steps_of_2017,
    masks,
    masks_of_other_sizes,
    small_ones,
)


test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


W, B = np.ones((5, 8), np.float32), np.ones(8, np.float32)


@pytest.mark.parametrize(
    ("net", "why"),
    [
        (module("nn.SeqLSTM", weight=W, bias=B, maskzero=True, v2=True), "mask of its empty steps from outside"),
        (module("nn.MaskZero", modules=[plain("Identity")], v2=True), "mask of its empty samples from outside"),
        (module("nn.MaskZero", modules=[plain("Identity")], maskinput=True), "masks its input in place"),
        (module("nn.MaskZero"), "has no module inside"),
        (module("nn.SeqLSTM", weight=W), "lacks its field 'weight' or 'bias'"),
        (module("nn.SeqLSTM", weight=np.ones((2, 8)), bias=B), "without rows for the input"),
        (module("nn.SeqLSTMP", weight=np.ones(40), bias=B), "a weight of 1 dimensions, not of two"),
        (module("nn.SeqReverseSequence", dim=4), "of which it knows 1 to 3"),
    ],
)
def test_what_cannot_be_run_says_why(net: Module, why: str) -> None:
    assert why in str(net.problems[0])


def test_sequences_of_other_dimensions_are_refused() -> None:
    net = module("nn.SeqLSTM", weight=W, bias=B)
    with pytest.raises(UnsupportedError, match="takes three dimensions, not 2"):
        net.forward(np.zeros((2, 3), np.float32))
    with pytest.raises(UnsupportedError, match="takes three dimensions, not 2"):
        Row("", net, np.zeros((2, 3), np.float32), None).agrees_converted()
    with pytest.raises(UnsupportedError, match="up to 2 states"):
        net.forward([np.zeros((1, 2))] * 4)
