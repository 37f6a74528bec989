"""A module used again on its own output, changed in place: Torch's code reads from where it writes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import retorch
from building import reference, sequential, through_caffe2, through_onnx, torch_object
from golden_cases import check
from layers.rows import noise
from retorch.errors import UnsupportedError

Loop = Callable[[np.ndarray, np.ndarray], None]


def sampled(seed: int) -> tuple[np.random.Generator, np.ndarray]:
    rng = np.random.default_rng(seed)
    batch, channels, height, width = (int(rng.integers(1, most + 1)) for most in (3, 4, 7, 7))
    return rng, noise(rng, batch, channels, height + 2, width + 2)


def maxima(x: np.ndarray, y: np.ndarray) -> None:
    """THNN's SpatialDilatedMaxPooling_updateOutput_frame, 3x3 with padding 1: each maximum is stored at once."""
    for channel in np.ndindex(*x.shape[:2]):
        for i, j in np.ndindex(*x.shape[2:]):
            best = -np.inf
            for r in range(max(i - 1, 0), min(i + 2, x.shape[2])):
                for c in range(max(j - 1, 0), min(j + 2, x.shape[3])):
                    best = max(best, x[(*channel, r, c)])
            y[(*channel, i, j)] = best


def averages(x: np.ndarray, y: np.ndarray) -> None:
    """THNN's SpatialAveragePooling_updateOutput, 3x3 with padding 1: a channel is cleared, then its means are added."""
    for channel in np.ndindex(*x.shape[:2]):
        y[channel] = 0
        for i, j in np.ndindex(*x.shape[2:]):
            window = x[(*channel, slice(max(i - 1, 0), i + 2), slice(max(j - 1, 0), j + 2))]
            y[(*channel, i, j)] += window.sum() / 9


def normalized(x: np.ndarray, y: np.ndarray) -> None:
    """SpatialCrossMapLRN.lua with size 3, alpha 0.3, beta 0.5, k 2: the output holds the squares, then the powers."""
    np.multiply(x, x, out=y)
    scale = np.zeros(x.shape)
    for c in range(x.shape[1]):
        scale[:, c] = y[:, max(c - 1, 0) : c + 2].sum(axis=1)
    y[...] = (scale * 0.1 + 2) ** -0.5
    y *= x


def dilated(weight: np.ndarray, bias: np.ndarray) -> Loop:
    """THNN's SpatialDilatedConvolution_updateOutput, 3x3, dilation 2: the bias first, then the image is unfolded."""

    def run(x: np.ndarray, y: np.ndarray) -> None:
        for n in range(len(x)):
            y[n] = bias[:, None, None]
            wide = np.pad(x[n], [(0, 0), (2, 2), (2, 2)])
            total = np.zeros(x[n].shape)
            for i, j in np.ndindex(3, 3):
                seen = wide[:, 2 * i : 2 * i + x.shape[2], 2 * j : 2 * j + x.shape[3]]
                total += np.einsum("oc,chw->ohw", weight[:, :, i, j], seen)
            y[n] += total

    return run


def drawn(kind: str, channels: int, rng: np.random.Generator) -> tuple[Any, Loop]:
    geometry = {"kW": 3, "kH": 3, "dW": 1, "dH": 1, "padW": 1, "padH": 1}
    if kind == "maxima":
        return torch_object("nn.SpatialMaxPooling", **geometry, ceil_mode=False), maxima
    if kind == "averages":
        settings = {"ceil_mode": False, "count_include_pad": True, "divide": True}
        return torch_object("nn.SpatialAveragePooling", **geometry, **settings), averages
    if kind == "normalized":
        return torch_object("nn.SpatialCrossMapLRN", size=3, alpha=0.3, beta=0.5, k=2), normalized
    weight, bias = noise(rng, channels, channels, 3, 3), noise(rng, channels)
    sizes = geometry | {"padW": 2, "padH": 2, "dilationW": 2, "dilationH": 2}
    return torch_object("nn.SpatialDilatedConvolution", **sizes, weight=weight, bias=bias), dilated(weight, bias)


@pytest.mark.parametrize("kind", ["maxima", "averages", "normalized", "dilated"])
@pytest.mark.parametrize("seed", range(6))
def test_a_module_overwrites_what_it_reads(kind: str, seed: int) -> None:
    rng, x = sampled(seed)
    shared, loop = drawn(kind, x.shape[1], rng)
    net = sequential(shared, torch_object("nn.LeakyReLU", negval=0.5, inplace=True), shared)
    expected = np.empty(x.shape)
    loop(x.astype(np.float64), expected)
    expected[expected < 0] *= 0.5
    loop(expected, expected)
    check([expected], reference(net, x), 1e-6)
    check([expected], through_onnx(net, x), 1e-5)
    check([expected], through_caffe2(net, x), 1e-5)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("typename", ["nn.CAddTable", "nn.CMulTable", "nn.CSubTable", "nn.CDivTable"])
def test_a_block_used_twice_loses_its_shortcut(seed: int, typename: str) -> None:
    """{branch(x), x}: the table's output is x's memory, which first becomes a copy of the branch."""
    rng, x = sampled(seed)
    second_first = bool(rng.random() < 0.5)
    branches = [torch_object("nn.Tanh"), torch_object("nn.Identity")]
    branches = branches[::-1] if second_first else branches
    block = torch_object(
        "nn.Sequential",
        modules=[torch_object("nn.ConcatTable", modules=branches), torch_object(typename)],
    )
    net = sequential(block, torch_object("nn.AddConstant", constant_scalar=1.5, inplace=True), block)
    run = {"nn.CAddTable": np.add, "nn.CMulTable": np.multiply, "nn.CSubTable": np.subtract, "nn.CDivTable": np.divide}
    wide = x.astype(np.float64)
    pair = (wide, np.tanh(wide)) if second_first else (np.tanh(wide), wide)
    y = run[typename](*pair) + 1.5
    t = np.tanh(y)
    y = run[typename](y, t) if second_first else run[typename](t, t)
    check([y], reference(net, x), 1e-6)
    check([y], through_onnx(net, x), 1e-4)
    check([y], through_caffe2(net, x), 1e-4)


@pytest.mark.parametrize("typename", ["nn.Tanh", "nn.SpatialSoftMax", "nn.Dropout", "nn.Square"])
def test_what_is_read_before_it_is_written_is_not_disturbed(typename: str) -> None:
    _, x = sampled(3)
    shared = torch_object(typename, **({"p": 0.4} if typename == "nn.Dropout" else {}))
    again = sequential(shared, torch_object("nn.MulConstant", constant_scalar=0.7, inplace=True), shared)
    once = sequential(shared)
    expected = reference(once, reference(once, x)[0] * 0.7)
    check(expected, reference(again, x), 1e-9)
    check(expected, through_caffe2(again, x), 1e-5)


def test_what_depends_on_the_matrix_product_is_refused() -> None:
    rng = np.random.default_rng(0)
    shared = torch_object("nn.Linear", weight=noise(rng, 4, 4), bias=noise(rng, 4))
    net = sequential(shared, torch_object("nn.ReLU", inplace=True), shared)
    with pytest.raises(UnsupportedError, match="Torch would read there what it is writing"):
        net.forward(noise(rng, 2, 4))
    with pytest.raises(UnsupportedError, match="Torch would read there what it is writing"):
        retorch.convert(net, (2, 4), fold=False)


def branches(shared: Any, combine: Any, *first: Any) -> Any:
    """The same module at the end of two branches."""
    return sequential(
        torch_object(
            "nn.ConcatTable",
            modules=[torch_object("nn.Sequential", modules=[layer, shared]) for layer in first],
        ),
        combine,
    )


@pytest.mark.parametrize(
    ("shared", "last"),
    [
        (torch_object("nn.ReLU", inplace=True), lambda x: np.maximum(x, 0)),
        (torch_object("nn.MulConstant", constant_scalar=-2, inplace=True), lambda x: -2 * x),
        (torch_object("nn.Reshape", size=(6,), batchMode=True), lambda x: x.reshape(2, 6)),
        (torch_object("nn.Squeeze"), lambda x: x),
    ],
    ids=["ReLU", "MulConstant", "Reshape", "Squeeze"],
)
def test_a_module_in_two_branches_gives_its_last_output_twice(shared: Any, last: Callable[..., np.ndarray]) -> None:
    """``self.output:set(…)`` of the second branch turns the tensor that the first one gave."""
    x = noise(np.random.default_rng(1), 2, 3, 2)
    net = branches(shared, torch_object("nn.CAddTable"), torch_object("nn.Abs"), torch_object("nn.Tanh"))
    expected = [2 * last(np.tanh(x.astype(np.float64)))]
    check(expected, reference(net, x), 1e-6)
    check(expected, through_onnx(net, x), 1e-5)
    check(expected, through_caffe2(net, x), 1e-5)


def test_identity_makes_no_tensor() -> None:
    x = noise(np.random.default_rng(2), 2, 3, 2)
    net = branches(
        torch_object("nn.Identity"), torch_object("nn.CSubTable"), torch_object("nn.Abs"), torch_object("nn.Tanh")
    )
    wide = x.astype(np.float64)
    expected = [np.abs(wide) - np.tanh(wide)]
    check(expected, reference(net, x), 1e-6)
    check(expected, through_onnx(net, x), 1e-5)


def test_a_module_used_at_another_size_gives_its_last_output_twice() -> None:
    x = noise(np.random.default_rng(3), 2, 3, 4)
    shared = torch_object("nn.Tanh")
    narrow = torch_object("nn.Narrow", dimension=3, index=2, length=2)
    net = branches(shared, torch_object("nn.JoinTable", dimension=3), torch_object("nn.Abs"), narrow)
    y = np.tanh(x.astype(np.float64)[:, :, 1:3])
    expected = [np.concatenate([y, y], axis=2)]
    check(expected, reference(net, x), 1e-6)
    check(expected, through_onnx(net, x), 1e-5)


def in_turn(*modules: Any) -> Any:
    return torch_object("nn.Sequential", modules=list(modules))


def everywhere(expected: list[np.ndarray], *modules: Any, x: np.ndarray) -> None:
    """What these modules give as the entries of a table."""
    net = sequential(torch_object("nn.ConcatTable", modules=list(modules)))
    check(expected, reference(net, x), 1e-6)
    check(expected, through_onnx(net, x), 1e-5)


def test_a_view_of_an_output_that_grows_shows_the_beginning_of_the_larger() -> None:
    """TH's resizeNd: the storage grows where it is, for all tensors that lie in it."""
    x = noise(np.random.default_rng(4), 2, 3, 4)
    shared = torch_object("nn.Tanh")
    viewed = in_turn(shared, torch_object("nn.View", size=(12,)))
    longer = in_turn(torch_object("nn.Padding", dim=3, pad=2), shared)
    wide = np.tanh(np.pad(x.astype(np.float64), [(0, 0), (0, 0), (0, 2)]))
    everywhere([wide.reshape(-1)[:24].reshape(2, 12), wide], viewed, longer, x=x)


def test_a_view_follows_a_memory_that_grows_and_shrinks() -> None:
    x = noise(np.random.default_rng(5), 2, 3, 4)
    shared = torch_object("nn.Tanh")
    viewed = in_turn(shared, torch_object("nn.View", size=(12,)))
    longer = in_turn(torch_object("nn.Padding", dim=3, pad=2), shared, torch_object("nn.View", size=(18,)))
    shorter = in_turn(torch_object("nn.Narrow", dimension=3, index=1, length=1), shared)
    memory = np.tanh(np.pad(x.astype(np.float64), [(0, 0), (0, 0), (0, 2)])).reshape(-1)
    last = np.tanh(x.astype(np.float64)[:, :, :1])
    memory[:6] = last.reshape(-1)
    everywhere([memory[:24].reshape(2, 12), memory.reshape(2, 18), last], viewed, longer, shorter, x=x)


def test_a_write_into_the_first_view_shows_in_what_grew() -> None:
    x = noise(np.random.default_rng(6), 2, 3, 4)
    shared, view = torch_object("nn.Tanh"), torch_object("nn.View", size=(12,))
    longer = in_turn(torch_object("nn.Padding", dim=3, pad=2), shared, torch_object("nn.View", size=(18,)))
    scaled = in_turn(
        torch_object("nn.SelectTable", index=1), torch_object("nn.MulConstant", constant_scalar=3.0, inplace=True)
    )
    both = torch_object("nn.ConcatTable", modules=[in_turn(shared, view), longer])
    net = sequential(both, torch_object("nn.ConcatTable", modules=[torch_object("nn.SelectTable", index=2), scaled]))
    memory = np.tanh(np.pad(x.astype(np.float64), [(0, 0), (0, 0), (0, 2)])).reshape(-1)
    memory[:24] *= 3
    expected = [memory.reshape(2, 18), memory[:24].reshape(2, 12)]
    check(expected, reference(net, x), 1e-6)
    check(expected, through_onnx(net, x), 1e-5)


def test_contiguous_writes_where_it_looked_before() -> None:
    """Contiguous.lua: ``self.output:set(input)``, and at other sizes ``self.output:resizeAs(input):copy(input)``."""
    x = noise(np.random.default_rng(7), 4, 3)
    shared, other = torch_object("nn.Contiguous"), torch_object("nn.Contiguous")

    def column(at: int, by: float) -> list[Any]:
        """A view of a column of the scaled input, which does not stand in order."""
        scaled = torch_object("nn.MulConstant", constant_scalar=by)
        return [scaled, torch_object("nn.SplitTable", dimension=2), torch_object("nn.SelectTable", index=at)]

    view = torch_object("nn.View", size=(4, 1))
    first = in_turn(*column(1, 0.5), shared, view)
    second = in_turn(*column(3, 2.0), other, torch_object("nn.View", size=(4, 1)))
    # both have looked at the network's input, so both write over its first four numbers
    memory = x.copy().reshape(-1)
    memory[:4] = 0.5 * x[:, 0]
    after = memory.copy()
    after[:4] = 2 * memory.reshape(4, 3)[:, 2]
    net_input = torch_object("nn.Identity")
    everywhere(
        [after.reshape(4, 3)] + [after[:4]] * 2 + [after[:4].reshape(4, 1)] * 2,
        net_input,
        shared,
        other,
        first,
        second,
        x=x,
    )


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_a_tensor_that_comes_back_is_the_output_again(count: int) -> None:
    """Contiguous copies, then hands on what is its own memory already, and copies again."""
    x = noise(np.random.default_rng(5), 2, 3, 4)
    shared = torch_object("nn.Contiguous")
    replicated = torch_object("nn.Replicate", nfeatures=4, dim=3)
    first = torch_object("nn.Select", dimension=3, index=1)
    step = torch_object("nn.Sequential", modules=[replicated, shared, shared, first])
    net = sequential(*[step] * count)
    check([x], reference(net, x), 1e-6)
    check([x], through_onnx(net, x), 1e-6)
