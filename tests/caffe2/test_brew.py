"""``--brew`` against the real thing: networks built by hand with brew, exported by mobile_exporter, byte for byte."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

import retorch
from building import reference, sequential, torch_object
from retorch.caffe2.emit.net import EmitOptions
from retorch.caffe2.proto.caffe2_pb2 import NetDef
from retorch.engines.caffe2_runtime import Runtime
from retorch.module import Module
from retorch.torch7 import TorchObject

RECIPES = Path(__file__).with_name("recipes.py")
Weights: TypeAlias = dict[str, np.ndarray]
Shapes: TypeAlias = dict[str, tuple[int, ...]]


def conv(w: Weights, name: str, step: int = 1, pad: int = 0, **fields: Any) -> TorchObject:
    o, i, kh, kw = w[f"{name}_w"].shape
    sizes = {"nInputPlane": i, "nOutputPlane": o, "kW": kw, "kH": kh}
    steps = {"dW": step, "dH": step, "padW": pad, "padH": pad}
    kind = "nn.SpatialDilatedConvolution" if "dilationW" in fields else "nn.SpatialConvolution"
    fields = {**sizes, **steps, "weight": w[f"{name}_w"], "bias": w.get(f"{name}_b"), **fields}
    return torch_object(kind, **{key: value for key, value in fields.items() if value is not None})


def full_conv(w: Weights, name: str, step: int, pad: int, adj: int) -> TorchObject:
    i, o, kh, kw = w[f"{name}_w"].shape
    sizes = {"nInputPlane": i, "nOutputPlane": o, "kW": kw, "kH": kh, "dW": step, "dH": step, "padW": pad, "padH": pad}
    stored = {"weight": w[f"{name}_w"], "bias": w[f"{name}_b"], "adjW": adj, "adjH": adj}
    return torch_object("nn.SpatialFullConvolution", **sizes, **stored)


def linear(w: Weights, name: str) -> TorchObject:
    return torch_object("nn.Linear", weight=w[f"{name}_w"], bias=w[f"{name}_b"])


def norm(w: Weights, name: str, eps: float, kind: str = "nn.SpatialBatchNormalization") -> TorchObject:
    stored = {"weight": w[f"{name}_s"], "bias": w[f"{name}_b"]}
    stored |= {"running_mean": w[f"{name}_rm"], "running_var": w[f"{name}_riv"]}
    return torch_object(kind, eps=eps, momentum=0.1, affine=True, **stored)


def pool(kind: str, kw: int, kh: int, dw: int, dh: int, pad: int = 0) -> TorchObject:
    sizes = {"kW": kw, "kH": kh, "dW": dw, "dH": dh, "padW": pad, "padH": pad}
    extra = {"count_include_pad": True, "divide": True} if kind == "Average" else {}
    return torch_object(f"nn.Spatial{kind}Pooling", **sizes, ceil_mode=False, **extra)


def plain(name: str, **fields: Any) -> TorchObject:
    return torch_object(f"nn.{name}", **fields)


RELU = plain("ReLU", inplace=True)


def lenet(w: Weights) -> Module:
    pools = [pool("Max", 2, 2, 2, 2) for _ in range(2)]
    front = [conv(w, "conv1"), pools[0], conv(w, "conv2"), pools[1], plain("View", size=(200,), numElements=200)]
    return sequential(*front, linear(w, "fc1"), RELU, linear(w, "fc2"), plain("SoftMax"))


def flow(w: Weights) -> Module:
    return sequential(conv(w, "conv1", pad=3), RELU, conv(w, "conv2", pad=3), RELU, conv(w, "conv3", pad=3))


def in_place(w: Weights) -> Module:
    return sequential(conv(w, "conv1", pad=1), RELU, conv(w, "conv2", pad=1), plain("Tanh"), conv(w, "conv3"))


def alexnet(w: Weights) -> Module:
    lrn = plain("SpatialCrossMapLRN", size=5, alpha=1e-4, beta=0.75, k=2)
    return sequential(conv(w, "conv1", 4, 2), RELU, lrn, pool("Max", 3, 3, 2, 2), conv(w, "conv2", pad=2))


def residual(w: Weights) -> Module:
    first = [conv(w, "conv1", 2, 1), norm(w, "bn1", 1e-3), RELU, conv(w, "conv2", 1, 1), norm(w, "bn2", 1e-5)]
    both = plain("ConcatTable", modules=[plain("Sequential", modules=first), conv(w, "conv3", 2)])
    return sequential(both, plain("CAddTable"), RELU, pool("Average", 7, 7, 7, 7))


def inception(w: Weights) -> Module:
    second = plain("Sequential", modules=[conv(w, "conv2", pad=1), RELU])
    branches = [conv(w, "conv1"), second, pool("Max", 3, 3, 1, 1, 1)]
    return sequential(plain("Concat", dimension=2, modules=branches), conv(w, "conv3"))


def upsampling(w: Weights) -> Module:
    prelu = plain("PReLU", nOutputPlane=8, weight=w["prelu1_slope"])
    ups = [full_conv(w, "conv2", 2, 1, 0), full_conv(w, "conv3", 2, 1, 1)]
    return sequential(conv(w, "conv1", 2, 1), prelu, *ups, plain("Tanh"))


def dilated(w: Weights) -> Module:
    leaky = plain("LeakyReLU", negval=0.2)
    first = conv(w, "conv1", pad=2, dilationW=2, dilationH=2)
    return sequential(first, leaky, conv(w, "conv2", pad=4, dilationW=4, dilationH=4))


def oblong(w: Weights) -> Module:
    first = conv(w, "conv1", dW=2, dH=1, padW=2, padH=1)
    return sequential(first, pool("Max", 3, 2, 1, 2), pool("Average", 2, 1, 2, 1))


def video(w: Weights) -> Module:
    pad = {"padT": 1, "padW": 1, "padH": 1}
    first = {"kT": 3, "kW": 3, "kH": 3, "dT": 1, "dW": 1, "dH": 1, **pad, "nInputPlane": 2, "nOutputPlane": 4}
    last = {"kT": 2, "kW": 3, "kH": 3, "dT": 2, "dW": 1, "dH": 1, "nInputPlane": 4, "nOutputPlane": 3}
    none = {"padT": 0, "padW": 0, "padH": 0}
    maximum = {"kT": 1, "kW": 2, "kH": 2, "dT": 1, "dW": 2, "dH": 2, **none, "ceil_mode": False}
    return sequential(
        plain("VolumetricConvolution", **first, weight=w["conv1_w"], bias=w["conv1_b"]),
        RELU,
        plain("VolumetricMaxPooling", **maximum),
        plain("VolumetricConvolution", **last, **none, weight=w["conv2_w"], bias=w["conv2_b"]),
    )


def perceptron(w: Weights) -> Module:
    middle = [norm(w, "bn1", 1e-5, "nn.BatchNormalization"), plain("Sigmoid")]
    return sequential(linear(w, "fc1"), *middle, linear(w, "fc2"), plain("Tanh"))


def two_inputs(w: Weights) -> Module:
    def branch(index: int, name: str) -> TorchObject:
        return plain("Sequential", modules=[plain("SelectTable", index=index), conv(w, name, pad=1)])

    both = plain("ConcatTable", modules=[branch(2, "conv1"), branch(1, "conv2")])
    return sequential(both, plain("CAddTable"), plain("ELU", alpha=1.0))


def turned(w: Weights) -> Module:
    return sequential(conv(w, "conv1"), plain("Transpose", permutations=[[3, 4]]), RELU)


def sized(**shapes: tuple[int, ...]) -> Shapes:
    return shapes


def filters(name: str, *shape: int) -> Shapes:
    """Weights, and as many biases as output channels."""
    return {f"{name}_w": shape, f"{name}_b": shape[:1]}


def statistics(name: str, channels: int) -> Shapes:
    return {f"{name}_{what}": (channels,) for what in ("s", "b", "rm", "riv")}


UPS = {**sized(conv2_w=(8, 4, 4, 4), conv2_b=(4,), conv3_w=(4, 3, 3, 3), conv3_b=(3,), prelu1_slope=(8,))}
NO_BIAS = sized(conv1_w=(8, 4, 3, 3), conv2_w=(8, 8, 3, 3), conv3_w=(8, 4, 1, 1))
# The network, the shapes of its inputs and those of its parameters.
ROWS: dict[Callable[[Weights], Module], tuple[list[tuple[int, ...]], Shapes]] = {
    lenet: (
        [(2, 1, 28, 28)],
        filters("conv1", 6, 1, 5, 5) | filters("conv2", 8, 6, 3, 3) | filters("fc1", 12, 200) | filters("fc2", 10, 12),
    ),
    flow: (
        [(1, 8, 12, 16)],
        filters("conv1", 6, 8, 7, 7) | filters("conv2", 4, 6, 7, 7) | filters("conv3", 2, 4, 7, 7),
    ),
    in_place: (
        [(1, 3, 6, 7)],
        filters("conv1", 4, 3, 3, 3) | filters("conv2", 4, 4, 3, 3) | filters("conv3", 2, 4, 1, 1),
    ),
    alexnet: ([(1, 3, 39, 39)], filters("conv1", 8, 3, 11, 11) | filters("conv2", 6, 8, 5, 5)),
    residual: ([(2, 4, 14, 14)], NO_BIAS | statistics("bn1", 8) | statistics("bn2", 8)),
    inception: (
        [(2, 4, 9, 9)],
        filters("conv1", 3, 4, 1, 1) | filters("conv2", 5, 4, 3, 3) | filters("conv3", 2, 12, 1, 1),
    ),
    upsampling: ([(1, 3, 8, 8)], filters("conv1", 8, 3, 3, 3) | UPS),
    dilated: ([(1, 3, 12, 12)], filters("conv1", 4, 3, 3, 3) | filters("conv2", 2, 4, 3, 3)),
    oblong: ([(1, 3, 9, 12)], filters("conv1", 4, 3, 3, 5)),
    video: ([(1, 2, 4, 8, 8)], filters("conv1", 4, 2, 3, 3, 3) | filters("conv2", 3, 4, 2, 3, 3)),
    perceptron: ([(3, 6)], filters("fc1", 8, 6) | statistics("bn1", 8) | filters("fc2", 4, 8)),
    two_inputs: ([(1, 3, 6, 6), (1, 3, 6, 6)], filters("conv1", 4, 3, 3, 3) | filters("conv2", 4, 3, 3, 3)),
    turned: ([(2, 3, 6, 8)], filters("conv1", 4, 3, 3, 3)),
}


def weights(shapes: Shapes) -> Weights:
    """Weights that differ; variances are positive."""
    rng = np.random.default_rng(5)
    made = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return {name: abs(array) + 0.5 if name.endswith("_riv") else array for name, array in made.items()}


@pytest.fixture(scope="session")
def exported(caffe2: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Caffe2's own tools wrote for every network."""
    folder = tmp_path_factory.mktemp(f"brew{caffe2.version}")
    for build, (_, shapes) in ROWS.items():
        np.savez(folder / f"{build.__name__}.npz", **weights(shapes))  # type: ignore[arg-type]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([caffe2.python, RECIPES, folder], env=env, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr[-2000:]
    return folder


def ours(build: Callable[[Weights], Module], folder: Path) -> Module:
    """Writes the same network by retorch."""
    inputs, shapes = ROWS[build]
    net = replace(build(weights(shapes)), name=build.__name__)
    made = retorch.convert(net, list(inputs) if len(inputs) > 1 else inputs[0], fold=False)
    # The old Caffe2 has no batch normalization of vectors, so that what is right on both releases is another net.
    release = "1.10" if build is perceptron else "1.0"
    made.save(folder, options=EmitOptions(release, in_place=build is in_place, brew=True))
    return net


@pytest.mark.caffe2
@pytest.mark.parametrize("build", ROWS, ids=lambda build: build.__name__)
def test_same_messages(build: Callable[[Weights], Module], exported: Path, tmp_path: Path) -> None:
    ours(build, tmp_path)
    wanted, found = (
        NetDef.FromString(path.read_bytes())
        for path in (exported / f"{build.__name__}.pb", tmp_path / "predict_net.pb")
    )
    extra = [name for op in wanted.op for name in op.output[1:]]
    outputs = [name for name in wanted.external_output if name not in extra]
    assert list(found.external_output) == outputs
    if outputs == list(wanted.external_output):
        assert (tmp_path / "predict_net.pb").read_bytes() == (exported / f"{build.__name__}.pb").read_bytes()
    del wanted.external_output[:], found.external_output[:]
    for theirs, own in zip(wanted.op, found.op, strict=True):
        assert str(own) == str(theirs)
    assert found == wanted
    assert (tmp_path / "init_net.pb").read_bytes() == (exported / f"{build.__name__}_init.pb").read_bytes()


@pytest.mark.caffe2
@pytest.mark.parametrize("build", ROWS, ids=lambda build: build.__name__)
def test_same_numbers(build: Callable[[Weights], Module], caffe2: Runtime, tmp_path: Path) -> None:
    net = ours(build, tmp_path)
    if build is perceptron and caffe2.version == "1.0.0":
        pytest.skip("this Caffe2 normalizes no batches of vectors")
    rng = np.random.default_rng(6)
    inputs = [rng.standard_normal(shape).astype(np.float32) for shape in ROWS[build][0]]
    wanted = reference(net, inputs if len(inputs) > 1 else inputs[0])
    for found in (caffe2.run(tmp_path, inputs), retorch.Network.load(tmp_path).run(*inputs)):
        for actual, expected in zip(found, wanted, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4 * abs(expected).max())


def test_brew_has_a_bias_for_every_transposed_convolution() -> None:
    rng = np.random.default_rng(7)
    w = {"conv1_w": rng.standard_normal((3, 2, 4, 4)).astype(np.float32), "conv1_b": np.zeros(2, np.float32)}
    stored = full_conv(w, "conv1", 2, 1, 0)
    bare = torch_object(stored.typename, **{key: stored[key] for key in stored if key != "bias"})
    net = retorch.convert(sequential(bare), (1, 3, 5, 5), fold=False).caffe2(EmitOptions(brew=True))
    assert list(net.predict.op[0].input) == ["data", "conv1_w", "conv1_b"]
    assert list(net.predict.external_input) == ["data", "conv1_w", "conv1_b"]
    np.testing.assert_array_equal(net.params["conv1_b"], [0, 0])


def test_what_brew_cannot_say_is_written_as_the_net_itself_would() -> None:
    w = {"conv1_w": np.ones((3, 2, 2, 4), np.float32), "conv1_b": np.zeros(2, np.float32)}
    net = retorch.convert(sequential(full_conv(w, "conv1", 2, 1, 0)), (1, 3, 5, 5), fold=False).caffe2(
        EmitOptions(brew=True)
    )
    op = net.predict.op[0]
    assert [arg.name for arg in op.arg] == ["kernels", "strides", "pads"]
    assert not op.engine


def test_a_slope_that_two_layers_share_keeps_one_blob() -> None:
    slope = np.array([0.1, 0.2], np.float32)
    net = sequential(*(torch_object("nn.PReLU", nOutputPlane=2, weight=slope) for _ in range(2)))
    made = retorch.convert(net, (1, 2, 3, 3), fold=False).caffe2(EmitOptions(brew=True))
    assert set(made.predict.external_input) == {made.predict.op[0].input[0], *made.params}


def test_nothing_of_retorch_is_in_the_net() -> None:
    net = retorch.convert(sequential(RELU), (1, 2, 3, 3), fold=False)
    assert not net.caffe2(EmitOptions(brew=True)).predict.arg
    assert net.caffe2().predict.arg
