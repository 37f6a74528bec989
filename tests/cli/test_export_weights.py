"""Weights out: by PyTorch's names, and by those of a class that exists already."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import retorch
from building import module, sequential, torch_object
from golden_cases import GOLDEN
from retorch.cli import main
from retorch.engines import environments
from retorch.layers.reference_names import match, read_reference
from retorch.layers.state import entries

DIGITS = GOLDEN / "digits" / "digits.t7"
RNG = np.random.default_rng(7)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".h5", ".json"])
def test_weights_are_the_state_dict(suffix: str, tmp_path: Path) -> None:
    target = tmp_path / f"weights{suffix}"
    assert main(["export", str(DIGITS), "-o", str(target), "--weights"]) == 0
    wanted = retorch.load(DIGITS).state_dict()
    if suffix == ".npz":
        found = dict(np.load(target))
    elif suffix == ".safetensors":
        safetensors = pytest.importorskip("safetensors")
        with safetensors.safe_open(target, "np") as file:
            assert file.metadata() == {"format": "pt"}
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    elif suffix == ".h5":
        with pytest.importorskip("h5py").File(target) as file:
            found = {name: file[name][()] for name in file}
    else:
        stored = json.loads(target.read_text())
        found = {name: np.array(a["data"], np.float32).reshape(a["shape"]) for name, a in stored.items()}
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-6)


REFERENCES = {
    "text": "conv1.weight (4, 1, 3, 3)\nconv1.bias (4,)\nbn1.running_var: torch.Size([4])\n",
    "print": "conv1.weight\ttorch.Size([4, 1, 3, 3])\nconv1.bias\ttorch.Size([4])\nbn1.running_var\t[4]\n",
    "json": '{"conv1.weight": [4, 1, 3, 3], "conv1.bias": [4], "bn1.running_var": [4]}',
    "pairs": '[["conv1.weight", [4, 1, 3, 3]], ["conv1.bias", [4]], {"name": "bn1.running_var", "shape": [4]}]',
}


@pytest.mark.parametrize("text", REFERENCES.values(), ids=REFERENCES)
def test_lists_of_names_and_shapes(text: str, tmp_path: Path) -> None:
    (tmp_path / "names").write_text(text)
    wanted = {"conv1.weight": (4, 1, 3, 3), "conv1.bias": (4,), "bn1.running_var": (4,)}
    assert read_reference(tmp_path / "names") == wanted


def test_numbers_in_names_count_as_numbers_and_repeating_shapes_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    weights = [draw(3, 3) for _ in range(11)]
    layers = [torch_object("nn.Linear", weight=w, bias=np.zeros(3, np.float32)) for w in weights]
    retorch.write(tmp_path / "net.t7", torch_object("nn.Sequential", modules=layers))
    fields = (("weight", (3, 3)), ("bias", (3,)))
    names = {f"fc{i}.{field}": draw(*size) for i in range(1, 12) for field, size in fields}
    numpy.save_file(names, tmp_path / "r.safetensors")
    command = ["export", str(tmp_path / "net.t7"), "-o", str(tmp_path / "w.npz"), "--weights", "--like"]
    assert main([*command, str(tmp_path / "r.safetensors")]) == 0
    assert "11 modules have another's shapes" in capsys.readouterr().out.replace("\n", " ")
    with np.load(tmp_path / "w.npz") as stored:
        for i, weight in enumerate(weights, 1):
            np.testing.assert_array_equal(stored[f"fc{i}.weight"], weight)


#: As ``state_dict()`` of such classes lists them: a residual network with eleven blocks, LeNet, VGG.
PORTS = {
    "resnet": ["conv1", "bn1"]
    + [f"layer1.{i}.{part}" for i in range(11) for part in ("conv1", "bn1", "conv2", "bn2")]
    + ["layer2.0.conv1", "layer2.0.bn1", "layer2.0.downsample.0", "layer2.0.downsample.1", "fc"],
    "lenet": ["conv1", "conv2", "fc1", "fc2", "fc3"],
    "vgg": ["features.0", "features.1", "features.10", "classifier.0", "classifier.3"],
}


@pytest.mark.parametrize("modules", PORTS.values(), ids=PORTS)
def test_a_sorted_reference_comes_back_in_the_order_of_modules(modules: list[str], tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    tensors = {}
    for module_name in modules:
        last = module_name.split(".")[-1]
        if last.startswith("bn") or module_name.endswith(("downsample.1", "features.1")):
            tensors.update({f"{module_name}.{field}": draw(4) for field in ("weight", "bias", "running_mean")})
        else:
            is_dense = last.startswith("fc") or module_name.startswith("classifier")
            tensors[f"{module_name}.weight"] = draw(4, 4) if is_dense else draw(4, 4, 3, 3)
    numpy.save_file(tensors, tmp_path / "r.safetensors")
    assert list(read_reference(tmp_path / "r.safetensors")) == list(tensors)


def test_equal_blocks_get_their_own_weights_from_a_sorted_reference(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    parts = [part for _ in range(11) for part in (conv(4, 4, 3, bias=False), norm(4))]
    retorch.write(tmp_path / "net.t7", torch_object("nn.Sequential", modules=parts))
    names = {f"layer1.{i}.conv1.weight": draw(4, 4, 3, 3) for i in range(11)}
    fields = ("weight", "bias", "running_mean", "running_var")
    names |= {f"layer1.{i}.bn1.{field}": draw(4) for i in range(11) for field in fields}
    numpy.save_file(names, tmp_path / "r.safetensors")
    target = tmp_path / "w.npz"
    command = ["export", str(tmp_path / "net.t7"), "-o", str(target), "--like", str(tmp_path / "r.safetensors")]
    assert main(command) == 0
    with np.load(target) as stored:
        for i in range(11):
            weight = parts[2 * i]["weight"].reshape(4, 4, 3, 3)
            np.testing.assert_array_equal(stored[f"layer1.{i}.conv1.weight"], weight)
            np.testing.assert_array_equal(stored[f"layer1.{i}.bn1.bias"], parts[2 * i + 1]["bias"])


def test_safetensors_as_the_list(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    numpy.save_file({"10.weight": draw(2, 3), "2.weight": draw(4, 2), "2.bias": draw(4)}, tmp_path / "r.safetensors")
    assert list(read_reference(tmp_path / "r.safetensors")) == ["2.weight", "2.bias", "10.weight"]


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\xff\xfe\x00", b"[1, 2]"])
def test_what_is_no_list(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "names").write_bytes(content)
    arguments = ["export", str(DIGITS), "-o", str(tmp_path / "w.npz"), "--like", str(tmp_path / "names")]
    assert main(arguments) == 3
    assert "no list of names and shapes" in capsys.readouterr().err


def conv(channels: int, out: int, size: int, *, bias: bool = True) -> retorch.TorchObject:
    more = {"bias": draw(out)} if bias else {}
    fields = {"kW": size, "kH": size, "nInputPlane": channels, "nOutputPlane": out}
    return torch_object("nn.SpatialConvolutionMM", weight=draw(out, channels * size * size), **fields, **more)


def norm(channels: int) -> retorch.TorchObject:
    names = ("weight", "bias", "running_mean", "running_var")
    return torch_object("nn.SpatialBatchNormalization", **{name: draw(channels) ** 2 for name in names})


def test_modules_fit_in_order_though_biases_are_on_one_side_only() -> None:
    """A bias of (8) before a batch norm of (8): by shape alone, each would take the other's place."""
    net = sequential(conv(3, 8, 3), norm(8), conv(8, 8, 3), norm(8), torch_object("nn.ReLU"))
    reference = {}
    for i in (1, 2):
        reference[f"conv{i}.weight"] = (8, 3 if i == 1 else 8, 3, 3)
        reference.update({f"bn{i}.{name}": (8,) for name in ("weight", "bias", "running_mean", "running_var")})
        reference[f"bn{i}.num_batches_tracked"] = ()
    found = match(list(entries(net.layer)), reference)
    raw = net.layer.raw["modules"]
    assert list(found.tensors) == list(reference)
    np.testing.assert_array_equal(found.tensors["conv2.weight"], raw[3]["weight"].reshape(8, 8, 3, 3))
    np.testing.assert_array_equal(found.tensors["bn1.bias"], raw[2]["bias"])
    assert found.tensors["bn1.num_batches_tracked"].shape == ()
    assert found.missing == ()
    assert found.unused == ("modules[1].bias (8)", "modules[3].bias (8)")


LAYOUTS = [
    ("nn.TemporalConvolution", (5, 6), {"kW": 3}, (5, 2, 3), lambda w: w.reshape(5, 3, 2).transpose(0, 2, 1)),
    ("nn.TemporalConvolution", (5, 6), {"kW": 3}, (5, 1, 3, 2), lambda w: w.reshape(5, 1, 3, 2)),
    ("nn.SpatialFullConvolution", (3, 4, 2, 2), {"kW": 2, "kH": 2}, (3, 4, 2, 2), lambda w: w),
    ("nn.LookupTable", (7, 3), {}, (7, 3), lambda w: w),
    ("nn.LookupTable", (7, 3), {}, (8, 3), lambda w: np.concatenate([np.zeros((1, 3), np.float32), w])),
    ("nn.Linear", (10, 72), {"bias": draw(10)}, (10, 8, 3, 3), lambda w: w.reshape(10, 8, 3, 3)),
]


@pytest.mark.parametrize(("typename", "shape", "fields", "wanted", "expected"), LAYOUTS)
def test_layouts(typename: str, shape: tuple, fields: dict, wanted: tuple, expected) -> None:
    weight = draw(*shape)
    net = module(typename, weight=weight, **fields)
    found = match(list(entries(net.layer)), {"its.own.weight": wanted})
    np.testing.assert_array_equal(found.tensors["its.own.weight"], expected(weight))


def test_what_does_not_fit_is_listed_on_either_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "names.txt").write_text("a.weight (16, 1, 5, 5)\nhead.weight (3, 9)\n")
    state = retorch.load(DIGITS).state_dict()
    shape = state["0.weight"].shape
    (tmp_path / "names.txt").write_text(f"a.weight {shape}\nhead.weight (3, 9)\n")
    target = tmp_path / "w.npz"
    assert main(["export", str(DIGITS), "-o", str(target), "--like", str(tmp_path / "names.txt")]) == 1
    out = capsys.readouterr().out
    assert "a.weight  from modules[1].weight" in out
    assert "nothing fits: head.weight (3, 9)" in out
    assert f"no place for: modules[1].bias ({state['0.bias'].size})" in out
    assert list(np.load(target)) == ["a.weight"]


def test_cleaned_files_export_their_tensors(tmp_path: Path) -> None:
    assert main(["clean", str(DIGITS), "-o", str(tmp_path / "clean.t7")]) == 0
    for name, file in (("before", DIGITS), ("after", tmp_path / "clean.t7")):
        assert main(["export", str(file), "-o", str(tmp_path / f"{name}.npz"), "--weights"]) == 0
    assert main(["export", str(tmp_path / "clean.t7"), "-o", str(tmp_path / "all.npz")]) == 0
    before, after, every = (np.load(tmp_path / f"{name}.npz") for name in ("before", "after", "all"))
    assert list(before) == list(after)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert all(every[name].size for name in every)


CLASS = """
import sys
import numpy as np
import torch
from torch import nn
from safetensors.torch import load_file


class Digits(nn.Module):
    # names of its own, as somebody's port has them
    def __init__(self):
        super().__init__()
        self.conv_a, self.norm_a = nn.Conv2d(1, PLANES_A, KERNEL), nn.BatchNorm2d(PLANES_A)
        LAYERS


model = Digits()
if len(sys.argv) == 2:
    with open(sys.argv[1], "w") as file:
        for name, tensor in model.state_dict().items():
            print(name, tuple(tensor.shape), file=file)
else:
    model.load_state_dict(load_file(sys.argv[1]), strict=True)
    print(float(model.conv_a.weight.sum()), float(model.norm_a.running_var.sum()))
"""


def test_weights_go_into_a_class_that_exists_already(tmp_path: Path) -> None:
    found = environments.installed_interpreters("pytorch")
    if not found:
        pytest.skip("PyTorch is not installed (retorch pytorch install)")
    state = retorch.load(DIGITS).state_dict()
    # the reference: everything but the first two modules under letters of its own, in order
    modules = list(dict.fromkeys(name.rpartition(".")[0] for name in state))[2:]
    lines = []
    for letter, prefix in zip("bcdefgh", modules, strict=False):
        weight = state[f"{prefix}.weight"]
        if weight.ndim == 4:
            lines.append(f"self.conv_{letter} = nn.Conv2d({weight.shape[1]}, {weight.shape[0]}, {weight.shape[2]})")
        elif weight.ndim == 2:
            lines.append(f"self.fc_{letter} = nn.Linear({weight.shape[1]}, {weight.shape[0]})")
        else:
            lines.append(f"self.norm_{letter} = nn.BatchNorm2d({weight.shape[0]})")
    first = state["0.weight"]
    source = CLASS.replace("PLANES_A", str(first.shape[0])).replace("KERNEL", str(first.shape[2]))
    (tmp_path / "port.py").write_text(source.replace("LAYERS", "\n        ".join(lines)))

    def python(*arguments: str) -> str:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run([str(found[0]), *arguments], env=clean, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    names, weights = tmp_path / "names.txt", tmp_path / "port.safetensors"
    python(str(tmp_path / "port.py"), str(names))
    assert main(["export", str(DIGITS), "-o", str(weights), "--like", str(names)]) == 0
    printed = python(str(tmp_path / "port.py"), str(weights), "load").split()
    sums = [float(state["0.weight"].sum()), float(state["1.running_var"].sum())]
    np.testing.assert_allclose([float(word) for word in printed], sums, rtol=1e-5)
