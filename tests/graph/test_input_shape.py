"""Which input a network takes, from its file alone. The sizes that are expected are those of the networks' papers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import retorch
from building import module, sequential, torch_object
from retorch.cli import main
from retorch.errors import UsageError
from retorch.graph.input_shape.options import settings
from retorch.module import Module, bind
from retorch.torch7 import LuaTable, TorchObject


def convolution(channels: int, out: int, kernel: int = 3, stride: int = 1, pad: int = 0, **more: Any) -> TorchObject:
    weight = np.ones((out, channels, kernel, kernel), np.float32)
    window = {"kW": kernel, "kH": kernel, "dW": stride, "dH": stride, "padW": pad, "padH": pad}
    return torch_object("nn.SpatialConvolution", weight=weight, bias=np.zeros(out, np.float32), **window, **more)


def linear(wide: int, out: int) -> TorchObject:
    return torch_object("nn.Linear", weight=np.ones((out, wide), np.float32), bias=np.zeros(out, np.float32))


def lookup(rows: int, wide: int) -> TorchObject:
    return torch_object("nn.LookupTable", weight=np.ones((rows, wide), np.float32))


def table(typename: str, *modules: TorchObject, **fields: Any) -> TorchObject:
    return torch_object(typename, modules=list(modules), **fields)


def classifier(pixels: int) -> list[TorchObject]:
    return [torch_object("nn.View", size=(pixels,)), linear(pixels, 10)]


NETWORKS: dict[str, tuple[Module, Any]] = {
    "any image": (sequential(convolution(3, 8)), (1, 3, 224, 224)),
    "one channel": (sequential(convolution(1, 4, 5), *classifier(4 * 24 * 24)), (1, 1, 28, 28)),
    "an image of its own size": (sequential(convolution(3, 4, 3, pad=1), *classifier(4 * 40 * 40)), (1, 3, 40, 40)),
    "wider than high": (sequential(convolution(3, 4, 3, pad=1), *classifier(4 * 6 * 8)), (1, 3, 6, 8)),
    "a vector": (sequential(linear(7, 3)), (1, 7)),
    "a view of an image": (sequential(torch_object("nn.View", size=(784,)), linear(784, 3)), (1, 1, 28, 28)),
    "behind containers": (
        module("nn.Concat", dimension=2, modules=[table("nn.Sequential", convolution(6, 2, 1))]),
        (1, 6, 224, 224),
    ),
    "two vectors": (module("nn.ParallelTable", modules=[linear(5, 2), linear(9, 2)]), [(1, 5), (1, 9)]),
    "what is left of a sum": (
        sequential(
            table("nn.ParallelTable", linear(5, 4), torch_object("nn.Identity")),
            torch_object("nn.JoinTable", dimension=2),
            linear(10, 2),
        ),
        [(1, 5), (1, 6)],
    ),
    "a table in a table": (
        module("nn.ParallelTable", modules=[linear(5, 2), table("nn.ParallelTable", linear(3, 2), linear(4, 2))]),
        [(1, 5), [(1, 3), (1, 4)]],
    ),
    "an entry by its number": (
        sequential(
            table("nn.ConcatTable", *(torch_object("nn.SelectTable", index=i) for i in (1, 2))),
            table("nn.ParallelTable", linear(2, 3), linear(4, 3)),
        ),
        [(1, 2), (1, 4)],
    ),
    "steps": (module("nn.Sequencer", modules=[torch_object("nn.Recursor", modules=[linear(6, 2)])]), [(1, 6)] * 3),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_input_follows_from_the_layers(name: str) -> None:
    net, expected = NETWORKS[name]
    assert net.input_shape() == expected


def test_a_module_takes_what_it_is_said_to_take() -> None:
    for net, shape in NETWORKS.values():
        net.forward(_filled(shape))


def _filled(shape: Any) -> Any:
    return [_filled(item) for item in shape] if isinstance(shape, list) else np.ones(shape, np.float32)


def test_indices_are_whole_numbers_in_what_is_written() -> None:
    net = sequential(lookup(12, 4), torch_object("nn.Sum", dimension=2), linear(4, 2))
    made = retorch.convert(net)
    assert [(port.dtype, port.shape) for port in made.inputs] == [(np.int64, ("N", "T"))]
    x = np.array([[3, 12, 1, 7, 7]])
    assert np.array_equal(made.run(x)[0], net.forward(x.astype(np.float32)))
    assert any("indices from 1 to 12" in note for note in made.notes)


def test_what_the_last_forward_left_comes_first() -> None:
    first = convolution(3, 4, output=np.zeros((5, 4, 46, 62), np.float32))
    assert sequential(first, convolution(4, 2)).input_shape() == (1, 3, 48, 64)


def test_a_record_of_another_network_is_passed_over() -> None:
    first = convolution(3, 4, 3, pad=1, output=np.zeros((5, 4, 9, 9), np.float32))
    last = torch_object(
        "nn.SpatialConvolution", weight=np.ones((1, 4, 16, 16), np.float32), bias=np.zeros(1), kW=16, kH=16
    )
    assert sequential(first, last).input_shape()[-1] >= 16


def test_what_the_author_wrote_comes_before_what_is_usual() -> None:
    options = LuaTable.of()
    options["fineSize"] = 144
    root = LuaTable.of()
    root["opt"], root["model"] = options, torch_object("nn.Sequential", modules=[convolution(3, 2)])
    assert settings(root)["opt.fineSize"] == (144,)
    net = bind(root["model"])
    net = type(net)(net.layer, options=settings(root))
    assert net.input_shape() == (1, 3, 144, 144)
    assert any("144 from opt.fineSize" in note for note in retorch.convert(net).notes)


def test_the_words_name_the_layer_and_claim_nothing_that_was_not_tried() -> None:
    (note,) = retorch.convert(sequential(convolution(3, 2))).notes
    assert note.startswith("assumed the input 1x3x224x224: 3 channels from modules[1] nn.SpatialConvolution")
    assert "height and width stay free" in note
    assert "only" not in note and "no other" not in note


def test_where_nothing_can_be_known_a_way_to_say_it_is_shown() -> None:
    net, _ = NETWORKS["steps"]
    (note,) = [note for note in retorch.convert(net).notes if "assumed" in note]
    assert "--input '{1x6,1x6,1x6}'" in note


def test_a_network_of_which_any_tensor_is_an_input_is_asked_for_it() -> None:
    with pytest.raises(UsageError, match="cannot be worked out"):
        sequential(torch_object("nn.Tanh")).input_shape()


def test_inspect_shows_hidden_sizes_and_the_likely_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weight = np.ones((5 + 7, 4 * 7), np.float32)
    cell = torch_object("nn.LSTM", weight=weight, bias=np.zeros(28, np.float32), input_dim=5, hidden_dim=7)
    retorch.write(tmp_path / "model.t7", torch_object("nn.Sequential", modules=[lookup(9, 5), cell]))
    assert main(["inspect", str(tmp_path / "model.t7")]) == 0
    shown = capsys.readouterr().out
    assert "input=5 hidden=7" in shown
    assert "outputsize=0" not in shown
    assert "likely input 1x3" in shown
