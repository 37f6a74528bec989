"""What ``model.py`` looks like: formatted, checked, and with repeated blocks written once."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.networks import batch_norm, conv, linear, pool, relu, row, vgg16, view

import retorch
from building import sequential, torch_object
from golden_cases import GOLDEN, Case
from retorch.module import bind
from retorch.pytorch.source import call, laid_out, literal, number, parsed
from retorch.pytorch.statements import tidied
from retorch.torch7 import TorchObject


def written(name: str, folder: Path) -> str:
    case = Case(GOLDEN / f"{name}.t7")
    retorch.convert(retorch.load(case.path), case.nested("input"), to="pytorch").save(folder)
    return (folder / "model.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name", ["net_resnet", "net_unet", "net_siamese", "net_crnn_like", "nngraph_multi", "BiSequencer_1", "Normalize_p3"]
)
def test_the_source_is_as_ruff_leaves_it(name: str, tmp_path: Path) -> None:
    written(name, tmp_path)
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or "ruff"
    for command in (["format", "--check"], ["check"]):
        done = subprocess.run(
            [ruff, *command, "--isolated", str(tmp_path / "model.py")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_residual_block_is_one_class_used_many_times(tmp_path: Path) -> None:
    source = written("net_resnet", tmp_path)
    assert source.count("class BasicBlock(nn.Sequential):") == 1
    assert source.count("            BasicBlock(") == 3
    assert "retorch" not in source.split("from pathlib", 1)[1]
    assert len(source.splitlines()) <= 100


def test_a_block_names_the_classes_inside_it_as_they_are_written(tmp_path: Path) -> None:
    """Two paddings have classes of one name but for a number; the blocks hold the second."""

    def padding(size: int) -> TorchObject:
        return torch_object("nn.Padding", dim=4, pad=size, nInputDim=4)

    def block(seed: int) -> TorchObject:
        weight = np.random.default_rng(seed).normal(size=(2, 2, 1, 1)).astype(np.float32)
        sizes = {"nInputPlane": 2, "nOutputPlane": 2, "kW": 1, "kH": 1}
        convolution = torch_object("nn.SpatialConvolution", weight=weight, **sizes)
        activation = torch_object("nn.Tanh")
        return torch_object("nn.Sequential", modules=[padding(1), convolution, activation, activation])

    net = sequential(padding(2), *(block(seed) for seed in range(5)))
    retorch.convert(net, (1, 2, 6, 6), to="pytorch").save(tmp_path)
    classes = (tmp_path / "model.py").read_text(encoding="utf-8").split("class ")
    name = next(text.partition("(")[0] for text in classes if "(0, 1)" in text)
    assert f"{name}()" in next(text for text in classes if "nn.Conv2d" in text)


def test_a_graph_is_straight_lines(tmp_path: Path) -> None:
    source = written("nngraph_lstm", tmp_path)
    assert "def forward(self, x, y, z):" in source
    assert 'self["1"](x) + self["3"](z)' in source


def test_names_follow_torchs_tree_and_the_record_holds_the_map(tmp_path: Path) -> None:
    written("net_resnet", tmp_path)
    record = json.loads((tmp_path / "retorch.json").read_text(encoding="utf-8"))
    assert record["parameters"]["modules[1].modules[1].weight"] == "0.0.weight"
    assert record["buffers"]["modules[1].modules[2].running_mean"] == "0.1.running_mean"
    net = retorch.load(GOLDEN / "net_resnet.t7")
    stored = next(made for made in net.layers() if made.path == "modules[8]").parameters()["weight"]
    from safetensors.numpy import load_file

    assert np.array_equal(load_file(tmp_path / "model.safetensors")["7.weight"], stored)


def test_weights_shared_in_torch_are_written_once_and_tied(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    source = written("SharedWeights_1", tmp_path)
    assert "self[2].weight = self[0].weight" in source
    assert sorted(load_file(tmp_path / "model.safetensors")) == ["0.bias", "0.weight"]


def test_a_call_is_broken_where_it_does_not_fit() -> None:
    short = call("nn.Linear", ["3", "4"], [("bias", "False")])
    assert laid_out(short, 8) == ["        nn.Linear(3, 4, bias=False)"]
    long = call("nn.Sequential", [call("nn.Linear", ["1000", "1000"])] * 4)
    assert laid_out(long, 4, after=",") == [
        "    nn.Sequential(",
        *["        nn.Linear(1000, 1000),"] * 4,
        "    ),",
    ]


def test_floats_have_as_few_digits_as_say_the_same_float32() -> None:
    assert number(float(np.float32(0.1))) == "0.1"
    assert number(1e-05) == "1e-5"
    assert number(float("-inf")) == 'float("-inf")'
    assert literal((3, 5)).__str__() == "(3, 5)"
    assert str(parsed("f(a, (b, c), d=g(1))")) == "f(a, (b, c), d=g(1))"


def test_what_nobody_reads_goes_and_what_is_read_once_moves() -> None:
    lines = ["y = self[0](x)", "z = self[1](x)", "x = y + y", "x = F.relu(x)", "return x"]
    assert tidied(lines) == ["y = self[0](x)", "return F.relu(y + y)"]
    assert tidied(["y = a - b", "x = c - y", "return x"]) == ["return c - (a - b)"]


def test_vgg_16_fits_on_forty_lines() -> None:
    source = retorch.convert(bind(vgg16()), (1, 3, 224, 224), to="pytorch").twin.source
    assert "*stages(3, (2, 64), (2, 128), (3, 256), (3, 512), (3, 512))," in source
    assert len(source.splitlines()) <= 40


def test_resnet_18_is_a_basic_block_used_eight_times() -> None:
    source = retorch.convert(residual([2, 2, 2, 2]), (2, 3, 64, 64), to="pytorch").twin.source
    assert source.count("class BasicBlock(") == 1
    assert len(re.findall(r"(?<!class )\bBasicBlock\(", source)) == 8
    assert len(source.splitlines()) <= 120


def residual(blocks: list[int]) -> retorch.Module:
    """fb.resnet.torch: stages of residual blocks of two convolutions."""
    rows, inputs = [conv(3, 64, 7, 2, bias=False), batch_norm(64), relu(), pool("Max", 3, 2, 1)], 64
    for stage, count in enumerate(blocks):
        made = []
        for block in range(count):
            outputs, stride = 64 * 2**stage, 2 if stage and not block else 1
            body = [conv(inputs, outputs, 3, stride, bias=False), batch_norm(outputs), relu()]
            body += [conv(outputs, outputs, 3, bias=False), batch_norm(outputs)]
            other = torch_object("nn.Identity")
            if inputs != outputs:
                other = row(conv(inputs, outputs, 1, stride, bias=False), batch_norm(outputs))
            both = torch_object("nn.ConcatTable", modules=[row(*body), other])
            made.append(row(both, torch_object("nn.CAddTable", inplace=True), relu()))
            inputs = outputs
        rows.append(row(*made))
    return bind(row(*rows, pool("Average", 2, 1), view(inputs), linear(inputs, 1000)))


def test_a_dense_block_is_a_layer_of_growing_channels(tmp_path: Path) -> None:
    source = written("net_densenet", tmp_path)
    assert re.findall(r"^            DenseLayer\((\d+)\),$", source, re.MULTILINE) == ["4", "7", "10"]
    assert len(source.splitlines()) <= 60


def test_hourglasses_in_each_other_are_a_class_that_takes_what_is_inside() -> None:
    source = retorch.convert(bind(row(conv(3, 8, 3), hourglass(4))), (1, 3, 32, 32), to="pytorch").twin.source
    assert "class Hourglass(nn.Sequential):\n    def __init__(self, inner):" in source
    model = "".join(source.partition("class Model")[2].split())
    assert "Hourglass(Hourglass(Hourglass(Hourglass(nn.Sequential(" in model


def hourglass(depth: int) -> TorchObject:
    """A branch at full size, and one at half of it around the hourglass inside; their sum."""

    def unit() -> list[TorchObject]:
        return [conv(8, 8, 3), batch_norm(8), relu()]

    inner = hourglass(depth - 1) if depth > 1 else row(*unit())
    up = torch_object("nn.SpatialUpSamplingNearest", scale_factor=2)
    low = row(pool("Max", 2, 2), *unit(), inner, *unit(), up)
    both = torch_object("nn.ConcatTable", modules=[row(*unit()), low])
    return row(both, torch_object("nn.CAddTable"))


def test_levels_of_a_u_net_are_a_class_that_takes_what_is_inside() -> None:
    source = retorch.convert(bind(row(conv(3, 4, 3), u_net([4, 8, 16, 32]))), (1, 3, 32, 32), to="pytorch").twin.source
    assert "class UNet(Concat):\n    def __init__(self, inputs, inputs2, inner):" in source
    model = "".join(source.partition("class Model")[2].split())
    assert "UNet(8,32,UNet(16,32,nn.ReLU()))" in model


def u_net(channels: list[int]) -> TorchObject:
    """What comes in, beside what is made of it at half the size by the level inside."""
    outer, inner = channels[:2]
    deepest = len(channels) == 2
    twice = inner if deepest else 2 * inner
    weight = np.ones((twice, outer, 2, 2), np.float32)
    sizes = {"nInputPlane": twice, "nOutputPlane": outer, "kW": 2, "kH": 2, "dW": 2, "dH": 2}
    up = torch_object("nn.SpatialFullConvolution", weight=weight, bias=np.ones(outer, np.float32), **sizes)
    within = relu() if deepest else u_net(channels[1:])
    down = row(conv(outer, inner, 3, 2), batch_norm(inner), relu(), within, up, batch_norm(outer), relu())
    return torch_object("nn.Concat", dimension=2, modules=[torch_object("nn.Identity"), down])
