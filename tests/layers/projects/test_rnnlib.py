"""rnnlib's tables of states and sequences, and fbcunn's modules, as their Lua."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import retorch
from building import module, torch_object
from layers.rows import named, noise, row_tests
from retorch.module import Module
from retorch.torch7 import TorchObject

Rows = Iterator[tuple[str, Module, Any, Any]]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def layers_of(rng: np.random.Generator, mode: str, size: int, hidden: int, count: int) -> tuple[TorchObject, list[Any]]:
    """A cuDNN module, and of each layer W, R and the sum of its biases, by gate."""
    gates = 4 if mode == "CUDNN_LSTM" else 1
    widths = [size] + [hidden] * (count - 1)
    matrices = [(noise(rng, gates, hidden, width), noise(rng, gates, hidden, hidden)) for width in widths]
    biases = [(noise(rng, gates, hidden), noise(rng, gates, hidden)) for _ in widths]
    flat = np.concatenate([m.ravel() for pair in (*matrices, *biases) for m in pair])
    fields = {"weight": flat, "inputSize": size, "hiddenSize": hidden, "numLayers": count, "mode": mode}
    summed = [(w, r, b.astype(float) + d) for (w, r), (b, d) in zip(matrices, biases, strict=True)]
    return torch_object("cudnn.RNN", **fields), summed


def stepped(parts: list[Any], lstm: bool, xs: list[np.ndarray], h: np.ndarray, c: np.ndarray) -> list[Any]:
    """Layer by layer and step by step: the last layer's outputs, and all layers' last h and c."""
    h, c, ys = h.astype(float), c.astype(float), [x.astype(float) for x in xs]
    for at, (w, r, b) in enumerate(parts):
        made = []
        for x in ys:
            z = [x @ w[k].T + h[at] @ r[k].T + b[k] for k in range(len(w))]
            if lstm:
                i, f, g, o = sigmoid(z[0]), sigmoid(z[1]), np.tanh(z[2]), sigmoid(z[3])
                c[at] = f * c[at] + i * g
                h[at] = o * np.tanh(c[at])
            else:
                h[at] = np.tanh(z[0])
            made.append(h[at].copy())
        ys = made
    return [ys, h, c]


def around(*inside: TorchObject, size: int) -> list[TorchObject]:
    view = torch_object("nn.View", size=(1, -1, size), numElements=-size)
    first = [torch_object("nn.MapTable", module=view, modules=[view]), torch_object("nn.JoinTable", dimension=1)]
    return [*first, *inside, torch_object("nn.SplitTable", dimension=1)]


def states(rng: np.random.Generator) -> Rows:
    for mode, count in [("CUDNN_RNN_TANH", 1), ("CUDNN_RNN_TANH", 2), ("CUDNN_LSTM", 1), ("CUDNN_LSTM", 2)]:
        lstm = mode == "CUDNN_LSTM"
        rnn, parts = layers_of(rng, mode, 3, 4, count)
        xs, h, c = [noise(rng, 2, 3) for _ in range(3)], noise(rng, count, 2, 4), noise(rng, count, 2, 4)
        ys, last_h, last_c = stepped(parts, lstm, xs, h, c)
        given, ended = ([c, h], [last_c, last_h]) if lstm else (h, last_h)
        table = module("nn.CudnnRnnTable", modules=around(rnn, size=3), rnn=rnn)
        yield f"table-{mode}-{count}", table, [given, xs], [ended, ys]
        wrapped = module("nn.WrappedCudnnRnn", modules=around(rnn, size=3), rnns=[rnn], nmodules=1, saveHidden=False)
        yield f"wrapped-{mode}-{count}", wrapped, [[given], xs], [[ended], [ys]]
    first, one = layers_of(rng, "CUDNN_RNN_TANH", 3, 4, 1)
    second, two = layers_of(rng, "CUDNN_RNN_TANH", 4, 5, 1)
    h1, h2 = noise(rng, 1, 2, 4), noise(rng, 1, 2, 5)
    ys, end1, _ = stepped(one, False, xs, h1, h1)
    ys, end2, _ = stepped(two, False, ys, h2, h2)
    net = module("nn.WrappedCudnnRnn", modules=around(first, second, size=3), rnns=[first, second], nmodules=2)
    yield "two", net, [[h1, h2], xs], [[end1, end2], [ys]]


def growing() -> TorchObject:
    """{a, x} ↦ {a x + a, a x + a}, rnnlib's own example."""
    product = torch_object("nn.CMulTable")
    first = torch_object("nn.SelectTable", index=1)
    both = torch_object("nn.ConcatTable", modules=[product, first])
    twice = torch_object("nn.ConcatTable", modules=[torch_object("nn.Identity"), torch_object("nn.Identity")])
    added = torch_object("nn.CAddTable", inplace=False)
    return torch_object("nn.Sequential", modules=[both, added, twice])


def sequences(rng: np.random.Generator) -> Rows:
    a, steps = np.array([2.0], np.float32), [np.array([n], np.float32) for n in (1, 2, 3, 4)]
    wanted = [np.array([n]) for n in (4, 12, 48, 240)]
    yield "recurrent", module("nn.RecurrentTable", dim=2, modules=[growing()]), [a, steps], [wanted, wanted]
    own = module("nn.SequenceTable", dim=2, modules=[growing() for _ in range(4)])
    yield "sequence", own, [a, steps], [wanted, wanted]
    yield "one", module("nn.RecurrentTable", dim=2, modules=[growing()]), [a, steps[1]], [[np.array([6])]] * 2


def of_fbcunn(rng: np.random.Generator) -> Rows:
    x, weight, bias = noise(rng, 2, 3, 5, 6), noise(rng, 4, 3, 2, 3), noise(rng, 4)
    padded = np.pad(x.astype(float), ((0, 0), (0, 0), (1, 1), (2, 2)))
    y = np.zeros((2, 4, 6, 8))
    for n, o, i, j in np.ndindex(*y.shape):
        y[n, o, i, j] = (padded[n, :, i : i + 2, j : j + 3] * weight[o]).sum() + float(bias[o])
    fields = {"kW": 3, "kH": 2, "dW": 1, "dH": 1, "padLeft": 2, "padUp": 1, "weight": weight, "bias": bias}
    for name in (
        "FFT",
        "CuFFT",
        "FBFFT",
        "FBFFTGemm",
        *(f"FFTTiled{kind}" for kind in ("", "Sync", "Async", "Iterated")),
    ):
        yield name, module(f"nn.SpatialConvolution{name}", **fields, padRight=2, padDown=1, timeSteps=[]), x, y
    yield "tuned", module("fbnn.SpatialConvolution", **fields, inputPlanes=3, outputPlanes=4), x, y
    frames, kernel = noise(rng, 2, 5, 3), noise(rng, 4, 2, 3)
    y = np.array(
        [
            [[(s[t : t + 2] * k).sum() + float(b) for k, b in zip(kernel, bias, strict=True)] for t in (0, 2)]
            for s in frames.astype(float)
        ]
    )
    yield "frames", module("nn.TemporalConvolutionFB", kW=2, dW=2, weight=kernel, bias=bias), frames, y[:, :2]
    for k, dynamic, kept in [(2, -1, 2), (1, 0.5, 3)]:
        y = np.zeros((2, kept, 3))
        for n, c in np.ndindex(2, 3):
            y[n, :, c] = frames[n, sorted(sorted(range(5), key=lambda t: -frames[n, t, c])[:kept]), c]
        yield f"largest-{k}", module("nn.TemporalKMaxPooling", k=k, k_dynamic=dynamic), frames, y
    table, words = noise(rng, 5, 4), np.array([[1, 5], [2, 6]], np.int64)
    rows = np.vstack([table, np.zeros(4)])[words - 1]
    for swapped in (False, True):
        net = module("nn.LookupTableGPU", weight=table, nInput=5, nOutput=4, featuresInDim2=swapped, unk_index=6)
        yield f"lookup-{swapped}", net, words, rows.swapaxes(1, 2) if swapped else rows
    parts = [torch_object("nn.MulConstant", constant_scalar=n, inplace=False) for n in (2, 3)]
    both = np.concatenate([2 * frames.astype(float), 3 * frames.astype(float)], axis=1)
    yield "parallel", module("nn.ModelParallel", modules=parts, dimension=2, gpu_assignments=[1, 2]), frames, both


ROWS = named(states, sequences, of_fbcunn)

test_formula, test_conversion, test_in_caffe2 = row_tests(ROWS)


def test_a_sequence_that_a_function_begins_is_refused() -> None:
    begun = retorch.TorchObject("nn.RecurrentTable", {"dim": 2, "initfun": retorch.LuaFunction(b"", None)})
    begun["modules"] = retorch.LuaTable.of(growing())
    assert "a Lua function stored in the file" in retorch.load(begun).problems[0].reason
