"""Weights go from a Torch7 network into a class that exists already, and the class then computes the same."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import retorch
from building import torch_object
from retorch.cli import main
from retorch.engines import real_pytorch
from retorch.torch7 import TorchObject

pytestmark = pytest.mark.pytorch

RNG = np.random.default_rng(12)


def draw(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (scale * RNG.standard_normal(shape)).astype(np.float32)


def seq(*modules: TorchObject) -> TorchObject:
    return torch_object("nn.Sequential", modules=list(modules))


def conv(channels: int, out: int, k: int, stride: int = 1, pad: int = 0, *, bias: bool = False) -> TorchObject:
    sizes = {"kW": k, "kH": k, "dW": stride, "dH": stride, "padW": pad, "padH": pad}
    more = {"bias": draw(out)} if bias else {}
    weight = draw(out, channels * k * k, scale=(channels * k * k) ** -0.5)  # flat, as SpatialConvolutionMM keeps it
    planes = {"nInputPlane": channels, "nOutputPlane": out}
    return torch_object("nn.SpatialConvolutionMM", weight=weight, **sizes, **planes, **more)


def up(channels: int, out: int, k: int, stride: int, pad: int = 0, *, bias: bool = False) -> TorchObject:
    sizes = {"kW": k, "kH": k, "dW": stride, "dH": stride, "padW": pad, "padH": pad, "adjW": 0, "adjH": 0}
    more = {"bias": draw(out)} if bias else {}
    weight = draw(channels, out, k, k, scale=channels**-0.5)
    planes = {"nInputPlane": channels, "nOutputPlane": out}
    return torch_object("nn.SpatialFullConvolution", weight=weight, **sizes, **planes, **more)


def norm(channels: int) -> TorchObject:
    fields = {"weight": draw(channels), "bias": draw(channels), "running_mean": draw(channels)}
    return torch_object("nn.SpatialBatchNormalization", running_var=draw(channels) ** 2 + 0.5, eps=1e-5, **fields)


def linear(features: int, out: int) -> TorchObject:
    return torch_object("nn.Linear", weight=draw(out, features, scale=features**-0.5), bias=draw(out))


def relu() -> TorchObject:
    return torch_object("nn.ReLU", inplace=True)


def pool(k: int, stride: int, pad: int = 0) -> TorchObject:
    sizes = {"kW": k, "kH": k, "dW": stride, "dH": stride, "padW": pad, "padH": pad}
    return torch_object("nn.SpatialMaxPooling", ceil_mode=False, **sizes)


def both(first: TorchObject, second: TorchObject) -> TorchObject:
    return torch_object("nn.ConcatTable", modules=[first, second])


def resnet(expansion: int, counts: tuple[int, ...], *, shortcut_first: bool = False) -> TorchObject:
    """As fb.resnet.torch writes it: each block is its branch and its shortcut, added."""
    modules, channels = [conv(3, 8, 7, 2, 3), norm(8), relu(), pool(3, 2, 1)], 8
    for stage, count in enumerate(counts):
        planes = 8 << stage
        for i in range(count):
            stride, out = (2 if stage and not i else 1), planes * expansion
            if expansion == 1:
                branch = [conv(channels, planes, 3, stride, 1), norm(planes), relu(), conv(planes, out, 3, 1, 1)]
            else:
                branch = [conv(channels, planes, 1), norm(planes), relu(), conv(planes, planes, 3, stride, 1)]
                branch += [norm(planes), relu(), conv(planes, out, 1)]
            plain = channels == out and stride == 1
            short = torch_object("nn.Identity") if plain else seq(conv(channels, out, 1, stride), norm(out))
            parts = [seq(*branch, norm(out)), short]
            modules += [both(*(parts[::-1] if shortcut_first else parts)), torch_object("nn.CAddTable"), relu()]
            channels = out
    mean = torch_object("nn.SpatialAveragePooling", kW=2, kH=2, dW=1, dH=1, padW=0, padH=0, divide=True)
    view = torch_object("nn.View", size=(channels,), numElements=channels, numInputDims=3)
    return seq(*modules, mean, view, linear(channels, 10))


def vgg() -> TorchObject:
    modules, channels = [], 3
    for count in (2, 3, 3):
        for _ in range(count):
            modules += [conv(channels, 8, 3, 1, 1, bias=True), relu()]
            channels = 8
        modules.append(pool(2, 2))
    view = torch_object("nn.View", size=(128,), numElements=128, numInputDims=3)
    return seq(*modules, view, linear(128, 12), relu(), linear(12, 12), relu(), linear(12, 12))


def unet() -> TorchObject:
    def double(channels: int, out: int) -> list[TorchObject]:
        return [
            part
            for size in (channels, out)
            for part in (conv(size, out, 3, 1, 1, bias=True), norm(out), relu())
        ]  # fmt: skip

    def level(inside: TorchObject, channels: int) -> list[TorchObject]:
        """What is beside, joined with what comes from below; then two convolutions more."""
        joined = torch_object("nn.Concat", dimension=2, modules=[torch_object("nn.Identity"), inside])
        return [joined, *double(2 * channels, channels)]

    deepest = seq(pool(2, 2), *double(8, 16), up(16, 8, 2, 2, bias=True))
    middle = seq(pool(2, 2), *double(4, 8), *level(deepest, 8), up(8, 4, 2, 2, bias=True))
    return seq(*double(3, 4), *level(middle, 4), conv(4, 2, 1, bias=True))


def dcgan() -> TorchObject:
    modules = [up(6, 8, 4, 1), norm(8), relu()]
    for _ in range(4):
        modules += [up(8, 8, 4, 2, 1), norm(8), relu()]
    return seq(*modules, up(8, 3, 4, 2, 1), torch_object("nn.Tanh"))


def narrow(offset: int, length: int) -> TorchObject:
    return torch_object("nn.Narrow", dimension=2, index=offset + 1, length=length)


def lstm() -> TorchObject:
    """x, c and h in one row; gates in the order in, forget, out, transform."""
    sums = seq(
        both(seq(narrow(0, 5), linear(5, 20)), seq(narrow(10, 5), linear(5, 20))), torch_object("nn.CAddTable")
    )  # fmt: skip
    table = torch_object("nn.ConcatTable", modules=[sums, narrow(5, 5)])

    def gate(offset: int, kind: str) -> TorchObject:
        return seq(torch_object("nn.SelectTable", index=1), narrow(offset, 5), torch_object(kind))

    times = torch_object("nn.CMulTable")
    kept = seq(both(gate(5, "nn.Sigmoid"), torch_object("nn.SelectTable", index=2)), times)
    new = seq(both(gate(0, "nn.Sigmoid"), gate(15, "nn.Tanh")), torch_object("nn.CMulTable"))
    cell = seq(both(kept, new), torch_object("nn.CAddTable"), torch_object("nn.Tanh"))
    out = seq(both(gate(10, "nn.Sigmoid"), cell), torch_object("nn.CMulTable"))
    return seq(table, out, linear(5, 7))


NETS: dict[str, tuple[Callable[[], TorchObject], tuple[int, ...]]] = {
    "resnet18": (lambda: resnet(1, (2, 2, 2, 2)), (2, 3, 64, 64)),
    "resnet50": (lambda: resnet(4, (3, 4, 6, 3)), (2, 3, 64, 64)),
    "vgg": (vgg, (2, 3, 32, 32)),
    "unet": (unet, (1, 3, 16, 16)),
    "dcgan": (dcgan, (2, 6, 1, 1)),
    "lstm": (lstm, (3, 15)),
}


def python(*arguments: object) -> None:
    """Run a script where torch is."""
    found = next(iter(real_pytorch.interpreters()), None)
    if found is None:
        pytest.skip("PyTorch is not installed (make pytorch)")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    script = Path(__file__).with_name("own_classes.py")
    done = subprocess.run(
        [str(found), str(script), *map(str, arguments)], env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def agree(name: str, file: Path, weights: Path, tmp_path: Path, shape: tuple[int, ...]) -> None:
    """The class with these weights computes what the Torch7 network computes."""
    x = draw(*shape)
    np.save(tmp_path / "x.npy", x)
    python(name, "run", weights, tmp_path / "x.npy", tmp_path / "y.npy")
    expected = retorch.load(file).forward(x.astype(np.float64))
    found = np.load(tmp_path / "y.npy")
    assert np.abs(found - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("form", ["safetensors", "text", "sizes", "json"])
@pytest.mark.parametrize("name", NETS)
def test_a_class_computes_what_the_network_did(name: str, form: str, tmp_path: Path) -> None:
    make, shape = NETS[name]
    retorch.write(tmp_path / "net.t7", make())
    reference = tmp_path / f"reference.{'safetensors' if form == 'safetensors' else 'txt'}"
    python(name, form, reference)
    weights = tmp_path / "weights.safetensors"
    command = ["export", str(tmp_path / "net.t7"), "-o", str(weights), "--like", str(reference)]
    if name == "lstm" and form == "safetensors":
        assert main(command) == 2  # h2h before i2h, of one shape: nothing tells
        return
    assert main(command) == 0
    agree(name, tmp_path / "net.t7", weights, tmp_path, shape)
